"""The table of ls-ood top, for states that are made up."""

from __future__ import annotations

import io
from math import nan

import pytest

pytest.importorskip("rclpy")

from rich.console import Console

from ls_ood_monitor.cli.top import board
from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.ros.live_status import CameraView, LiveView
from ls_ood_monitor.ros.observer import HeardDecision

OOD = Cause(CauseKind.SUDDEN, "left", 5.0, 2.0)
CLEAR = Alarm("front", 1, AlarmState.CLEAR, 1.0, 2.0, Cause(CauseKind.IN_DISTRIBUTION, "front", 1.0, 2.0))
RAISED = Alarm("left", 1, AlarmState.RAISED, 5.0, 2.0, OOD)
BLACK = Alarm("rear", 1, AlarmState.RAISED, nan, nan, Cause(CauseKind.BLACK, "rear", 0.995, 0.99, "4"))


def camera(alarm: Alarm, heard_s: float = 0.1, trend=(None,) * 13 + (0.2, 2.0)) -> CameraView:
    """One that sends ten images a second."""
    return CameraView(alarm.camera, alarm, heard_s, "", 10.0, 123.4, 50.0, 10.0, 3.0, trend)


def shown(*cameras: CameraView, decision_s: float = 0.1, perception_s: float = 0.5) -> str:
    """The table as text, with colours as escape codes."""
    view = LiveView(
        HeardDecision(0, FallbackMode.STOP, "camera left: out of distribution", "sudden"),
        decision_s,
        True,
        "running",
        True,
        perception_s,
        {"bundle_sha256": "ab" * 32, "detector": "spatial", "device": "cpu"},
        cameras,
    )
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(board(view))
    return console.file.getvalue()


def test_it_fits_eighty_columns_with_everything_in_it():
    """Four cameras with long delays; no line is wider, no figure is cut off."""
    console = Console(width=80, file=io.StringIO())
    rows = [camera(alarm) for alarm in (CLEAR, RAISED, BLACK)]
    console.print(board(LiveView(None, nan, None, "", False, nan, {}, tuple(rows))))
    text = console.file.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for words in ("0.50", "2.50", "10.0", "123 ms", "0.1 s", "black", "waiting for supervisor_node"):
        assert words in text


def test_above_the_threshold_is_red_and_below_is_green():
    """Score, bar and trend by the one rule; the threshold has a mark that a full bar covers."""
    front, left = (
        next(line for line in shown(camera(CLEAR), camera(RAISED)).splitlines() if line.startswith(name))
        for name in ("front", "left")
    )
    assert "\x1b[32m███···┃·····\x1b[0m" in front
    assert "\x1b[31m████████████\x1b[0m" in left
    assert "\x1b[1;31mRAISED\x1b[0m" in left
    assert "\x1b[31m█\x1b[0m" in front.split("┃")[1]  # the trend's last two seconds were above


def test_a_fault_is_named_and_has_no_score():
    """Its name stands in the alarm's place, an x in the trend, the reason below."""
    text = shown(camera(BLACK, trend=(None,) * 14 + (nan,)))
    assert "\x1b[1;31mblack\x1b[0m" in text
    assert "\x1b[1;31mx\x1b[0m" in text
    assert "camera rear: 99.5% of the picture is black" in text


def test_silence_is_red():
    """Of a camera's alarm, of the supervisor, whose last word is kept as such, and of perception."""
    text = shown(camera(CLEAR, heard_s=7.0), decision_s=3.2, perception_s=9.0)
    assert "\x1b[1;31mcamera front: no alarm for 7.0 s\x1b[0m" in text
    assert "\x1b[1;31m7.0 s\x1b[0m" in text
    assert "\x1b[1;31msupervisor_node is silent for 3.2 s\x1b[0m; its last decision was STOP" in text
    assert "\x1b[1;31mperception_node: silent for 9.0 s\x1b[0m" in text
