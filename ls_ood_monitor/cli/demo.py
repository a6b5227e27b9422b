"""ls-ood demo: a camera goes out of distribution, the alarm rises, the stop command follows; over real DDS."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from ..monitor import OodMonitor
    from ..ros.observer import MonitorObserver
    from ..street.scenario import Scenario

DESCRIPTION = """\
Renders a short drive of the procedural (synthetic) street with two cameras: clean, fog on the front camera, clean,
mud on the left camera, clean. Starts supervisor_node and perception_node as processes of their own, plays the
recording to them through DDS in real time and shows what they say. Needs no GPU, no data set and no ROS installation.

Writes into --out: timeline.png, overlay pictures, summary.json, the recording (bag/) with events.yaml, the logs, and
evaluation/report.html: the same recording judged again offline, by the checks, network, alarm and supervisor of the nodes.
Exit 0 only if every event raised its alarm, stop was commanded within 1 s of its start, and never in the clean parts.
"""

_STYLES = {
    "CLEAR": "green",
    "PENDING": "yellow",
    "RAISED": "bold red",
    "NOMINAL": "green",
    "SLOW": "yellow",
    "STOP": "bold red",
}
#: Cameras of the demo send 5 frames a second; the vehicle's default of 0.5 s is meant for faster ones.
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
    """Render, start the nodes, play, judge, draw."""
    import shutil

    from ..bundle import load_bundle
    from ..evaluation.timeline import draw_timeline, judge, summarise
    from ..ros.processes import asked_domain, private_domain, require_rclpy
    from ..street.scenario import DEMO_SCENARIO, record_scenario
    from .console import console, progress_bar, write_json

    require_rclpy()
    # Loaded here only to refuse what the node would refuse, before a minute of rendering.
    monitor = load_bundle(args.bundle, device=args.device, detector=args.detector)
    domain = asked_domain()
    scenario = DEMO_SCENARIO
    args.out.mkdir(parents=True, exist_ok=True)
    bag, events_file = args.out / "bag", args.out / "events.yaml"
    if bag.exists():
        shutil.rmtree(bag)  # ours: a demo repeats itself
    with progress_bar("Rendering the drive", len(scenario.stamps_s) * len(scenario.cameras)) as update:
        record_scenario(scenario, bag, events_file, progress=update)
    scores, modes, stops = _play(args, scenario, bag, private_domain() if domain is None else domain)
    verdict = judge(scenario.events, scores, modes, stops, scenario.duration_s)
    domain = {"domain": "procedural fisheye street (synthetic)"}
    summary = domain | summarise(verdict, scores, modes, scenario.duration_s, monitor.bundle_id)
    for path in (args.out / "summary.json", args.json):
        write_json(path, summary)
    draw_timeline(
        args.out / "timeline.png",
        scenario.events,
        scores,
        modes,
        scenario.duration_s,
        "OoD monitor on a procedural (synthetic) street, live over DDS",
    )
    for outcome in verdict.outcomes:
        event = outcome.event
        console.print(
            f"{event.label} on {event.camera}: alarm after {_seconds(outcome.alarm_delay_s)}, "
            f"stop after {_seconds(outcome.stop_delay_s)}"
        )
    latency = summary["latency_ms"]
    if latency["p50"] is not None:
        console.print(
            f"{len(scores)} frames judged, image to alarm {latency['p50']:.0f} ms (p50), {latency['p95']:.0f} ms (p95)"
        )
    console.print(f"false stops in {verdict.clean_s:.0f} s of clean driving: {verdict.false_stop_s:.2f} s")
    if verdict.false_alarms:
        console.print(f"[yellow]alarms raised on a camera without an event: {verdict.false_alarms}[/]")
    for failure in verdict.failures:
        console.print(f"[bold red]FAILED[/]: {failure}")
    if verdict.passed:
        console.print(
            "[bold green]PASSED[/]: every event raised its alarm and stopped the vehicle in time; no false stop."
        )
    report = _write_report(args, monitor, scenario, bag)
    console.print(f"Look at {args.out / 'timeline.png'} and {args.out}/overlay_*.png,", soft_wrap=True)
    console.print(f"and open the report in a browser, no network needed: {report}", soft_wrap=True)
    return 0 if verdict.passed else 1


def _write_report(args: argparse.Namespace, monitor: OodMonitor, scenario: Scenario, bag: Path) -> Path:
    """The recording once more, offline, as ``ls-ood evaluate`` judges it; returns the report's path."""
    from ..errors import DataError
    from ..evaluation.evaluate import REPORT, evaluate
    from ..evaluation.processes import cores
    from ..evaluation.request import Request
    from ..evaluation.timeline import Limits
    from ..parameter_file import VehicleSettings
    from ..recordings.recording import open_recording
    from .console import progress_bar, reproduce_command

    out = args.out / "evaluation"
    out.mkdir(exist_ok=True)
    options = [["--bundle", args.bundle], ["--detector", args.detector]]
    given = [str(word) for option in options if option[1] for word in option]
    command = ["ls-ood", "evaluate", str(bag), "--events", str(bag.with_name("events.yaml")), *given, "--out", str(out)]
    recording = open_recording(bag)
    request = Request(
        recording=recording,
        events=tuple(scenario.events),
        bundle=args.bundle and args.bundle.absolute(),
        bundle_id=monitor.bundle_id,
        detector=args.detector,
        device=args.device,
        vehicle=VehicleSettings(),
        gate=None,
        limits=Limits(),
        out=out.absolute(),
        command=reproduce_command(command),
        run="demo",
        events_file=bag.with_name("events.yaml").absolute(),
        note="The street is procedural: everything here is synthetic. This is the offline evaluation of the recording that "
        "'ls-ood demo' played to the running nodes; what they said live is in summary.json and timeline.png.",
    )
    with progress_bar("Judging it again offline", recording.images) as update:
        result = evaluate(request, update, cores())
    if result.summary is None:
        raise DataError(f"the demo's recording cannot be evaluated: {result.error}")
    return out / REPORT


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


def _play(args: argparse.Namespace, scenario: Scenario, bag: Path, domain: int) -> tuple[list[Any], ...]:
    """Run both nodes on the recording; returns alarms, decisions and stop commands on the recording's time axis."""
    import os
    import threading

    from ..ros.processes import NodeProcess, remove_orphaned_segments, ros_environment, wait_until

    environment = ros_environment(domain)
    os.environ.update(environment)  # before rclpy, which reads it once

    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rich.live import Live

    from ..recordings.bags import iter_raw
    from ..ros.observer import MonitorObserver
    from ..ros.player import make_publishers, play, wait_for_subscribers
    from .console import console

    logs = args.out / "logs"
    cameras = list(scenario.cameras)
    perception = {
        "cameras": cameras,
        "autostart": True,
        "device": args.device,
        "num_threads": 1,
        "bundle_path": str(args.bundle or ""),
        "detector": args.detector or "",
    }
    supervisor = {"cameras": cameras, "alarm_timeout_s": _ALARM_TIMEOUT_S}
    rclpy.init()
    observer = MonitorObserver(overlays=tuple(cameras))
    executor = SingleThreadedExecutor()
    executor.add_node(observer)
    spinning = threading.Thread(target=executor.spin, daemon=True)
    spinning.start()
    begin_ns: list[int] = []
    try:
        with (
            NodeProcess(
                "supervisor_node",
                supervisor,
                environment,
                logs / "supervisor_node.log",
                ("ood_alarm:=/perception_node/ood_alarm",),
            ),
            NodeProcess("perception_node", perception, environment, logs / "perception_node.log") as node,
        ):
            console.print(
                f"supervisor_node and perception_node run on ROS domain {environment['ROS_DOMAIN_ID']}, this machine only"
            )
            publishers = make_publishers(observer, {f"/{camera}/image": "sensor_msgs/msg/Image" for camera in cameras})
            _wait_until_ready(node, lambda: wait_for_subscribers(publishers, 0.5))
            # Discovery is pairwise: that the node hears this process does not mean that the supervisor hears the node.
            wait_until(lambda: _supervised(observer, cameras), "the supervisor to hear every camera's alarm")
            with Live(console=console, refresh_per_second=8) as live:

                def shown(_message: Any, offset_s: float) -> None:
                    if not begin_ns:
                        begin_ns.append(_now_ns() - round(offset_s * 1e9))
                    live.update(_table(observer, cameras, scenario, offset_s))
                    _keep_overlays(observer, scenario, offset_s, args.out)

                play(iter_raw(bag), publishers, on_message=shown)
                wait_until(lambda: _elapsed_s(begin_ns) >= scenario.duration_s, "the end of the recording")
                live.update(_table(observer, cameras, scenario, scenario.duration_s))
        return _on_axis(observer, begin_ns[0], scenario.duration_s)
    finally:
        executor.shutdown()
        spinning.join(5.0)
        observer.destroy_node()
        rclpy.try_shutdown()
        remove_orphaned_segments()


def _supervised(observer: MonitorObserver, cameras: list[str]) -> bool:
    decisions = observer.decisions()
    return bool(decisions) and decisions[-1].cameras_heard.issuperset(cameras)


def _now_ns() -> int:
    import time

    return time.monotonic_ns()


def _elapsed_s(begin_ns: list[int]) -> float:
    return (_now_ns() - begin_ns[0]) / 1e9 if begin_ns else 0.0


def _wait_until_ready(node: Any, wait: Any, timeout_s: float = 90.0) -> None:
    """Wait until the perception node subscribes; if it ended instead, say why in its own words."""
    import time

    from ..errors import DataError, MonitorError

    deadline = time.monotonic() + timeout_s
    while True:
        if node.poll() is not None:
            last = (node.output().strip().splitlines() or ["no output"])[-1]
            raise MonitorError(f"perception_node ended with code {node.poll()}: {last}")
        try:
            wait()
            return
        except DataError as error:
            if time.monotonic() > deadline:
                last = (node.output().strip().splitlines() or ["no output"])[-1]
                raise MonitorError(f"perception_node is not ready: {last}") from error


def _table(observer: MonitorObserver, cameras: list[str], scenario: Scenario, offset_s: float) -> Table:
    """The live picture: a row per camera, the decision below."""
    from rich.table import Table

    table = Table(title=f"{offset_s:5.1f} of {scenario.duration_s:.0f} s", title_justify="left")
    for column in ("camera", "truth", "score / threshold", "", "alarm", "latency"):
        table.add_column(column, min_width=7, no_wrap=True)
    newest = {heard.alarm.camera: heard for heard in observer.alarms()}
    for camera in cameras:
        truth = next(
            (
                event.label
                for event in scenario.events
                if event.camera == camera and event.start_s <= offset_s < event.end_s
            ),
            "clean",
        )
        heard = newest.get(camera)
        if heard is None:
            table.add_row(camera, truth, "-", "", "not heard", "-")
            continue
        alarm = heard.alarm
        ratio = alarm.ratio
        bar = "█" * max(1, min(20, round(6 * ratio))) if ratio == ratio else ""
        table.add_row(
            camera,
            truth,
            f"{alarm.score:.3g} / {alarm.threshold:.3g}",
            f"[{'red' if ratio > 1 else 'green'}]{bar}[/]",
            f"[{_STYLES[alarm.state.value]}]{alarm.state.value}[/]",
            f"{heard.latency_ms:.0f} ms",
        )
    decisions = observer.decisions()
    if decisions:
        last = decisions[-1]
        table.caption = f"[{_STYLES[last.mode.name]}]{last.mode.name}[/]  {last.reason}"
        table.caption_justify = "left"
    return table


def _keep_overlays(observer: MonitorObserver, scenario: Scenario, offset_s: float, out: Path) -> None:
    """Save the overlay of each event's camera in the middle of the event, and one clean one before the first."""
    import cv2

    moments = [(scenario.events[0].camera, scenario.events[0].start_s - 1.0, "clean")] if scenario.events else []
    moments += [(event.camera, (event.start_s + event.end_s) / 2, event.label) for event in scenario.events]
    for camera, moment, label in moments:
        if moment <= offset_s < moment + 1.0 / scenario.rate_hz:
            picture = observer.overlay(camera)
            if picture is not None:
                cv2.imwrite(str(out / f"overlay_{camera}_{label}.png"), picture)


def _on_axis(observer: MonitorObserver, begin_ns: int, duration_s: float) -> tuple[list[Any], ...]:
    """Alarms, decisions and stop commands heard, as samples in seconds from the start of the recording."""
    from ..evaluation.timeline import ModeSample, ScoreSample, StopSample

    scores = [
        ScoreSample(
            (heard.at_ns - begin_ns) / 1e9,
            heard.alarm.camera,
            heard.alarm.state,
            heard.alarm.score,
            heard.alarm.threshold,
            heard.latency_ms,
        )
        for heard in observer.alarms()
        if begin_ns <= heard.at_ns and heard.alarm.score == heard.alarm.score
    ]
    modes = [ModeSample((heard.at_ns - begin_ns) / 1e9, heard.mode, heard.reason) for heard in observer.decisions()]
    stops = [StopSample((heard.at_ns - begin_ns) / 1e9, heard.stop) for heard in observer.stops()]
    return tuple([sample for sample in part if sample.time_s <= duration_s] for part in (scores, modes, stops))
