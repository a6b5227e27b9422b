"""From a network and clean drives to a bundle on disk; the one way, for ``ls-ood train`` and ``ls-ood calibrate``."""

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
from .calibrate import (
    CalibrationSettings,
    DetectorCalibration,
    FeatureTable,
    Progress,
    calibrate,
    collect_drives,
    concatenate_tables,
    false_alarms,
    provenance_of,
)
from .feature_table import pack_table


class ProgressFactory(Protocol):
    """Makes a progress display for a number of steps."""

    def __call__(self, title: str, total: int | None) -> AbstractContextManager[Any]:
        """A context whose value is told the number of steps done."""


@dataclass(frozen=True)
class CalibratedBundle:
    """A bundle that was written, and what it was made from.

    Attributes:
        bundle_id: its identity.
        fitted: detectors with their thresholds, by name.
        table: the clean frames.
        provenance: as stored.
        table_bytes: size of the stored table; 0 where it was left out.
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
    """Read the drives, fit, set thresholds, check them on further drives, save.

    Args:
        out: bundle folder to write.
        frame_pass: network, preprocessing and mask bank; computes the features of ``names``.
        latents: how the mask bank was drawn.
        class_names: segmentation classes by id.
        drives: clean drives.
        settings: target, and what is held out.
        detector: the one that raises the alarm.
        names: detectors to fit.
        provenance: of the network; the calibration is added.
        progress: makes progress displays.
        check: clean drives on which false alarms are counted; nothing is chosen on them.
        earlier: clean frames of an earlier calibration, which ``drives`` are added to.
        facts: further facts about this calibration for its provenance.
        with_table: store the clean frames' features, so that a drive can be added later.

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
    story = {
        **{key: value for key, value in provenance.items() if not key.startswith("check_on_unseen_")},
        "calibration": {**provenance_of(table, settings, fitted), "package_version": __version__, **(facts or {})},
    }
    if check:
        with progress("Checking on further drives", _total(check)) as update:
            unseen = collect_drives(check, frame_pass, progress=update)
        story["check_on_unseen_drives"] = false_alarms(fitted, unseen)
    packed = pack_table(table) if with_table else None
    identity = save_bundle(
        out,
        frame_pass,
        latents,
        {name: result.detector for name, result in fitted.items()},
        {name: result.threshold for name, result in fitted.items()},
        detector,
        class_names,
        story,
        packed,
    )
    return CalibratedBundle(identity, fitted, table, story, len(packed or b""))


def _total(drives: Sequence[DriveSource]) -> int | None:
    counts = [drive.frames for drive in drives]
    return None if None in counts else sum(count or 0 for count in counts)
