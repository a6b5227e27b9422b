"""A set of recordings as one: sums, rates over the pooled hours, the acceptance of the set, and the files that tell of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from ls_ood_monitor.core.intervals import event_rate
from ls_ood_monitor.evaluation.acceptance import Acceptance, check_acceptance
from ls_ood_monitor.evaluation.pool import pool
from ls_ood_monitor.evaluation.pool_files import SUITE, remove_pool, write_pool
from ls_ood_monitor.evaluation.results import (
    AcceptanceResult,
    CameraFigures,
    Delays,
    EventCheck,
    EventOutcome,
    SilenceFigures,
    Stop,
    Summary,
    to_plain,
)

FOG = EventOutcome("front", "fog", 7.0, 11.0, 0.4, 0.6)
STOPS = (Stop(0.0, 0.1, True, ()), Stop(7.4, 13.8, False, ()))


@pytest.fixture
def summary_of(make_summary) -> Callable[..., Summary]:
    """The summary of a clean drive with one false alarm, unless something is changed."""

    def make(name: str, clean_h: float, acceptance: Acceptance | None = None, **changes: Any) -> Summary:
        clean_s = 3600.0 * clean_h
        alarms = {"raised": 1, "false": 1, **changes.pop("alarms", {})}
        rate = event_rate(alarms["false"], clean_h) if clean_h else None
        decision = {"false_stop_s": 1.0, "clean_s": clean_s, **changes.pop("decision", {})}
        summary = make_summary(
            **{
                "recording": name,
                "truth": "events",
                "duration_s": clean_s + 2.0,
                "alarms": {**alarms, "false_per_hour": rate},
                "decision": decision,
                "by_camera": {"front": CameraFigures(100, 1, 0)},
                "stops": STOPS,
                **changes,
            }
        )
        if acceptance is None:
            return summary
        rules = check_acceptance(acceptance, summary, summary.truncated, of_set=True)
        return replace(summary, acceptance=AcceptanceResult(all(rule.passed for rule in rules), rules))

    return make


@pytest.fixture
def with_fog(summary_of) -> Callable[..., Summary]:
    """A drive of two cameras with two events: one alarmed in time, one under a STOP that was on already."""

    def make(name: str, clean_h: float, acceptance: Acceptance | None = None) -> Summary:
        return summary_of(
            name,
            clean_h,
            acceptance,
            cameras=("front", "left"),
            events=(FOG, replace(FOG, camera="left", alarm_delay_s=None, stop_delay_s=0.0, stop_was_on=True)),
            alarms={
                "events": 2,
                "detected": 1,
                "raised": 3,
                "false": 2,
                "detected_share": 0.5,
                "delay_s": Delays(0.4, 0.4),
            },
            decision={
                "time_to_stop_s": 0.6,
                "time_to_release_s": 0.9,
                "not_released": 1,
                "held_s": 3.0,
                "event_s": 4.0,
            },
            faults={"black": 3, "stale": 10},
            fault_count=13,
            by_camera={"front": CameraFigures(60, 0, 3), "left": CameraFigures(40, 2, 10)},
            silences=(SilenceFigures("left", 3.0, 4.0, 10),),
        )

    return make


def test_figures_are_those_of_all_recordings(summary_of, with_fog):
    """Sums, the longest times, shares of all events, and the rate with the interval of the pooled hours."""
    pooled = pool(["mon", "tue"], {"tue": with_fog("tue", 0.5), "mon": summary_of("mon", 1.5)}, {}, None)
    assert [entry.recording for entry in pooled.recordings] == ["mon", "tue"]
    assert (pooled.frames, pooled.duration_s, pooled.cameras) == (200, 7204.0, ("front", "left"))
    alarms, decision = pooled.alarms, pooled.decision
    assert (alarms.events, alarms.detected, alarms.detected_share, alarms.false) == (2, 1, 0.5, 3)
    assert alarms.false_per_hour == event_rate(3, 2.0)
    assert alarms.delay_s == Delays(0.4, 0.4)
    assert (decision.time_to_stop_s, decision.stop_was_on, decision.not_stopped) == (0.6, 1, 0)
    assert (decision.time_to_release_s, decision.not_released) == (0.9, 1)
    assert (decision.false_stop_s, decision.clean_s) == (2.0, 7200.0)
    assert (decision.held_s, decision.event_s, decision.hold_ratio) == (3.0, 4.0, 0.75)
    assert alarms.raised == 4
    assert pooled.judgement == EventCheck(True)
    assert (pooled.provenance.version, pooled.detector, pooled.threshold) == ("1.2.3", "spatial", 2.0)
    assert set(to_plain(pooled.provenance)) == {"version", "network", "environment", "parameters"}
    assert decision.false_stop_ratio == pytest.approx(2.0 / 7200.0)
    assert pooled.events[0] == replace(FOG, recording="tue")
    assert (pooled.faults, pooled.fault_count) == ({"black": 3, "stale": 10}, 13)
    assert pooled.by_camera == {"front": CameraFigures(160, 1, 3), "left": CameraFigures(40, 2, 10)}
    assert pooled.silences[0].recording == "tue"
    assert pooled.acceptance == AcceptanceResult(None)


def test_the_truth_of_a_set_says_where_there_was_none(summary_of):
    """Alarms of a recording without events count as false, as in its own summary."""
    none = summary_of("mon", 1.0, truth="none: every alarm counts as false")
    assert pool(["mon"], {"mon": none}, {}, None).truth.startswith("events of 0 of 1 recordings: in the others every")
    both = {"mon": none, "tue": summary_of("tue", 1.0)}
    assert pool(["mon", "tue"], both, {}, None).truth.startswith("events of 1 of 2 recordings")


@pytest.mark.parametrize(("limit", "passed"), [(2.0, True), (1.0, False)])
def test_a_rate_is_held_against_the_pool_alone(summary_of, with_fog, limit, passed):
    """A short drive with an alarm does not break what all of them keep; and they break it together."""
    acceptance = Acceptance(max_false_alarms_per_hour=limit, max_faults=13)
    summaries = {"mon": summary_of("mon", 1.99, acceptance), "tue": with_fog("tue", 0.01, acceptance)}
    assert all(summary.acceptance.passed for summary in summaries.values())
    pooled = pool(["mon", "tue"], summaries, {}, acceptance)
    (rule,) = pooled.acceptance.rules
    assert (rule.name, rule.passed, pooled.acceptance.passed) == ("max_false_alarms_per_hour", passed, passed)


def test_a_broken_recording_breaks_the_set(summary_of, with_fog):
    """The rules of the set are kept, and yet it does not pass."""
    acceptance = Acceptance(max_faults=0)
    summaries = {"mon": summary_of("mon", 1.0, acceptance), "tue": with_fog("tue", 1.0, acceptance)}
    assert pool(["mon", "tue"], summaries, {}, acceptance).acceptance == AcceptanceResult(False)


def test_without_one_of_its_recordings_a_set_is_not_decided(summary_of, with_fog):
    """It is named with its error; what is broken is broken, and what is kept so far has not passed."""
    acceptance = Acceptance(max_faults=0, min_events_detected=1.0)
    pooled = pool(
        ["mon", "scrap"], {"mon": summary_of("mon", 1.0, acceptance)}, {"scrap": "scrap is damaged."}, acceptance
    )
    shown = to_plain(pooled.recordings[1])
    assert shown == {"recording": "scrap", "folder": "scrap", "error": "scrap is damaged."}
    assert (pooled.failed, pooled.acceptance) == (1, AcceptanceResult(None))
    pooled = pool(
        ["tue", "scrap"], {"tue": with_fog("tue", 1.0, acceptance)}, {"scrap": "scrap is damaged."}, acceptance
    )
    assert pooled.acceptance.passed is False
    nothing = pool(["scrap"], {}, {"scrap": "scrap is damaged."}, acceptance)
    assert (nothing.frames, nothing.alarms.false_per_hour, nothing.acceptance.passed) == (0, None, None)


@pytest.fixture
def written(summary_of, with_fog, tmp_path):
    """Files of a set: a drive that breaks its acceptance, a damaged one that is accepted, and one that could not be judged."""
    acceptance = Acceptance(max_faults=0, max_false_alarms_per_hour=9.0, allow_damaged=True)
    damaged = summary_of("<mon>", 1.0, acceptance, truncated="8 of 90 images cannot be read.")
    summaries = {"tue's drive": with_fog("tue's drive", 1.0, acceptance), "<mon>": damaged}
    names = ["tue's drive", "<mon>", "scrap"]
    pooled = pool(names, summaries, {"scrap": "scrap is no bag & no video."}, acceptance)
    for former in ("frames.csv", "timeline.png"):  # of a single recording that was judged into this folder
        (tmp_path / former).write_text("former")
    write_pool(tmp_path, pooled, "ls-ood evaluate 'tue' --out <x>", has_acceptance=True)
    return tmp_path, pooled


def test_the_files_of_a_set_tell_the_same(written):
    """Summary, a suite a recording and one of all, and what failed in each of them; nothing of a former result is left."""
    out, pooled = written
    assert json.loads((out / "summary.json").read_text()) == to_plain(pooled)
    assert sorted(entry.name for entry in out.iterdir()) == ["junit.xml", "report.html", "summary.json"]
    root = ElementTree.parse(out / "junit.xml").getroot()
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["tue's drive", "<mon>", "scrap", SUITE]
    assert [suites[name].get("failures") for name in suites] == ["1", "0", "0", "0"]
    assert [suites[name].get("tests") for name in suites] == ["1", "2", "1", "1"]
    assert suites["scrap"].find("testcase/error").get("message") == "scrap is no bag & no video."
    assert suites["<mon>"].findtext("system-out") == "8 of 90 images cannot be read."
    assert [case.get("name") for case in suites[SUITE].iter("testcase")] == ["max_false_alarms_per_hour"]
    assert suites[SUITE].findtext("system-out") == "1 of 3 recordings could not be judged: scrap."


def test_the_index_leads_to_every_report(written):
    """A link for each that has one, reasons where it is broken or missing, and no markup from names or errors."""
    out, _ = written
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<a href='tue%27s%20drive/report.html'>tue&#x27;s drive</a>" in page
    assert "<a href='%3Cmon%3E/report.html'>&lt;mon&gt;</a>" in page
    assert "scrap/report.html" not in page
    assert "not judged: scrap is no bag &amp; no video." in page
    assert "<td data-title='stops'>1</td>" in page  # stop on the way: the one at the start is every vehicle's
    assert "BROKEN" in page
    assert "max_faults: alarms without a verdict" in page
    assert "8 of 90 images cannot be read." in page
    assert "3 in 2 h of clean driving: 1.5 an hour" in page
    assert "<span>--out</span> <span>&lt;x&gt;</span>" in page
    assert (
        "<p class='banner bad'>Acceptance broken by 1 of 2 recordings. Would have stopped in 2 of 2 recordings; 4 alarms."
        in page
    )
    assert f"sha256 {'ab' * 32}" in page
    assert "ls_ood_monitor 1.2.3, Python 3.11.2" in page
    assert not any(f"{name}='http" in page for name in ("src", "href"))


def test_a_former_set_is_removed(written):
    """Before recordings are judged again, nothing must speak for them."""
    out, _ = written
    remove_pool(out)
    assert list(out.iterdir()) == []
    remove_pool(out / "nowhere")
