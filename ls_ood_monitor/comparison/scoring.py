"""Fits every detector to the calibration pictures, sets its threshold, and scores every test picture in every condition.

All detectors read the same pass over the same pictures. Features of test pictures are scored at once and not kept.
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
#: A score that is not finite counts as the largest one, because the vehicle does not take such a frame as clear.
_WORST = float(np.finfo(np.float64).max)


def detectors_named(option: str) -> tuple[str, ...]:
    """Parse a list of detectors separated by commas, or ``all``: every detector that needs no OoD frames.

    Raises ``ConfigError`` for an unknown name, or none.
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
class CalibratedDetector:
    """A detector ready for the test."""

    detector: Detector  # fitted to all calibration pictures
    threshold: Threshold  # from the scores of held-out calibration pictures
    maps: MapJudge | None  # counts its anomaly maps; None if it has none


@dataclass
class ConditionScores:
    """Scores of the N pictures in one condition; larger = more OoD."""

    condition: Condition
    pool: str  # name of the set of units; conditions with the same pool have the same pictures in the same order
    units: list[str] = field(default_factory=list)  # unit of each picture
    scores: dict[str, list[float]] = field(default_factory=dict)  # detector -> N scores
    maps: dict[str, MapFigures] = field(default_factory=dict)  # detector -> counts of its anomaly maps


@dataclass(frozen=True)
class ComparisonScores:
    """All scores of a comparison, from which its figures are computed."""

    fitted: dict[str, CalibratedDetector]
    conditions: list[ConditionScores]  # the first is clean
    calibration: dict[str, Any]  # facts about the calibration
    nonfinite: dict[str, int]  # detector -> number of test scores that were not finite and counted as the largest
    sample: list[NDArray[np.uint8]]  # a few clean test pictures at the network's size, for timing


def score_protocol(
    protocol: Protocol,
    names: Sequence[str],
    frame_pass: FramePass,
    renderer: PictureRenderer,
    *,
    target_rate: float,
    ood_kind: str = "fog",
    folds: int = 0,
    progress: Progress,
) -> ComparisonScores:
    """Calibrate the detectors and score all test pictures.

    Args:
        protocol: calibration and test pictures.
        names: detectors.
        frame_pass: network that computes at least the features that the detectors read.
        renderer: makes the pictures.
        target_rate: accepted share of clean frames above a threshold.
        ood_kind: anomaly to which supervised detectors are fitted, on calibration pictures only.
        folds: number of groups in which calibration units are held out; 0 holds out one unit at a time.
        progress: called with title, number done, and total (None if unknown).

    Raises:
        CalibrationError: fewer than two calibration units, or features that are not finite.
        DataError: pictures that cannot be read, or none.
    """
    with renderer.opened():
        fitted, facts = _calibrate(protocol, names, frame_pass, renderer, target_rate, ood_kind, folds, progress)
        nonfinite = dict.fromkeys(names, 0)
        sample: list[NDArray[np.uint8]] = []
        scored = [ConditionScores(condition, "control") for condition in protocol.conditions]
        for picture in _render(protocol.control, renderer, protocol.conditions, True, progress):
            _score(picture, scored, fitted, frame_pass, nonfinite)
            if len(sample) < 16:
                sample.append(picture.images[0])
        for recorded in protocol.recorded:
            scored.append(ConditionScores(Condition(recorded.name, 0, OOD), recorded.name))
            for picture in _render(recorded, renderer, (CLEAN_CONDITION,), False, progress):
                _score(picture, scored[-1:], fitted, frame_pass, nonfinite)
    shared = set(scored[0].units) & set(facts["units"])
    if shared:
        raise CalibrationError(
            f"unit {min(shared)} is both calibrated on and tested on; use other drives for the test."
        )
    facts["units"] = len(facts["units"])
    return ComparisonScores(fitted, scored, facts, nonfinite, sample)


def _render(
    source: PictureSet, renderer: PictureRenderer, conditions: Sequence[Condition], masks: bool, progress: Progress
) -> Iterator[RenderedPicture]:
    title = source.name[:1].upper() + source.name[1:]
    total = None if source.count is None else source.count * len(conditions)
    done = 0
    progress(title, 0, total)
    for picture in renderer.render(source.read(), conditions, masks=masks):
        yield picture
        done += len(picture.images)
        progress(title, done, total)
    if not done:
        raise CalibrationError(f"there are no pictures in {source.name}; check the recording and its topics.")


def _features(images: NDArray[np.uint8], frame_pass: FramePass) -> FrameFeatures:
    parts = [frame_pass.features_of(list(images[start : start + _BATCH])) for start in range(0, len(images), _BATCH)]
    return FrameFeatures.concatenate(parts)


def _calibrate(
    protocol: Protocol,
    names: Sequence[str],
    frame_pass: FramePass,
    renderer: PictureRenderer,
    target_rate: float,
    ood_kind: str,
    folds: int,
    progress: Progress,
) -> tuple[dict[str, CalibratedDetector], dict[str, Any]]:
    supervised = [name for name in names if detector_spec(name).supervised]
    conditions = [CLEAN_CONDITION, *(Condition(ood_kind, severity, OOD) for severity in range(1, 6) if supervised)]
    units: list[str] = []
    clean: list[FrameFeatures] = []
    ood: list[FrameFeatures] = []
    for number, picture in enumerate(_render(protocol.calibration, renderer, conditions, False, progress)):
        units.append(picture.unit)
        chosen = [0, 1 + number % 5] if supervised else [0]  # severities in turn
        both = _features(picture.images[chosen], frame_pass).rows
        clean.append(FrameFeatures({name: values[:1] for name, values in both.items()}))
        if supervised:
            ood.append(FrameFeatures({name: values[1:] for name, values in both.items()}))
    features = FrameFeatures.concatenate(clean)
    ood_features = FrameFeatures.concatenate(ood) if ood else None
    for name, rows in features.rows.items():
        if not np.isfinite(rows).all():
            raise CalibrationError(
                f"{name} of a calibration picture are not finite; the network's weights are damaged."
            )
    groups = _groups(units, folds)
    count = len(set(units))
    held_out_groups = len(np.unique(groups))
    origin = left_out(protocol.held_out, -(-count // held_out_groups))
    head = frame_pass.head
    fitted = {}
    for number, name in enumerate(names, start=1):
        spec = detector_spec(name)
        progress("Fitting detectors", number - 1, len(names))
        rows = features.of(spec.feature)
        ood_rows = ood_features.of(spec.feature) if spec.supervised and ood_features is not None else None
        held_out, cells = _held_out(partial(spec.make, head), rows, ood_rows, groups)
        threshold = quantile_threshold(
            held_out, target_rate, origin=origin, blocks=count, unit=protocol.held_out, allow_small=True
        )
        maps = None if cells is None else MapJudge.calibrate(cells, threshold)
        fitted[name] = CalibratedDetector(spec.make(head).fit(rows, ood_rows), threshold, maps)
        progress("Fitting detectors", number, len(names))
    facts: dict[str, Any] = {"frames": len(units), "units": sorted(set(units)), "held_out_groups": held_out_groups}
    if supervised:
        facts["supervised"] = {"detectors": supervised, "kind": ood_kind, "severities": "1 to 5 in turn"}
    return fitted, facts


def _groups(units: Sequence[str], folds: int) -> NDArray[np.int64]:
    """Number the group of each picture, (N,). A group is held out as a whole: a unit, or every ``folds``-th unit."""
    names, groups = np.unique(np.asarray(units), return_inverse=True)
    if len(names) < 2:
        raise CalibrationError(
            f"the calibration pictures form {len(names)} unit; at least 2 are needed to hold one out. "
            "Give more or longer drives, or use shorter blocks."
        )
    return np.asarray(groups % folds if 1 < folds < len(names) else groups, dtype=np.int64)


def _held_out(
    make: Callable[[], Detector], rows: Rows, ood_rows: Rows | None, groups: NDArray[np.int64]
) -> tuple[Rows, Rows | None]:
    """Scores (N,) and cell scores (N, cells) of calibration pictures, by detectors that have not seen their group.

    The cell scores are None for a detector without anomaly maps.
    """
    scores = np.empty(len(rows))
    cells: Rows | None = None
    for group in np.unique(groups):
        out = groups == group
        detector = make()
        detector.fit(rows[~out], None if ood_rows is None else ood_rows[~out])
        scores[out] = detector.score(rows[out])
        if (unseen := _cell_scores(detector, rows[out])) is not None:
            cells = np.empty((len(rows), unseen.shape[1])) if cells is None else cells
            cells[out] = unseen
    return scores, cells


def _cell_scores(detector: Detector, rows: Rows) -> Rows | None:
    """Scores (N, cells) of the cells of each picture; None for a detector without anomaly maps."""
    cell_scores: Callable[[Rows], Rows] | None = getattr(detector, "cell_scores", None)
    return None if cell_scores is None else np.asarray(cell_scores(rows), dtype=np.float64)


def _score(
    picture: RenderedPicture,
    scored: Sequence[ConditionScores],
    fitted: dict[str, CalibratedDetector],
    frame_pass: FramePass,
    nonfinite: dict[str, int],
) -> None:
    """Append the picture's score in each condition, and count its maps in the clean condition and those with a mask."""
    features = _features(picture.images, frame_pass)
    for tested in scored:
        tested.units.append(picture.unit)
    for name, calibrated in fitted.items():
        rows = features.of(detector_spec(name).feature)
        scores = np.asarray(calibrated.detector.score(rows), dtype=np.float64)
        nonfinite[name] += int((~np.isfinite(scores)).sum())
        scores = np.nan_to_num(scores, nan=_WORST, posinf=_WORST, neginf=-_WORST)
        for tested, score in zip(scored, scores, strict=True):
            tested.scores.setdefault(name, []).append(float(score))
        if calibrated.maps is None:
            continue
        mapped = [index for index, tested in enumerate(scored) if index == 0 or tested.condition in picture.masks]
        cells = _cell_scores(calibrated.detector, rows[mapped])
        for index, values in zip(mapped, cells if cells is not None else (), strict=True):
            figures = scored[index].maps.setdefault(name, MapFigures())
            mask = picture.masks.get(scored[index].condition)
            calibrated.maps.add(figures, picture.unit, values, mask, picture.images.shape[1:3])
