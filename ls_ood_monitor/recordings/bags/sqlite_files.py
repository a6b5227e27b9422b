"""sqlite3 storage files: whole ones by a query; cut ones, or ones with holes, message by message.

A query over the whole table ends at the first missing page. A query for one row only needs the pages on its own path
through the tree. The remaining leaf pages list the row numbers, so the whole file is scanned for leaf pages once
(format: sqlite.org/fileformat2.html, 1.6).

After a crash of the recorder the newest messages lie in a ``-wal`` file. sqlite reads it, and then writes the ``-shm`` file
beside it, its index; the storage file and the ``-wal`` file stay as they are.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

from ...errors import DataError
from .clock_steps import BACKWARD_NS, FORWARD_NS, find_steps
from .files import JOURNAL, WAL, count_profiles, storage_suffix
from .image_messages import is_image
from .opened import CDR, ClockStep, OpenedBag, RawMessage, TopicSummary, limit_time

#: First byte of a leaf page, which holds rows of a table. An overflow page begins with a page number, whose first byte is
#: 13 only in a file of hundreds of gigabytes.
_LEAF = 13
_LEAF_HEAD = 8
#: Times of reception from one message to the next; ``{order}`` is that of the messages.
_STEPS = """
SELECT before, after FROM (
  SELECT timestamp AS after, LAG(timestamp) OVER ({order}) AS before FROM messages {where}
) WHERE after - before NOT BETWEEN ? AND ?
"""


def open_sqlite(path: Path, stack: ExitStack) -> OpenedBag:
    """Open a whole sqlite3 storage file; ``stack`` closes it.

    Raises:
        DataError: the file is damaged, as far as opening it shows. What only reading shows is raised by ``read``.
    """
    if not ends_with_a_page(path):
        raise DataError(f"{path.name} ends within a page")
    try:
        database = stack.enter_context(closing(_connect(path, has_wal=unmerged_messages(path))))
        topics = _topics(database)
        begin_ns, end_ns = database.execute("SELECT MIN(timestamp), MAX(timestamp) FROM messages").fetchone()
        counts = dict(database.execute("SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id"))
        by_time, steps = _steps(database, [key for key, entry in topics.items() if is_image(entry.type_name)])
        if not by_time:  # the clock was set back: the first message is not the earliest
            begin_ns, end_ns = (
                database.execute(f"SELECT timestamp FROM messages ORDER BY id {order} LIMIT 1").fetchone()[0]
                for order in ("ASC", "DESC")
            )
        stepped = [time_ns for step in steps for time_ns in (step.before_ns, step.after_ns)]
        numbers = [begin_ns or 0, end_ns or 0, *counts.values(), *stepped]  # a damaged row may hold anything
        if not all(isinstance(number, int) for number in numbers):
            raise DataError(f"{path.name} holds times that are no numbers")
    except (sqlite3.Error, TypeError) as error:
        raise DataError(missing_part(path) or f"{path.name}: {error}") from error
    summaries = tuple(
        TopicSummary(entry.topic, entry.type_name, counts.get(key, 0), entry.encoding, entry.writers)
        for key, entry in topics.items()
    )
    read = partial(_query, database, path, topics, "timestamp, id" if by_time else "id")
    return OpenedBag(summaries, begin_ns or 0, end_ns or 0, read, missing_part(path), steps)


def _topics(database: sqlite3.Connection) -> dict[int, TopicSummary]:
    """Topics by their number, without counts."""
    columns = {row[1] for row in database.execute("PRAGMA table_info(topics)")}
    encoding = "serialization_format" if "serialization_format" in columns else f"'{CDR}'"
    profiles = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
    rows = database.execute(f"SELECT id, name, type, {encoding}, {profiles} FROM topics")
    return {
        key: TopicSummary(str(name), str(type_name), 0, str(form), count_profiles(str(offered)))
        for key, name, type_name, form, offered in rows
    }


def _steps(database: sqlite3.Connection, images: list[int]) -> tuple[bool, tuple[ClockStep, ...]]:
    """Whether messages are read by time (else in the order of recording), and the steps of the clock in that order."""
    limits = (-BACKWARD_NS, FORWARD_NS)
    where = f"WHERE topic_id IN ({','.join(map(str, images))})"
    back = _STEPS.format(order="PARTITION BY topic_id ORDER BY id", where=where)
    by_time = not any(after < before for before, after in database.execute(back, limits))
    order = "ORDER BY timestamp, id" if by_time else "ORDER BY id"
    found = database.execute(_STEPS.format(order=order, where=""), limits)
    return by_time, tuple(ClockStep(before, after) for before, after in found)


def _query(
    database: sqlite3.Connection,
    path: Path,
    topics: dict[int, TopicSummary],
    order: str,
    wanted: Container[str],
    start_ns: int | None,
    stop_ns: int | None,
) -> Iterator[RawMessage]:
    keys = [key for key, entry in topics.items() if entry.topic in wanted and entry.encoding == CDR]
    where = f"topic_id IN ({','.join(map(str, keys))})"
    where += "" if start_ns is None else f" AND timestamp >= {start_ns}"
    where += "" if stop_ns is None else f" AND timestamp < {stop_ns}"
    query = f"SELECT topic_id, timestamp, data FROM messages WHERE {where} ORDER BY {order}"
    try:
        for key, time_ns, data in database.execute(query):
            if not isinstance(time_ns, int) or not isinstance(data, bytes):
                raise DataError(f"{path.name}: a message is no message")
            yield RawMessage(topics[key].topic, topics[key].type_name, time_ns, data)
    except sqlite3.Error as error:
        raise DataError(f"{path.name}: {error}") from error


def unmerged_messages(path: Path) -> bool:
    """Whether a crash of the recorder left messages in a file beside the storage file."""
    beside = path.with_name(path.name + WAL)
    return beside.is_file() and beside.stat().st_size > 0


def lacks_newest_messages(path: Path) -> bool:
    """Whether messages may lie in a ``-wal`` file that was not copied: the recorder used one, and did not close the bag."""
    with path.open("rb") as file:
        head = file.read(20)
    return storage_suffix(path) == ".db3" and head[18:20] == b"\2\2" and not unmerged_messages(path)


def missing_part(path: Path) -> str:
    """What lies, or should lie, beside a storage file and is not read, as a sentence; empty if nothing does."""
    if unmerged_messages(path):
        try:
            with closing(_connect(path, has_wal=True)) as database:
                database.execute("SELECT id FROM topics LIMIT 1").fetchone()
        except sqlite3.Error as error:
            return (
                f"{path.name}{WAL} holds the newest messages, and cannot be read here ({error}); "
                "copy the folder to a place that can be written."
            )
    if path.with_name(path.name + JOURNAL).exists():
        return f"{path.name}{JOURNAL} shows that the last write was not finished; the end of the file may be wrong."
    return ""


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
            topics = _topics(database)
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
                topic, type_name = topics[key].topic, topics[key].type_name
                if topic not in wanted or topics[key].encoding != CDR:
                    continue
                with suppress(sqlite3.Error):
                    row = database.execute("SELECT data FROM messages WHERE id = ?", (number,)).fetchone()
                    if row and isinstance(row[0], bytes):
                        yield RawMessage(topic, type_name, time_ns, row[0])

    counts = Counter(key for _, _, key in rows)
    begin_ns, end_ns = (rows[0][0], rows[-1][0]) if rows else (0, 0)
    summaries = tuple(
        TopicSummary(entry.topic, entry.type_name, counts[key], entry.encoding, entry.writers)
        for key, entry in topics.items()
    )
    missing = missing_part(path)
    whole = "is read without what lies beside it" if missing else "has a damaged index"
    damage = "is cut off or damaged" if is_incomplete else whole
    steps = find_steps((time_ns for time_ns, _, _ in rows), is_damaged=True)
    return OpenedBag(summaries, begin_ns, end_ns, limit_time(read), missing, steps), damage


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


def _connect(path: Path, has_wal: bool = False) -> sqlite3.Connection:
    """Connect read-only; without a ``-wal`` file also without the check that refuses a file shorter than its header states."""
    mode = "mode=ro" if has_wal else "mode=ro&immutable=1"
    database = sqlite3.connect(f"file:{quote(os.fsencode(path))}?{mode}", uri=True)
    if not has_wal:
        database.execute("PRAGMA writable_schema=ON")
    return database
