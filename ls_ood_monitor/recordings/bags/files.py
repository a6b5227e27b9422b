"""The files of a bag: storage files, and what its metadata.yaml states about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...yaml_file import read_yaml
from .opened import CDR

#: Suffix of a file that ``ros2 bag`` or zstd compressed as a whole.
PACKED = ".zstd"
#: Suffixes of the storage files of ROS 2, which may also be read without their folder, and with ``PACKED`` behind them.
STORAGE_SUFFIXES = (".mcap", ".db3")
#: A bag of ROS 1; the second one was not closed.
ROS1_SUFFIXES = (".bag", ".bag.active")
#: Suffixes of files that are a bag of their own.
SUFFIXES = (*STORAGE_SUFFIXES, *(suffix + PACKED for suffix in STORAGE_SUFFIXES), *ROS1_SUFFIXES)
METADATA = "metadata.yaml"
#: What sqlite lays beside a storage file while it writes. The first holds messages after a crash.
WAL, SHARED_MEMORY, JOURNAL = "-wal", "-shm", "-journal"


#: Topic, type and serialisation.
TopicKey = tuple[str, str, str]


@dataclass(frozen=True)
class BagFiles:
    """The files of a ROS 2 bag."""

    storages: tuple[Path, ...]  # that belong to the bag, in the order of their numbers
    missing: tuple[str, ...] = ()  # names that metadata.yaml lists and that do not exist
    surplus: tuple[str, ...] = ()  # names that exist and that metadata.yaml does not list
    expected: Mapping[TopicKey, int] = field(default_factory=dict)  # messages according to metadata.yaml
    metadata_fault: str = ""  # why metadata.yaml gives nothing, as the end of a sentence; empty if it is usable
    has_packed_messages: bool = False  # ros2 bag compressed each message

    @property
    def is_packed(self) -> bool:
        """Whether ``ros2 bag`` compressed the files or the messages; compression by the storage itself does not count."""
        return self.has_packed_messages or any(is_packed(file) for file in self.storages)


def is_bag_file(path: Path) -> bool:
    """Whether a file's name is that of a bag, or of a storage file of one."""
    return path.name.endswith(SUFFIXES)


def is_bag_folder(path: Path) -> bool:
    """Whether a folder looks like a bag of ROS 2."""
    return (path / METADATA).exists() or any(storage_suffix(entry) for entry in path.iterdir())


def is_packed(path: Path) -> bool:
    """Whether a storage file was compressed as a whole."""
    return path.suffix == PACKED


def storage_suffix(path: Path) -> str:
    """``.mcap`` or ``.db3``, of a packed file, too; empty if the file is no storage file."""
    suffix = Path(path.stem).suffix if is_packed(path) else path.suffix
    return suffix if suffix in STORAGE_SUFFIXES else ""


def is_ros1(bag: Path) -> bool:
    """Whether a path is a bag of ROS 1."""
    return bag.name.endswith(ROS1_SUFFIXES) and bag.is_file()


def storage_files(bag: Path) -> list[Path]:
    """Storage files of a folder, or the file itself, in the order of their numbers. Of a file and its packed copy the first."""
    if bag.is_file():
        return [bag]
    files = {entry for entry in bag.iterdir() if storage_suffix(entry) and entry.is_file()}
    files = {file for file in files if not is_packed(file) or file.with_suffix("") not in files}
    return sorted(
        files, key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)]
    )


def find_files(bag: Path) -> BagFiles:
    """Compare the storage files of a bag with its metadata.yaml. What it says of storage and QoS is not needed."""
    present = storage_files(bag)
    if bag.is_file():
        return BagFiles(tuple(present))
    metadata = _read_metadata(bag)
    has_packed_messages = str(metadata.get("compression_mode", "")).lower() == "message"
    try:
        listed = [str(name).rsplit("/", 1)[-1] for name in metadata["relative_file_paths"]]
        expected: dict[TopicKey, int] = {}
        for entry in metadata["topics_with_message_count"]:
            topic = entry["topic_metadata"]
            key = (str(topic["name"]), str(topic["type"]), str(topic.get("serialization_format", CDR)))
            expected[key] = expected.get(key, 0) + int(entry["message_count"])
    except (KeyError, TypeError, ValueError):
        exists = (bag / METADATA).exists()
        fault = "its metadata.yaml cannot be read" if exists else "it has no metadata.yaml (probably not closed)"
        return BagFiles(tuple(present), metadata_fault=fault, has_packed_messages=has_packed_messages)
    # A listed file may have been packed, or unpacked, by hand.
    bare = {file.name.removesuffix(PACKED): file for file in present}
    wanted = [name.removesuffix(PACKED) for name in listed]
    return BagFiles(
        tuple(file for name, file in bare.items() if not listed or name in wanted),
        tuple(name for name, key in zip(listed, wanted, strict=True) if key not in bare),
        tuple(file.name for name, file in bare.items() if listed and name not in wanted),
        expected,
        has_packed_messages=has_packed_messages,
    )


def count_profiles(profiles: str) -> int:
    """Publishers of a topic: the recorder notes the QoS of each."""
    return len(re.findall(r"^\s*(?:- )?history:", profiles, re.MULTILINE))


def _read_metadata(bag: Path) -> dict[str, Any]:
    """Content of ``metadata.yaml``; empty if it is missing or unreadable."""
    try:
        content = read_yaml(bag / METADATA, DataError)
    except DataError:
        return {}
    information = content.get("rosbag2_bagfile_information") if isinstance(content, dict) else None
    return information if isinstance(information, dict) else {}
