"""ROS 2 bags (sqlite3 and mcap) without ROS: frames in, frames out. The only module that imports ``rosbags``.

Two clocks meet in a bag. ``Frame.stamp_ns`` is the camera's (the message header); the bag's own is the time at
which a message was received, and it is what ``start_s`` and ``end_s`` count from, and what a replay is paced by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from ..core.types import Frame
from ..errors import ConfigError, DataError, ImageError
from ..vision.image_codec import decode_compressed, decode_image

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
#: Last part of a topic with class ids (mono8) of the camera before it.
LABELS = "labels"
_STORAGES = {"sqlite3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}
_JPEG_QUALITY = 90


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
    """What a bag holds. ``start_ns`` is the first reception; ``duration_s`` lasts to the last one."""

    path: Path
    start_ns: int
    duration_s: float
    topics: tuple[TopicSummary, ...]

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


def bag_info(bag: Path | str) -> BagInfo:
    """Summarise a bag. Raises ``DataError`` when it cannot be read."""
    with _opened(Path(bag)) as reader:
        topics = tuple(
            TopicSummary(name, entry.msgtype or "", entry.msgcount) for name, entry in sorted(reader.topics.items())
        )
        if reader.message_count == 0:
            return BagInfo(Path(bag), 0, 0.0, topics)
        # rosbags' duration and end_time point one nanosecond past the last message.
        return BagInfo(Path(bag), reader.start_time, max(0, reader.duration - 1) * 1e-9, topics)


def iter_raw(bag: Path | str) -> Iterator[RawMessage]:
    """Yield every message of ``bag`` in the order of reception, not decoded. Raises ``DataError``."""
    path = Path(bag)
    with _opened(path) as reader:
        for connection, stamp_ns, data in _messages(path, reader, list(reader.connections), None, None):
            yield RawMessage(connection.topic, connection.msgtype, stamp_ns, bytes(data))


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
    bag: Path | str, topics: Mapping[str, str] | None = None, start_s: float | None = None, end_s: float | None = None
) -> Iterator[ImageArrival]:
    """Yield every image message of ``bag`` in the order of reception, unusable pictures too.

    Args:
        bag: folder with ``metadata.yaml``, or one ``.mcap`` or ``.db3`` file.
        topics: topic -> camera name; None takes every image topic but ``<camera>/labels``, named by ``camera_of``.
        start_s: first moment wanted, seconds after the bag's start; None = 0.
        end_s: end of the part wanted (exclusive), seconds after the bag's start; None = all.

    Raises:
        DataError: no readable bag, a topic that is absent or no image, or two topics for one camera.
    """
    path = Path(bag)
    with _opened(path) as reader:
        cameras = _choose_topics(path, reader, topics)
        begin = reader.start_time
        start = None if start_s is None else begin + round(start_s * 1e9)
        stop = None if end_s is None else begin + round(end_s * 1e9)
        wanted = [connection for connection in reader.connections if connection.topic in cameras]
        for connection, received_ns, data in _messages(path, reader, wanted, start, stop):
            yield _decode(connection, data, cameras[connection.topic], received_ns)


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
    """Whether a topic is taken for a camera unless told otherwise; class ids are no picture."""
    return _is_image(type_name) and not topic.endswith(f"/{LABELS}")


@contextmanager
def _opened(bag: Path) -> Iterator[Reader]:
    """Open ``bag`` or say in a sentence why not."""
    if not bag.exists():
        raise DataError(f"Bag {bag} does not exist; give the folder with metadata.yaml, or one .mcap or .db3 file.")
    if bag.is_dir() and not (bag / "metadata.yaml").exists():
        storages = sorted(entry.name for entry in bag.iterdir() if entry.suffix in (".mcap", ".db3"))
        cure = (
            "it is not a bag."
            if not storages
            else (
                f"the recording was probably not closed. Run 'ros2 bag reindex {bag}' or give {bag / storages[0]} itself."
            )
        )
        raise DataError(f"Bag {bag} has no metadata.yaml: {cure}")
    if bag.is_file() and bag.suffix not in (".mcap", ".db3"):
        raise DataError(f"{bag} is not a ROS 2 bag; give the folder with metadata.yaml, or one .mcap or .db3 file.")
    try:
        reader = Reader(bag)
        reader.open()
    # Damaged files raise whatever the storage library met first: there is no common base class.
    except Exception as error:
        raise _damaged(bag, error) from error
    try:
        yield reader
    finally:
        reader.close()


def _messages(
    bag: Path, reader: Reader, connections: list[Connection], start: int | None, stop: int | None
) -> Iterator[tuple[Connection, int, bytes]]:
    """Messages of ``connections``; damage met on the way is a ``DataError``."""
    if not connections:
        return
    messages = reader.messages(connections, start, stop)
    while True:
        try:
            item = next(messages)
        except StopIteration:
            return
        # As in _opened: the storage libraries share no error class.
        except Exception as error:
            raise _damaged(bag, error) from error
        yield item


def _damaged(bag: Path, error: Exception) -> DataError:
    detail = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return DataError(f"Bag {bag} is truncated or damaged ({detail}); copy it again or run 'ros2 bag reindex {bag}'.")


def _choose_topics(bag: Path, reader: Reader, topics: Mapping[str, str] | None) -> dict[str, str]:
    """Check ``topics`` against the bag, or find its cameras; topic -> camera."""
    types = {name: entry.msgtype or "" for name, entry in reader.topics.items()}
    images = sorted(name for name, kind in types.items() if _is_camera(name, kind))
    if topics is None:
        if not images:
            listing = ", ".join(sorted(types)) or "nothing"
            raise DataError(
                f"Bag {bag} has no camera topic (sensor_msgs Image or CompressedImage); it holds {listing}."
            )
        topics = {name: camera_of(name) for name in images}
    for name in topics:
        if name not in types:
            raise DataError(f"Bag {bag} has no topic {name}; its image topics are {', '.join(images) or 'none'}.")
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


def _decode(connection: Connection, data: bytes, camera: str, received_ns: int) -> ImageArrival:
    kind, topic = connection.msgtype, connection.topic
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
