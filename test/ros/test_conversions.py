"""Messages and nouns, with rclpy's real message types."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ls_ood_monitor.core.causes import AlarmProgress, Cause, CauseKind, ProgressGoal
from ls_ood_monitor.core.supervision import CameraStatus
from ls_ood_monitor.core.types import Alarm, AlarmState, Decision, FallbackMode
from ls_ood_monitor.ros.conversions import (
    UNREADABLE_CAMERA,
    alarm_message,
    alarms_of,
    decision_message,
    image_message,
    ns_to_stamp,
    stamp_to_ns,
    values_of,
)
from ls_ood_monitor.ros.observer import HeardDecision
from ls_ood_monitor.vision.image_codec import decode_image
from ls_ood_monitor.wording import sentence


def over_the_wire(message):
    """Serialise and back, as DDS would."""
    return deserialize_message(serialize_message(message), type(message))


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, 1_700_000_000_123_456_789])
def test_stamps_round_trip(nanoseconds):
    """No nanosecond is lost."""
    assert stamp_to_ns(ns_to_stamp(nanoseconds)) == nanoseconds


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3)])
def test_images_round_trip(shape):
    """A picture comes back pixel by pixel, from non-contiguous memory too."""
    plane = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)[:, ::-1]
    encoding = "mono8" if len(shape) == 2 else "bgr8"
    back = decode_image(over_the_wire(image_message(plane, Header(), encoding)))
    np.testing.assert_array_equal(back if len(shape) == 3 else back[:, :, 0], plane)


@pytest.mark.parametrize(
    ("state", "score", "level"),
    [
        (AlarmState.CLEAR, 0.1 + 0.2, DiagnosticStatus.OK),
        (AlarmState.PENDING, 7.5, DiagnosticStatus.WARN),
        (AlarmState.RAISED, 1e6, DiagnosticStatus.ERROR),
    ],
)
def test_alarms_round_trip(state, score, level):
    """Every field of an alarm survives, floats to the last bit, and the level says the state."""
    kind = CauseKind.IN_DISTRIBUTION if score <= 5.0 else CauseKind.SUDDEN
    progress = AlarmProgress(ProgressGoal.RAISE, 2.0, 3.0)
    held_for = Cause(CauseKind.SUDDEN, value=9.25, limit=5.0)
    cause = Cause(kind, "front", score, 5.0, progress=progress, underlying=held_for)
    alarm = Alarm("front", 123_456_789_012, state, score, 5.0, cause, "host:1", 7, 0.1 + 0.2, 1.5)
    message = over_the_wire(alarm_message(alarm, {"latency_ms": 3.5}, "perception_node"))
    assert message.status[0].level == level
    assert alarms_of(message) == [alarm]


def test_a_fault_without_a_score_round_trips():
    """NaN stays NaN, and the cause keeps its numbers and texts."""
    cause = Cause(CauseKind.SIZE, "front", detail="128x96", expected="64x48")
    alarm = Alarm("front", 1, AlarmState.RAISED, math.nan, math.nan, cause)
    back = alarms_of(over_the_wire(alarm_message(alarm, {}, "n")))[0]
    assert math.isnan(back.score)
    assert (back.is_fault, back.fault) == (True, "size")
    assert sentence(back.cause) == sentence(cause)


def test_a_lasting_alarm_round_trips():
    """Median and threshold are those of the cause; a CLEAR alarm whose median is too high contradicts itself."""
    lasting = Cause(CauseKind.LASTING, "front", 1.75, 1.5)
    alarm = Alarm("front", 5, AlarmState.RAISED, 1.0, 2.0, lasting, lasting_score=1.75, lasting_threshold=1.5)
    message = over_the_wire(alarm_message(alarm, {}, "n"))
    assert alarms_of(message) == [alarm]
    clear = Alarm("front", 5, AlarmState.CLEAR, 1.0, 2.0, FINE, lasting_score=1.75, lasting_threshold=1.5)
    (back,) = alarms_of(over_the_wire(alarm_message(clear, {}, "n")))
    assert back.cause.kind is CauseKind.UNREADABLE_ALARM
    assert "median score 1.75" in sentence(back.cause)


def test_an_alarm_of_a_sender_that_names_no_cause_is_read():
    """Its text stands for the cause of a fault; a judged frame has score and threshold."""
    message = good_message()
    without("cause")(message)
    assert alarms_of(message)[0].cause == Cause(CauseKind.IN_DISTRIBUTION, "front", 1.0, 2.0)
    fault = Alarm("front", 5, AlarmState.RAISED, math.nan, math.nan, Cause(CauseKind.BLANK, "front", detail="[0]"))
    message = alarm_message(fault, {}, "n")
    without("cause")(message)
    (alarm,) = alarms_of(message)
    assert (alarm.cause.kind, alarm.cause.detail) == (CauseKind.UNNAMED, message.status[0].message)


FINE = Cause(CauseKind.IN_DISTRIBUTION, "front", 1.0, 2.0)


def good_message():
    """A readable CLEAR alarm."""
    return alarm_message(Alarm("front", 5, AlarmState.CLEAR, 1.0, 2.0, FINE), {}, "n")


def without(key):
    def change(message):
        message.status[0].values = [pair for pair in message.status[0].values if pair.key != key]

    return change


def with_value(key, value):
    def change(message):
        for pair in message.status[0].values:
            if pair.key == key:
                pair.value = value

    return change


def with_level(level):
    def change(message):
        message.status[0].level = level

    return change


def with_hardware_id(name):
    def change(message):
        message.status[0].hardware_id = name

    return change


@pytest.mark.parametrize(
    ("change", "camera"),
    [
        (without("camera"), UNREADABLE_CAMERA),
        (without("state"), "front"),
        (without("ood_score"), "front"),
        (without("threshold"), "front"),
        (without("is_fault"), "front"),
        (with_value("ood_score", "much"), "front"),
        (with_value("ood_score", "nan"), "front"),
        (with_value("ood_score", "inf"), "front"),
        (with_value("threshold", "nan"), "front"),
        (with_value("ood_score", "3.0"), "front"),
        (with_value("state", "FINE"), "front"),
        (with_value("is_fault", "maybe"), "front"),
        (with_value("is_fault", "true"), "front"),
        (with_value("cause", "boredom"), "front"),
        (with_value("cause", "black"), "front"),
        (with_level(DiagnosticStatus.ERROR), "front"),
        (with_level(DiagnosticStatus.STALE), "front"),
        (with_hardware_id("left"), UNREADABLE_CAMERA),
    ],
)
def test_a_malformed_alarm_is_never_clear(change, camera):
    """Whatever is missing, unreadable or contradictory becomes a RAISED fault that says so."""
    message = good_message()
    assert alarms_of(message)[0].state is AlarmState.CLEAR
    change(message)
    alarm = alarms_of(message)[0]
    assert alarm.state is AlarmState.RAISED
    assert alarm.cause.kind.is_fault
    assert alarm.camera == camera
    assert "malformed" in sentence(alarm.cause)


@pytest.mark.parametrize("kind", list(CauseKind), ids=lambda kind: kind.value)
@pytest.mark.parametrize("key", ["cause", "raised_by"])
def test_every_named_cause_has_a_sentence_or_is_a_malformed_alarm(key, kind):
    """Whatever cause a message names, the alarm can be told in words: the supervisor must not fail on it."""
    message = good_message()
    values = [pair for pair in message.status[0].values if pair.key != key]
    message.status[0].values = [*values, KeyValue(key=key, value=kind.value)]
    (alarm,) = alarms_of(message)
    assert sentence(alarm.cause).startswith("camera front: ")
    is_known = kind.is_fault or kind in (CauseKind.IN_DISTRIBUTION, CauseKind.SUDDEN, CauseKind.LASTING)
    if not is_known or (key == "cause" and kind.is_fault):
        assert alarm.fault == "unreadable_alarm"


def test_an_empty_alarm_is_a_fault():
    """An array without a status is not silence but a fault."""
    assert alarms_of(DiagnosticArray())[0].state is AlarmState.RAISED


SILENT = Cause(CauseKind.SILENT, "left", 0.75, 0.5)


def test_the_state_names_the_cause_and_what_it_goes_back_to():
    """A latched stop is latched, because the left camera was silent; its numbers are values of their own."""
    decision = Decision(FallbackMode.STOP, Cause(CauseKind.LATCHED, "left", underlying=SILENT), 5)
    values = values_of(decision_message(decision, [], 10, ns_to_stamp(1), "s").status[0])
    names = ("cause", "because", "because_camera", "because_value", "because_limit")
    assert [values[name] for name in names] == ["latched", "silent", "left", "0.75", "0.5"]


def test_decisions_round_trip():
    """Mode and reason survive; each camera has its own status, STALE when never heard."""
    cameras = [
        CameraStatus("front", FallbackMode.NOMINAL, FINE, 0.1),
        CameraStatus("left", FallbackMode.STOP, SILENT, None),
    ]
    message = over_the_wire(decision_message(Decision(FallbackMode.STOP, SILENT, 5), cameras, 10, ns_to_stamp(1), "s"))
    heard = HeardDecision.of(message)
    assert (heard.mode, heard.reason) == (FallbackMode.STOP, sentence(SILENT))
    assert [entry.level for entry in message.status] == [
        DiagnosticStatus.ERROR,
        DiagnosticStatus.OK,
        DiagnosticStatus.STALE,
    ]


def test_a_note_makes_the_decision_warn_and_never_calms_it():
    """A second publisher of the alarm shows as WARN in a NOMINAL state; STOP stays ERROR."""
    for mode, level in ((FallbackMode.NOMINAL, DiagnosticStatus.WARN), (FallbackMode.STOP, DiagnosticStatus.ERROR)):
        first = decision_message(Decision(mode, SILENT, 5), [], 10, ns_to_stamp(1), "s", ["two publishers"]).status[0]
        assert first.level == level
        assert first.message == f"{sentence(SILENT)}; two publishers"


def test_an_unreadable_decision_is_stop():
    """A state message without content reads as STOP."""
    assert HeardDecision.of(DiagnosticArray()).mode is FallbackMode.STOP


def test_image_message_type():
    """The picture is a sensor_msgs/Image with a tight step."""
    message = image_message(np.zeros((3, 4, 3), np.uint8), Header(), "bgr8")
    assert isinstance(message, Image)
    assert (message.height, message.width, message.step) == (3, 4, 12)
