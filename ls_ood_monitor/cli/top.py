"""ls-ood top: the running nodes at a glance, in a terminal."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

    from ..ros.live_status import CameraView, LiveView

DESCRIPTION = """\
Shows what the running nodes say: the decision with its reason, and for each camera its alarm, score over threshold now
and over the last half minute, rates, drops and delays. Ctrl-C leaves. Start it before or after the nodes.

  ls-ood top                     live
  ls-ood top --once              one table as soon as both nodes were heard; exit 1 if they were not
  ls-ood top --seconds 60        live for a minute; the last table stays

score    over threshold: above 1 is out of distribution; the bar's mark is the threshold
trend    largest score over threshold of every 2 s, the newest on the right; full height is twice the threshold,
         x = no image could be judged
Hz       images a second that reach perception        lost   images that it had no time for
delay    stamp of the picture to its alarm here; - where the stamps are of another clock
heard    since the camera's last alarm

ROS_DOMAIN_ID and the other ROS variables are taken from the environment. Where the output is no terminal, --once is meant.
"""

_STYLES = {
    "CLEAR": "green",
    "PENDING": "yellow",
    "RAISED": "bold red",
    "NOMINAL": "bold green",
    "SLOW": "bold yellow",
    "STOP": "bold red",
}
_BAR = 12
_SPARKS = "▁▂▃▄▅▆▇█"
_PATIENCE_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--once", action="store_true", help="print one table and end")
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="N",
        help=f"end after so long; with --once the time to wait for the nodes ({_PATIENCE_S:g})",
    )
    parser.add_argument("--namespace", default="", metavar="NS", help="namespace of the nodes (default: none)")


def run(args: argparse.Namespace) -> int:
    """Listen, show, end."""
    import re
    import sys
    import threading
    import time

    from ..errors import ConfigError
    from ..ros.processes import adopt_ros_environment, require_rclpy
    from .console import console, write_json

    if args.seconds is not None and not 0.0 < args.seconds <= 1e6:
        raise ConfigError(f"--seconds is {args.seconds:g}; it must lie within (0, 1000000].")
    if not re.fullmatch(r"/?([A-Za-z_]\w*(/[A-Za-z_]\w*)*)?/?", args.namespace):
        raise ConfigError(f"--namespace is {args.namespace!r}; it must be names joined by '/', for example /car1.")
    require_rclpy()
    adopt_ros_environment()

    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions
    from rich.live import Live

    from ..ros.live_status import LiveStatus

    once = args.once or (args.seconds is None and not sys.stdout.isatty())
    end_s = time.monotonic() + (args.seconds or (_PATIENCE_S if once else float("inf")))
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C is ours
    status = LiveStatus(args.namespace)
    executor = SingleThreadedExecutor()
    executor.add_node(status)
    spinning = threading.Thread(target=executor.spin, daemon=True)
    spinning.start()
    try:
        if once:
            while time.monotonic() < end_s and not _is_complete(status.view()):
                time.sleep(0.05)
        else:
            with Live(console=console, auto_refresh=False, transient=True) as live:
                while time.monotonic() < end_s:
                    live.update(board(status.view()), refresh=True)
                    time.sleep(0.25)
    except KeyboardInterrupt:
        pass
    finally:
        view = status.view()
        executor.shutdown()
        spinning.join(5.0)
        status.destroy_node()
        rclpy.try_shutdown()
    console.print(board(view))
    write_json(args.json, _plain(view))
    return 1 if once and not _is_heard(view) else 0


def _is_heard(view: LiveView) -> bool:
    """Both nodes speak."""
    return not view.is_supervisor_silent and not all(one.is_silent for one in view.cameras)


def _is_complete(view: LiveView) -> bool:
    """Nothing is left to wait for."""
    return _is_heard(view) and isfinite(view.perception_s) and all(one.alarm is not None for one in view.cameras)


def board(view: LiveView) -> Group:
    """The picture of one moment, for a terminal of 80 columns or more."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for name, side in (
        ("camera", "left"),
        ("alarm", "left"),
        ("score/thr", "right"),
        ("", "left"),
        ("trend, 30 s", "left"),
        ("Hz", "right"),
        ("lost", "right"),
        ("delay", "right"),
        ("heard", "right"),
    ):
        table.add_column(name, justify=side, no_wrap=True)  # type: ignore[arg-type]
    for camera in view.cameras:
        table.add_row(
            Text(camera.camera),
            _alarm(camera),
            _number(camera.alarm.ratio if camera.alarm else float("nan"), ".2f"),
            _bar(camera.alarm.ratio if camera.alarm else float("nan")),
            _sparks(camera),
            _number(camera.image_rate_hz, ".1f"),
            _number(camera.dropped, ".0f"),
            _number(camera.delay_ms, ".0f", " ms"),
            _age(camera),
        )
    return Group(_decision(view), Text(), table, *_reasons(view), Text(), _perception(view))


def _decision(view: LiveView) -> Text:
    from rich.text import Text

    if view.mode is None:
        return Text("waiting for supervisor_node ...", "yellow")
    if view.is_supervisor_silent:
        return Text.assemble(
            (f"supervisor_node is silent for {view.decision_s:.1f} s", "bold red"),
            f"; its last word was {view.mode.name}: {view.reason}",
        )
    stop = {True: "stop true", False: "stop false", None: "stop not heard"}[view.stop]
    return Text.assemble((view.mode.name, _STYLES[view.mode.name]), (f" ({stop})", "dim"), f"  {view.reason}")


def _perception(view: LiveView) -> Text:
    from rich.text import Text

    if not isfinite(view.perception_s):
        return Text("waiting for perception_node ...", "yellow")
    if view.is_perception_silent:
        return Text(f"perception_node: silent for {view.perception_s:.1f} s", "bold red")
    text = Text.assemble(("perception_node: ", "dim"), (view.perception, "" if view.perception_ok else "bold red"))
    facts = dict(view.facts)
    if "bundle_sha256" in facts:
        facts["bundle_sha256"] = facts["bundle_sha256"][:12]
    return text.append("".join(f", {name.removesuffix('_sha256')} {value}" for name, value in facts.items()), "dim")


def _reasons(view: LiveView) -> Iterator[Text]:
    """Why each camera is not clear; a silent one, since when."""
    from rich.text import Text

    for camera in view.cameras:
        if camera.alarm is None:
            yield Text(f"camera {camera.camera}: waiting for its first alarm ...", "yellow")
        elif camera.is_silent:
            yield Text(f"camera {camera.camera}: its alarm is silent for {camera.heard_s:.1f} s", "bold red")
        elif camera.alarm.state.value != "CLEAR":
            yield Text(camera.alarm.reason, _STYLES[camera.alarm.state.value])


def _alarm(camera: CameraView) -> Text:
    from rich.text import Text

    if camera.alarm is None:
        return Text("-", "yellow")
    style = _STYLES[camera.alarm.state.value]
    return Text(camera.alarm.fault or camera.alarm.state.value, "dim" if camera.is_silent else style)


def _bar(ratio: float) -> Text:
    """Score over threshold from 0 to 2, with a mark at the threshold."""
    from rich.text import Text

    filled = round(max(0.0, min(ratio, 2.0)) * _BAR / 2) if isfinite(ratio) else 0
    cells = ["█" if place < filled else "┃" if place == _BAR // 2 else "·" for place in range(_BAR)]
    return Text("".join(cells), "red" if ratio > 1.0 else "green" if isfinite(ratio) else "dim")


def _sparks(camera: CameraView) -> Text:
    from rich.text import Text

    text = Text()
    for ratio in camera.trend:
        if ratio is None:
            text.append(" ")
        elif not isfinite(ratio):
            text.append("x", "bold red")
        else:
            height = round(max(0.0, min(ratio, 2.0)) / 2.0 * (len(_SPARKS) - 1))
            text.append(_SPARKS[height], "red" if ratio > 1.0 else "green")
    return text


def _number(value: float, form: str, unit: str = "") -> str:
    return f"{value:{form}}{unit}" if isfinite(value) else "-"


def _age(camera: CameraView) -> Text:
    from rich.text import Text

    if not isfinite(camera.heard_s):
        return Text("never", "yellow")
    return Text(f"{camera.heard_s:.1f} s", "bold red" if camera.is_silent else "")


def _plain(view: LiveView) -> dict[str, Any]:
    """For JSON, which has no NaN."""

    def number(value: float | None) -> float | None:
        return value if value is not None and isfinite(value) else None

    return {
        "decision": {
            "mode": view.mode.name if view.mode is not None else None,
            "reason": view.reason,
            "stop": view.stop,
            "age_s": number(view.decision_s),
        },
        "perception": {"says": view.perception, "age_s": number(view.perception_s), **view.facts},
        "cameras": {
            one.camera: {
                "alarm": one.alarm.state.value if one.alarm else None,
                "fault": one.alarm.fault if one.alarm else None,
                "reason": one.alarm.reason if one.alarm else None,
                "score": number(one.alarm.score) if one.alarm else None,
                "threshold": number(one.alarm.threshold) if one.alarm else None,
                "demand": one.demand or None,
                "age_s": number(one.heard_s),
                "alarm_rate_hz": number(one.alarm_rate_hz),
                "image_rate_hz": number(one.image_rate_hz),
                "dropped": number(one.dropped),
                "delay_ms": number(one.delay_ms),
                "latency_ms": number(one.latency_ms),
            }
            for one in view.cameras
        },
    }
