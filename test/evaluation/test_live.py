"""Alarms and commands held against events, as they are heard live, and their picture."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from ls_ood_monitor.core.types import AlarmState, FallbackMode
from ls_ood_monitor.evaluation.live import ModeSample, ScoreSample, StopSample, draw_live, summarise_live
from ls_ood_monitor.evaluation.results import LiveSummary, to_plain
from ls_ood_monitor.evaluation.timespans import clean_spans, spans_of
from ls_ood_monitor.recordings.events import Event

EVENT = Event("front", 4.0, 6.0, "fog")


def story(raised: tuple[float, float] | None, stop: tuple[float, float] | None):
    """Ten seconds at 10 Hz with one alarm and one stop interval."""
    times = np.arange(0.05, 10.0, 0.1)

    def within(moment: float, span: tuple[float, float] | None) -> bool:
        return span is not None and span[0] <= moment < span[1]

    scores = [
        ScoreSample(t, "front", AlarmState.RAISED if within(t, raised) else AlarmState.CLEAR, 1.0, 2.0, 5.0)
        for t in times
    ]
    modes = [ModeSample(t, FallbackMode.STOP if within(t, stop) else FallbackMode.NOMINAL) for t in times]
    return scores, modes


def commands(modes):
    """The stop commands that go with decisions."""
    return [StopSample(sample.time_s, sample.mode is FallbackMode.STOP) for sample in modes]


def summary_of(scores, modes, event: Event = EVENT) -> LiveSummary:
    """Ten seconds with the one event."""
    return summarise_live([event], scores, modes, commands(modes), 10.0, "ab" * 32)


@pytest.mark.parametrize(
    ("raised", "stop", "words"),
    [
        ((4.3, 6.5), (4.3, 6.6), None),
        (None, (4.3, 6.6), "no alarm"),
        ((4.3, 6.5), None, "no stop"),
        ((4.3, 6.5), (5.5, 6.6), "stop came after"),
        ((4.3, 6.5), (3.0, 6.6), "in the clean parts"),
        ((4.3, 6.5), (4.3, 9.0), "in the clean parts"),
    ],
)
def test_each_rule_can_be_broken(raised, stop, words):
    """A good drive passes; a missing alarm, a missing, late or false stop each fail with their sentence."""
    judgement = summary_of(*story(raised, stop)).judgement
    assert judgement.passed == (words is None)
    if words:
        assert any(words in failure for failure in judgement.failures)


def test_delays_and_false_stops_are_measured():
    """Seconds from the event's start, and seconds of stop in the clean parts."""
    summary = summary_of(*story((4.35, 6.5), (4.55, 9.55)))
    assert summary.events[0].alarm_delay_s == pytest.approx(0.35, abs=0.01)
    assert summary.events[0].stop_delay_s == pytest.approx(0.55, abs=0.01)
    assert summary.decision.false_stop_s == pytest.approx(0.55, abs=0.02)
    assert summary.decision.clean_s == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("camera", "raised", "count"), [("front", (4.3, 6.5), 0), ("left", (4.3, 6.5), 1), ("front", (1.0, 6.5), 1)]
)
def test_alarms_without_an_event_are_counted(camera, raised, count):
    """An alarm on another camera during an event, or one that rose before it, is false even while a stop is due."""
    scores, modes = story(raised, (4.3, 6.6))
    scores = [replace(sample, camera=camera) for sample in scores]
    assert summary_of(scores, modes).alarms.false == count


@pytest.mark.parametrize(
    ("raised", "stop", "was_on"),
    [
        ((4.3, 6.5), (4.3, 6.6), (False, False)),
        ((4.3, 6.5), (3.0, 6.6), (False, True)),
        ((3.0, 6.5), (3.0, 6.6), (True, True)),
        ((4.3, 6.5), (3.0, 4.0), (False, False)),
        (None, None, (False, False)),
    ],
)
def test_what_was_on_before_an_event_is_known(raised, stop, was_on):
    """An alarm or a stop that began earlier and still lasts; one that ended as the event began does not."""
    scores, modes = story(raised, stop)
    (outcome,) = summary_of(scores, modes).events
    assert (outcome.alarm_was_on, outcome.stop_was_on) == was_on


def test_every_alarm_is_counted():
    """Those in events, too, and one that was raised from the first message on; a raised one only once."""
    scores, modes = story((4.3, 6.5), None)
    early = replace(scores[0], camera="left", state=AlarmState.RAISED)
    scores = [early, *scores, replace(early, time_s=9.9)]
    assert summary_of(scores, modes).alarms.raised == 2


def test_changes_of_the_command_are_found():
    """The first decision, and each that differs from the one before."""
    _, modes = story(None, (4.3, 6.6))
    spans = spans_of([sample.time_s for sample in modes], [sample.mode for sample in modes], 10.0)
    assert [(round(span.begin_s, 2), span.value) for span in spans] == [(0.05, 0), (4.35, 2), (6.65, 0)]
    assert [span.end_s for span in spans] == [*(span.begin_s for span in spans[1:]), 10.0]
    assert modes[spans[1].row].time_s == spans[1].begin_s
    assert spans_of([], [], 10.0) == []
    assert [span[:3] for span in spans_of([-1.0, 2.0, 2.0, 12.0], [1, 0, 1, 0], 10.0)] == [
        (0.0, 2.0, 1),
        (2.0, 10.0, 1),
    ]


def test_an_alarm_without_an_event_fails_only_by_the_stop_it_causes():
    """An alarm in a clean part is counted but breaks no rule, unless a stop was commanded there."""
    scores, modes = story((4.3, 6.5), (4.3, 6.6))
    calm, stray = (replace(scores[20], camera="left", state=state) for state in (AlarmState.CLEAR, AlarmState.RAISED))
    scores = [replace(calm, time_s=0.1), *scores, stray]
    summary = summary_of(scores, modes)
    assert (summary.alarms.false, summary.judgement.passed) == (1, True)
    modes[32] = replace(modes[32], mode=FallbackMode.STOP)
    assert not summary_of(scores, modes).judgement.passed


def test_a_false_stop_is_told_with_its_moment_and_reason():
    """Whoever reads the failure learns when it was and what the supervisor said."""
    scores, modes = story((4.3, 6.5), (4.3, 6.6))
    modes[32] = replace(modes[32], mode=FallbackMode.STOP, reason="camera front: silent for 1.02 s")
    (failure,) = summary_of(scores, modes).judgement.failures
    assert failure == (
        "stop was commanded for 0.10 s in the clean parts, first at 3.25 s (camera front: silent for 1.02 s)."
    )


@pytest.mark.parametrize(
    ("stop", "start_s", "was_on", "delay_s"),
    [
        ((4.3, 6.5), 4.0, False, 0.35),
        ((3.0, 6.5), 4.0, True, 0.0),
        ((4.05, 6.5), 4.05, False, 0.0),  # at the event's first moment, by nothing else than the event
        ((0.0, 2.0), 0.0, True, 0.0),  # the stop in which every vehicle starts
    ],
)
def test_a_stop_that_was_on_is_no_time_to_stop(stop, start_s, was_on, delay_s):
    """Whatever commanded it, it was not the event that came later; the longest time to stop leaves it out."""
    scores, modes = story((4.3, 6.5), stop)
    summary = summary_of(scores, modes, replace(EVENT, start_s=start_s))
    (outcome,) = summary.events
    assert outcome.stop_was_on == was_on
    assert outcome.stop_delay_s == pytest.approx(delay_s, abs=0.01)
    assert (summary.decision.time_to_stop_s is None) == was_on


def test_nothing_heard_is_a_failure():
    """Silence of the nodes is not success."""
    assert not summarise_live([], [], [], [], 10.0, "ab").judgement.passed


def test_clean_spans_leave_out_events_and_recovery():
    """The start, the events and the time allowed to release are not clean."""
    events = [Event("front", 4.0, 6.0, "fog"), Event("left", 7.0, 9.0, "mud")]
    assert clean_spans(events, 20.0, 1.5) == [(1.5, 4.0), (10.5, 20.0)]


def test_summary_is_json_ready():
    """Counts, delays and percentiles stand where users look for them."""
    scores, modes = story((4.3, 6.5), (4.3, 6.6))
    summary = to_plain(summary_of(scores, modes))
    assert summary["bundle"]["sha256"] == "ab" * 32
    assert summary["frames"] == 100
    assert summary["alarms"]["detected"] == 1
    assert summary["latency_ms"] == {"p50": 5.0, "p95": 5.0, "p99": 5.0}
    assert summary["judgement"] == {"passed": True, "failures": []}


def test_the_picture_shows_the_stop(tmp_path):
    """The timeline is a PNG in which the stop's red covers its share of the command row."""
    scores, modes = story((4.3, 6.5), (4.3, 6.6))
    draw_live(tmp_path / "t.png", [EVENT], scores, modes, 10.0, "title")
    picture = cv2.imread(str(tmp_path / "t.png")).astype(int)
    red = ((picture[:, :, 2] > 180) & (picture[:, :, 0] < 110) & (picture[:, :, 1] < 110)).sum(axis=1)
    green = ((picture[:, :, 1] > 110) & (picture[:, :, 2] < 110)).sum(axis=1)
    row = int((red + green).argmax())  # the bar of commands is all red and green
    assert red[row] / (red[row] + green[row]) == pytest.approx(0.23, abs=0.03)
