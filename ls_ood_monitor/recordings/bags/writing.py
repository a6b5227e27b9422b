"""Writing pictures to a bag as a vehicle would record them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from ...errors import ConfigError, DataError
from .image_messages import COMPRESSED_IMAGE, IMAGE, compressed_message, image_message, typestore
from .image_topics import LABELS

_STORAGES = {"sqlite3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}


class FrameBagWriter:
    """Write pictures to a new bag, a folder, in the storage ``sqlite3`` or ``mcap``. A context manager.

    Raises:
        ConfigError: unknown storage.
        DataError: the folder exists or cannot be made, or a picture is not BGR uint8 (H, W, 3).
    """

    def __init__(self, path: Path | str, storage: str = "sqlite3") -> None:
        if storage not in _STORAGES:
            raise ConfigError(f"Bag storage is {storage!r}; it must be one of {', '.join(_STORAGES)}.")
        try:
            self._writer = Writer(Path(path), version=8, storage_plugin=_STORAGES[storage])
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
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.__exit__(error_type, error, trace)
        except (OSError, sqlite3.Error) as full:
            if error is None:
                raise self._unwritable(full) from full

    def write(self, camera: str, image: NDArray[np.uint8], stamp_ns: int, compressed: bool = False) -> None:
        """Append one picture (BGR uint8 (H, W, 3)) on ``/<camera>/image`` or, as JPEG, ``/<camera>/image/compressed``.

        ``stamp_ns`` becomes both the header stamp and the time of reception.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise DataError(f"A bag takes BGR uint8 pictures (H, W, 3); this one is {image.dtype} {image.shape}.")
        if compressed:
            message = compressed_message(camera, image, stamp_ns)
            self._append(f"/{camera}/image/compressed", COMPRESSED_IMAGE, message, stamp_ns)
        else:
            self._append(f"/{camera}/image", IMAGE, image_message(camera, image, "bgr8", stamp_ns), stamp_ns)

    def write_labels(self, camera: str, labels: NDArray[np.uint8], stamp_ns: int) -> None:
        """Append the class ids (uint8 (H, W)) of the picture with the same stamp, as mono8 on ``/<camera>/labels``."""
        if labels.dtype != np.uint8 or labels.ndim != 2 or labels.size == 0:
            raise DataError(f"A bag takes class ids uint8 (H, W); these are {labels.dtype} {labels.shape}.")
        self._append(f"/{camera}/{LABELS}", IMAGE, image_message(camera, labels, "mono8", stamp_ns), stamp_ns)

    def _append(self, topic: str, type_name: str, message: Any, stamp_ns: int) -> None:
        try:
            if topic not in self._connections:
                self._connections[topic] = self._writer.add_connection(topic, type_name, typestore=typestore())
            self._writer.write(self._connections[topic], stamp_ns, typestore().serialize_cdr(message, type_name))
        except (OSError, sqlite3.Error) as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> DataError:
        return DataError(
            f"Bag {self._path} cannot be written to its end ({error}); make room on its disk, and write it again."
        )
