"""The files of a bag: storage files, and what its metadata.yaml states about them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...yaml_file import read_yaml

#: Suffixes of the storage files of ROS 2, which may also be read without their folder.
STORAGE_SUFFIXES = (".mcap", ".db3")
#: Suffixes of files that are a bag of their own.
SUFFIXES = (*STORAGE_SUFFIXES, ".bag")
METADATA = "metadata.yaml"


@dataclass(frozen=True)
class BagFiles:
    """The files of a ROS 2 bag."""

    storages: tuple[Path, ...]  # that belong to the bag, in the order of their numbers
    missing: tuple[str, ...] = ()  # names that metadata.yaml lists and that do not exist
    surplus: tuple[str, ...] = ()  # names that exist and that metadata.yaml does not list
    expected: Mapping[str, int] = field(default_factory=dict)  # topic -> messages according to metadata.yaml
    metadata_fault: str = ""  # why metadata.yaml gives nothing, as the end of a sentence; empty if it is usable
    is_compressed: bool = False  # by ros2 bag, files or messages; compression by the storage itself does not count


def is_ros1(bag: Path) -> bool:
    """Whether a path is a bag of ROS 1."""
    return bag.suffix == ".bag" and bag.is_file()


def storage_files(bag: Path) -> list[Path]:
    """Storage files of a folder, or the file itself, in the order of their numbers."""
    if bag.is_file():
        return [bag]
    files = [entry for entry in bag.iterdir() if entry.suffix in STORAGE_SUFFIXES and entry.is_file()]
    return sorted(
        files, key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)]
    )


def find_files(bag: Path) -> BagFiles:
    """Compare the storage files of a bag with its metadata.yaml."""
    present = storage_files(bag)
    if bag.is_file():
        return BagFiles(tuple(present))
    metadata = _read_metadata(bag)
    is_compressed = str(metadata.get("compression_mode", "")).lower() in ("file", "message")
    try:
        listed = [str(name).rsplit("/", 1)[-1] for name in metadata["relative_file_paths"]]
        counts = metadata["topics_with_message_count"]
        expected = {str(entry["topic_metadata"]["name"]): int(entry["message_count"]) for entry in counts}
    except (KeyError, TypeError, ValueError):
        exists = (bag / METADATA).exists()
        fault = "its metadata.yaml cannot be read" if exists else "it has no metadata.yaml (probably not closed)"
        return BagFiles(tuple(present), metadata_fault=fault, is_compressed=is_compressed)
    names = [file.name for file in present]
    return BagFiles(
        tuple(file for file in present if not listed or file.name in listed),
        tuple(name for name in listed if name not in names),
        tuple(name for name in names if listed and name not in listed),
        expected,
        is_compressed=is_compressed,
    )


def _read_metadata(bag: Path) -> dict[str, Any]:
    """Content of ``metadata.yaml``; empty if it is missing or unreadable."""
    try:
        content = read_yaml(bag / METADATA, DataError)
    except DataError:
        return {}
    information = content.get("rosbag2_bagfile_information") if isinstance(content, dict) else None
    return information if isinstance(information, dict) else {}
