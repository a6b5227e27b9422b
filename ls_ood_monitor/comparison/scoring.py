"""Fit every detector on the calibration pictures, set its threshold, and score every test picture in every condition.

All detectors read the same pass over the same pictures; rows of test pictures are scored at once and not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.detectors import DETECTORS, Detector, detector_spec
from ..core.threshold import Threshold, left_out, quantile_threshold
from ..errors import CalibrationError, ConfigError
from ..features import FrameFeatures
from ..frame_pass import FramePass
from .conditions import CLEAN_CONDITION, OOD, Condition
from .maps import MapFigures, MapJudge
from .pictures import PictureRenderer, PictureSet, RenderedPicture
from .protocols import Protocol

Rows = NDArray[np.float64]
Progress = Callable[[str, int, int | None], Any]

_BATCH = 16
#: A score that is not finite counts as the largest one, as the vehicle takes it for *not clear*.
_WORST = float(np.finfo(np.float64).max)


def detectors_named(option: str) -> tuple[str, ...]:
    """Names of ``all`` (every one that is fitted to clean frames alone) or of a list separated by commas.

    Raises:
        ConfigError: unknown name, or none.
    """
    if option.strip() == "all":
        return tuple(name for name, spec in DETECTORS.items() if not spec.supervised)
    names = tuple(dict.fromkeys(part.strip() for part in option.split(",") if part.strip()))
    if not names:
        raise ConfigError("--detectors names none; give a list separated by commas, or all.")
    for name in names:
        detector_spec(name)
    return names


@dataclass(frozen=True)
class Fitted:
    """A detector ready for the test.

    Attributes:
        detector: fitted to all calibration pictures.
        threshold: on its scores, from held-out calibration pictures.
        maps: bins of its anomaly map; None where it offers none.
    """

    detector: Detector
    threshold: Threshold
    maps: MapJudge | None


@dataclass
class ConditionScores:
    """Scores of one condition's pictures.

    Attributes:
        condition: what was shown.
        pool: name of the set of units; conditions of one pool show the same pictures in the same order.
        units: (N,) unit of each picture.
        scores: detector -> (N,).
        maps: detector -> figures of its anomaly map.
    """

    condition: Condition
    pool: str
    units: list[str] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)
    maps: dict[str, MapFigures] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """Everything that the figures are computed from.

    Attributes:
        fitted: detectors by name.
        conditions: clean first.
        calibration: facts about the calibration.
        nonfinite: detector -> test scores that were not finite and counted as the largest.
        sample: a few clean test pictures at the network's size, for timing.
    """

    fitted: dict[str, Fitted]
    conditions: list[ConditionScores]
    calibration: dict[str, Any]
    nonfinite: dict[str, int]
    sample: list[NDArray[np.uint8]]


def measure(
    protocol: Protocol,
    names: Sequence[str],
    frame_pass: FramePass,
    studio: PictureRenderer,
    *,
    target_rate: float,
    ood_kind: str = "fog",
    folds: int = 0,
    progress: Progress,
) -> Measured:
    """Calibrate and test.

    Args:
        protocol: which pictures.
        names: detectors.
        frame_pass: computes at least the features that they read.
        studio: makes the pictures.
        target_rate: accepted share of clean frames above a threshold.
        ood_kind: anomaly that supervised detectors are fitted to, shown on calibration pictures alone.
        folds: hold out the calibration units in so many groups; 0 holds out one at a time.
        progress: called with (title, done, total).

    Raises:
        CalibrationError: fewer than two calibration units, or features that are not finite.
        DataError: pictures that cannot be read, or none.
    """
    with studio.opened():
        fitted, facts = _calibrate(
            protocol.calibration, protocol.held_out, names, frame_pass, studio, target_rate, ood_kind, folds, progress
        )
        nonfinite = dict.fromkeys(names, 0)
        sample: list[NDArray[np.uint8]] = []
        scored = [ConditionScores(condition, "control") for condition in protocol.conditions]
        for shown in _shown(protocol.control, studio, protocol.conditions, True, progress):
            _score(shown, scored, fitted, frame_pass, nonfinite)
            if len(sample) < 16:
                sample.append(shown.images[0])
        for recorded in protocol.recorded:
            part = ConditionScores(Condition(recorded.name, 0, OOD), recorded.name)
            for shown in _shown(recorded, studio, (CLEAN_CONDITION,), False, progress):
                _score(shown, [part], fitted, frame_pass, nonfinite)
            scored.append(part)
    shared = set(scored[0].units) & set(facts["units"])
    if shared:
        raise CalibrationError(
            f"unit {min(shared)} is both calibrated on and tested on; use other drives for the test."
        )
    facts["units"] = len(facts["units"])
    return Measured(fitted, scored, facts, nonfinite, sample)


def _shown(
    source: PictureSet, studio: PictureRenderer, conditions: Sequence[Condition], masks: bool, progress: Progress
) -> Iterator[RenderedPicture]:
    title = source.name[:1].upper() + source.name[1:]
    total = None if source.count is None else source.count * len(conditions)
    done = 0
    progress(title, 0, total)
    for shown in studio.show(source.read(), conditions, masks=masks):
        yield shown
        done += len(shown.images)
        progress(title, done, total)
    if not done:
        raise CalibrationError(f"there are no pictures in {source.name}; check the recording and its topics.")


def _features(images: NDArray[np.uint8], frame_pass: FramePass) -> FrameFeatures:
    parts = [frame_pass.features_of(list(images[start : start + _BATCH])) for start in range(0, len(images), _BATCH)]
    return FrameFeatures.concatenate(parts)


def _calibrate(
    source: PictureSet,
    held_out_unit: str,
    names: Sequence[str],
    frame_pass: FramePass,
    studio: PictureRenderer,
    target_rate: float,
    ood_kind: str,
    folds: int,
    progress: Progress,
) -> tuple[dict[str, Fitted], dict[str, Any]]:
    supervised = [name for name in names if detector_spec(name).supervised]
    conditions = [CLEAN_CONDITION, *(Condition(ood_kind, severity, OOD) for severity in range(1, 6) if supervised)]
    units: list[str] = []
    clean: list[FrameFeatures] = []
    odd: list[FrameFeatures] = []
    for number, shown in enumerate(_shown(source, studio, conditions, False, progress)):
        units.append(shown.unit)
        wanted = [0, 1 + number % 5] if supervised else [0]  # severities in turn
        rows = _features(shown.images[wanted], frame_pass)
        clean.append(FrameFeatures({name: values[:1] for name, values in rows.rows.items()}))
        if supervised:
            odd.append(FrameFeatures({name: values[1:] for name, values in rows.rows.items()}))
    features = FrameFeatures.concatenate(clean)
    odd_features = FrameFeatures.concatenate(odd) if odd else None
    for name, rows in features.rows.items():
        if not np.isfinite(rows).all():
            raise CalibrationError(
                f"{name} of a calibration picture are not finite; the network's weights are damaged."
            )
    groups = _groups(units, folds)
    count = len(set(units))
    origin = left_out(held_out_unit, -(-count // len(np.unique(groups))))
    head = frame_pass.head
    fitted = {}
    for number, name in enumerate(names, start=1):
        spec = detector_spec(name)
        progress("Fitting detectors", number - 1, len(names))
        rows = features.of(spec.feature)
        odd_rows = odd_features.of(spec.feature) if spec.supervised and odd_features is not None else None
        held_out, cells = _held_out(partial(spec.make, head), rows, odd_rows, groups)
        threshold = quantile_threshold(
            held_out, target_rate, origin=origin, blocks=count, unit=held_out_unit, allow_small=True
        )
        maps = None if cells is None else MapJudge.calibrate(cells, threshold)
        fitted[name] = Fitted(spec.make(head).fit(rows, odd_rows), threshold, maps)
        progress("Fitting detectors", number, len(names))
    facts: dict[str, Any] = {
        "frames": len(units),
        "units": sorted(set(units)),
        "held_out_groups": len(np.unique(groups)),
    }
    if supervised:
        facts["supervised"] = {"detectors": supervised, "kind": ood_kind, "severities": "1 to 5 in turn"}
    return fitted, facts


def _groups(units: Sequence[str], folds: int) -> NDArray[np.int64]:
    """(N,) what is held out together: each unit, or every ``folds``-th one."""
    names, groups = np.unique(np.asarray(units), return_inverse=True)
    if len(names) < 2:
        raise CalibrationError(
            f"the calibration pictures form {len(names)} unit; at least 2 are needed to hold one out. "
            "Give more or longer drives, or use shorter blocks."
        )
    return np.asarray(groups % folds if 1 < folds < len(names) else groups, dtype=np.int64)


def _held_out(
    make: Callable[[], Detector], rows: Rows, odd_rows: Rows | None, groups: NDArray[np.int64]
) -> tuple[Rows, Rows | None]:
    """Score (N,) and cells (N, cells) of each calibration picture by a detector that has not seen its group."""
    scores = np.empty(len(rows))
    cells: Rows | None = None
    for group in np.unique(groups):
        out = groups == group
        detector = make()
        detector.fit(rows[~out], None if odd_rows is None else odd_rows[~out])
        scores[out] = detector.score(rows[out])
        if hasattr(detector, "cell_scores"):
            found = np.asarray(detector.cell_scores(rows[out]), dtype=np.float64)
            cells = np.empty((len(rows), found.shape[1])) if cells is None else cells
            cells[out] = found
    return scores, cells


def _score(
    shown: RenderedPicture,
    parts: Sequence[ConditionScores],
    fitted: dict[str, Fitted],
    frame_pass: FramePass,
    nonfinite: dict[str, int],
) -> None:
    """Append the picture's score in each condition, and judge the maps."""
    features = _features(shown.images, frame_pass)
    for part in parts:
        part.units.append(shown.unit)
    for name, entry in fitted.items():
        rows = features.of(detector_spec(name).feature)
        scores = np.asarray(entry.detector.score(rows), dtype=np.float64)
        nonfinite[name] += int((~np.isfinite(scores)).sum())
        scores = np.nan_to_num(scores, nan=_WORST, posinf=_WORST, neginf=-_WORST)
        for part, score in zip(parts, scores, strict=True):
            part.scores.setdefault(name, []).append(float(score))
        if entry.maps is None:
            continue
        judged = [index for index, part in enumerate(parts) if index == 0 or part.condition in shown.masks]
        cells = np.asarray(entry.detector.cell_scores(rows[judged]), dtype=np.float64)  # type: ignore[attr-defined]
        for index, values in zip(judged, cells, strict=True):
            figures = parts[index].maps.setdefault(name, MapFigures())
            entry.maps.add(
                figures, shown.unit, values, shown.masks.get(parts[index].condition), shown.images.shape[1:3]
            )
