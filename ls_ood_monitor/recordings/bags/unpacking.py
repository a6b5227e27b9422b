"""Files and messages that ``ros2 bag`` compressed with zstd."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Container, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import DataError
from .opened import OpenedBag, RawMessage


def zstd_library() -> Any:
    """Python's zstd, which rosbags brings along for older versions; loaded only where something is packed."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def unpack_file(path: Path, stack: ExitStack) -> Path:
    """Unpack a file into a temporary folder; ``stack`` removes it.

    Raises:
        DataError: the file is damaged, or the disk is full.
    """
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ls_ood_")))
    unpacked, zstd = folder / path.stem, zstd_library()
    try:
        with zstd.open(path, "rb") as packed, unpacked.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
    except OSError as error:
        raise DataError(
            f"{path.name} cannot be unpacked into {folder.parent} ({error.strerror}); free space there, or set TMPDIR to a "
            "larger disk."
        ) from error
    except (zstd.ZstdError, EOFError) as error:
        raise DataError(f"{path.name} is cut off or damaged ({error})") from error
    return unpacked


def unpack_messages(opened: OpenedBag) -> OpenedBag:
    """The same bag, whose messages were compressed one by one. One that cannot be unpacked is read as an empty message."""
    zstd = zstd_library()

    def read(topics: Container[str], start_ns: int | None, stop_ns: int | None) -> Iterator[RawMessage]:
        for message in opened.read(topics, start_ns, stop_ns):
            try:
                data = bytes(zstd.decompress(message.data))
            except zstd.ZstdError:
                data = b""
            yield replace(message, data=data)

    return replace(opened, read=read)
