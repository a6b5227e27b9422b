"""Reading a bag: what it holds, its messages, and its pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ...config import DEFAULT_DECODING, DecodingSettings
from ...core.types import Frame
from ...errors import DataError, ImageError
from .clock_steps import StampShifts, duration_ns, without_steps
from .damaged import recover_bag, tolerate_damage
from .files import METADATA, is_bag_file, storage_files
from .image_messages import ArrivalDecoder, ImageArrival, is_image
from .image_topics import choose_topics, default_cameras
from .opened import CDR, ClockStep, OpenedBag, RawMessage, TopicSummary
from .whole import open_whole_bag

_FORMATS = "give a ROS 2 bag (the folder with metadata.yaml, or one .mcap or .db3 file, also .zstd) or a ROS 1 .bag"


@dataclass(frozen=True)
class BagInfo:
    """What a bag holds."""

    path: Path
    start_ns: int  # first reception
    duration_s: float  # from the first to the last reception, without ``steps``
    topics: tuple[TopicSummary, ...]  # a damaged bag may hold fewer messages than they say
    damage: str = ""  # what is wrong with the bag, as a sentence; empty if opening it showed nothing
    steps: tuple[ClockStep, ...] = ()  # where the clock was set or the recording paused; times go on behind each

    @property
    def cameras(self) -> dict[str, str]:
        """Topic -> camera name of every camera topic."""
        return default_cameras(self.topics)

    @property
    def step_note(self) -> str:
        """Where the recording is cut, as a sentence; empty if it is not."""
        if not self.steps:
            return ""
        first = self.steps[0]
        size = f"{abs(first.size_s):.1f} s {'back' if first.size_s < 0.0 else 'forward'}"
        more = f", and {len(self.steps) - 1} more times" if len(self.steps) > 1 else ""
        at_s = (first.before_ns - self.start_ns) / 1e9
        return (
            f"the recorder's clock steps by {size} at {at_s:.1f} s{more} (or the recording was paused); it is cut there, and "
            "the time in between does not count."
        )


def bag_info(bag: Path | str, recover: bool = False) -> BagInfo:
    """Summarise a bag. Raises ``DataError`` if it cannot be read."""
    with _open_bag(Path(bag), recover) as opened:
        topics = tuple(sorted(opened.topics, key=lambda entry: entry.topic))
        return BagInfo(Path(bag), opened.begin_ns, duration_ns(opened) * 1e-9, topics, opened.damage, opened.steps)


def iter_raw(bag: Path | str) -> Iterator[RawMessage]:
    """Yield every message of ``bag`` in the order of reception, not decoded. Raises ``DataError``.

    Messages that cannot be given as ROS 2 serialises them are left out: of other encodings, and of ROS 1 those whose type
    does not exist in ROS 2.
    """
    with _open_bag(Path(bag)) as opened:
        yield from _read(opened, {entry.topic for entry in opened.topics if entry.encoding == CDR}, None, None)


def iter_arrivals(
    bag: Path | str,
    topics: Mapping[str, str] | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    recover: bool = False,
    decodes: Callable[[str, int], bool] | None = None,
    decoding: DecodingSettings = DEFAULT_DECODING,
) -> Iterator[ImageArrival]:
    """Yield every image message of ``bag`` in the order of reception, including unusable ones.

    Args:
        bag: folder with ``metadata.yaml``, or one ``.mcap``, ``.db3`` or (ROS 1) ``.bag`` file.
        topics: topic -> camera name; None takes every camera topic, named by ``camera_of``.
        start_s: start of the wanted part, seconds after the bag's start; None = 0.
        end_s: end of the wanted part (exclusive), seconds after the bag's start; None = all.
        recover: read what can be read of a damaged bag, instead of refusing it.
        decodes: whether the picture of a camera's image (its name, and the image's number) is wanted; None = all are. The
            others are read without it.
        decoding: how messages become pictures.

    Raises:
        DataError: no readable bag, a topic that is absent or has no images, or two topics for one camera.
    """
    path = Path(bag)
    with _open_bag(path, recover) as opened:
        cameras, decoder = choose_topics(path, opened.topics, topics), ArrivalDecoder(decoding)
        shifts, numbers = StampShifts(opened.steps), Counter[str]()
        for message in _read(opened, cameras, start_s, end_s):
            if is_image(message.type_name):  # a topic may have two types
                camera = cameras[message.topic]
                arrival = decoder.decode(message, camera, decodes is None or decodes(camera, numbers[camera]))
                numbers[camera] += 1
                shifted_ns = shifts.shift(arrival.camera, arrival.stamp_ns)
                yield arrival if shifted_ns == arrival.stamp_ns else replace(arrival, stamp_ns=shifted_ns)


def count_images(
    bag: Path | str, topics: Mapping[str, str] | None = None, start_s: float | None = None, end_s: float | None = None
) -> int:
    """Count the image messages that ``iter_arrivals`` yields. Decodes none; a whole bag states the number itself.

    Raises:
        DataError: as ``iter_arrivals``.
    """
    path = Path(bag)
    with _open_bag(path) as opened:
        cameras = choose_topics(path, opened.topics, topics)
        stated = sum(entry.messages for entry in opened.topics if entry.topic in cameras and is_image(entry.type_name))
        if start_s is None and end_s is None and stated:
            return stated
        return sum(1 for message in _read(opened, cameras, start_s, end_s) if is_image(message.type_name))


def _read(
    opened: OpenedBag, topics: Collection[str], start_s: float | None, end_s: float | None
) -> Iterator[RawMessage]:
    """Messages of a part, in seconds from the bag's start, on a clock without steps; None = open."""
    start_ns, stop_ns = (
        None if offset_s is None else opened.begin_ns + round(offset_s * 1e9) for offset_s in (start_s, end_s)
    )
    if not opened.steps:
        yield from opened.read(topics, start_ns, stop_ns)
        return
    for message in without_steps(opened.read(topics, None, None), opened.steps):
        if (start_ns is None or message.stamp_ns >= start_ns) and (stop_ns is None or message.stamp_ns < stop_ns):
            yield message


def iter_frames(
    bag: Path | str,
    topics: Mapping[str, str] | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    decoding: DecodingSettings = DEFAULT_DECODING,
) -> Iterator[Frame]:
    """Yield the pictures of ``bag`` like ``iter_arrivals``, but raise ``ImageError`` for an unusable one."""
    for arrival in iter_arrivals(bag, topics, start_s, end_s, decoding=decoding):
        if arrival.image is None:
            raise ImageError(arrival.error)
        yield Frame(arrival.image, arrival.stamp_ns, arrival.camera)


@contextmanager
def _open_bag(bag: Path, recover: bool = False) -> Iterator[OpenedBag]:
    """Open ``bag``. Raises ``DataError`` with the reason if that is not possible."""
    if not bag.exists():
        raise DataError(f"Bag {bag} does not exist; {_FORMATS}.")
    if bag.is_file() and not is_bag_file(bag):
        raise DataError(f"{bag} is not a bag; {_FORMATS}.")
    storages = storage_files(bag)
    is_closed = bag.is_file() or (bag / METADATA).exists()
    if not storages and not is_closed:
        raise DataError(f"Bag {bag} has no metadata.yaml: it is not a bag.")
    with ExitStack() as stack:
        try:
            if not is_closed:
                raise DataError(
                    f"Bag {bag} has no metadata.yaml: the recording was probably not closed. "
                    f"Run 'ros2 bag reindex {bag}' or give {storages[0]} itself."
                )
            opened = open_whole_bag(bag, stack)
        except DataError:
            if not recover:
                raise
            opened = recover_bag(bag, stack)
        else:
            if recover:
                opened = tolerate_damage(bag, opened)
        yield opened
