"""Decision and alarms as texts in RViz."""

from __future__ import annotations

import sys
import time
from math import nan

import pytest

pytest.importorskip("rclpy")

from std_msgs.msg import Header

from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState, Decision, FallbackMode
from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.ros.conversions import alarm_message, decision_message, ns_to_stamp
from ls_ood_monitor.ros.live_status import CameraView, LiveView
from ls_ood_monitor.ros.observer import HeardDecision
from ls_ood_monitor.ros.processes import wait_until
from ls_ood_monitor.ros.rviz_status import RvizStatus, lines_of, marker_types

OOD = Cause(CauseKind.SUDDEN, "left", 5.0, 2.0)
CLEAR = Alarm("front", 1, AlarmState.CLEAR, 1.0, 2.0, Cause(CauseKind.IN_DISTRIBUTION, "front", 1.0, 2.0))
RAISED = Alarm("left", 1, AlarmState.RAISED, 5.0, 2.0, OOD)
BLACK = Alarm("rear", 1, AlarmState.RAISED, nan, nan, Cause(CauseKind.BLACK, "rear", 0.995, 0.99, "4"))


def camera(name: str, alarm: Alarm | None, heard_s: float = 0.1) -> CameraView:
    """A camera of which only its alarm matters."""
    return CameraView(name, alarm, heard_s, "", nan, nan, nan, nan, nan, ())


def view(*cameras: CameraView, mode: FallbackMode | None = FallbackMode.STOP, decision_s: float = 0.1) -> LiveView:
    """A state with this decision, or none."""
    decision = None if mode is None else HeardDecision(0, mode, "camera left: out of distribution")
    return LiveView(decision, decision_s, True, "", True, 0.1, {}, cameras)


def is_red(colour: tuple[float, float, float]) -> bool:
    """More red than anything else."""
    return colour[0] > 0.9 and max(colour[1:]) < 0.5


def test_each_line_says_one_thing_and_has_its_colour():
    """The decision with its reason, then a line for each camera: score over threshold, or the fault by name."""
    lines = lines_of(view(camera("front", CLEAR), camera("left", RAISED), camera("rear", BLACK)))
    assert [text for _, text, _ in lines] == [
        "STOP: camera left: out of distribution",
        "front: CLEAR, score 0.50 x threshold",
        "left: RAISED, score 2.50 x threshold",
        "rear: RAISED, black",
    ]
    assert [name for name, _, _ in lines] == ["decision", "front", "left", "rear"]
    assert [is_red(colour) for _, _, colour in lines] == [True, False, True, True]


def test_silence_is_said_where_the_last_picture_would_stay():
    """Of a camera and of the supervisor, with the age; before the first word there is none to be late."""
    lines = lines_of(view(camera("front", CLEAR, heard_s=7.0), mode=FallbackMode.NOMINAL, decision_s=3.2))
    assert [text for _, text, _ in lines] == [
        "supervisor silent for 3.2 s, its last decision was NOMINAL",
        "front: no alarm for 7.0 s",
    ]
    assert all(is_red(colour) for _, _, colour in lines)
    lines = lines_of(view(camera("front", None, heard_s=nan), mode=None, decision_s=nan))
    assert [text for _, text, _ in lines] == ["no decision received yet", "front: no alarm received yet"]
    assert not any(is_red(colour) for _, _, colour in lines)


def test_without_the_markers_type_it_is_a_sentence(monkeypatch):
    """visualization_msgs comes with RViz; where it is missing, its package is named."""
    monkeypatch.setitem(sys.modules, "visualization_msgs", None)
    monkeypatch.setitem(sys.modules, "visualization_msgs.msg", None)
    with pytest.raises(ConfigError, match=r"pip install ros-visualization-msgs"):
        marker_types()


def test_the_texts_stand_above_one_another_and_do_not_outlive_the_node(spin):
    """In the frame asked for and the namespace of the nodes; a long reason takes several lines, and room for them."""
    markers = pytest.importorskip("visualization_msgs.msg")
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.node import Node

    car, heard = spin(Node("car")), []
    car.create_subscription(markers.MarkerArray, "/car1/rviz_status/markers", heard.append, 1)
    alarms = car.create_publisher(DiagnosticArray, "/car1/perception_node/ood_alarm", 10)
    states = car.create_publisher(DiagnosticArray, "/car1/supervisor_node/state", 10)
    spin(RvizStatus(cli_args=["--ros-args", "-r", "__ns:=/car1", "-p", "frame_id:=map"]))
    decision = Decision(FallbackMode.STOP, OOD, 0)
    state = decision_message(decision, [], 0, Header(stamp=ns_to_stamp(time.time_ns())).stamp, "supervisor_node")

    def has_texts() -> bool:
        for alarm in (CLEAR, RAISED):
            alarms.publish(alarm_message(alarm, {}, "perception_node"))
        states.publish(state)
        return bool(heard) and len(heard[-1].markers) == 3 and heard[-1].markers[-1].text.startswith("STOP")

    wait_until(has_texts, "the texts")
    left, front, stop = heard[-1].markers
    assert (left.ns, front.ns, stop.ns) == ("left", "front", "decision")
    assert front.text == "front: CLEAR, score 0.50 x threshold"
    rows = stop.text.split("\n")
    assert len(rows) >= 2
    assert max(map(len, rows)) <= 40
    assert {marker.header.frame_id for marker in heard[-1].markers} == {"map"}
    assert all(marker.type == markers.Marker.TEXT_VIEW_FACING for marker in heard[-1].markers)
    assert all(marker.lifetime.sec == 1 for marker in heard[-1].markers)
    tops = [text.pose.position.z + text.scale.z * len(text.text.split("\n")) * 0.75 for text in (left, front)]
    bottoms = [text.pose.position.z - text.scale.z * len(text.text.split("\n")) * 0.75 for text in (front, stop)]
    assert all(bottom >= top - 1e-6 for top, bottom in zip(tops, bottoms, strict=True))
