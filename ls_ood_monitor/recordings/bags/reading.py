"""Reading a bag: what it holds, its messages, and its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...core.types import Frame
from ...errors import DataError, ImageError
from .damaged import recover_bag, tolerate_damage
from .files import METADATA, SUFFIXES, is_ros1, storage_files
from .image_messages import ArrivalDecoder, ImageArrival
from .image_topics import choose_topics, default_cameras
from .opened import OpenedBag, RawMessage, TopicSummary
from .whole import open_whole_bag

_FORMATS = "give a ROS 2 bag (the folder with metadata.yaml, or one .mcap or .db3 file) or a ROS 1 .bag"


@dataclass(frozen=True)
class BagInfo:
    """What a bag holds."""

    path: Path
    start_ns: int  # first reception
    duration_s: float  # from the first to the last reception
    topics: tuple[TopicSummary, ...]  # a damaged bag may hold fewer messages than they say
    damage: str = ""  # what is wrong with the bag, as a sentence; empty if opening it showed nothing

    @property
    def cameras(self) -> dict[str, str]:
        """Topic -> camera name of every camera topic."""
        return default_cameras({entry.topic: entry.type_name for entry in self.topics})


def bag_info(bag: Path | str, recover: bool = False) -> BagInfo:
    """Summarise a bag. Raises ``DataError`` if it cannot be read."""
    with _open_bag(Path(bag), recover) as opened:
        topics = tuple(sorted(opened.topics, key=lambda entry: entry.topic))
        return BagInfo(Path(bag), opened.begin_ns, (opened.end_ns - opened.begin_ns) * 1e-9, topics, opened.damage)


def iter_raw(bag: Path | str) -> Iterator[RawMessage]:
    """Yield every message of ``bag`` in the order of reception, not decoded. Raises ``DataError``.

    Of a ROS 1 bag, messages whose type does not exist in ROS 2 are left out.
    """
    with _open_bag(Path(bag)) as opened:
        yield from opened.read({entry.topic for entry in opened.topics}, None, None)


def iter_arrivals(
    bag: Path | str,
    topics: Mapping[str, str] | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    recover: bool = False,
) -> Iterator[ImageArrival]:
    """Yield every image message of ``bag`` in the order of reception, including unusable ones.

    Args:
        bag: folder with ``metadata.yaml``, or one ``.mcap``, ``.db3`` or (ROS 1) ``.bag`` file.
        topics: topic -> camera name; None takes every camera topic, named by ``camera_of``.
        start_s: start of the wanted part, seconds after the bag's start; None = 0.
        end_s: end of the wanted part (exclusive), seconds after the bag's start; None = all.
        recover: read what can be read of a damaged bag, instead of refusing it.

    Raises:
        DataError: no readable bag, a topic that is absent or has no images, or two topics for one camera.
    """
    path = Path(bag)
    with _open_bag(path, recover) as opened:
        types = {entry.topic: entry.type_name for entry in opened.topics}
        cameras = choose_topics(path, types, topics)
        start_ns, stop_ns = _time_range(opened, start_s, end_s)
        decoder = ArrivalDecoder()
        for message in opened.read(cameras, start_ns, stop_ns):
            yield decoder.decode(message, cameras[message.topic])


def count_images(
    bag: Path | str, topics: Mapping[str, str] | None = None, start_s: float | None = None, end_s: float | None = None
) -> int:
    """Count the image messages that ``iter_arrivals`` yields. Decodes none; a whole bag states the number itself.

    Raises:
        DataError: as ``iter_arrivals``.
    """
    path = Path(bag)
    with _open_bag(path) as opened:
        cameras = choose_topics(path, {entry.topic: entry.type_name for entry in opened.topics}, topics)
        stated = sum(entry.messages for entry in opened.topics if entry.topic in cameras)
        if start_s is None and end_s is None and stated:
            return stated
        start_ns, stop_ns = _time_range(opened, start_s, end_s)
        return sum(1 for _ in opened.read(cameras, start_ns, stop_ns))


def _time_range(opened: OpenedBag, start_s: float | None, end_s: float | None) -> tuple[int | None, int | None]:
    """Times of reception, ns, of a part in seconds from the bag's start; None = open."""
    start_ns, stop_ns = (
        None if offset_s is None else opened.begin_ns + round(offset_s * 1e9) for offset_s in (start_s, end_s)
    )
    return start_ns, stop_ns


def iter_frames(
    bag: Path | str, topics: Mapping[str, str] | None = None, start_s: float | None = None, end_s: float | None = None
) -> Iterator[Frame]:
    """Yield the pictures of ``bag`` like ``iter_arrivals``, but raise ``ImageError`` for an unusable one."""
    for arrival in iter_arrivals(bag, topics, start_s, end_s):
        if arrival.image is None:
            raise ImageError(arrival.error)
        yield Frame(arrival.image, arrival.stamp_ns, arrival.camera)


@contextmanager
def _open_bag(bag: Path, recover: bool = False) -> Iterator[OpenedBag]:
    """Open ``bag``. Raises ``DataError`` with the reason if that is not possible."""
    if not bag.exists():
        raise DataError(f"Bag {bag} does not exist; {_FORMATS}.")
    if bag.is_file() and bag.suffix not in SUFFIXES:
        raise DataError(f"{bag} is not a bag; {_FORMATS}.")
    storages = storage_files(bag)
    is_closed = bag.is_file() or (bag / METADATA).exists()
    if not storages and not is_closed:
        raise DataError(f"Bag {bag} has no metadata.yaml: it is not a bag.")
    recover = recover and not is_ros1(bag)
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
