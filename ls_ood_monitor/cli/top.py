"""ls-ood top: shows the state of the running nodes in a terminal."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..errors import ConfigError
from ..wording import sentence
from .console import console, write_json
from .state_display import STYLES, number_text, score_bar

if TYPE_CHECKING:
    from ..ros.live_status import CameraView, LiveView

DESCRIPTION = """\
Shows the decision with its reason, and for each camera its alarm, the score over threshold now and over the last half
minute, rates, drops and delays. Ctrl-C ends it. Start it before or after the nodes.

  ls-ood top                     live
  ls-ood top --once              one table as soon as both nodes are heard; exit 1 if they are not
  ls-ood top --seconds 60        live for a minute; the last table stays

alarm    state of the alarm; of an image that could not be judged, the name of the fault
score    over threshold: above 1 is out of distribution; the mark in the bar is the threshold
trend    largest score over threshold in every 2 s, the newest on the right; full height is twice the threshold,
         x = no image could be judged
Hz       images a second that reach perception        lost   images that perception had no time for
delay    from the image's stamp to its alarm here; - where the stamps are of another clock
heard    time since the camera's last alarm

ROS_DOMAIN_ID and the other ROS variables are taken from the environment. Without a terminal, --once is the default.
"""

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
        help=f"end after N seconds; with --once the time to wait for the nodes (default {_PATIENCE_S:g})",
    )
    parser.add_argument("--namespace", default="", metavar="NS", help="namespace of the nodes (default: none)")


def run(args: argparse.Namespace) -> int:
    """Listen, show, end."""
    from ..ros.environment import adopt_ros_environment, require_rclpy

    if args.seconds is not None and not 0.0 < args.seconds <= 1e6:
        raise ConfigError(f"--seconds is {args.seconds:g}; it must lie within (0, 1000000].")
    if not re.fullmatch(r"/?([A-Za-z_]\w*(/[A-Za-z_]\w*)*)?/?", args.namespace):
        raise ConfigError(f"--namespace is {args.namespace!r}; it must be names joined by '/', for example /car1.")
    require_rclpy()
    adopt_ros_environment()

    from ..ros.live_status import LiveStatus
    from ..ros.runner import ros_context, spinning

    once = args.once or (args.seconds is None and not sys.stdout.isatty())
    end_s = time.monotonic() + (args.seconds or (_PATIENCE_S if once else float("inf")))
    with ros_context(), spinning(LiveStatus(args.namespace)) as status:
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
        view = status.view()
    console.print(board(view))
    write_json(args.json, _json_of(view))
    return 1 if once and not _is_heard(view) else 0


def _is_heard(view: LiveView) -> bool:
    """Whether both nodes publish."""
    return not view.is_supervisor_silent and not all(camera.is_silent for camera in view.cameras)


def _is_complete(view: LiveView) -> bool:
    """Whether everything that the table can show is known."""
    has_alarms = all(camera.alarm is not None for camera in view.cameras)
    return _is_heard(view) and isfinite(view.perception_s) and has_alarms


def board(view: LiveView) -> Group:
    """The table for a terminal of 80 columns or more."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for name in ("camera", "alarm", "score/thr", "", "trend, 30 s", "Hz", "lost", "delay", "heard"):
        is_text = name in ("camera", "alarm", "", "trend, 30 s")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
    for camera in view.cameras:
        ratio = camera.alarm.ratio if camera.alarm else nan
        numbers = (
            number_text(camera.image_rate_hz, ".1f"),
            number_text(camera.dropped, ".0f"),
            number_text(camera.delay_ms, ".0f", " ms"),
        )
        score = (number_text(ratio, ".2f"), score_bar(ratio))
        table.add_row(Text(camera.camera), _alarm(camera), *score, _sparks(camera), *numbers, _age(camera))
    return Group(_decision(view), Text(), table, *_reasons(view), Text(), _perception(view))


def _decision(view: LiveView) -> Text:
    decision = view.decision
    if decision is None:
        return Text("waiting for supervisor_node ...", "yellow")
    if view.is_supervisor_silent:
        return Text.assemble(
            (f"supervisor_node is silent for {view.decision_s:.1f} s", "bold red"),
            f"; its last decision was {decision.mode.name}: {decision.reason}",
        )
    stop = {True: "stop true", False: "stop false", None: "stop not heard"}[view.stop]
    cause = f", {decision.cause}" if decision.cause else ""
    mode = decision.mode.name
    return Text.assemble((mode, STYLES[mode]), (f" ({stop}{cause})", "dim"), f"  {decision.reason}")


def _perception(view: LiveView) -> Text:
    if not isfinite(view.perception_s):
        return Text("waiting for perception_node ...", "yellow")
    if view.is_perception_silent:
        return Text(f"perception_node: silent for {view.perception_s:.1f} s", "bold red")
    text = Text.assemble(("perception_node: ", "dim"), (view.perception, "" if view.perception_ok else "bold red"))
    facts = {name.removesuffix("_sha256"): value for name, value in view.facts.items()}
    if "bundle" in facts:
        facts["bundle"] = facts["bundle"][:12]
    return text.append("".join(f", {name} {value}" for name, value in facts.items()), "dim")


def _reasons(view: LiveView) -> Iterator[Text]:
    """A line for each camera that is not clear, or silent."""
    for camera in view.cameras:
        if camera.alarm is None:
            yield Text(f"camera {camera.camera}: waiting for its first alarm ...", "yellow")
        elif camera.is_silent:
            yield Text(f"camera {camera.camera}: no alarm for {camera.heard_s:.1f} s", "bold red")
        elif camera.alarm.state.value != "CLEAR":
            yield Text(sentence(camera.alarm.cause), STYLES[camera.alarm.state.value])


def _alarm(camera: CameraView) -> Text:
    if camera.alarm is None:
        return Text("-", "yellow")
    style = STYLES[camera.alarm.state.value]
    return Text(camera.alarm.fault or camera.alarm.state.value, "dim" if camera.is_silent else style)


def _sparks(camera: CameraView) -> Text:
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


def _age(camera: CameraView) -> Text:
    if not isfinite(camera.heard_s):
        return Text("never", "yellow")
    return Text(f"{camera.heard_s:.1f} s", "bold red" if camera.is_silent else "")


def _json_of(view: LiveView) -> dict[str, Any]:
    """The view for ``--json``, with null instead of NaN."""
    decision = view.decision
    return {
        "decision": {
            "mode": decision.mode.name if decision else None,
            "reason": decision.reason if decision else "",
            "cause": decision.cause or None if decision else None,
            "because": decision.because or None if decision else None,
            "stop": view.stop,
            "age_s": _finite(view.decision_s),
        },
        "perception": {"says": view.perception, "age_s": _finite(view.perception_s), **view.facts},
        "cameras": {camera.camera: _camera_json(camera) for camera in view.cameras},
    }


def _camera_json(camera: CameraView) -> dict[str, Any]:
    alarm = camera.alarm
    return {
        "alarm": alarm.state.value if alarm else None,
        "fault": alarm.fault if alarm else None,
        "cause": alarm.cause.kind.value if alarm else None,
        "reason": sentence(alarm.cause) if alarm else None,
        "score": _finite(alarm.score) if alarm else None,
        "threshold": _finite(alarm.threshold) if alarm else None,
        "demand": camera.demand or None,
        "age_s": _finite(camera.heard_s),
        "alarm_rate_hz": _finite(camera.alarm_rate_hz),
        "image_rate_hz": _finite(camera.image_rate_hz),
        "dropped": _finite(camera.dropped),
        "delay_ms": _finite(camera.delay_ms),
        "latency_ms": _finite(camera.latency_ms),
    }


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
