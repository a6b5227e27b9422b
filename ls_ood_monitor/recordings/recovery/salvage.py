"""What is read out of a damaged storage file, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Salvage:
    """One damaged storage file.

    Attributes:
        types: topic -> type name.
        counts: topic -> messages found.
        begin_ns: first reception; 0 where nothing is left.
        end_ns: last one; 0 where nothing is left.
        read: starts an iteration over (topic, reception in ns, serialised message) of some topics, in order of
            reception; what turns out to be unreadable is left out.
        damage: what is wrong with the file, as the end of a sentence.
    """

    types: Mapping[str, str]
    counts: Mapping[str, int]
    begin_ns: int
    end_ns: int
    read: Callable[[Container[str]], Iterator[tuple[str, int, bytes]]]
    damage: str
