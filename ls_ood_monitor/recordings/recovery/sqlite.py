"""sqlite3 storage files that were cut off or holed: their messages are asked for one by one, by number.

A query that goes through the table ends at the first page that is missing; a question for one row only needs the pages
on its own way through the tree. Which rows there may be is told by the leaf pages that are left, wherever they lie: the
whole file is looked through once, however long the damage (format: sqlite.org/fileformat2.html, 1.6).
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
from .salvage import Salvage

#: First byte of a page that holds rows of a table. A page that a long row goes on to begins with the number of the next
#: one, whose first byte is 13 only in a file of hundreds of gigabytes.
_LEAF = 13
_LEAF_HEAD = 8


def salvage_sqlite(path: Path) -> Salvage:
    """Find what can be read of a sqlite3 storage file. Raises ``DataError`` where it has no topics."""
    rows: list[tuple[int, int, int]] = []  # reception, number, topic
    numbers = _row_numbers(path)
    lost = len(numbers) < max(numbers, default=0)
    with closing(_connect(path)) as database:
        try:
            topics = {
                key: (str(name), str(kind)) for key, name, kind in database.execute("SELECT id, name, type FROM topics")
            }
        except sqlite3.Error as error:
            raise DataError(f"{path} has no readable table of topics ({error}).") from error
        for number in numbers:
            try:
                row = database.execute("SELECT timestamp, topic_id FROM messages WHERE id = ?", (number,)).fetchone()
            except sqlite3.Error:
                row, lost = None, True
            if row and isinstance(row[0], int) and row[1] in topics:  # a damaged row may hold anything
                rows.append((row[0], number, row[1]))
    if not ends_with_a_page(path):
        del rows[-1:]  # the last message lies on it, and its missing part would read as zeros
        lost = True
    rows.sort()

    def read(wanted: Container[str]) -> Iterator[tuple[str, int, bytes]]:
        with closing(_connect(path)) as database:
            for time_ns, key, topic in rows:
                name = topics[topic][0]
                if name not in wanted:
                    continue
                with suppress(sqlite3.Error):
                    row = database.execute("SELECT data FROM messages WHERE id = ?", (key,)).fetchone()
                    if row and isinstance(row[0], bytes):
                        yield name, time_ns, row[0]

    counts = Counter(topics[topic][0] for _, _, topic in rows)
    begin_ns, end_ns = (rows[0][0], rows[-1][0]) if rows else (0, 0)
    damage = "is cut off or damaged" if lost else "has a damaged index"
    return Salvage(dict(topics.values()), counts, begin_ns, end_ns, read, damage)


def ends_with_a_page(path: Path) -> bool:
    """Whether the file has its last page in full; sqlite reads what is missing of a page as zeros, without a word."""
    page = _page_size(path)
    return page > 0 and path.stat().st_size % page == 0


def _page_size(path: Path) -> int:
    """In bytes; 0 where the head of the file is gone."""
    with path.open("rb") as file:
        head = file.read(18)
    size = int.from_bytes(head[16:18], "big")
    return 65536 if size == 1 else size


def _row_numbers(path: Path) -> list[int]:
    """Numbers of rows of any table, in order, by the leaf pages that are left; a damaged page may name one that is none."""
    size = _page_size(path)
    if size < 512:
        return []
    numbers: set[int] = set()
    with path.open("rb", buffering=0) as file:
        for begin in range(size, path.stat().st_size, size):  # the first page holds the schema
            with suppress(OSError):  # a disk that cannot read it
                if os.pread(file.fileno(), 1, begin) == bytes([_LEAF]):
                    numbers.update(_rows_of_leaf(os.pread(file.fileno(), size, begin)))
    return sorted(numbers)


def _rows_of_leaf(page: bytes) -> Iterator[int]:
    """Numbers of its rows: behind a head with their count lie the places of the cells, each its length, its number, its data."""
    for index in range(min(int.from_bytes(page[3:5], "big"), (len(page) - _LEAF_HEAD) // 2)):
        place = _LEAF_HEAD + 2 * index
        with suppress(IndexError):  # damaged: it points beyond the page
            _, number_at = _varint(page, int.from_bytes(page[place : place + 2], "big"))
            number, _ = _varint(page, number_at)
            if 0 < number < 2**63:
                yield number


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """An integer of one to nine bytes, seven bits each and all eight of the ninth; and where it ends."""
    value = 0
    for length in range(1, 9):
        byte = data[place + length - 1]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + length
    return value << 8 | data[place + 8], place + 9


def _connect(path: Path) -> sqlite3.Connection:
    """Read-only, and without the check that refuses a file shorter than it says."""
    database = sqlite3.connect(f"file:{quote(str(path))}?immutable=1", uri=True)
    database.execute("PRAGMA writable_schema=ON")
    return database
