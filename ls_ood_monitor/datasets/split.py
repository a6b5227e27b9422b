"""Split a data set into training, validation and test pictures by whole sequences.

Neighbouring frames are nearly equal, so a split by single pictures would test on the training data.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from .files import natural_key

PARTS = ("train", "valid", "test")
FRACTIONS = (0.72, 0.18, 0.10)

#: File in the root of a data set that names the sequence of each picture.
SPLIT_FILE = "split.json"


@dataclass(frozen=True)
class Split:
    """The parts of a data set."""

    seed: int  # of the order of the sequences
    fractions: tuple[float, float, float]  # requested shares of PARTS
    parts: Mapping[str, tuple[str, ...]]  # part -> names of its pictures, in natural order
    sequences: Mapping[str, str]  # name of a picture -> its sequence

    @property
    def digest(self) -> str:
        """SHA-256 of the parts. A checkpoint stores it, so that it is only tested on the test part of its own split."""
        parts = {part: sorted(self.parts[part]) for part in PARTS}
        return sha256(json.dumps(parts).encode()).hexdigest()


def split_by_sequence(sequences: Mapping[str, str], fractions: Sequence[float] = FRACTIONS, *, seed: int = 0) -> Split:
    """Split pictures, name -> sequence, by whole sequences; equal input in any order gives an equal split.

    The sequences are shuffled by ``seed``. Each goes to the part that lacks most pictures, so the shares are as near to
    ``fractions`` (of training, validation and test; positive, together 1) as the sizes of the sequences allow.

    Raises:
        ConfigError: fractions or seed out of range.
        DataError: fewer sequences than parts.
    """
    shares = _checked_fractions(fractions)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed is {seed!r}; it must be a whole number, 0 or larger.")
    sizes = Counter(sequences.values())
    if len(sizes) < len(PARTS):
        raise DataError(
            f"{len(sequences)} pictures come from {len(sizes)} sequences; {', '.join(PARTS)} need at least one each. "
            "Add pictures of further sequences."
        )
    names = sorted(sizes)
    order = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    lacking = {part: share * len(sequences) for part, share in zip(PARTS, shares, strict=True)}
    part_of: dict[str, str] = {}
    for done, sequence in enumerate(order):
        empty = [part for part in PARTS if part not in part_of.values()]
        # The last sequences go to parts that would stay empty otherwise.
        choice = empty if len(order) - done <= len(empty) else PARTS
        part = max(choice, key=lambda name: lacking[name])
        part_of[sequence] = part
        lacking[part] -= sizes[sequence]
    ordered = sorted(sequences, key=natural_key)
    parts = {part: tuple(name for name in ordered if part_of[sequences[name]] == part) for part in PARTS}
    return Split(seed, shares, parts, {name: sequences[name] for name in ordered})


def write_split(path: Path, split: Split) -> None:
    """Write a split as JSON: seed, fractions, names of the pictures of each part, and the sequence of each picture."""
    content = {
        "seed": split.seed,
        "fractions": dict(zip(PARTS, split.fractions, strict=True)),
        "parts": {part: list(split.parts[part]) for part in PARTS},
        "sequences": dict(split.sequences),
    }
    _write(path, content)


def write_sequences(path: Path, sequences: Mapping[str, str]) -> None:
    """Write the sequence of each picture as JSON, for a data set without split."""
    _write(path, {"sequences": dict(sequences)})


def read_sequences(path: Path) -> dict[str, str]:
    """Name of a picture -> its sequence, from a file of ``write_sequences`` or ``write_split``. Raises ``DataError``."""
    return _sequences_in(_load(path), path)


def read_split(path: Path) -> Split:
    """Read a file of ``write_split``.

    Raises ``DataError`` if the file is missing, holds something else, or has a sequence in two parts.
    """
    content = _load(path)
    sequences = _sequences_in(content, path)
    try:
        seed = int(content["seed"])
        fractions = _checked_fractions([float(content["fractions"][part]) for part in PARTS])
        parts = {part: tuple(str(name) for name in content["parts"][part]) for part in PARTS}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not a split: seed, fractions and parts ({', '.join(PARTS)}) are expected, {error!r}. "
            "Write it again with write_split."
        ) from error
    homes: dict[str, str] = {}
    counted = Counter(name for names in parts.values() for name in names)
    for part, names in parts.items():
        for name in names:
            if name not in sequences or counted[name] > 1:
                fault = "twice in the parts" if counted[name] > 1 else "without a sequence"
                raise DataError(f"{path} lists picture {name} {fault}; write it again with write_split.")
            if homes.setdefault(sequences[name], part) != part:
                raise DataError(
                    f"{path} has sequence {sequences[name]} in {homes[sequences[name]]} and in {part}; a sequence "
                    "belongs to one part, write it again with write_split."
                )
    return Split(seed, fractions, parts, sequences)


def split_of(root: Path, sequences: Mapping[str, str], *, seed: int = 0) -> Split:
    """The split in the data set's ``split.json``; without one, a split by sequence drawn from ``seed``.

    Raises ``DataError`` if ``split.json`` is neither a split nor a list of sequences, or there are too few sequences.
    """
    path = root / SPLIT_FILE
    if path.exists() and "parts" in _load(path):
        return read_split(path)
    return split_by_sequence(sequences, seed=seed)


def _checked_fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    if len(fractions) != len(PARTS) or not all(share > 0.0 for share in fractions) or abs(sum(fractions) - 1.0) > 1e-6:
        raise ConfigError(
            f"fractions are {tuple(fractions)}; {len(PARTS)} shares ({', '.join(PARTS)}) above 0 that add up to 1 are "
            "expected, such as 0.72, 0.18, 0.10."
        )
    train, valid, test = (float(share) for share in fractions)
    return train, valid, test


def _write(path: Path, content: Mapping[str, Any]) -> None:
    try:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}. Choose another place.") from error


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read split {path}: {error.strerror}. Check the path.") from error
    except ValueError as error:  # not UTF-8 or not JSON
        raise DataError(f"{path} is not JSON ({error}); write it again with write_split.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}, not a split; write it again with write_split.")
    return content


def _sequences_in(content: Mapping[str, Any], path: Path) -> dict[str, str]:
    listed = content.get("sequences")
    if not isinstance(listed, dict) or not all(isinstance(value, str) for value in listed.values()):
        raise DataError(f"{path} has no sequences: picture names with the name of their sequence are expected there.")
    return listed
