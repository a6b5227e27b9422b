"""Long lists kept in columns of numbers: some bytes a row, where an object takes hundreds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

Row = TypeVar("Row")


class Columns(Sequence[Row]):
    """A sequence whose rows are put together when they are asked for; a part of it is a list of them."""

    @abstractmethod
    def _row(self, place: int) -> Row:
        """The row at ``place``, 0 <= place < N."""

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        places = range(len(self))[index]
        return self._row(places) if isinstance(places, int) else [self._row(place) for place in places]
