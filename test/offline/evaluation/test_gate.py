"""The gate: which side of a limit breaks it, and what a build server reads."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.offline.evaluation.gate import Gate, check_gate, read_gate, write_junit

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
        ("{", "cannot be read as YAML"),
    ],
)
def test_a_gate_that_cannot_be_read_is_a_sentence(tmp_path, text, words):
    """Never a gate that passes because nothing was understood."""
    (tmp_path / "gate.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_gate(tmp_path / "gate.yaml")
