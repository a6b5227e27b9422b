"""Detectors by what they have not seen: each scores frames of its own block or drive."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ..core.detectors import Detector, detector_spec
from ..features import FrameFeatures

#: Detector -> what was held out -> (n,) scores.
Scores = dict[str, dict[str, NDArray[np.float64]]]
_ALL = "all"


@dataclass(frozen=True)
class FoldScorers:
    """Fitted detectors: name -> what was held out -> the detector of each fold."""

    detectors: Mapping[str, Mapping[str, Sequence[Detector]]]

    @staticmethod
    def of_all(detectors: Mapping[str, Detector]) -> FoldScorers:
        """Detectors from which nothing is held out."""
        return FoldScorers({name: {_ALL: [detector]} for name, detector in detectors.items()})

    def open(self) -> FoldScorers:
        """This."""
        return self

    def empty(self, count: int) -> Scores:
        """Scores of ``count`` frames, all NaN."""
        return {name: {unit: np.full(count, np.nan) for unit in units} for name, units in self.detectors.items()}

    def score(
        self, index: NDArray[np.int64], features: FrameFeatures, folds: Mapping[str, NDArray[np.int64]], scores: Scores
    ) -> None:
        """Score frames by the detectors of their folds.

        Args:
            index: (B,) places of the frames in ``scores`` and ``folds``.
            features: features with B rows.
            folds: what was held out -> (n,) fold of each frame.
            scores: takes the scores.
        """
        for name, units in self.detectors.items():
            rows = features.of(detector_spec(name).feature)
            for unit, detectors in units.items():
                own = folds[unit][index]
                for fold in np.unique(own):
                    chosen = own == fold
                    scores[name][unit][index[chosen]] = detectors[fold].score(rows[chosen])

    def score_all(self, features: FrameFeatures) -> dict[str, NDArray[np.float64]]:
        """Scores of frames by the detectors of ``of_all``."""
        return {
            name: units[_ALL][0].score(features.of(detector_spec(name).feature))
            for name, units in self.detectors.items()
        }

    def save(self, path: Path) -> ScorersFile:
        """Write the detectors' arrays, for other processes."""
        arrays = {
            f"{name}/{unit}/{fold}/{key}": np.ascontiguousarray(values)
            for name, units in self.detectors.items()
            for unit, detectors in units.items()
            for fold, detector in enumerate(detectors)
            for key, values in detector.state().items()
        }
        part = path.with_suffix(".part")
        save_file(arrays, part)
        os.replace(part, path)
        return ScorersFile(path)


@dataclass(frozen=True)
class ScorersFile:
    """Detectors in a file."""

    path: Path

    def open(self) -> FoldScorers:
        """Read them; once a process."""
        return _read(self.path, self.path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _read(path: Path, _changed_ns: int) -> FoldScorers:
    states: dict[str, dict[str, dict[int, dict[str, NDArray[np.float64]]]]] = {}
    for key, values in load_file(path).items():
        name, unit, fold, array = key.split("/")
        states.setdefault(name, {}).setdefault(unit, {}).setdefault(int(fold), {})[array] = values
    return FoldScorers(
        {
            name: {
                unit: [detector_spec(name).from_state(folds[fold]) for fold in sorted(folds)]
                for unit, folds in units.items()
            }
            for name, units in states.items()
        }
    )
