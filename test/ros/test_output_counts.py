"""Counting recorded outputs, and finding what was lost on the way."""

from __future__ import annotations

from math import nan

import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import serialize_message

from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState
from ls_ood_monitor.ros.conversions import alarm_message, status
from ls_ood_monitor.ros.output_counts import OutputCounts


def judged(camera: str) -> bytes:
    """An alarm about an image that was judged."""
    cause = Cause(CauseKind.IN_DISTRIBUTION, camera, 0.5, 1.0)
    alarm = Alarm(camera, 5, AlarmState.CLEAR, 0.5, 1.0, cause)
    return bytes(serialize_message(alarm_message(alarm, {"detector": "spatial"}, "p")))


def fault(camera: str, stamp_ns: int = 6, kind: CauseKind = CauseKind.LATE) -> bytes:
    """An alarm about an image that could not be judged, or without stamp about a silence."""
    alarm = Alarm(camera, stamp_ns, AlarmState.RAISED, nan, nan, Cause(kind, camera, 2.0, 1.0))
    return bytes(serialize_message(alarm_message(alarm, {}, "p")))


def dropped(counts: OutputCounts, camera: str, count: int, is_recording: bool = True) -> None:
    """Perception's diagnostics about a camera."""
    entry = status(b"\x00", f"p: {camera}", camera, "clear", {"frames": 100, "dropped": count})
    counts.add_diagnostics(bytes(serialize_message(DiagnosticArray(status=[entry]))), is_recording)


def test_a_lost_score_and_a_lost_picture_have_a_sentence():
    """Scores are compared with alarms, and pictures with scores; a complete topic has no sentence."""
    counts = OutputCounts()
    for camera, scores, overlays in (("front", 20, 20), ("left", 19, 12)):
        counts.expect(f"/p/{camera}/overlay")
        for _ in range(20):
            counts.add("/p/ood_alarm", judged(camera))
        for _ in range(scores):
            counts.add(f"/p/{camera}/ood_score", b"")
        for _ in range(overlays):
            counts.add(f"/p/{camera}/overlay", b"")
    assert counts.scores() == {
        "/p/front/ood_score": {"alarms": 20, "scores": 20},
        "/p/left/ood_score": {"alarms": 20, "scores": 19},
    }
    scores, overlays = counts.shortfalls()
    assert scores.startswith("/p/left/ood_score has 19 scores in the recording, and 20 alarms are about images")
    assert overlays.startswith("/p/left/overlay has 12 pictures in the recording, and its camera 19 scores; what is")


def test_alarms_without_a_verdict_need_no_score():
    """Faults and messages that are no alarm are counted as messages alone."""
    counts = OutputCounts()
    for data in (judged("front"), fault("front"), bytes(serialize_message(DiagnosticArray())), b"no message"):
        counts.add("/p/ood_alarm", data)
    assert counts.messages == {"/p/ood_alarm": 4}
    assert counts.scores() == {"/p/front/ood_score": {"alarms": 1, "scores": 0}}


def test_a_detector_without_anomaly_map_lacks_no_map():
    """A map topic without any message is left out; one with some is compared like the others."""
    counts = OutputCounts()
    counts.expect("/p/front/overlay")
    counts.expect("/p/front/anomaly_map")
    counts.add("/p/front/ood_score", b"")
    assert counts.pictures() == {"/p/front/overlay": {"pictures": 0, "scores": 1}}
    counts.add("/p/front/anomaly_map", b"")
    assert counts.pictures()["/p/front/anomaly_map"] == {"pictures": 1, "scores": 1}


def test_images_are_judged_faults_dropped_or_lost():
    """Drops before the recording do not count; a silence is about no image; an unreported camera has no account."""
    counts = OutputCounts()
    dropped(counts, "front", 7, is_recording=False)  # of an earlier drive
    dropped(counts, "left", 0)
    dropped(counts, "front", 9)
    dropped(counts, "front", 12)
    for data in (*[judged("front")] * 90, *[fault("front")] * 3, fault("front", 0, CauseKind.STALE)):
        counts.add("/p/ood_alarm", data)
    for _ in range(101):  # somebody else sends images, too
        counts.add("/p/ood_alarm", judged("left"))
    topics = {"/front/image": "front", "/left/image": "left", "/rear/image": "rear"}
    assert counts.images(topics, dict.fromkeys(topics, 100)) == {
        "front": {"played": 100, "judged": 90, "faults": 3, "dropped": 5, "lost": 2},
        "left": {"played": 100, "judged": 101, "faults": 0, "dropped": 0, "lost": 0},
    }
