"""ls-ood demo: plays a synthetic drive to both nodes over DDS and checks their alarms and stop commands."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table

from .state_display import STYLES, number_text, score_bar

if TYPE_CHECKING:
    from ..evaluation.results import LiveSummary
    from ..ros.live_replay import LiveReplay
    from ..ros.observer import MonitorObserver
    from ..street.scenario import Scenario

DESCRIPTION = """\
Renders a short drive of the procedural (synthetic) street with two cameras: clean, fog on the front camera, clean,
mud on the left camera, clean. Starts supervisor_node and perception_node as processes of their own, plays the
recording to them over DDS in real time and shows their alarms and decisions. Needs no GPU, no data set and no ROS
installation.

Writes into --out: timeline.png, overlay pictures, summary.json, the recording (bag/) with events.yaml, the logs, and
evaluation/report.html: the same recording judged again offline, by the checks, network, alarm and supervisor of the nodes.
Exit 0 only if every event raised its alarm, stop was commanded within 1 s of its start, and never in the clean parts.
"""

#: The cameras of the demo send 5 frames a second; the vehicle's default of 0.5 s is meant for faster ones.
_ALARM_TIMEOUT_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--out", type=Path, default=Path("demo_out"), metavar="DIR", help="folder to write (default %(default)s)"
    )
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="bundle to run (default: the embedded one)")
    parser.add_argument("--detector", help="detector that raises the alarm (default: the bundle's)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Render, play, judge, draw, and evaluate the recording offline."""
    import shutil

    from ..bundle import load_bundle
    from ..ros.environment import asked_domain, private_domain, require_rclpy, ros_environment
    from ..street.scenario import DEMO_SCENARIO, record_scenario
    from .console import console, progress_bar, write_json

    require_rclpy()
    # Loaded here to refuse what the node would refuse, before a minute of rendering.
    monitor = load_bundle(args.bundle, device=args.device, detector=args.detector)
    domain_id = asked_domain()
    scenario = DEMO_SCENARIO
    args.out.mkdir(parents=True, exist_ok=True)
    bag = args.out / "bag"
    if bag.exists():
        shutil.rmtree(bag)  # of an earlier demo
    with progress_bar("Rendering the drive", len(scenario.stamps_s) * len(scenario.cameras)) as update:
        record_scenario(scenario, bag, args.out / "events.yaml", progress=update)
    replay = _play(args, scenario, bag, ros_environment(private_domain() if domain_id is None else domain_id))

    from ..evaluation.live import draw_live, summarise_live
    from ..evaluation.results import to_plain
    from .demo_verdict import live_samples, write_report

    scores, modes, stops = live_samples(replay.observer, replay.begin_ns, scenario.duration_s)
    summary = summarise_live(scenario.events, scores, modes, stops, scenario.duration_s, monitor.bundle_id)
    for path in (args.out / "summary.json", args.json):
        write_json(path, {"domain": "procedural fisheye street (synthetic)", **to_plain(summary)})
    title = "OoD monitor on a procedural (synthetic) street, live over DDS"
    draw_live(args.out / "timeline.png", scenario.events, scores, modes, scenario.duration_s, title)
    _print_verdict(summary)
    images = len(scenario.stamps_s) * len(scenario.cameras)
    with progress_bar("Judging it again offline", images) as update:
        report = write_report(args.out, bag, scenario, monitor, args.bundle, args.detector, args.device, update)
    console.print(f"Look at {args.out / 'timeline.png'} and {args.out}/overlay_*.png,", soft_wrap=True)
    console.print(f"and open the report in a browser, no network needed: {report}", soft_wrap=True)
    return 0 if summary.judgement.passed else 1


def _play(args: argparse.Namespace, scenario: Scenario, bag: Path, environment: dict[str, str]) -> LiveReplay:
    """Play the recording to both nodes; what they published is in the observer."""
    import os

    os.environ.update(environment)  # before rclpy, which reads it once

    from ..recordings.bags import iter_raw
    from ..ros.live_replay import LiveReplay
    from .console import console

    perception = {
        "device": args.device,
        "num_threads": 1,
        "bundle_path": str(args.bundle or ""),
        "detector": args.detector or "",
    }
    supervisor = {"alarm_timeout_s": _ALARM_TIMEOUT_S}
    domain_id = environment["ROS_DOMAIN_ID"]
    console.print(f"supervisor_node and perception_node run on ROS domain {domain_id}, this machine only")
    with (
        LiveReplay(scenario.cameras, args.out / "logs", perception, supervisor) as replay,
        Live(console=console, refresh_per_second=8) as live,
    ):

        def on_message(offset_s: float) -> None:
            live.update(_table(replay.observer, scenario, offset_s))
            _save_overlays(replay.observer, scenario, offset_s, args.out)

        replay.play(iter_raw(bag), scenario.duration_s, on_message)
        live.update(_table(replay.observer, scenario, scenario.duration_s))
    return replay


def _print_verdict(summary: LiveSummary) -> None:
    from .console import console

    for event in summary.events:
        console.print(
            f"{event.label} on {event.camera}: alarm after {_seconds(event.alarm_delay_s)}, "
            f"stop after {_seconds(event.stop_delay_s)}"
        )
    p50, p95 = summary.latency_ms.p50, summary.latency_ms.p95
    if p50 is not None:
        console.print(f"{summary.frames} frames judged, image to alarm {p50:.0f} ms (p50), {p95:.0f} ms (p95)")
    decision = summary.decision
    console.print(f"false stops in {decision.clean_s:.0f} s of clean driving: {decision.false_stop_s:.2f} s")
    if summary.alarms.false:
        console.print(f"[yellow]alarms raised on a camera without an event: {summary.alarms.false}[/]")
    for failure in summary.judgement.failures:
        console.print(f"[bold red]FAILED[/]: {failure}")
    if summary.judgement.passed:
        console.print(
            "[bold green]PASSED[/]: every event raised its alarm and stopped the vehicle in time; no false stop."
        )


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


def _table(observer: MonitorObserver, scenario: Scenario, offset_s: float) -> Table:
    """A row per camera, with the decision below."""
    table = Table(title=f"{offset_s:5.1f} of {scenario.duration_s:.0f} s", title_justify="left")
    for column in ("camera", "truth", "score / threshold", "", "alarm", "latency"):
        table.add_column(column, min_width=7, no_wrap=True)
    newest = {heard.alarm.camera: heard for heard in observer.alarms()}
    for camera in scenario.cameras:
        events = (event for event in scenario.events if event.camera == camera)
        truth = next((event.label for event in events if event.start_s <= offset_s < event.end_s), "clean")
        heard = newest.get(camera)
        if heard is None:
            table.add_row(camera, truth, "-", "", "not heard", "-")
            continue
        alarm = heard.alarm
        table.add_row(
            camera,
            truth,
            f"{alarm.score:.3g} / {alarm.threshold:.3g}",
            score_bar(alarm.ratio),
            f"[{STYLES[alarm.state.value]}]{alarm.state.value}[/]",
            number_text(heard.latency_ms, ".0f", " ms"),
        )
    for decision in observer.decisions(-1):
        table.caption = f"[{STYLES[decision.mode.name]}]{decision.mode.name}[/]  {decision.reason}"
        table.caption_justify = "left"
    return table


def _save_overlays(observer: MonitorObserver, scenario: Scenario, offset_s: float, out: Path) -> None:
    """Save an overlay from the middle of each event, and a clean one from before the first event."""
    import cv2

    moments = [(event.camera, (event.start_s + event.end_s) / 2, event.label) for event in scenario.events]
    if scenario.events:
        moments.append((scenario.events[0].camera, scenario.events[0].start_s - 1.0, "clean"))
    for camera, moment_s, label in moments:
        if moment_s <= offset_s < moment_s + 1.0 / scenario.rate_hz:
            picture = observer.overlay(camera)
            if picture is not None:
                cv2.imwrite(str(out / f"overlay_{camera}_{label}.png"), picture)
