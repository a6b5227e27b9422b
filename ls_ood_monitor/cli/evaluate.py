"""ls-ood evaluate: a recording in, a verdict out: is this drive fine, when would it have stopped, and why?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..offline.evaluation.recording import Recording

DESCRIPTION = """\
Judges every frame of a recording with the checks, network, alarm and supervisor of the vehicle, on the recording's own
clock, and faster than real time where the machine allows. The same recording gives the same figures.

  ls-ood evaluate drive_1 --out report                              alarms, stops, and why
  ls-ood evaluate drive_1 --events drive_1.events.yaml --out report detection and false alarms against ground truth
  ls-ood evaluate drive_* --gate gate.yaml --out report             exit 1 if a limit is broken; junit.xml for the build

A recording is a ROS 2 bag (folder, .mcap, .db3; raw and compressed images), a video, or a folder of pictures. Events are
a list of {camera, start_s, end_s, label}, seconds from its start; of several recordings each has its own file beside it,
NAME.events.yaml, or events.yaml within its folder. Without events every alarm counts as false.

Writes into --out, a folder a recording if there are several: report.html (one file, opens without a network),
summary.json, frames.csv, timeline.png, and junit.xml.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "recordings", nargs="+", type=Path, metavar="RECORDING", help="bag, video or folder of pictures"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="bundle to judge by (default: the embedded one)")
    parser.add_argument("--detector", help="detector that raises the alarm (default: the bundle's)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default %(default)s)")
    parser.add_argument("--events", type=Path, metavar="FILE", help="ground truth of a single recording")
    parser.add_argument("--gate", type=Path, metavar="FILE", help="YAML of limits, for example max_time_to_stop_s: 1.0")
    parser.add_argument(
        "--parameters", type=Path, metavar="FILE", help="the nodes' ROS parameter file (default: their defaults)"
    )
    parser.add_argument(
        "--topic", action="append", metavar="TOPIC=CAMERA", help="image topic of a bag and its camera (default: all)"
    )
    parser.add_argument("--rate", type=float, metavar="HZ", help="frame rate of pictures, or of a video")
    parser.add_argument(
        "--stop-within", type=float, default=1.0, metavar="S", help="STOP is due so soon after an event begins (1.0)"
    )
    parser.add_argument(
        "--resume-within", type=float, default=2.0, metavar="S", help="STOP is no fault so long after an event (2.0)"
    )


def run(args: argparse.Namespace) -> int:
    """Judge every recording, write its folder, tell the verdict."""
    from ..bundle import load_bundle
    from ..errors import ConfigError
    from ..offline.evaluation.gate import read_gate
    from ..offline.evaluation.recording import open_recording
    from ..offline.evaluation.vehicle import VehicleSettings, read_parameters
    from .console import console, write_json
    from .topics import parse_topics

    if args.events and len(args.recordings) > 1:
        raise ConfigError("--events is for a single recording; lay NAME.events.yaml beside each of several.")
    for name in ("stop_within", "resume_within"):
        if not 0.0 <= getattr(args, name) <= 3600.0:
            raise ConfigError(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must lie within [0, 3600] s.")
    gate = read_gate(args.gate) if args.gate else None
    vehicle = read_parameters(args.parameters) if args.parameters else VehicleSettings()
    topics = parse_topics(args.topic)
    recordings = [open_recording(path, topics, args.rate) for path in args.recordings]
    if len({recording.name for recording in recordings}) < len(recordings):
        raise ConfigError("two recordings have the same name, and would write the same folder; evaluate them apart.")
    events = [_events_of(recording, args.events) for recording in recordings]
    monitor = load_bundle(args.bundle, device=args.device, detector=args.detector)
    summaries: dict[str, Any] = {}
    for recording, truth in zip(recordings, events, strict=True):
        out = args.out / recording.name if len(recordings) > 1 else args.out
        summaries[recording.name] = _evaluate(args, monitor, vehicle, recording, truth, gate, out)
    write_json(args.json, summaries if len(recordings) > 1 else next(iter(summaries.values())))
    broken = [name for name, summary in summaries.items() if summary["gate"]["passed"] is False]
    if gate is not None:
        console.print(
            f"[bold red]GATE BROKEN[/] by {', '.join(broken)}" if broken else "[bold green]GATE PASSED[/]",
            soft_wrap=True,
        )
    return 1 if broken else 0


def _events_of(recording: Recording, given: Path | None) -> Any:
    """Ground truth of a recording; None where there is none."""
    from ..offline.events import read_events

    places = [given] if given else [recording.path.with_name(f"{recording.name}.events.yaml")]
    if not given and recording.path.is_dir():
        places.append(recording.path / "events.yaml")
    for place in places:
        if given or place.is_file():
            return read_events(place, recording.cameras, recording.duration_s)
    return None


def _evaluate(
    args: argparse.Namespace, monitor: Any, vehicle: Any, recording: Recording, truth: Any, gate: Any, out: Path
) -> dict[str, Any]:
    """Replay one recording and write its folder."""
    import shlex
    import time

    from ..errors import DataError
    from ..offline.evaluation.frames_table import write_frames
    from ..offline.evaluation.gate import check_gate, write_junit
    from ..offline.evaluation.replay import JudgedImage, Replay
    from ..offline.evaluation.report import write_report
    from ..offline.evaluation.summary import score_samples, summarise_replay
    from ..offline.evaluation.worst_frames import WorstFrames
    from ..offline.timeline import Limits, draw_timeline
    from .console import console, progress_bar, warn, write_json

    out.mkdir(parents=True, exist_ok=True)
    replay = Replay(monitor, recording.cameras, vehicle, recording.begin_ns)
    images: list[JudgedImage] = []
    worst = WorstFrames()
    truncated = ""
    started = time.monotonic()
    with progress_bar(recording.name, recording.images or None) as update:
        try:
            for image in replay.run(recording.read()):
                worst.add(image)
                images.append(image.without_pictures())
                rate = len(images) / max(1e-9, time.monotonic() - started)
                update(len(images), f"{rate:.1f} frames/s, {replay.speed:.1f} times real time")
        except DataError as error:
            if not images:
                raise
            truncated = str(error)
            warn(f"{truncated} What could be read up to {images[-1].time_s:.1f} s is judged.")
    if not truncated and images and len(images) < recording.images:
        lost = recording.images - len(images)
        truncated = (
            f"{lost} of the {recording.images} images that {recording.path} should hold cannot be read: damaged."
        )
        warn(f"{truncated} The rest is judged.")
    if not images:
        raise DataError(f"{recording.path} holds no image message on {', '.join(recording.cameras) or 'any camera'}.")
    duration_s = images[-1].time_s if truncated else recording.duration_s
    replay.finish(recording.begin_ns + round(duration_s * 1e9))
    events = () if truth is None else truth
    limits = Limits(args.stop_within, args.resume_within)
    verdict, figures = summarise_replay(
        images, replay.decisions, replay.stops, events, duration_s, monitor.bundle_id, limits
    )
    summary: dict[str, Any] = {
        "recording": recording.name,
        "truth": "none: every alarm counts as false" if truth is None else "events",
        "truncated": truncated,
        "detector": monitor.detector,
        "threshold": monitor.threshold,
        **figures,
    }
    summary["judgement"] = summary.pop("gate")
    rules = check_gate(gate, summary) if gate is not None else []
    summary["gate"] = {
        "passed": all(rule.passed for rule in rules) if gate is not None else None,
        "rules": [vars(rule) for rule in rules],
    }
    write_json(out / "summary.json", summary)
    write_frames(out / "frames.csv", images, sorted(monitor.detectors))
    draw_timeline(
        out / "timeline.png", events, score_samples(images), replay.decisions, duration_s, f"{recording.name}, replayed"
    )
    command = f"ls-ood {shlex.join(args.arguments)}"
    report = out / "report.html"
    write_report(
        report, summary, images, replay.decisions, events, worst.frames, command, limits=limits, monitor=monitor
    )
    if rules:
        write_junit(rules, recording.name, out / "junit.xml")
    for line in _sentences(summary, verdict):
        console.print(line, soft_wrap=True)
    for rule in rules:
        console.print(f"  {'[green]kept[/]' if rule.passed else '[bold red]BROKEN[/]'} {rule.name}: {rule.sentence}")
    return summary


def _sentences(summary: dict[str, Any], verdict: Any) -> list[str]:
    """What a person wants to know first."""
    alarms, decision = summary["alarms"], summary["decision"]
    lines = [
        f"[bold]{summary['recording']}[/]: {summary['frames']} images of {', '.join(summary['cameras'])}, "
        f"{summary['duration_s']:.1f} s, bundle {summary['bundle']['sha256'][:12]}, detector {summary['detector']}"
    ]
    for outcome in verdict.outcomes:
        event = outcome.event
        alarm = "never" if outcome.alarm_delay_s is None else f"after {outcome.alarm_delay_s:.2f} s"
        stop = "never" if outcome.stop_delay_s is None else f"after {outcome.stop_delay_s:.2f} s"
        lines.append(f"  {event.label} on {event.camera} at {event.start_s:g} s: alarm {alarm}, STOP {stop}")
    rate = alarms["false_per_hour"]
    if rate is not None:
        lines.append(
            f"  {alarms['false']} {'false ' if summary['truth'] == 'events' else ''}alarms: {rate['per_hour']:.1f} an hour "
            f"(95 % interval {rate['low']:.1f} to {rate['high']:.1f}); STOP in "
            f"{100 * (decision['false_stop_ratio'] or 0.0):.1f} % of {decision['clean_s']:.0f} s of clean driving"
        )
    if summary["fault_count"]:
        counted = ", ".join(f"{name} {count}" for name, count in summary["faults"].items())
        lines.append(f"  {summary['fault_count']} images could not be judged: {counted}")
    return lines
