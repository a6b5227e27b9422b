"""Calibrates a network on clean drives and writes the bundle, for ``ls-ood train`` and ``ls-ood calibrate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .. import __version__
from ..bundle import save_bundle
from ..errors import ConfigError
from ..frame_pass import FramePass, LatentSettings
from ..recordings.drive_source import DriveSource
from .calibrate import DetectorCalibration, calibrate, false_alarms
from .collect import Progress, collect_drives
from .feature_table import FeatureTable, concatenate_tables
from .provenance import provenance_of
from .settings import CalibrationSettings
from .table_file import pack_table


class ProgressFactory(Protocol):
    """Makes a progress display for a number of steps."""

    def __call__(self, title: str, total: int | None) -> AbstractContextManager[Progress]:
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
    """

    bundle_id: str
    fitted: Mapping[str, DetectorCalibration]
    table: FeatureTable
    provenance: Mapping[str, Any]
    table_bytes: int


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
    with_table: bool = True,
) -> CalibratedBundle:
    """Read the drives, fit detectors, set thresholds, check them on further drives, and save the bundle.

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
        with_table: store the features of the clean frames, so that a drive can be added later.

    Raises:
        CalibrationError: a drive without frames, or data that cannot support the target.
        ConfigError: ``detector`` is not in ``names``, or a drive is calibrated on twice or also checked on.
    """
    if detector not in names:
        raise ConfigError(f"detector is {detector!r}; it must be one of those calibrated, {', '.join(names)}.")
    known = set(earlier.drive_names) if earlier else set()
    for drive in drives:
        if drive.name in known:
            raise ConfigError(
                f"drive {drive.name} is in the calibration already; a drive counts once. Rename it if it is another."
            )
    for drive in check:
        if drive.name in known | {own.name for own in drives}:
            raise ConfigError(f"drive {drive.name} is calibrated on; check on drives that are not.")
    with progress("Reading clean drives", _total(drives)) as update:
        table = collect_drives(drives, frame_pass, progress=update)
    if earlier is not None:
        table = concatenate_tables([earlier, table])
    with ExitStack() as stack:

        def fits(title: str, total: int) -> Progress:
            stack.close()
            return stack.enter_context(progress(title, total))

        fitted = calibrate(table, settings, names=names, head=frame_pass.head, progress=fits)
    stored_provenance = {
        **{key: value for key, value in provenance.items() if not key.startswith("check_on_unseen_")},
        "calibration": {**provenance_of(table, settings, fitted), "package_version": __version__, **(facts or {})},
    }
    if check:
        with progress("Checking on further drives", _total(check)) as update:
            unseen = collect_drives(check, frame_pass, progress=update)
        stored_provenance["check_on_unseen_drives"] = false_alarms(fitted, unseen)
    packed = pack_table(table) if with_table else None
    identity = save_bundle(
        out,
        frame_pass,
        latents,
        {name: result.detector for name, result in fitted.items()},
        {name: result.threshold for name, result in fitted.items()},
        detector,
        class_names,
        stored_provenance,
        packed,
    )
    return CalibratedBundle(identity, fitted, table, stored_provenance, len(packed or b""))


def _total(drives: Sequence[DriveSource]) -> int | None:
    counts = [drive.frames for drive in drives]
    return None if None in counts else sum(count or 0 for count in counts)
