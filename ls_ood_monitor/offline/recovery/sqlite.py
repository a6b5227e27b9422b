"""sqlite3 storage files that were cut off or holed: their messages are asked for one by one, by number.

A query that goes through the table ends at the first page that is missing; a question for one row only needs the pages
on its own way through the tree.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from ...errors import DataError
from .salvage import Salvage

#: So many numbers in a row without a row: there are no more.
_GIVE_UP = 2000


def salvage_sqlite(path: Path) -> Salvage:
    """Find what can be read of a sqlite3 storage file. Raises ``DataError`` where it has no topics."""
    rows: list[tuple[int, int, int]] = []  # reception, number, topic
    lost = missed = number = 0
    with closing(_connect(path)) as database:
        try:
            topics = {
                key: (str(name), str(kind)) for key, name, kind in database.execute("SELECT id, name, type FROM topics")
            }
        except sqlite3.Error as error:
            raise DataError(f"{path} has no readable table of topics ({error}).") from error
        while missed < _GIVE_UP:
            number += 1
            try:
                row = database.execute("SELECT timestamp, topic_id FROM messages WHERE id = ?", (number,)).fetchone()
            except sqlite3.Error:
                row, lost = None, lost + 1
            missed = 0 if row else missed + 1
            if row and isinstance(row[0], int) and row[1] in topics:  # a damaged row may hold anything
                rows.append((row[0], number, row[1]))
    if not ends_with_a_page(path):
        del rows[-1:]  # the last message lies on it, and its missing part would read as zeros
        lost += 1
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
    with path.open("rb") as file:
        head = file.read(18)
        size = file.seek(0, 2)
    page = int.from_bytes(head[16:18], "big")
    return page > 0 and size % (65536 if page == 1 else page) == 0


def _connect(path: Path) -> sqlite3.Connection:
    """Read-only, and without the check that refuses a file shorter than it says."""
    database = sqlite3.connect(f"file:{quote(str(path))}?immutable=1", uri=True)
    database.execute("PRAGMA writable_schema=ON")
    return database
