"""The gate: which side of a limit breaks it, and what a build server reads."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.offline.evaluation.gate import (
    CameraLimits,
    EventLimits,
    Gate,
    check_gate,
    read_gate,
    require_known_names,
    write_junit,
)

SUMMARY = {
    "alarms": {"false_per_hour": {"per_hour": 3.0, "upper": 9.0}, "detected_share": 0.5, "delay_s": {"max": 0.4}},
    "decision": {"time_to_stop_s": 0.6, "false_stop_ratio": 0.0, "time_to_resume_s": None, "hold_ratio": 0.9},
    "ood": {"auroc": 0.97},
    "fault_count": 2,
}


@pytest.mark.parametrize(
    ("limits", "broken"),
    [
        ({}, []),
        ({"max_false_alarms_per_hour": 3.0, "max_time_to_stop_s": 0.6, "min_events_detected": 0.5}, []),
        ({"max_false_alarms_per_hour": 2.9}, ["max_false_alarms_per_hour"]),
        ({"max_false_alarms_per_hour_upper": 8.0}, ["max_false_alarms_per_hour_upper"]),
        ({"min_events_detected": 0.6, "min_auroc": 0.98}, ["min_events_detected", "min_auroc"]),
        ({"max_time_to_resume_s": 5.0}, ["max_time_to_resume_s"]),
        ({"max_false_stop_ratio": 0.0, "min_hold_ratio": 0.9, "max_faults": 2, "max_alarm_delay_s": 0.4}, []),
        ({"max_faults": 1}, ["max_faults"]),
    ],
)
def test_limits_are_held_against_their_figures(limits, broken):
    """A limit reached is kept; a figure that was not measured breaks its rule; what is not limited is not asked."""
    rules = check_gate(Gate(**limits), SUMMARY)
    assert [rule.name for rule in rules if not rule.passed] == broken
    assert len(rules) == len(limits)


def test_what_never_happened_breaks_its_limit():
    """The longest delay of the events that were caught is no answer to one that never was."""
    hit, miss = {"alarm_delay_s": 0.4, "stop_delay_s": 0.6}, {"alarm_delay_s": 0.4, "stop_delay_s": None}
    summary = {**SUMMARY, "events": [hit, miss], "decision": {**SUMMARY["decision"], "not_resumed": 2}}
    rules = check_gate(Gate(max_alarm_delay_s=1.0, max_time_to_stop_s=1.0, max_time_to_resume_s=9.0), summary)
    assert {rule.name: rule.passed for rule in rules} == {
        "max_alarm_delay_s": True,
        "max_time_to_stop_s": False,
        "max_time_to_resume_s": False,
    }
    assert "never after 1 of 2 events (at most 1 s accepted)" in rules[1].sentence


def event(label: str, camera: str, alarm: float | None, stop: float | None = None) -> dict:
    """As in the summary."""
    return {"label": label, "camera": camera, "alarm_delay_s": alarm, "stop_delay_s": stop}


#: Two fogs of which one is missed, and a tunnel that raised nothing, as is right.
PARTS = {
    **SUMMARY,
    "events": [event("fog", "front", 0.3, 0.5), event("fog", "left", None, 0.4), event("tunnel", "front", None)],
    "by_camera": {
        "front": {"images": 60, "false_alarms": 0, "faults": 0},
        "left": {"images": 60, "false_alarms": 2, "faults": 3},
    },
}


@pytest.mark.parametrize(
    ("section", "name", "limits", "broken"),
    [
        ("labels", "fog", "{min_events_detected: 0.5, max_time_to_stop_s: 0.5}", []),
        ("labels", "fog", "{min_events_detected: 0.6}", ["labels.fog.min_events_detected"]),
        ("labels", "fog", "{max_alarm_delay_s: 9}", ["labels.fog.max_alarm_delay_s"]),
        ("labels", "fog", "{max_events_detected: 0}", ["labels.fog.max_events_detected"]),
        ("labels", "tunnel", "{max_events_detected: 0}", []),
        ("cameras", "front", "{max_false_alarms: 0, max_faults: 0, min_events_detected: 0.5}", []),
        ("cameras", "left", "{max_false_alarms: 1, max_faults: 3}", ["cameras.left.max_false_alarms"]),
        ("cameras", "left", "{min_events_detected: 1}", ["cameras.left.min_events_detected"]),
    ],
)
def test_limits_of_a_label_or_a_camera_are_held_against_its_own_figures(tmp_path, section, name, limits, broken):
    """What must be detected, what must not, and where nothing else may be raised; each rule is named by its place."""
    (tmp_path / "gate.yaml").write_text(f"{section}: {{{name}: {limits}}}")
    rules = check_gate(read_gate(tmp_path / "gate.yaml"), PARTS)
    assert [rule.name for rule in rules if not rule.passed] == broken
    assert all(rule.name.startswith(f"{section}.{name}.") for rule in rules)
    assert len(rules) == limits.count(":")


def test_names_that_no_recording_holds_are_refused():
    """A label or a camera mistyped would be checked nowhere; one that only another recording holds is no rule of this one."""
    gate = Gate(labels={"fog": EventLimits(min_events_detected=1.0)}, cameras={"roof": CameraLimits(max_faults=0)})
    assert [rule.name for rule in check_gate(gate, {**PARTS, "events": []})] == []
    require_known_names(gate, {"fog", "glare"}, {"roof", "front"})
    with pytest.raises(ConfigError, match=r"limits labels\.fog, but no event is labelled so .*which have glare"):
        require_known_names(gate, {"glare"}, {"roof"})
    with pytest.raises(ConfigError, match=r"limits cameras\.roof, but no camera is so named .*which have front, left"):
        require_known_names(gate, {"fog"}, {"left", "front"})


def test_every_limit_of_the_example_is_known(tmp_path):
    """Those that it only names in comments, too."""
    text = (Path(__file__).parents[3] / "config" / "examples" / "gate.yaml").read_text()
    read_gate(Path(__file__).parents[3] / "config" / "examples" / "gate.yaml")
    offered = [line.removeprefix("# ") for line in text.splitlines() if re.match(r"# +[\w]+:( |$)", line)]
    (tmp_path / "gate.yaml").write_text("\n".join(offered))
    gate = read_gate(tmp_path / "gate.yaml")
    assert gate.max_false_alarms_per_hour == 1.0
    assert set(gate.labels) == {"fog", "tunnel"}
    assert set(gate.cameras) == {"front"}


def test_the_sentence_tells_both_numbers():
    """What was measured and what is accepted; or that nothing was measured."""
    rules = check_gate(Gate(max_time_to_stop_s=0.5, max_time_to_resume_s=5.0), SUMMARY)
    assert "0.6 s (at most 0.5 s accepted)" in rules[0].sentence
    assert "not measured in this recording (at most 5 s accepted)" in rules[1].sentence


def test_junit_names_every_rule(tmp_path):
    """One test case a rule, a failure with the sentence for each that is broken."""
    write_junit(check_gate(Gate(max_faults=1, min_auroc=0.9), SUMMARY), "drive", tmp_path / "junit.xml")
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failures = {case.get("name"): case.find("failure") for case in suite}
    assert failures["min_auroc"] is None
    assert "2 (at most 1 accepted)" in failures["max_faults"].get("message")


def test_junit_of_a_recording_that_failed_is_an_error(tmp_path):
    """One test case that is neither passed nor failed; what XML does not know is left out of its sentence."""
    write_junit([], "drive", tmp_path / "junit.xml", "bag is damaged (\x00\x1b)")
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("1", "0", "1")
    assert suite.find("testcase/error").get("message") == "bag is damaged (??)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_time_to_stop: 1.0", "has no setting max_time_to_stop"),
        ("max_time_to_stop_s: soon", "it must be a number"),
        ("max_time_to_stop_s: -2", "must lie within"),
        ("max_time_to_stop_s: -0.5", "0 or more"),
        ("max_faults: -1", "checks nothing"),
        ("[]", "must hold limits"),
        ("labels: {fog: {min_detected: 1.0}}", r"labels\.fog: .*has no setting min_detected; known: max_alarm_delay_s"),
        (
            "labels: [fog]",
            r"labels must hold names, each with its limits, for example fog: \{min_events_detected: 1.0\}",
        ),
        ("cameras: {front: 1.0}", r"cameras must hold names, each with its limits, for example front:"),
        ("cameras: {front: {max_faults: -0.5}}", r"cameras\.front\.max_faults is -0.5; a limit is 0 or more"),
        ("labels: {fog: {min_events_detected: -1}}", "checks nothing"),
        ("{", "cannot be read as YAML"),
    ],
)
def test_a_gate_that_cannot_be_read_is_a_sentence(tmp_path, text, words):
    """Never a gate that passes because nothing was understood."""
    (tmp_path / "gate.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_gate(tmp_path / "gate.yaml")
