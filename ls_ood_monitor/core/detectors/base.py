"""The interface of a detector, and its checks of rows and stored arrays: a row that is not finite scores NaN.

The constructor stores, ``fit`` learns, ``score`` scores; larger = more OoD. A detector names the axes of its rows and of its
arrays. One name stands for one size wherever it occurs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import BundleError, MonitorError

Arrays = Mapping[str, NDArray[np.float64]]
Self = TypeVar("Self", bound="Detector")


class Detector(ABC):
    """A detector whose state is arrays only. Subclasses define how the arrays are learnt and how a row is scored.

    Attributes:
        rows: axes of the rows, "N D" for example; N is the number of frames.
        arrays: name -> axes of each stored array; a number is a fixed size.
        portable: any array library can compute the score, so a GPU can, too (``portable_score``).
        has_cells: each cell of the picture is scored, too.
    """

    rows: ClassVar[str] = "N D"
    arrays: ClassVar[Mapping[str, str]] = {}
    portable: ClassVar[bool] = False
    has_cells: ClassVar[bool] = False

    def __init__(self) -> None:
        #: Arrays known before fitting, for example the network's last layer; part of the state.
        self._given: dict[str, NDArray[np.float64]] = {}
        self._learnt: dict[str, NDArray[np.float64]] | None = None
        self._checked: tuple[tuple[int, ...] | None, Arrays | None] = (None, None)

    def fit(self: Self, rows: ArrayLike, ood_rows: ArrayLike | None = None) -> Self:
        """Learn from N >= 2 clean rows (N, ...), all finite, not all equal; only a supervised detector uses OoD rows.

        Raises:
            MonitorError: rows that break this rule, or have other axes than this detector needs.
        """
        self._learnt = {**self._given, **self._learn(self._fit_rows(rows))}
        return self

    def draw_rows(self, count: int) -> NDArray[np.int64] | None:
        """Indices of the rows that ``fit`` draws from ``count`` rows, in order; None = it takes all."""
        return None

    def score(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Score (N,) of rows (N, ...); larger = more OoD; a non-finite row scores NaN. Rows do not affect each other.

        Raises:
            MonitorError: not fitted, or rows of another shape than those it was fitted to.
        """
        arrays = self._fitted()
        data = np.asarray(rows, dtype=np.float64)
        self._check_rows(data, arrays)
        finite = np.isfinite(data).all(axis=tuple(range(1, data.ndim)))
        scores = np.full(len(data), np.nan)
        if finite.any():
            # Huge finite values may overflow. The score is then not finite, which the alarm treats as *not OK*.
            with np.errstate(over="ignore", invalid="ignore"):
                scores[finite] = self._score(data[finite], arrays)
        return scores

    def score_and_cells(self, rows: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """``score``, and the score (N, cells) of each cell, row by row from the top left; None without ``has_cells``.

        On the scale of ``score``: a cell above the frame's threshold is out of distribution.
        """
        return self.score(rows), None

    def portable_score(self, rows: Any, arrays: Mapping[str, Any]) -> Any:
        """``score`` of rows (N, ...) with the arrays of ``state``; all of one array library and device, double precision.

        Nothing is checked and no branch depends on a value, so that CUDA graphs can capture it. The score of a row that is
        not finite is not finite.

        Raises:
            MonitorError: the detector is not portable.
        """
        if not self.portable:
            raise MonitorError(f"{type(self).__name__} is not portable; score its rows on the host.")
        return self._score(rows, arrays)

    def portable_cells(self, rows: Any, arrays: Mapping[str, Any]) -> Any:
        """Scores (N, cells) of the cells, as ``portable_score``. Raises ``MonitorError`` without ``has_cells``."""
        raise MonitorError(f"{type(self).__name__} scores no cells.")

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Arrays to store, as named in ``arrays``. Raises ``MonitorError`` before fitting."""
        return dict(self._fitted())

    @classmethod
    def from_state(cls: type[Self], state: Arrays) -> Self:
        """Rebuild from stored arrays. Raises ``BundleError`` if one is missing, has a wrong shape or is not finite."""
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
        """Learn arrays from checked rows."""

    @abstractmethod
    def _score(self, data: NDArray[np.float64], arrays: Arrays) -> NDArray[np.float64]:
        """Scores (N,) of checked, finite rows."""

    @classmethod  # noqa: B027  most detectors need no further checks
    def _check_state(cls, arrays: Arrays) -> None:
        """Raise ``BundleError`` if stored values make no sense."""

    @classmethod
    def _unfitted(cls: type[Self], arrays: Arrays) -> Self:
        """An instance for stored arrays. Detectors whose constructor needs an argument override this."""
        return cls()

    def _fitted(self) -> Arrays:
        if self._learnt is None:
            raise MonitorError("the detector is not fitted; call fit() or load a bundle first.")
        return self._learnt

    def _fit_rows(self, rows: ArrayLike, label: str = "rows") -> NDArray[np.float64]:
        """Rows as an array. Raises ``MonitorError`` if a detector cannot be fitted to them."""
        data = np.asarray(rows, dtype=np.float64)
        self._check_axes(data, self._given)
        finite = bool(np.isfinite(data).all())
        if len(data) < 2 or data.size == 0 or not finite:
            raise MonitorError(
                f"a detector is fitted to at least 2 finite {label}; got shape {data.shape}"
                f"{'' if finite else ' with non-finite values'}."
            )
        if not np.ptp(data, axis=0).any():
            # Without any spread every frame would get the same score.
            raise MonitorError(f"all {len(data)} {label} are equal; a detector needs frames that differ.")
        return data

    def _check_rows(self, data: NDArray[np.float64], arrays: Arrays) -> None:
        """``_check_axes``, but only once per shape, because it takes as long as a score."""
        shape, checked = self._checked
        if data.shape[1:] != shape or arrays is not checked:
            self._check_axes(data, arrays)
            self._checked = data.shape[1:], arrays

    def _check_axes(self, data: NDArray[np.float64], arrays: Arrays) -> None:
        try:
            _sizes({"rows": self.rows, **self.arrays}, {**arrays, "rows": data})
        except ValueError:
            sizes = _sizes(self.arrays, arrays)
            wanted = ", ".join(str(sizes.get(axis, axis)) for axis in self.rows.split())
            raise MonitorError(f"rows have shape {data.shape}; the detector needs ({wanted}).") from None


def _sizes(schema: Mapping[str, str], arrays: Arrays) -> dict[str, int]:
    """Size of each named axis. Raises ``ValueError`` if one name has two sizes, or the number of axes is wrong."""
    sizes: dict[str, int] = {}
    for name in (name for name in schema if name in arrays):
        axes, shape = schema[name].split(), arrays[name].shape
        fits = len(axes) == len(shape)
        for axis, size in zip(axes, shape, strict=True) if fits else ():
            fits &= size == (int(axis) if axis.isdigit() else sizes.setdefault(axis, size))
        if not fits:
            raise ValueError(f"{name} is {shape}, it must be ({', '.join(axes)})")
    return sizes
