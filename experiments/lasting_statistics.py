"""Which statistic of the scores over seconds shows what lasts? Each one beside the sudden path, at the same target an hour.

    python experiments/lasting_statistics.py friday/bag saturday/bag sunday/bag --json statistics.json

The recordings are clean. Each is scored by a detector that is fitted to the others, so the scores are those of a drive that
the detector has not seen. Clips of each are disturbed from their begin on by every anomaly at severity 1, 3 and 5.
The sudden path gets ``--sudden-share`` of the bursts that the target allows, and each statistic the lowest threshold at which
both together keep the target. ``ls-ood calibrate`` does this for the median of 5 s. ``--leave-out`` takes out what is not clean.
All windows are in seconds, and a clip has the frame rate of its recording. Disturbances are synthetic.

- *mean*: exponential mean, scores capped at the sudden threshold, or not capped.
- *median*: ``LastingMedian``; the product's is that of 5 s. *quantile*: of as many frames as the window has.
- *cumulative sum*: of (score - clean median - slack) over time, never below 0 (Page, 1954); slack in units of the distance from
  the clean median to the 95th percentile.
- *e-process*: product, never below 1, of e = 1 / (2 sqrt(p)) over blocks of a second, p = rank of a block's mean among clean
  blocks (Vovk & Wang, 2021).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from math import exp, inf
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits
from two_speeds import BATCH, SEVERITIES, WITHIN_S, clip_places, driving_s

from ls_ood_monitor.anomalies import ANOMALIES, apply_anomaly
from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.calibration.alarm_thresholds import allowed_bursts, lowest_level
from ls_ood_monitor.cli.calibrate import without_parts
from ls_ood_monitor.cli.console import progress_bar, require_file_place, write_json
from ls_ood_monitor.core.alarm import LastingMedian
from ls_ood_monitor.core.bursts import BurstCount
from ls_ood_monitor.core.detectors import Detector, detector_spec
from ls_ood_monitor.recordings.drive_source import DriveSource, open_drives

Values = NDArray[np.float64]
#: Takes times (seconds) and scores of one recording, returns the evidence after each frame; larger = more OoD.
Statistic = Callable[[Values, Values], Values]
TRIGGER, LENGTH_S, BEFORE_S = 3, 10.0, 15.0
MAX_STEP_S = 1.0  # a gap counts as no longer
SAMPLE = 2000
DRIVE_GAP_S = 100.0  # alarms of two recordings are never one burst


@dataclass(frozen=True)
class Clip:
    """Clean frames, and after them disturbed ones."""

    severity: int
    times_s: Values
    scores: Values
    begin: int  # first disturbed frame


@dataclass
class Story:
    """A recording's clean scores, and its disturbed clips."""

    drive: DriveSource
    times_s: Values = field(default_factory=lambda: np.empty(0))
    scores: Values = field(default_factory=lambda: np.empty(0))
    clips: list[Clip] = field(default_factory=list)


def main() -> None:
    """Score, disturb, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "recordings", nargs="+", type=Path, help="two or more clean bags, folders of pictures or videos"
    )
    parser.add_argument("--bundle", type=Path, help="network (default: the embedded one)")
    parser.add_argument("--detector", default="spatial", help="default %(default)s")
    parser.add_argument("--target-per-hour", type=float, default=20.0, help="default %(default)s")
    parser.add_argument("--sudden-share", type=float, default=0.5, help="default %(default)s")
    parser.add_argument(
        "--leave-out",
        action="append",
        default=[],
        metavar="DRIVE=BEGIN:END",
        help="as for ls-ood calibrate; repeatable",
    )
    parser.add_argument("--clips", type=int, default=2, help="disturbed clips of each recording (default %(default)s)")
    parser.add_argument("--json", type=Path, help="all figures")
    args = parser.parse_args()
    require_file_place("--json", args.json)
    stories = [Story(drive) for drive in without_parts(open_drives(args.recordings), args.leave_out)]
    if len(stories) < 2:
        parser.error("there is one recording; at least 2 are needed to leave one out.")
    with threadpool_limits(1):
        score_all(stories, args)
    compare(stories, args)


def score_all(stories: list[Story], args: argparse.Namespace) -> None:
    """Fill the stories with scores of detectors that have not seen their recording."""
    spec = detector_spec(args.detector)
    frame_pass = load_bundle(args.bundle).frame_pass.with_features([spec.feature])

    def rows(images: list[NDArray[np.uint8]]) -> NDArray[np.floating]:
        parts = [frame_pass.features_of(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        return np.concatenate([np.asarray(part.of(spec.feature), np.float32) for part in parts])

    samples = []
    for story in stories:
        count = story.drive.count_images()
        step = -(-count * len(stories) // SAMPLE)
        pictures = [frame.image for index, frame in enumerate(story.drive.read()) if index % step == 0]
        samples.append(rows(pictures))
    for number, story in enumerate(stories):
        others = np.concatenate([sample for index, sample in enumerate(samples) if index != number])
        detector: Detector = spec.make(frame_pass.head).fit(others)
        stamps, scores = [], []
        with progress_bar(f"Judging {story.drive.name}", story.drive.count_images()) as update:
            batch: list[NDArray[np.uint8]] = []
            for frame in story.drive.read():
                stamps.append(frame.stamp_ns)
                batch.append(np.array(frame.image))
                if len(batch) == BATCH:
                    scores.append(detector.score(rows(batch)))
                    batch.clear()
                    update(len(stamps))
            if batch:
                scores.append(detector.score(rows(batch)))
        nanoseconds = np.array(stamps)
        story.times_s, story.scores = (nanoseconds - nanoseconds[0]) / 1e9, np.concatenate(scores)
        raised = story.times_s[sudden(story.scores) > np.quantile(story.scores, 0.99)]
        places = clip_places(nanoseconds, raised, args.clips)
        steps = [(place, name, severity) for place in places for name, severity in product(ANOMALIES, SEVERITIES)]
        ends = {place: int(np.searchsorted(story.times_s, story.times_s[place] + LENGTH_S)) for place in places}
        needed = {row for place, end in ends.items() for row in range(place, end)}
        images = {row: np.array(frame.image) for row, frame in enumerate(story.drive.read()) if row in needed}
        with progress_bar(f"Disturbing {story.drive.name}", len(steps)) as update:
            for done, (place, name, severity) in enumerate(steps, 1):
                if name != "identity":
                    own = [apply_anomaly(name, images[row], severity, place) for row in range(place, ends[place])]
                    first = int(np.searchsorted(story.times_s, story.times_s[place] - BEFORE_S))
                    values = np.concatenate([story.scores[first:place], detector.score(rows(own))])
                    story.clips.append(Clip(severity, story.times_s[first : ends[place]], values, place - first))
                update(done)


def sudden(scores: Values) -> Values:
    """At a threshold below it, the sudden path raises with this frame."""
    evidence = np.full(len(scores), -inf)
    evidence[TRIGGER - 1 :] = sliding_window_view(scores, TRIGGER).min(axis=1)
    return evidence


def mean(time_constant_s: float, start: float, cap: float) -> Statistic:
    """Exponential mean."""

    def statistic(times_s: Values, scores: Values) -> Values:
        value, out = start, np.empty(len(scores))
        steps = np.minimum(np.diff(times_s, prepend=times_s[0]), MAX_STEP_S)
        for index, (step, score) in enumerate(zip(steps.tolist(), np.minimum(scores, cap).tolist(), strict=True)):
            value += (1.0 - exp(-step / time_constant_s)) * (score - value)
            out[index] = value
        return out

    return statistic


def median_of_time(window_s: float, start: float) -> Statistic:
    """The product's: each score counts with the time that it stands for."""

    def statistic(times_s: Values, scores: Values) -> Values:
        median = LastingMedian(start, window_s)
        stamps = np.round(times_s * 1e9).astype(np.int64).tolist()
        return np.array([median.add(stamp, score) for stamp, score in zip(stamps, scores.tolist(), strict=True)])

    return statistic


def quantile(window_s: float, share: float, start: float) -> Statistic:
    """Quantile of the scores of the last seconds; before the first frame they are the clean median."""

    def statistic(times_s: Values, scores: Values) -> Values:
        frames = max(1, round(window_s / float(np.median(np.diff(times_s)))))
        padded = np.concatenate([np.full(frames - 1, start), scores])
        return np.asarray(np.quantile(sliding_window_view(padded, frames), share, axis=1), np.float64)

    return statistic


def cumulative_sum(median: float, slack: float, cap: float) -> Statistic:
    """Page's cumulative sum over time."""

    def statistic(times_s: Values, scores: Values) -> Values:
        value, out = 0.0, np.empty(len(scores))
        steps = np.minimum(np.diff(times_s, prepend=times_s[0]), MAX_STEP_S)
        excess = np.minimum(scores, cap) - median - slack
        for index, (step, own) in enumerate(zip(steps.tolist(), excess.tolist(), strict=True)):
            value = max(0.0, value + step * own)
            out[index] = value
        return out

    return statistic


def e_process(clean_means: Values, block_s: float) -> Statistic:
    """Log of the product of e-values of blocks; it changes with the last frame of a block."""
    ordered = np.sort(clean_means)

    def statistic(times_s: Values, scores: Values) -> Values:
        numbers, out, value = ((times_s[-1] - times_s) // block_s).astype(int), np.empty(len(scores)), 0.0
        for number in range(int(numbers.max()), -1, -1):
            own = np.flatnonzero(numbers == number)
            if not len(own):
                continue
            out[own] = value
            above = len(ordered) - np.searchsorted(ordered, scores[own].mean())
            value = max(0.0, value + float(np.log(0.5 / np.sqrt((above + 1) / (len(ordered) + 1)))))
            out[own[-1]] = value
        return out

    return statistic


def block_means(times_s: Values, scores: Values, block_s: float) -> Values:
    """Mean score of each block of seconds."""
    numbers = (times_s // block_s).astype(int)
    return np.array([scores[numbers == number].mean() for number in np.unique(numbers)])


def compare(stories: list[Story], args: argparse.Namespace) -> None:
    """Set the thresholds, measure the delays, print."""
    hours = sum(driving_s((story.times_s * 1e9).astype(np.int64)) for story in stories) / 3600.0
    allowed = allowed_bursts(args.target_per_hour, hours)
    scores = np.concatenate([story.scores for story in stories])
    median, high = (float(value) for value in np.quantile(scores, [0.5, 0.95]))
    offsets = np.cumsum([0.0] + [story.times_s[-1] + DRIVE_GAP_S for story in stories])
    times = np.concatenate([story.times_s + offset for story, offset in zip(stories, offsets, strict=False)])
    sudden_evidence = np.concatenate([sudden(story.scores) for story in stories])
    own_allowed = round(args.sudden_share * allowed)
    level = lowest_level(sudden_evidence, times, BurstCount(), own_allowed, median)
    clean_blocks = np.concatenate([block_means(story.times_s, story.scores, 1.0) for story in stories])
    statistics: dict[str, Statistic] = {}
    for time_s in (0.5, 1.0, 2.0, 3.0, 5.0, 10.0):
        statistics[f"mean {time_s:g} s"] = mean(time_s, median, level)
    for time_s in (2.0, 5.0):
        statistics[f"mean {time_s:g} s, not capped"] = mean(time_s, median, inf)
    for window_s in (1.0, 2.0, 3.0, 5.0, 10.0):
        statistics[f"median {window_s:g} s"] = median_of_time(window_s, median)
    for window_s in (3.0, 5.0):
        statistics[f"quantile 20 % {window_s:g} s"] = quantile(window_s, 0.2, median)
    for slack in (0.5, 1.0, 2.0):
        statistics[f"cumulative sum, slack {slack:g}"] = cumulative_sum(median, slack * (high - median), level)
    statistics["e-process, blocks of 1 s"] = e_process(clean_blocks, 1.0)
    console = Console()
    console.print(
        f"{hours:.2f} h, target {args.target_per_hour:g} an hour: {allowed} bursts allowed, {own_allowed} of them to "
        f"the sudden path; sudden threshold {level:.3g}, "
        f"clean median {median:.3g}"
    )
    table = Table(
        "statistic", *(f"severity {own}: {' / '.join(f'{limit:g}' for limit in WITHIN_S)} s, %" for own in SEVERITIES)
    )
    figures: dict[str, object] = {"hours": hours, "allowed": allowed, "sudden": level, "median": median}
    for name, statistic in {"sudden alone": None, **statistics}.items():
        threshold = inf
        if statistic is not None:
            used = BurstCount()
            for time_s in times[sudden_evidence > level].tolist():
                used.add(time_s)
            evidence = np.concatenate([statistic(story.times_s, story.scores) for story in stories])
            threshold = lowest_level(evidence, times, used, allowed, -inf)
        delays = {severity: delays_of(stories, severity, level, statistic, threshold) for severity in SEVERITIES}
        shares = {
            own: [100.0 * float(np.mean(values <= limit)) for limit in WITHIN_S] for own, values in delays.items()
        }
        table.add_row(name, *(" / ".join(f"{share:.0f}" for share in own) for own in shares.values()))
        figures[name] = {
            "threshold": threshold,
            "detected_percent": {str(own): values for own, values in shares.items()},
        }
    console.print(table)
    write_json(args.json, figures)


def delays_of(
    stories: list[Story], severity: int, level: float, statistic: Statistic | None, threshold: float
) -> Values:
    """Seconds from the begin of each disturbance to the alarm of either path; inf = none."""
    delays = []
    for clip in (clip for story in stories for clip in story.clips if clip.severity == severity):
        raised = sudden(clip.scores) > level
        if statistic is not None:
            raised |= statistic(clip.times_s, clip.scores) > threshold
        after = clip.times_s[clip.begin :][raised[clip.begin :]]
        delays.append(float(after[0] - clip.times_s[clip.begin]) if len(after) else inf)
    return np.array(delays)


if __name__ == "__main__":
    main()
