"""Names of many frames, few of which differ: a code for each frame, and each name once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


class CodedNames(Sequence[str]):
    """The names of N frames, such as their cameras or drives. It reads like a tuple of strings and takes 4 bytes a frame.

    Args:
        codes: (N,) index into ``names`` of each frame.
        names: the different names.

    Attributes:
        codes: (N,) int32.
        names: the different names; some may have no frame.
    """

    def __init__(self, codes: NDArray[np.integer[Any]], names: Sequence[str]) -> None:
        self.codes = np.ascontiguousarray(codes, np.int32)
        self.names = tuple(names)
        if len(self.codes) and not 0 <= int(self.codes.min()) <= int(self.codes.max()) < len(self.names):
            raise ValueError(
                f"codes lie within [{self.codes.min()}, {self.codes.max()}]; there are {len(self.names)} names."
            )

    @staticmethod
    def of(names: Sequence[str]) -> CodedNames:
        """Code a sequence of names, in order of first appearance."""
        if isinstance(names, CodedNames):
            return names
        known: dict[str, int] = {}
        codes = np.fromiter((known.setdefault(str(name), len(known)) for name in names), np.int32)
        return CodedNames(codes, tuple(known))

    @staticmethod
    def concatenate(parts: Sequence[CodedNames]) -> CodedNames:
        """Join the names of several parts, in order."""
        known: dict[str, int] = {}
        codes = []
        for part in parts:
            own = np.array([known.setdefault(name, len(known)) for name in part.names], np.int32)
            codes.append(own[part.codes] if len(part) else part.codes)
        return CodedNames(np.concatenate(codes) if codes else np.empty(0, np.int32), tuple(known))

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice | NDArray[Any]) -> CodedNames: ...

    def __getitem__(self, index: int | slice | NDArray[Any]) -> str | CodedNames:
        if isinstance(index, (slice, np.ndarray)):
            return CodedNames(self.codes[index], self.names)
        return self.names[int(self.codes[index])]

    def __iter__(self) -> Iterator[str]:
        return map(self.names.__getitem__, self.codes.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """(N,) strings, which share memory."""
        strings = np.array(self.names, dtype=object)[self.codes] if self.names else np.empty(0, object)
        return strings if dtype is None else strings.astype(dtype)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, CodedNames) and self.names == other.names:
            return bool(np.array_equal(self.codes, other.codes))
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]  # compared by content

    def counts(self) -> dict[str, int]:
        """Name -> number of frames, in order of first appearance; without names that have no frame."""
        sizes = np.bincount(self.codes, minlength=len(self.names))
        return {self.names[code]: int(sizes[code]) for code in self._order()}

    def grouped(self) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """The names that have frames, sorted, and the index (N,) of each frame among them, as ``np.unique`` gives them."""
        present = sorted(self._order(), key=self.names.__getitem__)
        rank = np.zeros(len(self.names), np.int64)
        rank[present] = np.arange(len(present))
        return tuple(self.names[code] for code in present), rank[self.codes]

    def appearance(self) -> NDArray[np.int64]:
        """(N,) number of each frame's name, in order of first appearance."""
        order = self._order()
        rank = np.zeros(len(self.names), np.int64)
        rank[order] = np.arange(len(order))
        return rank[self.codes]

    def _order(self) -> list[int]:
        """Codes that have frames, in order of first appearance."""
        codes, first = np.unique(self.codes, return_index=True)
        return [int(code) for code in codes[np.argsort(first)]]
