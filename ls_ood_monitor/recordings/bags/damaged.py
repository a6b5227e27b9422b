"""Reading a bag that was not closed, was cut off, has holes, or lacks files: every message that is left."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ...errors import DataError
from .files import WAL, BagFiles, find_files, is_packed, is_ros1, storage_suffix
from .mcap_files import salvage_mcap
from .opened import OpenedBag, RawMessage
from .ros1_files import salvage_ros1
from .sqlite_files import lacks_newest_messages, salvage_sqlite
from .unpacking import unpack_messages
from .whole import join_parts, open_storage


def _salvage(storage: Path) -> tuple[OpenedBag, str]:
    """Readable messages of a file that is not packed, and what is wrong with it. Raises ``DataError``."""
    if is_ros1(storage):
        return salvage_ros1(storage)
    return salvage_mcap(storage) if storage_suffix(storage) == ".mcap" else salvage_sqlite(storage)


def tolerate_damage(bag: Path, opened: OpenedBag) -> OpenedBag:
    """Make an opened bag continue behind damage that only reading shows. Not possible for bags that ros2 bag compressed."""
    files = find_files(bag)
    if files.is_packed:
        return opened
    parts = [opened.damage] if opened.damage else []
    if files.surplus:
        parts.append(f"Bag {bag} holds more than it says: {_describe_surplus(files)}.")
    return replace(_skip_holes(opened, files.storages), damage=" ".join(parts))


def recover_bag(bag: Path, stack: ExitStack) -> OpenedBag:
    """Open the readable parts of a damaged bag; ``stack`` closes them.

    Raises:
        DataError: nothing can be read.
    """
    files = find_files(bag)
    faults = [files.metadata_fault] if files.metadata_fault else []
    if files.missing:
        faults.append(f"it lacks {', '.join(files.missing)}")
    parts: list[OpenedBag] = []
    for storage in files.storages:
        try:
            part = open_storage(storage, stack)
            parts.append(part if files.is_packed else _skip_holes(part, [storage]))
            if files.metadata_fault and lacks_newest_messages(storage):
                faults.append(f"{storage.name}{WAL}, which may hold its newest messages, is not beside it")
        except DataError as whole_error:
            try:
                if is_packed(storage):  # it is not read in part
                    raise whole_error
                part, fault = _salvage(storage)
            except DataError as error:
                faults.append(str(error).rstrip("."))
                continue
            parts.append(part)
            faults.append(f"{storage.name} {fault}")
    if files.surplus:
        faults.append(_describe_surplus(files))
    if not any(part.end_ns for part in parts):
        raise DataError(f"Bag {bag} is damaged, and no message of it can be read: {'; '.join(faults)}. Copy it again.")
    # The counts of metadata.yaml show how many messages are lost.
    opened = join_parts(parts, files.expected, is_damaged=True)
    damage = f"Bag {bag} is damaged: {'; '.join([*faults, *([opened.damage.rstrip('.')] if opened.damage else [])])}."
    opened = unpack_messages(opened) if files.has_packed_messages else opened
    return replace(opened, damage=damage)


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
            part, _ = _salvage(storage)
            for message in part.read(topics, start_ns, stop_ns):
                if message.stamp_ns > last_ns.get(message.topic, -1):
                    yield message

    return replace(opened, read=read)


def _describe_surplus(files: BagFiles) -> str:
    return f"{', '.join(files.surplus)} is not named in its metadata.yaml, and not read"
