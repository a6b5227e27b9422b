"""How large a video file should be according to its own headers, to find out whether it was cut off.

The number of pictures does not show it: without an index that number is an estimate, and a trimmed video counts
pictures that it hides.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def promised_bytes(path: Path) -> int:
    """Smallest size of the complete video, by its headers: AVI, MP4 and MOV, Matroska and WebM.

    Returns:
        The size in bytes; 0 if the file does not state it, such as a recorded live stream.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        if head[:4] == b"RIFF":
            return _end_of_parts(file, size, _riff_length)
        if head[:4] == _EBML:
            return _matroska_end(file)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
            return _end_of_parts(file, size, _box_length)
    return 0


def _end_of_parts(file: BinaryIO, size: int, length_of: Callable[[bytes], int]) -> int:
    """Where a sequence of parts ends; ``length_of`` the first 16 bytes of a part is 0 for what is none."""
    end = 0
    while end < size:
        file.seek(end)
        if not (length := length_of(file.read(16))):
            break
        end += length
    return end


def _riff_length(head: bytes) -> int:
    """A long AVI is a sequence of chunks. A chunk of size 0 was never closed."""
    length = int.from_bytes(head[4:8], "little")
    return 8 + length if head[:4] == b"RIFF" and length else 0


def _box_length(head: bytes) -> int:
    """An MP4 is a sequence of boxes. A box of size 0 lasts to the end of the file, wherever that is."""
    length = int.from_bytes(head[:4], "big")
    if length == 1:
        length = int.from_bytes(head[8:], "big")
    return length if length >= 8 and head[4:8].isalnum() else 0


def _matroska_end(file: BinaryIO) -> int:
    """Matroska is an EBML head and a segment. A segment of unknown size was never closed."""
    end = 0
    for name in (_EBML, _SEGMENT):
        file.seek(end)
        if file.read(4) != name:
            return 0
        first = file.read(1)
        more = 8 - (first or b"\0")[0].bit_length()  # the leading zeros of the first byte count the bytes that follow
        if more > 7:
            return 0
        length = int.from_bytes(first + file.read(more), "big") & (1 << 7 * (more + 1)) - 1
        if length == (1 << 7 * (more + 1)) - 1:
            return 0
        end = file.tell() + length
    return end
