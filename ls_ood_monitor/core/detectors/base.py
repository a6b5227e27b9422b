"""What detectors share: rows and stored arrays are checked here, once, and a broken row scores NaN.

A detector names the axes of its rows and of its arrays; one letter stands for one size wherever it occurs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import BundleError, MonitorError

Arrays = Mapping[str, NDArray[np.float64]]
Self = TypeVar("Self", bound="ArrayDetector")


class ArrayDetector(ABC):
    """A detector that is nothing but arrays; subclasses say how they are learnt and what they make of a row.

    Attributes:
        rows: axes of the rows, "N D" for example; N is the number of frames.
        arrays: name -> axes of each stored array; a number is a fixed size.
        portable: its score is arithmetic that any array library can do, so that a GPU may (``portable_score``).
    """

    rows: ClassVar[str] = "N D"
    arrays: ClassVar[Mapping[str, str]] = {}
    portable: ClassVar[bool] = False

    def __init__(self) -> None:
        #: Arrays known before fitting (the network's last layer, say); part of the state.
        self._given: dict[str, NDArray[np.float64]] = {}
        self._learnt: dict[str, NDArray[np.float64]] | None = None
        self._rows_seen: tuple[tuple[int, ...] | None, Arrays | None] = (None, None)

    def fit(self: Self, rows: ArrayLike, ood_rows: ArrayLike | None = None) -> Self:
        """Learn from clean rows, N >= 2, all finite, not all equal; OoD rows are not used.

        Raises:
            MonitorError: rows that break this rule or have other axes than this detector's.
        """
        self._learnt = {**self._given, **self._learn(self._fit_rows(rows))}
        return self

    def score(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Score (N,) of rows; larger = more OoD; a non-finite row scores NaN.

        Raises:
            MonitorError: not fitted, or rows of another shape than those it was fitted to.
        """
        arrays = self._fitted()
        data = np.asarray(rows, dtype=np.float64)
        self._check_rows(data, arrays)
        finite = np.isfinite(data).all(axis=tuple(range(1, data.ndim)))
        scores = np.full(len(data), np.nan)
        if finite.any():
            # A row of finite but absurd size may overflow; the result is not finite either, which is never *clear*.
            with np.errstate(over="ignore", invalid="ignore"):
                scores[finite] = self._score(data[finite], arrays)
        return scores

    def portable_score(self, rows: Any, arrays: Mapping[str, Any]) -> Any:
        """``score`` of rows (N, ...) with the arrays of ``state``, all of one library and device, in double precision.

        Nothing is checked: there is no branch on a value, so that it can be captured. A broken row is not finite.

        Raises:
            MonitorError: it is not portable.
        """
        if not self.portable:
            raise MonitorError(f"{type(self).__name__} is not portable; score its rows on the host.")
        return self._score(rows, arrays)

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Arrays to store, as named in ``arrays``. Raises ``MonitorError`` before fitting."""
        return dict(self._fitted())

    @classmethod
    def from_state(cls: type[Self], state: Arrays) -> Self:
        """Rebuild from stored arrays. Raises ``BundleError`` when they are missing, misshapen or not finite."""
        missing = sorted(set(cls.arrays) - set(state))
        if missing:
            raise BundleError(f"detector arrays {', '.join(missing)} are missing; calibrate again.")
        arrays = {name: np.asarray(state[name], dtype=np.float64) for name in cls.arrays}
        try:
            _sizes(cls.arrays, arrays)
        except ValueError as error:
            raise BundleError(f"detector arrays have shapes that do not fit ({error}); calibrate again.") from None
        for name, values in arrays.items():
            if not np.isfinite(values).all():
                raise BundleError(f"detector array {name} holds non-finite values; calibrate again.")
        cls._check_state(arrays)
        detector = cls._unfitted(arrays)
        detector._learnt = arrays
        return detector

    @abstractmethod
    def _learn(self, data: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Arrays that checked rows teach, beyond those given."""

    @abstractmethod
    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        """Scores (N,) of checked, finite rows."""

    @classmethod  # noqa: B027  most need no more than shapes and finite values
    def _check_state(cls, arrays: Arrays) -> None:
        """Refuse stored arrays whose values make no sense, with a ``BundleError``."""

    @classmethod
    def _unfitted(cls: type[Self], arrays: Arrays) -> Self:
        """An instance to hold stored arrays; constructors with an obligatory argument override this."""
        return cls()

    def _fitted(self) -> Arrays:
        if self._learnt is None:
            raise MonitorError("the detector is not fitted; call fit() or load a bundle first.")
        return self._learnt

    def _fit_rows(self, rows: ArrayLike, what: str = "rows") -> NDArray[np.float64]:
        """Rows as an array, if a detector can be fitted to them."""
        data = np.asarray(rows, dtype=np.float64)
        self._check_axes(data, self._given)
        finite = bool(np.isfinite(data).all())
        if len(data) < 2 or data.size == 0 or not finite:
            raise MonitorError(
                f"a detector is fitted to at least 2 finite {what}; got shape {data.shape}"
                f"{'' if finite else ' with non-finite values'}."
            )
        if not np.ptp(data, axis=0).any():
            # Without any spread every frame would score alike and the monitor would be blind.
            raise MonitorError(f"all {len(data)} {what} are equal; a detector needs frames that differ.")
        return data

    def _check_rows(self, data: NDArray[np.float64], arrays: Arrays) -> None:
        """``_check_axes``, once for all rows of one shape: it takes as long as a score."""
        shape, known = self._rows_seen
        if data.shape[1:] != shape or arrays is not known:
            self._check_axes(data, arrays)
            self._rows_seen = data.shape[1:], arrays

    def _check_axes(self, data: NDArray[np.float64], arrays: Arrays) -> None:
        try:
            _sizes({"rows": self.rows, **self.arrays}, {**arrays, "rows": data})
        except ValueError:
            sizes = _sizes(self.arrays, arrays)
            wanted = ", ".join(str(sizes.get(axis, axis)) for axis in self.rows.split())
            raise MonitorError(f"rows have shape {data.shape}; the detector needs ({wanted}).") from None


def _pairs(axes: Iterable[str], shape: Iterable[int]) -> Iterable[tuple[str, int]]:
    return zip(axes, shape, strict=True)


def _sizes(schema: Mapping[str, str], arrays: Arrays) -> dict[str, int]:
    """Size of each named axis. Raises ``ValueError`` where one name has two sizes or the number of axes is wrong."""
    sizes: dict[str, int] = {}
    for name in (name for name in schema if name in arrays):
        axes, shape = schema[name].split(), arrays[name].shape
        fits = len(axes) == len(shape)
        for axis, size in _pairs(axes, shape) if fits else ():
            fits &= size == (int(axis) if axis.isdigit() else sizes.setdefault(axis, size))
        if not fits:
            raise ValueError(f"{name} is {shape}, it must be ({', '.join(axes)})")
    return sizes
