"""Both paths of the alarm on recordings that a bundle was not calibrated on, beside the sudden path alone.

    python experiments/two_speeds.py --bundle BUNDLE friday/bag saturday/bag --targets 20,5 --json speeds.json

The recordings are clean. Each is judged as it is: false alarms an hour, alarms less than 5 s apart counted once, with the
exact Poisson interval. Then clips of each are disturbed from their begin on by every anomaly at severity 1, 3 and 5, and the
time to the alarm is measured. Thresholds come from the held-out scores that the bundle keeps. "Sudden alone" is the alarm
without a lasting path at the same target: it has all allowed bursts, where it has half of them beside a lasting path.
Disturbances are synthetic.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ls_ood_monitor.anomalies import ANOMALIES, apply_anomaly
from ls_ood_monitor.bundle import CALIBRATION, load_bundle
from ls_ood_monitor.calibration.alarm_thresholds import alarm_thresholds, allowed_bursts, lowest_level, sudden_evidence
from ls_ood_monitor.calibration.feature_table import clean_video
from ls_ood_monitor.calibration.table_file import unpack_table
from ls_ood_monitor.cli.console import progress_bar, require_file_place, write_json
from ls_ood_monitor.core.alarm import AlarmFilter
from ls_ood_monitor.core.bursts import BurstCount, count_bursts
from ls_ood_monitor.core.intervals import event_rate, share_interval
from ls_ood_monitor.core.threshold import Threshold
from ls_ood_monitor.core.types import AlarmState, Frame
from ls_ood_monitor.monitor import OodMonitor
from ls_ood_monitor.recordings.drive_source import DriveSource, open_drives

SEVERITIES = (1, 3, 5)
WITHIN_S = (1.0, 3.0, 5.0, 10.0)
BEFORE_S, LENGTH_S, RATE_HZ = 15.0, 10.0, 10.0
BATCH = 8


def main() -> None:
    """Judge, disturb, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path, help="clean bags, folders of pictures or videos")
    parser.add_argument("--bundle", type=Path, required=True, help="bundle calibrated for a target an hour")
    parser.add_argument("--clips", type=int, default=3, help="disturbed clips of each recording (default %(default)s)")
    parser.add_argument(
        "--targets",
        type=lambda text: [float(part) for part in text.split(",")],
        default=[20.0],
        help="false alarms an hour, separated by commas (default 20); one that the data cannot support is taken all the same",
    )
    parser.add_argument(
        "--before", type=float, default=BEFORE_S, help="clean seconds before each disturbance (default %(default)g)"
    )
    parser.add_argument(
        "--held-out",
        choices=("drive", "block"),
        default="drive",
        help="scores that thresholds come from (default drive, if the bundle keeps them)",
    )
    parser.add_argument("--rate", type=float, help="frame rate of pictures or a video, Hz")
    parser.add_argument("--json", type=Path, help="all figures")
    args = parser.parse_args()
    require_file_place("--json", args.json)
    monitor = load_bundle(args.bundle)
    if not isfinite(monitor.thresholds[monitor.detector].lasting_value):
        parser.error(f"{args.bundle} has no lasting path; calibrate it with --target-per-hour.")
    rules = {
        name: rule
        for target in args.targets
        for name, rule in rules_of(args.bundle, monitor, target, args.held_out).items()
    }
    clean: dict[str, Any] = {}
    delays: dict[str, list[float]] = {}
    for drive in open_drives(args.recordings, rate_hz=args.rate):
        frames, scores = judge(monitor, drive)
        stamps = np.array([stamp for stamp, _ in frames])
        alarms = {name: onsets(monitor, rule, stamps, scores) for name, rule in rules.items()}
        clean[drive.name] = {"seconds": driving_s(stamps), "alarms": {name: list(own) for name, own in alarms.items()}}
        places = clip_places(stamps, np.sort(np.concatenate([*alarms.values()])), args.clips, args.before)
        with progress_bar(f"Disturbing {drive.name}", len(places) * (len(ANOMALIES) - 1) * len(SEVERITIES)) as update:
            disturb(monitor, drive, stamps, scores, places, rules, delays, args.before, update)
    report(rules, clean, delays, args.json)


def rules_of(bundle: Path, monitor: OodMonitor, target_per_hour: float, held_out: str) -> dict[str, Threshold]:
    """Thresholds for a target, from the held-out scores that the bundle keeps: sudden path alone, and both."""
    table = unpack_table((bundle / CALIBRATION).read_bytes())
    kept = table.scores[monitor.detector]
    scores, video = kept[held_out if held_out in kept else "block"], clean_video(table)
    both = alarm_thresholds(
        scores, video, target_per_hour, settings=monitor.alarm, origin="kept held-out", allow_small=True
    )
    evidence, allowed = sudden_evidence(scores, video, monitor.alarm), allowed_bursts(target_per_hour, video.hours)
    alone = lowest_level(evidence, video.seconds(), BurstCount(), allowed, both.clean_median)
    return {
        f"sudden alone, {target_per_hour:g}/h": replace(both, value=alone, lasting_value=nan),
        f"both paths, {target_per_hour:g}/h": both,
    }


def judge(monitor: OodMonitor, drive: DriveSource) -> tuple[list[tuple[int, str]], NDArray[np.float64]]:
    """Stamps, cameras and scores of all frames."""
    frames: list[tuple[int, str]] = []
    scores: list[float] = []
    with progress_bar(f"Judging {drive.name}", drive.count_images()) as update:
        batch: list[Frame] = []
        for frame in drive.read():
            batch.append(frame)
            frames.append((frame.stamp_ns, frame.camera))
            if len(batch) == BATCH:
                scores += score(monitor, batch)
                batch.clear()
                update(len(frames))
        if batch:
            scores += score(monitor, batch)
    return frames, np.array(scores)


def score(monitor: OodMonitor, frames: list[Frame]) -> list[float]:
    """Scores without the segmentation."""
    return [verdict.score for verdict in monitor.begin(frames, decode=False).verdicts]


def driving_s(stamps: NDArray[np.int64]) -> float:
    """Seconds of driving; a gap counts as one second at most."""
    return float(np.minimum(np.diff(stamps) / 1e9, 1.0).sum())


def onsets(
    monitor: OodMonitor, threshold: Threshold, stamps: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Times of the alarms, seconds from the start."""
    alarm_filter = AlarmFilter(monitor.alarm, "camera", threshold.lasting_levels)
    found, before = [], None
    for stamp, value in zip(stamps.tolist(), scores.tolist(), strict=True):
        state = alarm_filter.update(stamp, value, threshold.value).state
        if state is AlarmState.RAISED is not before:
            found.append((stamp - int(stamps[0])) / 1e9)
        before = state
    return np.array(found)


def clip_places(
    stamps: NDArray[np.int64], alarms: NDArray[np.float64], count: int, before_s: float = BEFORE_S
) -> list[int]:
    """First frames of clips without a gap, with no alarm of the clean recording from ``before_s`` before to the end."""
    seconds = (stamps - stamps[0]) / 1e9
    gaps = seconds[1:][np.diff(seconds) > 1.0]
    trouble = np.sort(np.concatenate([gaps, alarms]))
    random = np.random.default_rng(0)
    places: list[int] = []
    for place in random.permutation(np.flatnonzero((seconds > before_s) & (seconds < seconds[-1] - LENGTH_S))):
        begin, end = seconds[place] - before_s, seconds[place] + LENGTH_S
        is_quiet = np.searchsorted(trouble, begin) == np.searchsorted(trouble, end)
        if is_quiet and all(abs(seconds[place] - seconds[other]) > LENGTH_S for other in places):
            places.append(int(place))
        if len(places) == count:
            break
    return sorted(places)


def disturb(
    monitor: OodMonitor,
    drive: DriveSource,
    stamps: NDArray[np.int64],
    scores: NDArray[np.float64],
    places: list[int],
    rules: dict[str, Threshold],
    delays: dict[str, list[float]],
    before_s: float,
    update: Any,
) -> None:
    """Add the delays of each clip, of every rule, anomaly and severity; inf = no alarm within ``LENGTH_S``."""
    wanted = {place: range(place, int(np.searchsorted(stamps, stamps[place] + LENGTH_S * 1e9))) for place in places}
    step = max(1, round(float(np.median(1e9 / np.diff(stamps))) / RATE_HZ))
    needed = {index for rows in wanted.values() for index in rows[::step]}
    pictures = {index: frame for index, frame in enumerate(drive.read()) if index in needed}
    done = 0
    for number, (place, rows) in enumerate(wanted.items()):
        begin = int(np.searchsorted(stamps, stamps[place] - before_s * 1e9))
        for name, severity in product(ANOMALIES, SEVERITIES):
            if name == "identity":
                continue
            changed = [
                replace(pictures[row], image=apply_anomaly(name, pictures[row].image, severity, number))
                for row in rows[::step]
            ]
            values = np.concatenate([score(monitor, changed[i : i + BATCH]) for i in range(0, len(changed), BATCH)])
            times = np.concatenate([stamps[begin:place], stamps[list(rows[::step])]])
            story = np.concatenate([scores[begin:place], values])
            origin_s = (int(stamps[place]) - int(times[0])) / 1e9
            for rule, threshold in rules.items():
                raised = onsets(monitor, threshold, times, story)
                after = raised[raised >= origin_s]
                delay = float(after[0] - origin_s) if len(after) else inf
                delays.setdefault(f"{rule}|{severity}|{name}", []).append(delay)
            done += 1
            update(done)


def report(
    rules: dict[str, Threshold],
    clean: dict[str, Any],
    delays: dict[str, list[float]],
    path: Path | None,
) -> None:
    """Print both tables; write the figures."""
    console = Console()
    table = Table("recording", "minutes", *rules, title="False alarms an hour (95 % interval)", title_justify="left")
    totals = dict.fromkeys(rules, 0)
    for name, facts in clean.items():
        cells = []
        for rule in rules:
            count = count_bursts(facts["alarms"][rule])
            totals[rule] += count
            cells.append(rate_text(count, facts["seconds"]))
        table.add_row(name, f"{facts['seconds'] / 60:.1f}", *cells)
    seconds = sum(facts["seconds"] for facts in clean.values())
    table.add_row("all", f"{seconds / 60:.1f}", *(rate_text(count, seconds) for count in totals.values()))
    console.print(table)
    if not delays:
        console.print(
            "No recording has a place without a gap or an alarm for a clip; --before takes less clean driving."
        )
        return
    shares = Table(
        "severity",
        "alarm",
        *(f"within {limit:g} s" for limit in WITHIN_S),
        title="Detected, % (95 % interval by clips)",
    )
    figures: dict[str, Any] = {}
    for severity, rule in product(SEVERITIES, rules):
        chosen = np.array([own for key, own in delays.items() if key.startswith(f"{rule}|{severity}|")])
        cells = []
        for limit in WITHIN_S:
            hits = (chosen <= limit).sum(axis=0)
            found = share_interval(hits, np.full(chosen.shape[1], chosen.shape[0]))
            figures[f"{rule}, severity {severity}, {limit:g} s"] = found._asdict()
            cells.append(f"{100 * found.value:.0f} ({100 * found.low:.0f} to {100 * found.high:.0f})")
        shares.add_row(str(severity), rule, *cells)
    console.print(shares)
    write_json(
        path,
        {
            "thresholds": {name: rule.to_dict() for name, rule in rules.items()},
            "clean": clean,
            "detected": figures,
            "delays_s": {key: [None if delay == inf else delay for delay in own] for key, own in delays.items()},
        },
    )


def rate_text(count: int, seconds: float) -> str:
    """Events an hour with the interval."""
    rate = event_rate(count, seconds / 3600.0)
    return f"{rate.per_hour:.1f} ({rate.low:.1f} to {rate.high:.1f})"


if __name__ == "__main__":
    main()
