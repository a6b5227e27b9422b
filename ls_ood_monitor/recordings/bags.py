"""Bags without ROS: frames in, frames out. ROS 2 (sqlite3, mcap) and ROS 1. Nothing else offline imports ``rosbags``.

Two clocks meet in a bag. ``Frame.stamp_ns`` is the camera's (the message header); the bag's own is the time at
which a message was received, and it is what ``start_s`` and ``end_s`` count from, and what a replay is paced by.

A damaged bag is refused, unless the caller asks to ``recover``: then what can be read is, and ``BagInfo.damage`` says
what is wrong. Messages of ROS 1 are handed out as ROS 2 would have serialised them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags import rosbag1
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from ..core.types import Frame
from ..errors import ConfigError, DataError, ImageError
from ..vision.image_codec import decode_compressed, decode_image
from ..yaml_file import read_yaml
from .recovery.mcap import salvage_mcap
from .recovery.salvage import Salvage
from .recovery.sqlite import ends_with_a_page, salvage_sqlite

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
#: Last part of a topic with class ids (mono8) of the camera before it.
LABELS = "labels"
#: Last part of topics with pictures that no camera took: class ids, and the outputs of the perception node.
_NO_CAMERA = (LABELS, "segmentation", "confidence", "overlay", "anomaly_map")
#: Suffixes of storage files that are a bag of their own.
SUFFIXES = (".mcap", ".db3", ".bag")
_SALVAGE = {".mcap": salvage_mcap, ".db3": salvage_sqlite}
_METADATA = "metadata.yaml"
_STORAGES = {"sqlite3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}
_JPEG_QUALITY = 90
_KINDS = "give a ROS 2 bag (the folder with metadata.yaml, or one .mcap or .db3 file) or a ROS 1 .bag"


@dataclass(frozen=True)
class RawMessage:
    """One message as recorded: ``data`` is CDR, ``stamp_ns`` the time of reception by the recorder."""

    topic: str
    type_name: str
    stamp_ns: int
    data: bytes


@dataclass(frozen=True)
class TopicSummary:
    """One topic of a bag."""

    topic: str
    type_name: str
    messages: int


@dataclass(frozen=True)
class BagInfo:
    """What a bag holds.

    Attributes:
        path: of it.
        start_ns: first reception.
        duration_s: lasts to the last one.
        topics: with the messages that each should hold, which a damaged bag may not.
        damage: what is wrong with it, in a sentence; empty where nothing was found when it was opened.
    """

    path: Path
    start_ns: int
    duration_s: float
    topics: tuple[TopicSummary, ...]
    damage: str = ""

    @property
    def cameras(self) -> dict[str, str]:
        """Topic -> camera name of every image topic."""
        return {
            entry.topic: camera_of(entry.topic) for entry in self.topics if _is_camera(entry.topic, entry.type_name)
        }


def camera_of(topic: str) -> str:
    """Camera name by the topic convention ``<camera>/image[/compressed]``: ``/left/image/compressed`` -> ``left``."""
    parts = [part for part in topic.split("/") if part]
    if len(parts) > 1 and parts[-1] == "compressed":
        parts.pop()
    return parts[-2] if len(parts) > 1 else parts[0]


def bag_info(bag: Path | str, recover: bool = False) -> BagInfo:
    """Summarise a bag. Raises ``DataError`` when it cannot be read."""
    with _opened(Path(bag), recover) as opened:
        topics = tuple(TopicSummary(*entry) for entry in sorted(opened.topics))
        return BagInfo(Path(bag), opened.begin_ns, (opened.end_ns - opened.begin_ns) * 1e-9, topics, opened.damage)


def iter_raw(bag: Path | str) -> Iterator[RawMessage]:
    """Yield every message of ``bag`` in the order of reception, not decoded. Raises ``DataError``.

    Of a ROS 1 bag those whose type ROS 2 has, too.
    """
    with _opened(Path(bag)) as opened:
        types = {topic: kind for topic, kind, _ in opened.topics}
        for topic, stamp_ns, data in opened.read(types, None, None):
            yield RawMessage(topic, types[topic], stamp_ns, bytes(data))


@dataclass(frozen=True)
class ImageArrival:
    """One image message of a recording.

    Attributes:
        camera: name.
        topic: it came on.
        received_ns: time of reception by the recorder.
        stamp_ns: of the header, time of capture; 0 where the message cannot be read.
        encoding: of a raw image; empty for a compressed one.
        image: BGR uint8 (H, W, 3); None where it is not a usable picture.
        error: why not, in a sentence; empty for a usable one.
    """

    camera: str
    topic: str
    received_ns: int
    stamp_ns: int
    encoding: str
    image: NDArray[np.uint8] | None
    error: str = ""


def iter_arrivals(
    bag: Path | str,
    topics: Mapping[str, str] | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    recover: bool = False,
) -> Iterator[ImageArrival]:
    """Yield every image message of ``bag`` in the order of reception, unusable pictures too.

    Args:
        bag: folder with ``metadata.yaml``, or one ``.mcap``, ``.db3`` or (ROS 1) ``.bag`` file.
        topics: topic -> camera name; None takes every image topic but ``<camera>/labels``, named by ``camera_of``.
        start_s: first moment wanted, seconds after the bag's start; None = 0.
        end_s: end of the part wanted (exclusive), seconds after the bag's start; None = all.
        recover: of a damaged bag take what can be read, instead of refusing it.

    Raises:
        DataError: no readable bag, a topic that is absent or no image, or two topics for one camera.
    """
    path = Path(bag)
    with _opened(path, recover) as opened:
        types = {topic: kind for topic, kind, _ in opened.topics}
        cameras = _choose_topics(path, types, topics)
        start, stop = (
            None if offset_s is None else opened.begin_ns + round(offset_s * 1e9) for offset_s in (start_s, end_s)
        )
        for topic, received_ns, data in opened.read(cameras, start, stop):
            yield _decode(topic, types[topic], data, cameras[topic], received_ns)


def iter_frames(
    bag: Path | str, topics: Mapping[str, str] | None = None, start_s: float | None = None, end_s: float | None = None
) -> Iterator[Frame]:
    """Yield the pictures of ``bag`` as ``iter_arrivals`` does. Raises ``ImageError`` for an unusable one, too."""
    for arrival in iter_arrivals(bag, topics, start_s, end_s):
        if arrival.image is None:
            raise ImageError(arrival.error)
        yield Frame(arrival.image, arrival.stamp_ns, arrival.camera)


class FrameBagWriter:
    """Write pictures to a new bag as a vehicle would record them; a context manager.

    Args:
        path: folder to create; it must not exist.
        storage: ``sqlite3`` or ``mcap``.

    Raises:
        ConfigError: unknown storage.
        DataError: the folder exists or cannot be made, or a picture is not BGR uint8 (H, W, 3).
    """

    def __init__(self, path: Path | str, storage: str = "sqlite3") -> None:
        if storage not in _STORAGES:
            raise ConfigError(f"Bag storage is {storage!r}; it must be one of {', '.join(_STORAGES)}.")
        try:
            self._writer = Writer(Path(path), version=9, storage_plugin=_STORAGES[storage])
        except WriterError as error:
            raise DataError(f"Cannot write bag {path}: {error} Choose a new folder or remove this one.") from error
        self._path = Path(path)
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> FrameBagWriter:
        try:
            self._writer.__enter__()
        except (WriterError, OSError) as error:
            raise DataError(f"Cannot write bag {self._path}: {error}. Choose another folder.") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, value, trace)

    def write(self, camera: str, image: NDArray[np.uint8], stamp_ns: int, compressed: bool = False) -> None:
        """Append one picture (BGR uint8 (H, W, 3)) on ``/<camera>/image`` or, as JPEG, ``/<camera>/image/compressed``.

        ``stamp_ns`` becomes both the header stamp and the time of reception.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise DataError(f"A bag takes BGR uint8 pictures (H, W, 3); this one is {image.dtype} {image.shape}.")
        if compressed:
            _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            message = _typestore().types[COMPRESSED_IMAGE](
                header=_header(camera, stamp_ns), format="bgr8; jpeg compressed bgr8", data=jpeg.reshape(-1)
            )
            self._append(f"/{camera}/image/compressed", COMPRESSED_IMAGE, message, stamp_ns)
        else:
            self._append(f"/{camera}/image", IMAGE, _image_message(camera, image, "bgr8", stamp_ns), stamp_ns)

    def write_labels(self, camera: str, labels: NDArray[np.uint8], stamp_ns: int) -> None:
        """Append the class ids (uint8 (H, W)) of the picture of the same stamp, as mono8 on ``/<camera>/labels``."""
        if labels.dtype != np.uint8 or labels.ndim != 2 or labels.size == 0:
            raise DataError(f"A bag takes class ids uint8 (H, W); these are {labels.dtype} {labels.shape}.")
        self._append(f"/{camera}/{LABELS}", IMAGE, _image_message(camera, labels, "mono8", stamp_ns), stamp_ns)

    def _append(self, topic: str, kind: str, message: Any, stamp_ns: int) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=_typestore())
        self._writer.write(self._connections[topic], stamp_ns, _typestore().serialize_cdr(message, kind))


def _header(camera: str, stamp_ns: int) -> Any:
    types = _typestore().types
    stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=camera)


def _image_message(camera: str, pixels: NDArray[np.uint8], encoding: str, stamp_ns: int) -> Any:
    height, width = pixels.shape[:2]
    return _typestore().types[IMAGE](
        header=_header(camera, stamp_ns),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=pixels.nbytes // height,
        data=np.ascontiguousarray(pixels).reshape(-1),
    )


@lru_cache(maxsize=1)
def _typestore() -> Typestore:
    """Humble's message definitions; those of the image types are the same up to Kilted."""
    return get_typestore(Stores.ROS2_HUMBLE)


def _is_image(type_name: str) -> bool:
    return type_name in (IMAGE, COMPRESSED_IMAGE)


def _is_camera(topic: str, type_name: str) -> bool:
    """Whether a topic is taken for a camera unless told otherwise: class ids, and what perception draws, are not."""
    return _is_image(type_name) and topic.rsplit("/", 1)[-1] not in _NO_CAMERA


@dataclass(frozen=True)
class _Opened:
    """A bag that is open, of whatever kind.

    Attributes:
        topics: name, type, and number of messages that it should hold.
        begin_ns: first reception; 0 in an empty bag.
        end_ns: last one.
        read: starts an iteration over (topic, reception in ns, CDR) of some topics, from ``start`` until before ``stop``.
        damage: as in ``BagInfo``.
    """

    topics: Sequence[tuple[str, str, int]]
    begin_ns: int
    end_ns: int
    read: Callable[[Container[str], int | None, int | None], Iterator[tuple[str, int, Any]]]
    damage: str = ""


@contextmanager
def _opened(bag: Path, recover: bool = False) -> Iterator[_Opened]:
    """Open ``bag`` or say in a sentence why not."""
    if not bag.exists():
        raise DataError(f"Bag {bag} does not exist; {_KINDS}.")
    if bag.is_file() and bag.suffix not in SUFFIXES:
        raise DataError(f"{bag} is not a bag; {_KINDS}.")
    storages = _storages_of(bag)
    if bag.is_dir() and not storages and not (bag / _METADATA).exists():
        raise DataError(f"Bag {bag} has no metadata.yaml: it is not a bag.")
    with ExitStack() as stack:
        try:
            if bag.is_dir() and not (bag / _METADATA).exists():
                raise DataError(
                    f"Bag {bag} has no metadata.yaml: the recording was probably not closed. "
                    f"Run 'ros2 bag reindex {bag}' or give {storages[0]} itself."
                )
            opened = _with_rosbags(bag, stack)
        except DataError:
            if not recover or bag.suffix == ".bag":
                raise
            opened = _recovered(bag, storages, stack)
        else:
            if recover and bag.suffix != ".bag" and not _is_compressed(bag):
                surplus = _surplus(bag, storages)
                damage = f"Bag {bag} holds more than it says: {surplus}." if surplus else ""
                opened = replace(_past_holes(opened, _present(bag, storages)), damage=damage)
        yield opened


def _storages_of(bag: Path) -> list[Path]:
    """Storage files of a folder, or the file itself, in the order of their numbers."""
    if bag.is_file():
        return [bag]
    files = [entry for entry in bag.iterdir() if entry.suffix in _SALVAGE and entry.is_file()]
    return sorted(
        files, key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)]
    )


def _with_rosbags(bag: Path, stack: ExitStack) -> _Opened:
    """A bag that is whole, as far as can be told without reading it."""
    is_ros1 = bag.suffix == ".bag"
    for storage in _storages_of(bag):
        if storage.suffix == ".db3" and not ends_with_a_page(storage):
            raise _damaged(bag, DataError(f"{storage.name} ends within a page"))
    try:
        reader = rosbag1.Reader(bag) if is_ros1 else Reader(bag)
        reader.open()
    # Damaged files raise whatever the storage library met first: there is no common base class.
    except Exception as error:
        raise _damaged(bag, error) from error
    stack.callback(reader.close)
    topics = [(name, entry.msgtype or "", entry.msgcount) for name, entry in reader.topics.items()]
    if is_ros1:
        topics = [entry for entry in topics if entry[1] in _typestore().types]
    # rosbags' end_time points one nanosecond past the last message.
    times = (reader.start_time, max(reader.start_time, reader.end_time - 1)) if reader.message_count else (0, 0)
    return _Opened(topics, *times, partial(_messages, bag, reader))


def _messages(
    bag: Path, reader: Reader | rosbag1.Reader, topics: Container[str], start: int | None, stop: int | None
) -> Iterator[tuple[str, int, Any]]:
    """Messages of ``topics``; damage met on the way is a ``DataError``."""
    connections: list[Connection] = [entry for entry in reader.connections if entry.topic in topics]
    if not connections:
        return
    messages = reader.messages(connections, start, stop)
    while True:
        try:
            connection, stamp_ns, data = next(messages)
            if isinstance(reader, rosbag1.Reader):
                data = _typestore().ros1_to_cdr(data, connection.msgtype)
        except StopIteration:
            return
        # As in _with_rosbags: the storage libraries share no error class.
        except Exception as error:
            raise _damaged(bag, error) from error
        yield connection.topic, stamp_ns, data


def _past_holes(opened: _Opened, storages: Sequence[Path]) -> _Opened:
    """The same bag; where reading it breaks off, it goes on with what can be salvaged of the rest."""

    def read(topics: Container[str], start: int | None, stop: int | None) -> Iterator[tuple[str, int, Any]]:
        last: dict[str, int] = {}
        try:
            for topic, stamp_ns, data in opened.read(topics, start, stop):
                last[topic] = stamp_ns
                yield topic, stamp_ns, data
            return
        except DataError:
            if not storages:
                raise
        for storage in storages:
            for topic, stamp_ns, data in _of_salvage(_SALVAGE[storage.suffix](storage)).read(topics, start, stop):
                if stamp_ns > last.get(topic, -1):
                    yield topic, stamp_ns, data

    return replace(opened, read=read)


def _recovered(bag: Path, storages: Sequence[Path], stack: ExitStack) -> _Opened:
    """What can be read of a bag that was not closed, was cut off, or lacks a file."""
    named, expected, damage = _named_storages(bag)
    if _is_compressed(bag):
        raise DataError(
            f"Bag {bag} is damaged, and compressed: it cannot be read in part. Copy it again, or unpack its .zstd files "
            f"and run 'ros2 bag reindex {bag}'."
        )
    present = _present(bag, storages)
    missing = [name for name in named if name not in {storage.name for storage in present}]
    if missing:
        damage.append(f"it lacks {', '.join(missing)}")
    parts: list[_Opened] = []
    for storage in present:
        try:
            parts.append(_past_holes(_with_rosbags(storage, stack), [storage]))
        except DataError:
            try:
                salvage = _SALVAGE[storage.suffix](storage)
            except DataError as error:
                damage.append(str(error).rstrip("."))
                continue
            parts.append(_of_salvage(salvage))
            damage.append(f"{storage.name} {salvage.damage}")
    damage.extend(filter(None, [_surplus(bag, storages)]))
    parts = sorted((part for part in parts if part.end_ns), key=lambda part: part.begin_ns)
    if not parts:
        raise DataError(f"Bag {bag} is damaged, and no message of it can be read: {'; '.join(damage)}. Copy it again.")
    counts: Counter[tuple[str, str]] = Counter()
    for part in parts:
        counts.update({(topic, kind): count for topic, kind, count in part.topics})
    # What metadata.yaml promised tells how many are lost.
    topics = [(topic, kind, max(count, expected.get(topic, 0))) for (topic, kind), count in counts.items()]

    def read(wanted: Container[str], start: int | None, stop: int | None) -> Iterator[tuple[str, int, Any]]:
        for part in parts:
            yield from part.read(wanted, start, stop)

    sentence = f"Bag {bag} is damaged: {'; '.join(damage)}."
    return _Opened(topics, parts[0].begin_ns, max(part.end_ns for part in parts), read, sentence)


def _of_salvage(salvage: Salvage) -> _Opened:
    def read(wanted: Container[str], start: int | None, stop: int | None) -> Iterator[tuple[str, int, Any]]:
        for topic, stamp_ns, data in salvage.read(wanted):
            if (start is None or stamp_ns >= start) and (stop is None or stamp_ns < stop):
                yield topic, stamp_ns, data

    topics = [(topic, kind, salvage.counts.get(topic, 0)) for topic, kind in salvage.types.items()]
    return _Opened(topics, salvage.begin_ns, salvage.end_ns, read)


def _metadata_of(bag: Path) -> dict[str, Any]:
    """What ``metadata.yaml`` says; empty where there is none that can be read."""
    try:
        content = read_yaml(bag / _METADATA, DataError) if bag.is_dir() else {}
    except DataError:
        return {}
    found = content.get("rosbag2_bagfile_information") if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def _named_storages(bag: Path) -> tuple[list[str], dict[str, int], list[str]]:
    """Storage files that ``metadata.yaml`` names, messages that it promises by topic, and what is wrong with it."""
    if bag.is_file():
        return [bag.name], {}, []
    metadata = _metadata_of(bag)
    try:
        named = [str(name).rsplit("/", 1)[-1] for name in metadata["relative_file_paths"]]
        expected = {
            str(entry["topic_metadata"]["name"]): int(entry["message_count"])
            for entry in metadata["topics_with_message_count"]
        }
    except (KeyError, TypeError, ValueError):
        there = (bag / _METADATA).exists()
        wrong = "its metadata.yaml cannot be read" if there else "it has no metadata.yaml (probably not closed)"
        return [], {}, [wrong]
    return named, expected, []


def _present(bag: Path, storages: Sequence[Path]) -> list[Path]:
    """Storage files that belong to the bag."""
    named = _named_storages(bag)[0]
    return [storage for storage in storages if not named or storage.name in named]


def _surplus(bag: Path, storages: Sequence[Path]) -> str:
    """Storage files that ``metadata.yaml`` does not name."""
    extra = [storage.name for storage in storages if storage not in _present(bag, storages)]
    return f"{', '.join(extra)} is not named in its metadata.yaml, and not read" if extra else ""


def _is_compressed(bag: Path) -> bool:
    """Whether whole files or single messages are packed by ``ros2 bag``; a storage's own compression does not count."""
    return str(_metadata_of(bag).get("compression_mode", "")).lower() in ("file", "message")


def _damaged(bag: Path, error: Exception) -> DataError:
    words = str(error).replace("('", "").replace("',)", "")  # rosbags puts the arguments of one error into another
    detail = " ".join(words.split()).rstrip(".") or "its parts do not fit together"
    tool = "rosbag reindex" if bag.suffix == ".bag" else "ros2 bag reindex"
    return DataError(f"Bag {bag} is truncated or damaged ({detail}); copy it again or run '{tool} {bag}'.")


def _choose_topics(bag: Path, types: Mapping[str, str], topics: Mapping[str, str] | None) -> dict[str, str]:
    """Check ``topics`` against the bag, or find its cameras; topic -> camera."""
    images = sorted(name for name, kind in types.items() if _is_camera(name, kind))
    if topics is None:
        if not images:
            listing = ", ".join(sorted(types)) or "nothing"
            drawn = sorted(name for name, kind in types.items() if _is_image(kind))
            if drawn:
                raise DataError(
                    f"Bag {bag} has no camera topic: by their names, its images on {', '.join(drawn)} are class ids or drawn "
                    f"by perception. If one is a camera's all the same, give --topic {drawn[0]}={camera_of(drawn[0])}."
                )
            raise DataError(
                f"Bag {bag} has no camera topic (sensor_msgs Image or CompressedImage); it holds {listing}."
            )
        topics = {name: camera_of(name) for name in images}
    for name in topics:
        if name not in types:
            known = images or sorted(topic for topic, kind in types.items() if _is_image(kind))
            raise DataError(f"Bag {bag} has no topic {name}; its image topics are {', '.join(known) or 'none'}.")
        if not _is_image(types[name]):
            raise DataError(f"Topic {name} of bag {bag} is {types[name]}; an Image or CompressedImage is needed.")
    by_camera: dict[str, str] = {}
    for name, camera in topics.items():
        if camera in by_camera:
            raise DataError(
                f"Bag {bag}: topics {by_camera[camera]} and {name} both mean camera {camera!r}; choose one of them."
            )
        by_camera[camera] = name
    return dict(topics)


def _decode(topic: str, kind: str, data: Any, camera: str, received_ns: int) -> ImageArrival:
    try:
        message: Any = _typestore().deserialize_cdr(data, kind)
    # A short or foreign buffer fails somewhere inside generated code, with any error.
    except Exception as error:
        text = f"A message on {topic} is not a readable {kind}: {len(data)} bytes, {error!r}."
        return ImageArrival(camera, topic, received_ns, 0, "", None, text)
    stamp = message.header.stamp
    stamp_ns = stamp.sec * 10**9 + stamp.nanosec
    encoding = message.encoding if kind == IMAGE else ""
    try:
        image = decode_image(message) if kind == IMAGE else decode_compressed(message)
    except ImageError as error:
        return ImageArrival(camera, topic, received_ns, stamp_ns, encoding, None, str(error))
    return ImageArrival(camera, topic, received_ns, stamp_ns, encoding, image)
