"""sqlite3 storage files that were cut off or have holes: their messages are queried one by one, by row number.

A query over the whole table ends at the first missing page. A query for one row only needs the pages on its own path
through the tree. The remaining leaf pages list the row numbers, so the whole file is scanned for leaf pages once
(format: sqlite.org/fileformat2.html, 1.6).
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from ...errors import DataError
from .opened import OpenedBag, RawMessage, TopicSummary, limit_time

#: First byte of a leaf page, which holds rows of a table. An overflow page begins with a page number, whose first byte is
#: 13 only in a file of hundreds of gigabytes.
_LEAF = 13
_LEAF_HEAD = 8


def salvage_sqlite(path: Path) -> tuple[OpenedBag, str]:
    """Find the readable messages of a sqlite3 storage file.

    Returns:
        The messages, and what is wrong with the file, as the end of a sentence.

    Raises:
        DataError: the file has no readable topics.
    """
    rows: list[tuple[int, int, int]] = []  # reception, row number, topic id
    numbers = _row_numbers(path)
    is_incomplete = len(numbers) < max(numbers, default=0)
    with closing(_connect(path)) as database:
        try:
            found = database.execute("SELECT id, name, type FROM topics")
            topics = {key: (str(name), str(type_name)) for key, name, type_name in found}
        except sqlite3.Error as error:
            raise DataError(f"{path} has no readable table of topics ({error}).") from error
        for number in numbers:
            try:
                row = database.execute("SELECT timestamp, topic_id FROM messages WHERE id = ?", (number,)).fetchone()
            except sqlite3.Error:
                row, is_incomplete = None, True
            if row and isinstance(row[0], int) and row[1] in topics:  # a damaged row may hold anything
                rows.append((row[0], number, row[1]))
    if not ends_with_a_page(path):
        del rows[-1:]  # the last message lies on the cut page; sqlite would read its missing part as zeros
        is_incomplete = True
    rows.sort()

    def read(wanted: Container[str]) -> Iterator[RawMessage]:
        with closing(_connect(path)) as database:
            for time_ns, number, key in rows:
                topic, type_name = topics[key]
                if topic not in wanted:
                    continue
                with suppress(sqlite3.Error):
                    row = database.execute("SELECT data FROM messages WHERE id = ?", (number,)).fetchone()
                    if row and isinstance(row[0], bytes):
                        yield RawMessage(topic, type_name, time_ns, row[0])

    counts = Counter(topics[key][0] for _, _, key in rows)
    begin_ns, end_ns = (rows[0][0], rows[-1][0]) if rows else (0, 0)
    types = dict(topics.values())
    summaries = tuple(TopicSummary(topic, type_name, counts[topic]) for topic, type_name in types.items())
    damage = "is cut off or damaged" if is_incomplete else "has a damaged index"
    return OpenedBag(summaries, begin_ns, end_ns, limit_time(read)), damage


def ends_with_a_page(path: Path) -> bool:
    """Whether the last page of the file is complete. sqlite reads the missing part of a page as zeros, without an error."""
    page = _page_size(path)
    return page > 0 and path.stat().st_size % page == 0


def _page_size(path: Path) -> int:
    """Page size in bytes; 0 if the head of the file is missing."""
    with path.open("rb") as file:
        head = file.read(18)
    size = int.from_bytes(head[16:18], "big")
    return 65536 if size == 1 else size


def _row_numbers(path: Path) -> list[int]:
    """Row numbers on the remaining leaf pages, of any table, in order. A damaged page may list a row that does not exist."""
    size = _page_size(path)
    if size < 512:
        return []
    numbers: set[int] = set()
    with path.open("rb", buffering=0) as file:
        for begin in range(size, path.stat().st_size, size):  # the first page holds the schema
            with suppress(OSError):  # the disk cannot read this page
                if os.pread(file.fileno(), 1, begin) == bytes([_LEAF]):
                    numbers.update(_rows_of_leaf(os.pread(file.fileno(), size, begin)))
    return sorted(numbers)


def _rows_of_leaf(page: bytes) -> Iterator[int]:
    """Row numbers of a leaf page.

    Its head holds the number of cells and is followed by their offsets. A cell is a length, a row number and data.
    """
    for index in range(min(int.from_bytes(page[3:5], "big"), (len(page) - _LEAF_HEAD) // 2)):
        place = _LEAF_HEAD + 2 * index
        with suppress(IndexError):  # a damaged offset points beyond the page
            _, number_at = _varint(page, int.from_bytes(page[place : place + 2], "big"))
            number, _ = _varint(page, number_at)
            if 0 < number < 2**63:
                yield number


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Decode an integer of one to nine bytes: seven bits of each, all eight of the ninth. Returns it and where it ends."""
    value = 0
    for length in range(1, 9):
        byte = data[place + length - 1]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + length
    return value << 8 | data[place + 8], place + 9


def _connect(path: Path) -> sqlite3.Connection:
    """Connect read-only, without the check that refuses a file shorter than its header states."""
    database = sqlite3.connect(f"file:{quote(str(path))}?immutable=1", uri=True)
    database.execute("PRAGMA writable_schema=ON")
    return database
