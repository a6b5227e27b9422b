"""Calibrates a network on clean drives and writes the bundle, for ``ls-ood train`` and ``ls-ood calibrate``."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..bundle import FILES, MANIFEST, save_bundle
from ..core.coded_names import CodedNames
from ..core.detectors import Detector, detector_spec
from ..core.held_out import fit_all
from ..errors import ConfigError, DataError
from ..features import FrameFeatures
from ..frame_pass import FramePass, LatentSettings
from ..recordings.drive_source import DriveSource
from ..recordings.recording import identity_of
from .calibrate import DetectorCalibration, calibrate, settle_defaults, shares_above
from .clean_clips import choose_clips, read_clips
from .clean_reading import FaultCounts, require_clean
from .drive_passes import CheckTask, DriveFrames, ReadTask, ScoreTask
from .drive_runner import DriveRunner
from .feature_table import FeatureTable, blocks_of_time, concatenate_tables
from .fold_scorers import FoldScorers, Scores
from .held_out_scores import Folds
from .network import LoadedNetwork, NetworkSource
from .provenance import provenance_of
from .sampling import MAX_SAMPLE, SamplePlan
from .sensitivity import CLIPS, PICTURE_CHANGES, Sensitivity, measure_sensitivity
from .settings import CalibrationSettings
from .table_file import pack_table, thin_table, whole_table
from .work_folder import key_of

#: Longest time for measuring what a monitor sees, unless another one is given, seconds.
MAX_SENSITIVITY_S = 90.0


class UpdateProgress(Protocol):
    """Shows progress."""

    def __call__(self, done: int, note: str = "") -> None:
        """Show the number of steps done, and a note on speed."""
        ...


class ProgressFactory(Protocol):
    """Makes a progress display for a number of steps."""

    def __call__(self, title: str, total: int | None) -> AbstractContextManager[UpdateProgress]:
        """Return a context manager. Its value is called with the number of steps done."""


@dataclass(frozen=True)
class CalibratedBundle:
    """A bundle that was written, and its calibration.

    Attributes:
        bundle_id: identity of the bundle.
        fitted: calibrations by the name of the detector.
        table: the clean frames.
        provenance: provenance as stored.
        table_bytes: size of the stored table; 0 if it was not stored.
        table_features: number of frames whose features the stored table holds.
        counts: drive -> images read and left out, of the drives that were read.
    """

    bundle_id: str
    fitted: Mapping[str, DetectorCalibration]
    table: FeatureTable
    provenance: Mapping[str, Any]
    table_bytes: int
    table_features: int = 0
    counts: Mapping[str, FaultCounts] = field(default_factory=dict)


def write_calibrated_bundle(
    out: Path,
    frame_pass: FramePass,
    latents: LatentSettings,
    class_names: tuple[str, ...],
    drives: Sequence[DriveSource],
    settings: CalibrationSettings,
    *,
    detector: str,
    names: Sequence[str],
    provenance: Mapping[str, Any],
    progress: ProgressFactory,
    check: Sequence[DriveSource] = (),
    earlier: FeatureTable | None = None,
    facts: Mapping[str, Any] | None = None,
    table_kind: str = "thin",
    runner: DriveRunner | None = None,
    network: NetworkSource | None = None,
    max_sample: int = MAX_SAMPLE,
    sensitivity_s: float | None = 0.0,
) -> CalibratedBundle:
    """Read the drives, fit detectors, set thresholds, check them on further drives, and save the bundle.

    Detectors are fitted to a sample of at most ``max_sample`` frames. If there are more, the drives are read twice. Each
    frame passes through the network once, those of the sample in the first reading, the others in the second. Memory does not
    grow with the drives' length.

    Args:
        out: bundle folder to write.
        frame_pass: network, preprocessing and mask bank; computes the features of ``names``.
        latents: settings that the mask bank was drawn with.
        class_names: segmentation classes by id.
        drives: clean drives.
        settings: target, and what is held out.
        detector: detector that raises the alarm.
        names: detectors to fit.
        provenance: provenance of the network. The calibration is added to it.
        progress: makes progress displays.
        check: further clean drives. Their false alarms are counted, and nothing is chosen on them.
        earlier: clean frames of an earlier calibration, to which ``drives`` are added.
        facts: further facts about this calibration, for its provenance.
        table_kind: what the bundle keeps of the clean frames, so that a drive can be added later; one of ``TABLES``.
        runner: reads the drives; None = in this process, and nothing is kept on the way.
        network: where the runner's processes get the same network from; None = this process alone has it.
        max_sample: largest number of frames that detectors are fitted to.
        sensitivity_s: time to spend on measuring what ``detector`` sees of disturbances; 0 = not measured, None = as long as
            the reading took, at most ``MAX_SENSITIVITY_S``.

    Raises:
        CalibrationError: a drive without frames or with too many faulty ones, or data that cannot support the target.
        ConfigError: ``detector`` is not in ``names``, or a drive is calibrated on twice or also checked on.
        DataError: a drive cannot be read, or the bundle cannot be written.
    """
    if detector not in names:
        raise ConfigError(f"detector is {detector!r}; it must be one of those calibrated, {', '.join(names)}.")
    _require_distinct(drives, check, earlier)
    runner = runner or DriveRunner()
    passes = _Passes(network or LoadedNetwork(frame_pass), runner, drives, settings, progress, max_sample)
    begin_s = time.monotonic()
    new = passes.read()
    if sensitivity_s is None:
        sensitivity_s = min(time.monotonic() - begin_s, MAX_SENSITIVITY_S)
    table = new if earlier is None else concatenate_tables([earlier, new])
    settings = settle_defaults(table, settings)
    with ExitStack() as stack:

        def fits(title: str, total: int) -> UpdateProgress:
            stack.close()
            return stack.enter_context(progress(title, total))

        def score_rest(scorers: FoldScorers, folds: Folds) -> Scores:
            stack.close()
            return passes.score(scorers, folds, table)

        fitted = calibrate(table, settings, names=names, head=frame_pass.head, progress=fits, score_rest=score_rest)
    counts = {drive.name: frames.counts for drive, frames in zip(drives, passes.frames, strict=True)}
    sensitivity = (
        _sensitivity(fitted[detector], detector, table, settings, drives, frame_pass, sensitivity_s, progress)
        if sensitivity_s > 0.0
        else None
    )
    stored_provenance = {
        **{key: value for key, value in provenance.items() if not key.startswith("check_on_unseen_")},
        "calibration": {
            **provenance_of(table, settings, fitted),
            "fitted_to_frames": len(table.sampled),
            "images": sum(sum(own.images.values()) for own in counts.values()),
            "left_out": {name: dict(own.left_out) for name, own in counts.items() if own.total},
            "max_faulty": settings.max_faulty,
            **({} if sensitivity is None else {"sensitivity": sensitivity.facts()}),
            "package_version": __version__,
            **(facts or {}),
        },
    }
    if check:
        unseen, check_counts = passes.check(check, fitted)
        stored_provenance["check_on_unseen_drives"] = unseen
        counts = {**counts, **check_counts}
    scores = {name: result.scores for name, result in fitted.items()}
    kept = {"thin": thin_table, "all": whole_table}[table_kind](table, scores) if table_kind != "none" else None
    packed = pack_table(kept) if kept is not None else None
    write = partial(
        save_bundle,
        frame_pass=frame_pass,
        latents=latents,
        detectors={name: result.detector for name, result in fitted.items()},
        thresholds={name: result.threshold for name, result in fitted.items()},
        detector=detector,
        class_names=class_names,
        provenance=stored_provenance,
        calibration=packed,
    )
    identity = _write_at_once(out, write)
    features = 0 if kept is None else len(kept.sampled)
    return CalibratedBundle(identity, fitted, table, stored_provenance, len(packed or b""), features, counts)


def _sensitivity(
    calibration: DetectorCalibration,
    detector: str,
    table: FeatureTable,
    settings: CalibrationSettings,
    drives: Sequence[DriveSource],
    frame_pass: FramePass,
    max_seconds: float,
    progress: ProgressFactory,
) -> Sensitivity | None:
    """What the detector sees of disturbances; None where no drive has a clip without a gap and without an alarm."""
    units = blocks_of_time(table, None if calibration.held_out == "drive" else settings.block_s)
    spec, sampled = detector_spec(detector), table.sampled
    rows = table.features.of(spec.feature)

    def scorer_without(unit: int) -> Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float64]]:
        @cache  # only the clips that there is time for need a fit
        def detector_without() -> Detector:
            return fit_all(partial(spec.make, frame_pass.head), rows[units[sampled] != unit])

        return lambda pictures: detector_without().score(frame_pass.features_of(list(pictures)).of(spec.feature))

    places = choose_clips(table, units, calibration, settings, CLIPS)
    by_name = {drive.name: drive for drive in drives}
    with progress("Disturbing clean clips", len(places) * len(PICTURE_CHANGES)) as update:
        clips = read_clips(places, by_name, table, calibration.scores[calibration.held_out], scorer_without)
        return measure_sensitivity(
            clips, detector, calibration.threshold, settings.alarm, max_seconds=max_seconds, progress=update
        )


def _require_distinct(
    drives: Sequence[DriveSource], check: Sequence[DriveSource], earlier: FeatureTable | None
) -> None:
    known = set(earlier.drive_names) if earlier else set()
    for drive in drives:
        if drive.name in known:
            raise ConfigError(
                f"drive {drive.name} is in the calibration already; a drive counts once. Rename it if it is another."
            )
    for drive in check:
        if drive.name in known | {own.name for own in drives}:
            raise ConfigError(f"drive {drive.name} is calibrated on; check on drives that are not.")


class _Passes:
    """The passes of one calibration over its new drives.

    Attributes:
        frames: frames of each drive, after ``read``; without their features.
    """

    def __init__(
        self,
        network: NetworkSource,
        runner: DriveRunner,
        drives: Sequence[DriveSource],
        settings: CalibrationSettings,
        progress: ProgressFactory,
        max_sample: int,
    ) -> None:
        self._network, self._runner, self._drives, self._progress = network, runner, drives, progress
        self._settings, self._max_sample = settings, max_sample
        self._keys: list[str] = []
        self.frames: list[DriveFrames] = []

    def read(self) -> FeatureTable:
        """Read all drives, and compute the features of the sample."""
        images = [drive.count_images() for drive in self._drives]
        plan = SamplePlan.of(images, self._max_sample)
        tasks = [
            ReadTask(drive, self._network, plan.stride, start, self._settings.max_faulty)
            for drive, start in zip(self._drives, plan.starts, strict=True)
        ]
        if self._runner.work is not None:
            self._keys = [
                key_of(["read", _identity(task.drive), self._network.facts, task.stride, task.start]) for task in tasks
            ]
        title = "Reading clean drives"
        with self._progress(title, plan.images) as update:
            results = self._runner.run(tasks, self._keys or [""] * len(tasks), images, update)
        for drive, frames in zip(self._drives, results, strict=True):
            require_clean(drive.name, frames.counts, self._settings.max_faulty)  # a kept one may have had another limit
        rows = next(frames.features for frames in results if frames.features)
        none = {name: values[:0] for name, values in rows.items()}
        tables = [
            _table_of(drive, frames, frames.features or none)
            for drive, frames in zip(self._drives, results, strict=True)
        ]
        self.frames = [replace(frames, features={}) for frames in results]
        results.clear()
        return concatenate_tables(tables)

    def score(self, scorers: FoldScorers, folds: Folds, table: FeatureTable) -> Scores:
        """Score the frames outside the sample. The new drives' frames are the last ones of the table."""
        work = self._runner.work
        scores = scorers.empty(len(table))
        start = len(table) - sum(len(frames.stamps_ns) for frames in self.frames)
        context = "" if work is None else _digest(scorers, folds, table)
        shared = scorers.save(work.path / "detectors.safetensors") if self._runner.is_remote and work else scorers
        tasks, parts, keys = [], [], []
        for drive, frames in zip(self._drives, self.frames, strict=True):
            part = slice(start, start + len(frames.stamps_ns))
            start = part.stop
            if len(frames.sample) == len(frames.stamps_ns):
                continue
            own = {unit: numbers[part] for unit, numbers in folds.items()}
            tasks.append(ScoreTask(drive, self._network, frames, own, shared))
            parts.append(part)
            keys.append(key_of(["score", drive.name, self._keys, context]) if work is not None else "")
        images = [len(task.frames.usable) for task in tasks]
        with self._progress("Scoring the other frames", sum(images)) as update:
            for part, result in zip(parts, self._runner.run(tasks, keys, images, update), strict=True):
                for name, units in result.items():
                    for unit, values in units.items():
                        scores[name][unit][part] = values
        return scores

    def check(
        self, drives: Sequence[DriveSource], fitted: Mapping[str, DetectorCalibration]
    ) -> tuple[dict[str, Any], dict[str, FaultCounts]]:
        """Share of further drives' frames above the thresholds, and what was left out."""
        scorers = FoldScorers.of_all({name: result.detector for name, result in fitted.items()})
        tasks = [CheckTask(drive, self._network, scorers, self._settings.max_faulty) for drive in drives]
        images = [drive.count_images() for drive in drives]
        with self._progress("Checking on further drives", sum(images)) as update:
            results = self._runner.run(tasks, [""] * len(tasks), images, update)
        lengths = [len(result.scores[next(iter(fitted))]) for result in results]
        names = CodedNames(np.repeat(np.arange(len(drives)), lengths), [drive.name for drive in drives])
        scores = {name: np.concatenate([result.scores[name] for result in results]) for name in fitted}
        counts = {drive.name: result.counts for drive, result in zip(drives, results, strict=True)}
        return shares_above(fitted, scores, names), counts


def _digest(scorers: FoldScorers, folds: Folds, table: FeatureTable) -> str:
    """SHA-256, hex, of what decides held-out scores: detectors, features and folds."""
    digest = hashlib.sha256(repr(sorted(scorers.detectors)).encode())
    for _, rows in sorted(table.features.rows.items()):
        digest.update(np.ascontiguousarray(rows).data)
    for unit, numbers in sorted(folds.items()):
        digest.update(unit.encode())
        digest.update(np.ascontiguousarray(numbers).data)
    return digest.hexdigest()


def _identity(drive: DriveSource) -> list[str]:
    files = identity_of(drive.path) if drive.path is not None else ""
    return [drive.name, files, drive.part]


def _table_of(drive: DriveSource, frames: DriveFrames, rows: Mapping[str, Any]) -> FeatureTable:
    assumed = {} if drive.assumed_rate_hz is None else {drive.name: drive.assumed_rate_hz}
    names = CodedNames(np.zeros(len(frames.stamps_ns), np.int32), (drive.name,))
    return FeatureTable(FrameFeatures(rows), frames.stamps_ns, frames.cameras, names, assumed, frames.sample)


def _write_at_once(out: Path, write: Any) -> str:
    """Write a bundle beside its folder, then put each file into its place.

    The manifest is removed first and comes last, and a folder without a manifest is no bundle.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as beside:
            identity = str(write(Path(beside)))
            out.mkdir(exist_ok=True)
            (out / MANIFEST).unlink(missing_ok=True)
            for name in (*FILES, MANIFEST):
                if (Path(beside) / name).exists():
                    os.replace(Path(beside) / name, out / name)
                else:
                    (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"the bundle cannot be written to {out}: {error.strerror or error}.") from error
    return identity
