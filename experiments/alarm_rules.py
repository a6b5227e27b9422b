"""Compares alarm rules: consecutive frames, a share of a window, or a cumulative sum.

    python experiments/alarm_rules.py --scores scores.npz          # renders and scores once, then compares
    python experiments/alarm_rules.py --scores scores.npz --json rules.json

Scores of neighbouring frames are alike, so shuffled frames cannot rate a rule. Whole drives are played, clean, and again with
a disturbance that begins at a random moment. Half of the drives choose each rule's threshold, the lowest one with no more
than the accepted false alarms. The other half is reported: false alarms an hour with their exact Poisson interval, and the
time from the onset to the alarm. Pictures are of the procedural (synthetic) street.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.console import progress_bar, require_file_place, write_json
from ls_ood_monitor.config import AlarmSettings
from ls_ood_monitor.core.alarm import alarm_onsets
from ls_ood_monitor.core.detectors import detector_spec
from ls_ood_monitor.core.intervals import poisson_interval
from ls_ood_monitor.street import CAMERAS
from ls_ood_monitor.street.shots import Shot, render_shots

#: Drives of the validation range; none of them is reported on elsewhere.
FIRST_DRIVE = 2300
DURATION_S = 24.0
RATE_HZ = 5.0
FRAMES = round(DURATION_S * RATE_HZ)
#: A disturbance lasts so many frames.
LASTS = 15
KINDS = ("fog", "blur", "dark", "mud", "rain", "noise")
SEVERITIES = (1, 2)
RULES = {
    "1 frame": AlarmSettings(1),
    "2 in a row": AlarmSettings(2),
    "3 in a row": AlarmSettings(3),
    "5 in a row": AlarmSettings(5),
    "2 of 3": AlarmSettings(2, rule="window", window_frames=3),
    "3 of 5": AlarmSettings(3, rule="window", window_frames=5),
    "5 of 10": AlarmSettings(5, rule="window", window_frames=10),
    "cumulative sum 0.5": AlarmSettings(rule="cusum", cusum_limit=0.5),
    "cumulative sum 1": AlarmSettings(rule="cusum", cusum_limit=1.0),
    "cumulative sum 2": AlarmSettings(rule="cusum", cusum_limit=2.0),
}


@dataclass(frozen=True)
class Scores:
    """Scores of clean drives (D, FRAMES), and of their disturbed parts (D, kinds, severities, LASTS) from ``onset`` (D,)."""

    clean: NDArray[np.float64]
    disturbed: NDArray[np.float64]
    onset: NDArray[np.int64]
    threshold: float
    clean_median: float


def score_drives(drives: int) -> Scores:
    """Render and score; one camera a drive, in turn."""
    monitor = load_bundle(device="auto")
    detector, feature = monitor.detectors[monitor.detector], detector_spec(monitor.detector).feature
    random = np.random.default_rng(0)
    onset = random.integers(FRAMES // 4, FRAMES - LASTS, drives)
    shots = [
        Shot(FIRST_DRIVE + drive, CAMERAS[drive % len(CAMERAS)], index / RATE_HZ)
        for drive in range(drives)
        for index in range(FRAMES)
    ]
    clean = np.empty((drives, FRAMES))
    disturbed = np.empty((drives, len(KINDS), len(SEVERITIES), LASTS))
    with progress_bar("Rendering and scoring", len(shots)) as update:
        for number, rendered in enumerate(render_shots(shots)):
            drive, index = divmod(number, FRAMES)
            step = index - int(onset[drive])
            conditions = [(kind, severity) for kind in KINDS for severity in SEVERITIES] if 0 <= step < LASTS else []
            images = [apply_anomaly(kind, rendered.image, severity, seed=drive) for kind, severity in conditions]
            scores = detector.score(monitor.frame_pass.features_of([rendered.image, *images]).of(feature))
            clean[drive, index] = scores[0]
            if conditions:
                disturbed[drive, :, :, step] = scores[1:].reshape(len(KINDS), len(SEVERITIES))
            update(number + 1)
    return Scores(clean, disturbed, onset, monitor.threshold, monitor.clean_median)


def false_alarms(clean: NDArray[np.float64], threshold: float, settings: AlarmSettings, clean_median: float) -> int:
    """Alarms raised in clean drives (D, FRAMES)."""
    return sum(len(alarm_onsets(drive, threshold, settings, clean_median)) for drive in clean)


def lowest_threshold(scores: Scores, half: slice, settings: AlarmSettings, accepted: int) -> float:
    """The lowest threshold from which on the clean drives of ``half`` raise no more than ``accepted`` alarms."""
    clean = scores.clean[half]
    candidates = np.unique(clean[clean > np.median(clean)])[::-1]
    best = float(candidates[0])
    for candidate in candidates[1:]:
        if false_alarms(clean, float(candidate), settings, scores.clean_median) > accepted:
            break
        best = float(candidate)
    return best


def delays_s(scores: Scores, half: slice, threshold: float, settings: AlarmSettings) -> NDArray[np.float64]:
    """(drives, kinds, severities) seconds from the onset to the alarm, a frame's length included; infinite if never."""
    chosen = range(len(scores.clean))[half]
    delays = np.full((len(chosen), len(KINDS), len(SEVERITIES)), np.inf)
    for row, drive in enumerate(chosen):
        onset = int(scores.onset[drive])
        for kind in range(len(KINDS)):
            for severity in range(len(SEVERITIES)):
                drive_scores = np.concatenate([scores.clean[drive, :onset], scores.disturbed[drive, kind, severity]])
                raised = alarm_onsets(drive_scores, threshold, settings, scores.clean_median)
                raised = raised[raised >= onset]
                if len(raised):
                    delays[row, kind, severity] = (raised[0] - onset + 1) / RATE_HZ
    return delays


def compare(scores: Scores, accepted: int) -> list[dict[str, Any]]:
    """One entry a rule, on the half of the drives that did not choose its threshold."""
    tuning, reported = slice(0, None, 2), slice(1, None, 2)
    clean = scores.clean[reported]
    hours = len(clean) * DURATION_S / 3600.0
    rows: list[dict[str, Any]] = []
    for name, settings in RULES.items():
        threshold = lowest_threshold(scores, tuning, settings, accepted)
        alarms = false_alarms(clean, threshold, settings, scores.clean_median)
        delays = delays_s(scores, reported, threshold, settings)
        in_time = delays <= LASTS / RATE_HZ + 1e-9
        row = {
            "rule": name,
            "threshold": threshold,
            "false_alarms": alarms,
            "hours": hours,
            "false_alarms_per_hour": alarms / hours,
            "interval_per_hour": poisson_interval(alarms, hours),
            "raised_within_1s": float((delays <= 1.0 + 1e-9).mean()),
            "raised_within_3s": float(in_time.mean()),
            "raised_within_3s_by_severity": in_time.mean(axis=(0, 1)).tolist(),
            "median_delay_s": float(np.median(delays[np.isfinite(delays)])) if np.isfinite(delays).any() else None,
        }
        rows.append(row)
    return rows


def table_of(rows: list[dict[str, Any]], title: str) -> Table:
    """One row a rule."""
    head = (
        "rule",
        "threshold",
        "false alarms an hour (95 %)",
        "raised in 1 s",
        "in 3 s",
        "in 3 s, by severity",
        "delay",
    )
    table = Table(*head, title=title)
    for row in rows:
        low, high = row["interval_per_hour"]
        table.add_row(
            row["rule"],
            f"{row['threshold']:.3f}",
            f"{row['false_alarms_per_hour']:.0f} ({low:.0f} to {high:.0f})",
            f"{row['raised_within_1s']:.1%}",
            f"{row['raised_within_3s']:.1%}",
            " / ".join(f"{share:.0%}" for share in row["raised_within_3s_by_severity"]),
            f"{row['median_delay_s']:.1f} s" if row["median_delay_s"] is not None else "-",
        )
    return table


def main() -> None:
    """Score once, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, required=True, help="made if it does not exist")
    parser.add_argument("--drives", type=int, default=60, help="of 24 s each (default %(default)s)")
    parser.add_argument(
        "--accepted", type=int, nargs="+", default=[0, 2, 5], help="false alarms on the half that chooses"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    require_file_place("--json", args.json)
    if not args.scores.exists():
        np.savez(args.scores, **vars(score_drives(args.drives)))
    with np.load(args.scores) as stored:
        arrays = {name: stored[name] for name in stored.files}
    # Numbers come back as arrays without dimensions.
    scores = Scores(**{name: values if values.ndim else float(values) for name, values in arrays.items()})
    report = {str(accepted): compare(scores, accepted) for accepted in args.accepted}
    for accepted, rows in report.items():
        title = f"{accepted} false alarms accepted on the other half of {len(scores.clean)} drives"
        Console(width=140).print(table_of(rows, title))
    write_json(args.json, report)


if __name__ == "__main__":
    main()
