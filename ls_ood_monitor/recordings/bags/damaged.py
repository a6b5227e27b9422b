"""Reading a ROS 2 bag that was not closed, was cut off, has holes, or lacks files: every message that is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ...errors import DataError
from .files import BagFiles, find_files
from .opened import OpenedBag, RawMessage, TopicSummary
from .salvage_mcap import salvage_mcap
from .salvage_sqlite import salvage_sqlite
from .whole import open_whole_bag

_SALVAGE = {".mcap": salvage_mcap, ".db3": salvage_sqlite}


def tolerate_damage(bag: Path, opened: OpenedBag) -> OpenedBag:
    """Make an opened bag continue behind damage that only reading shows. Not possible for bags that ros2 bag compressed."""
    files = find_files(bag)
    if files.is_compressed:
        return opened
    damage = f"Bag {bag} holds more than it says: {_describe_surplus(files)}." if files.surplus else ""
    return replace(_skip_holes(opened, files.storages), damage=damage)


def recover_bag(bag: Path, stack: ExitStack) -> OpenedBag:
    """Open the readable parts of a damaged bag; ``stack`` closes them.

    Raises:
        DataError: nothing can be read, or ``ros2 bag`` compressed the bag.
    """
    files = find_files(bag)
    if files.is_compressed:
        raise DataError(
            f"Bag {bag} is damaged, and compressed: it cannot be read in part. Copy it again, or unpack its .zstd files "
            f"and run 'ros2 bag reindex {bag}'."
        )
    faults = [files.metadata_fault] if files.metadata_fault else []
    if files.missing:
        faults.append(f"it lacks {', '.join(files.missing)}")
    parts: list[OpenedBag] = []
    for storage in files.storages:
        try:
            parts.append(_skip_holes(open_whole_bag(storage, stack), [storage]))
        except DataError:
            try:
                part, fault = _SALVAGE[storage.suffix](storage)
            except DataError as error:
                faults.append(str(error).rstrip("."))
                continue
            parts.append(part)
            faults.append(f"{storage.name} {fault}")
    if files.surplus:
        faults.append(_describe_surplus(files))
    parts = sorted((part for part in parts if part.end_ns), key=lambda part: part.begin_ns)
    if not parts:
        raise DataError(f"Bag {bag} is damaged, and no message of it can be read: {'; '.join(faults)}. Copy it again.")
    counts: Counter[tuple[str, str]] = Counter()
    for part in parts:
        counts.update({(topic.topic, topic.type_name): topic.messages for topic in part.topics})
    # The counts of metadata.yaml show how many messages are lost.
    expected = files.expected
    topics = tuple(TopicSummary(*topic, max(count, expected.get(topic[0], 0))) for topic, count in counts.items())

    def read(wanted: Container[str], start_ns: int | None, stop_ns: int | None) -> Iterator[RawMessage]:
        for part in parts:
            yield from part.read(wanted, start_ns, stop_ns)

    damage = f"Bag {bag} is damaged: {'; '.join(faults)}."
    return OpenedBag(topics, parts[0].begin_ns, max(part.end_ns for part in parts), read, damage)


def _skip_holes(opened: OpenedBag, storages: Sequence[Path]) -> OpenedBag:
    """The same bag; where reading fails, salvage reads the rest."""

    def read(topics: Container[str], start_ns: int | None, stop_ns: int | None) -> Iterator[RawMessage]:
        last_ns: dict[str, int] = {}
        try:
            for message in opened.read(topics, start_ns, stop_ns):
                last_ns[message.topic] = message.stamp_ns
                yield message
            return
        except DataError:
            if not storages:
                raise
        for storage in storages:
            part, _ = _SALVAGE[storage.suffix](storage)
            for message in part.read(topics, start_ns, stop_ns):
                if message.stamp_ns > last_ns.get(message.topic, -1):
                    yield message

    return replace(opened, read=read)


def _describe_surplus(files: BagFiles) -> str:
    return f"{', '.join(files.surplus)} is not named in its metadata.yaml, and not read"
