"""Acceptance: which side of a limit breaks it, what was not measured, and what several recordings answer together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ls_ood_monitor.core.intervals import event_rate
from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.evaluation.acceptance import (
    Acceptance,
    CameraLimits,
    EventLimits,
    check_acceptance,
    check_set,
    read_acceptance,
    require_known_names,
)
from ls_ood_monitor.evaluation.results import CameraFigures, Delays, EventOutcome

#: As they would be of one hour with two events.
FIGURES = {
    "alarms": {"false_per_hour": event_rate(3, 1.0), "detected_share": 0.5, "delay_s": Delays(0.4, 0.4)},
    "decision": {"time_to_stop_s": 0.6, "false_stop_ratio": 0.0, "time_to_release_s": None, "hold_ratio": 0.9},
    "ood": {"auroc": 0.97},
    "fault_count": 2,
}


@pytest.mark.parametrize(
    ("limits", "broken"),
    [
        ({}, []),
        ({"max_false_alarms_per_hour": 3.0, "max_time_to_stop_s": 0.6, "min_events_detected": 0.5}, []),
        ({"max_false_alarms_per_hour": 2.9}, ["max_false_alarms_per_hour"]),
        ({"max_false_alarms_per_hour_upper": 7.7}, ["max_false_alarms_per_hour_upper"]),
        ({"max_false_alarms_per_hour_upper": 7.8}, []),
        ({"min_events_detected": 0.6, "min_auroc": 0.98}, ["min_events_detected", "min_auroc"]),
        ({"max_time_to_release_s": 5.0}, ["max_time_to_release_s"]),
        ({"max_false_stop_ratio": 0.0, "min_hold_ratio": 0.9, "max_faults": 2, "max_alarm_delay_s": 0.4}, []),
        ({"max_faults": 1}, ["max_faults"]),
    ],
)
def test_limits_are_held_against_their_figures(make_summary, limits, broken):
    """A limit reached is kept; a figure that was not measured breaks its rule; what is not limited is not asked."""
    rules = check_acceptance(Acceptance(**limits), make_summary(**FIGURES))
    assert [rule.name for rule in rules if not rule.passed] == broken
    assert len(rules) == len(limits)


def test_what_never_happened_breaks_its_limit(make_summary):
    """The longest delay of the events that were caught is no answer to one that never was."""
    hit, miss = event("fog", "front", 0.4, 0.6), event("fog", "front", 0.4)
    summary = make_summary(**FIGURES | {"events": (hit, miss), "decision": FIGURES["decision"] | {"not_released": 2}})
    rules = check_acceptance(
        Acceptance(max_alarm_delay_s=1.0, max_time_to_stop_s=1.0, max_time_to_release_s=9.0), summary
    )
    assert {rule.name: rule.passed for rule in rules} == {
        "max_alarm_delay_s": True,
        "max_time_to_stop_s": False,
        "max_time_to_release_s": False,
    }
    assert "never after 1 of 2 events (at most 1 s accepted)" in rules[1].sentence


def event(label: str, camera: str, alarm: float | None, stop: float | None = None, held: bool = False) -> EventOutcome:
    """As in the summary."""
    return EventOutcome(camera, label, 1.0, 2.0, alarm, stop, stop_was_on=held)


#: Two fogs of which one is missed, and a tunnel that raised nothing, as is right.
PARTS = {
    **FIGURES,
    "events": (event("fog", "front", 0.3, 0.5), event("fog", "left", None, 0.4), event("tunnel", "front", None)),
    "by_camera": {"front": CameraFigures(60, 0, 0), "left": CameraFigures(60, 2, 3)},
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
def test_limits_of_a_label_or_a_camera_are_held_against_its_own_figures(
    make_summary, tmp_path, section, name, limits, broken
):
    """What must be detected, what must not, and where nothing else may be raised; each rule is named by its place."""
    (tmp_path / "limits.yaml").write_text(f"{section}: {{{name}: {limits}}}")
    rules = check_acceptance(read_acceptance(tmp_path / "limits.yaml"), make_summary(**PARTS))
    assert [rule.name for rule in rules if not rule.passed] == broken
    assert all(rule.name.startswith(f"{section}.{name}.") for rule in rules)
    assert len(rules) == limits.count(":")


def test_names_that_no_recording_holds_are_refused(make_summary):
    """A label or a camera mistyped would be checked nowhere; one that only another recording holds is no rule of this one.

    Of a single recording, whose events are lost with its damaged end, it is one that is not kept.
    """
    acceptance = Acceptance(
        labels={"fog": EventLimits(min_events_detected=1.0)}, cameras={"roof": CameraLimits(max_faults=0)}
    )
    assert check_acceptance(acceptance, make_summary(**PARTS | {"events": ()}), of_set=True) == ()
    alone = check_acceptance(acceptance, make_summary(**PARTS | {"events": ()}))
    assert [rule.passed for rule in alone] == [False, False]
    assert all("not measured in this recording" in rule.sentence for rule in alone)
    require_known_names(acceptance, {"fog", "glare"}, {"roof", "front"})
    with pytest.raises(ConfigError, match=r"limits labels\.fog, but no event is labelled so .*which have glare"):
        require_known_names(acceptance, {"glare"}, {"roof"})
    with pytest.raises(ConfigError, match=r"limits cameras\.roof, but no camera is so named .*which have front, left"):
        require_known_names(acceptance, {"fog"}, {"left", "front"})


def test_every_limit_of_the_example_is_known(tmp_path):
    """Those that it only names in comments, too."""
    text = (Path(__file__).parents[2] / "config" / "examples" / "acceptance.yaml").read_text()
    read_acceptance(Path(__file__).parents[2] / "config" / "examples" / "acceptance.yaml")
    offered = [line.removeprefix("# ") for line in text.splitlines() if re.match(r"# +[\w]+:( |$)", line)]
    (tmp_path / "limits.yaml").write_text("\n".join(offered))
    acceptance = read_acceptance(tmp_path / "limits.yaml")
    assert acceptance.max_false_alarms_per_hour == 1.0
    assert set(acceptance.labels) == {"fog", "tunnel"}
    assert set(acceptance.cameras) == {"front"}


def test_the_sentence_tells_both_numbers(make_summary):
    """What was measured and what is accepted; or that nothing was measured."""
    rules = check_acceptance(Acceptance(max_time_to_stop_s=0.5, max_time_to_release_s=5.0), make_summary(**FIGURES))
    assert "0.6 s (at most 0.5 s accepted)" in rules[0].sentence
    assert "not measured in this recording (at most 5 s accepted)" in rules[1].sentence


@pytest.mark.parametrize(
    ("limit", "passed", "words"),
    [
        (
            {"max_false_alarms_per_hour": 1.0},
            True,
            r"an estimate: 0\.01 h .* show no less than 300 an hour .* takes 3 h with",
        ),
        ({"max_false_alarms_per_hour": 400.0}, True, r"an estimate: 0\.01 h of clean driving show it with 95 % conf"),
        ({"max_false_alarms_per_hour": 0.0}, True, r"and no time can show 0$"),
        (
            {"max_false_alarms_per_hour_upper": 3.0},
            False,
            r"accepted\); 0\.01 h .* to show 3 takes 0\.999 h without an al",
        ),
        ({"max_false_alarms_per_hour_upper": 300.0}, True, r"accepted\); 0\.01 h of clean driving show it"),
    ],
)
def test_a_rate_says_what_so_little_driving_can_show(make_summary, limit, passed, words):
    """An estimate is kept by a short recording without an alarm, and says so; the bound is broken until hours prove it."""
    summary = make_summary(alarms={"false_per_hour": event_rate(0, 0.01)})
    (rule,) = check_acceptance(Acceptance(**limit), summary)
    assert rule.passed == passed
    assert re.search(words, rule.sentence), rule.sentence


def test_a_rate_with_alarms_names_the_hours_that_would_do(make_summary):
    """Two alarms: 6.3 hours with no third one show one an hour; so much driving does show it."""
    summary = make_summary(alarms={"false_per_hour": event_rate(2, 1.0)})
    (rule,) = check_acceptance(Acceptance(max_false_alarms_per_hour_upper=1.0), summary)
    assert "to show 1 takes 6.3 h with no more alarms" in rule.sentence
    summary = make_summary(alarms={"false_per_hour": event_rate(2, 6.31)})
    assert check_acceptance(Acceptance(max_false_alarms_per_hour_upper=1.0), summary)[0].passed


@pytest.mark.parametrize(("allowed", "passed"), [(False, False), (True, True)])
def test_a_damaged_recording_breaks_a_rule_unless_it_is_accepted(make_summary, allowed, passed):
    """What is lost may be what counts; the sentence says what it is, also where it is accepted."""
    summary, lost = make_summary(fault_count=2), "8 of the 90 images cannot be read."
    damage, other = check_acceptance(Acceptance(max_faults=2, allow_damaged=allowed), summary, lost)
    assert (damage.name, damage.passed, other.passed) == ("whole recording", passed, True)
    assert damage.sentence.startswith("8 of the 90 images cannot be read.")


@pytest.mark.parametrize("truth", ["events", "none: every alarm counts as false"])
def test_ground_truth_can_be_required(make_summary, truth):
    """Alone, and of each recording of a set: without a file of events the limits on them would ask nothing."""
    summary = make_summary(truth=truth)
    rules = check_acceptance(Acceptance(require_events=True, min_events_detected=1.0), summary, of_set=True)
    assert [(rule.name, rule.passed) for rule in rules] == [("ground truth", truth == "events")]
    assert ("a file holds []" in rules[0].sentence) == (truth != "events")


def test_an_event_under_stop_tells_no_time_to_stop(make_summary):
    """It is no proof that the vehicle stops in time: alone it breaks the limit, in a set too; beside others it is told."""
    held = event("mud", "left", 0.2, 0.0, held=True)
    alone = make_summary(**PARTS | {"events": (held,), "decision": {"time_to_stop_s": None}})
    limits = {"max_time_to_stop_s": 1.0, "labels": {"mud": EventLimits(max_time_to_stop_s=1.0)}}
    for of_set in (False, True):
        rules = check_acceptance(Acceptance(**limits), alone, of_set=of_set)
        assert [rule.passed for rule in rules] == [False, False]
        assert all("STOP was on already when 1 of 1 events began" in rule.sentence for rule in rules)
    both = make_summary(**PARTS | {"events": (held, event("mud", "front", 0.3, 0.6))})
    for rule in check_acceptance(Acceptance(**limits), both):
        assert rule.passed
        assert "0.6 s (at most 1 s accepted); STOP was on already when 1 of 2 events began" in rule.sentence


def test_a_recording_of_a_set_answers_what_it_can(make_summary):
    """Without events it is not asked for their times; rates an hour are left to the set; the rest holds for it."""
    empty = make_summary(**PARTS | {"events": (), "alarms": FIGURES["alarms"] | {"detected_share": None}})
    acceptance = Acceptance(min_events_detected=1.0, max_false_alarms_per_hour=0.0, max_faults=1)
    assert [rule.name for rule in check_acceptance(acceptance, empty, of_set=True)] == ["max_faults"]
    alone = {rule.name: rule.passed for rule in check_acceptance(acceptance, empty)}
    assert alone == {"min_events_detected": False, "max_false_alarms_per_hour": False, "max_faults": False}


def test_what_no_recording_of_a_set_answered_is_broken(make_summary):
    """A rate is held against all; a limit that was asked nowhere passes nothing, unless a recording is missing."""
    acceptance = Acceptance(
        max_false_alarms_per_hour=3.0,
        max_time_to_release_s=3.0,
        max_faults=0,
        labels={"fog": EventLimits(min_events_detected=1.0)},
    )
    rate, *unmeasured = check_set(acceptance, make_summary(**FIGURES), {"max_faults"}, is_whole=True)
    assert (rate.name, rate.passed) == ("max_false_alarms_per_hour", True)
    assert [rule.name for rule in unmeasured] == ["max_time_to_release_s", "labels.fog.min_events_detected"]
    assert not any(rule.passed for rule in unmeasured)
    assert unmeasured[0].sentence == (
        "longest time from an event's end to NOMINAL: not measured in any recording (at most 3 s accepted)"
    )
    assert check_set(acceptance, make_summary(**FIGURES), {"max_faults"}, is_whole=False) == (rate,)
    (rule,) = check_set(Acceptance(max_false_alarms_per_hour=3.0), make_summary(), set(), is_whole=True)
    assert "not measured in any recording" in rule.sentence


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_time_to_stop: 1.0", r"limits\.yaml has no limit max_time_to_stop; known: min_events_detected, "),
        (
            "max_time_to_stop_s: soon",
            r"limits\.yaml: max_time_to_stop_s is 'soon'; a limit is a number, 0 or more s, or -1",
        ),
        ("max_time_to_stop_s:", "max_time_to_stop_s is empty; a limit is a number"),
        ("max_time_to_stop_s: .nan", "max_time_to_stop_s is nan; a limit is a number"),
        ("max_time_to_stop_s: .inf", "max_time_to_stop_s is inf; a limit is a number"),
        ("max_false_stop_ratio: 5", r"max_false_stop_ratio is 5; it limits a share from 0 to 1: 5 % is 0\.05"),
        ("labels: {fog: {min_events_detected: 90}}", r"labels\.fog\.min_events_detected is 90; it limits a share"),
        ("min_auroc: 1.01", "min_auroc is 1.01; it limits a share"),
        ("max_faults: yes", "max_faults is True; a limit is a number"),
        ("{max_faults: 0, allow_damaged: 1}", "allow_damaged is 1; it must be true or false"),
        ("allow_damaged: true", "checks nothing"),
        ("require_events: 1", "require_events is 1; it must be true or false"),
        ("max_time_to_stop_s: -2", "0 or more"),
        ("max_time_to_stop_s: -0.5", "0 or more"),
        ("max_faults: -1", "checks nothing"),
        ("[]", "must hold limits"),
        ("max_time_to_resume_s: 3", "max_time_to_resume_s is now called max_time_to_release_s; rename it"),
        ("labels: {fog: {min_detected: 1.0}}", r"limits\.yaml: labels\.fog has no limit min_detected; known: min_"),
        (
            "labels: [fog]",
            r"labels must hold names, each with its limits, for example fog: \{min_events_detected: 1.0\}",
        ),
        ("cameras: {front: 1.0}", r"cameras must hold names, each with its limits, for example front:"),
        ("cameras: {front: {max_faults: -0.5}}", r"cameras\.front\.max_faults is -0.5; a limit is a number, 0 or"),
        ("labels: {fog: {min_events_detected: -1}}", "checks nothing"),
        ("{", "cannot be read as YAML"),
    ],
)
def test_limits_that_cannot_be_read_is_a_sentence(tmp_path, text, words):
    """Never a acceptance that passes because nothing was understood."""
    (tmp_path / "limits.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_acceptance(tmp_path / "limits.yaml")
