"""The report: one file with everything in it, whatever a recording's names hold."""

from __future__ import annotations

import html
import platform
import re
from dataclasses import replace

import numpy as np
import pytest

from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode, Frame
from ls_ood_monitor.evaluation.replay import FrameRecord, TimedVerdict
from ls_ood_monitor.evaluation.report import write_report
from ls_ood_monitor.evaluation.report_figures import broken_where_silent
from ls_ood_monitor.evaluation.results import AcceptanceResult, Environment, RecordingFacts, Rule
from ls_ood_monitor.evaluation.summary import summarise_replay
from ls_ood_monitor.evaluation.timespans import Limits
from ls_ood_monitor.evaluation.worst_frames import WorstFrames
from ls_ood_monitor.recordings.events import Event

NASTY = "<script>alert('fog')</script>"


def judged(index: int) -> FrameRecord:
    """Ten images a second, strange from 2 to 3 s, one fault."""
    odd = 20 <= index < 30
    score, state = (3.0, AlarmState.RAISED) if odd else (1.0, AlarmState.CLEAR)
    mode = FallbackMode.STOP if odd else FallbackMode.NOMINAL
    if index == 40:
        cause = Cause(CauseKind.UNREADABLE, "front", detail=f"broken {NASTY}")
        return FrameRecord(4.0, Alarm("front", 0, AlarmState.PENDING, np.nan, np.nan, cause), FallbackMode.SLOW, None)
    frame = Frame(np.full((24, 32, 3), index, np.uint8), index + 1, "front")
    kind = CauseKind.SUDDEN if odd else CauseKind.IN_DISTRIBUTION
    alarm = Alarm("front", index + 1, state, score, 2.0, Cause(kind, "front", score, 2.0))
    return FrameRecord(index / 10.0, alarm, mode, TimedVerdict(frame, score, 2.0, "larem", latency_ms=5.0))


@pytest.fixture
def page(tmp_path, make_summary, tables_of) -> str:
    """The report of such a recording."""
    images = [judged(index) for index in range(60)]
    events = (Event("front", 2.0, 3.0, NASTY),)
    tables, limits = tables_of(images), Limits(release_s=0.5)
    provenance = replace(
        make_summary().provenance,
        environment=Environment(NASTY, None, {"Python": "3.11.2"}),
        recording=RecordingFacts(f"/data/{NASTY}", "ROS 2 bag (mcap)", None, 10.0, 1),
        events_file=f"/data/{NASTY}.yaml",
    )
    summary = make_summary(
        **vars(summarise_replay(tables, events, 6.0, limits)),
        provenance=provenance,
        recording=f"drive {NASTY}",
        truth="events",
        acceptance=AcceptanceResult(False, (Rule("max_faults", False, "1 (at most 0 accepted)"),)),
    )
    worst = WorstFrames(lambda verdict: verdict, count=2)
    for image in images:
        worst.add(image)
    path = tmp_path / "report.html"
    write_report(path, summary, tables, events, worst.frames, f"ls-ood evaluate {NASTY}", limits=limits)
    return path.read_text(encoding="utf-8")


def test_everything_is_in_the_file(page):
    """Script, pictures and figures; nothing is fetched from anywhere."""
    head = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=['\"](?!data:)[^'\"]*", head)
    assert page.count("data:image/jpeg;base64,") == 2  # two frames, without a map
    assert "Plotly.newPlot" in page
    assert page.count("plotly-graph-div") == 5
    assert len(page) > 1_000_000


def test_the_verdict_stands_at_the_top(page):
    """Acceptance, events, alarms, faults, and where it comes from."""
    text = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    banner = (
        "<p class='banner bad'>Acceptance broken: 1 of 1 limit. Would have stopped once, 1.0 s of 6.0 s; 1 alarm.</p>"
    )
    assert banner in text
    for words in ("BROKEN", "1 (at most 0 accepted)", "1 of 1", "unreadable 1", "ab" * 32, "STOP in clean driving"):
        assert words in text
    assert "not judged" in page


def test_a_long_recording_is_drawn_with_few_points(make_report, tell):
    """Twenty thousand images: a bounded file that says so, and the one extreme among them is drawn."""
    images = tell(20_000)
    odd = images[12_345]
    cause = replace(odd.alarm.cause, value=77.0)
    images[12_345] = replace(odd, alarm=replace(odd.alarm, score=77.0, cause=cause))
    path = make_report(images)
    page = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 8_000_000
    assert "of up to 20000 images a camera" in page
    assert "camera front: in distribution, score 77.00" in page


def test_intervals_are_given_only_where_there_are_units(make_report, tell):
    """Two events are too few, and the page says so; five, and five blocks of clean driving, give every figure its interval."""
    events = tuple(Event("front", start, start + 3.0, "fog") for start in (12.0, 25.0, 37.0, 48.0, 55.0))
    few = make_report(tell(600, events[:2]), events[:2]).read_text(encoding="utf-8")
    assert "Too few for an interval, which takes at least 5: events (2)." in few
    enough = make_report(tell(600, events), events).read_text(encoding="utf-8")
    assert "Too few" not in enough
    for name in ("AUROC", "AUPR", "frames in events above the threshold"):
        assert re.search(rf"<th scope=row>{name}</th><td>[^<]*, 95 % interval ", enough), name


def test_a_map_stands_beside_its_picture_and_both_have_words(make_report, tell):
    """Where the detector tells places there are two pictures a frame, with camera, time, score and alarm."""
    page = make_report(tell(30)).read_text(encoding="utf-8")
    alts = re.findall(r"alt='([^']*)'", page)
    assert len(alts) == 2 * page.count("<figcaption>")
    assert re.fullmatch(
        r"camera picture, front at \d\.\d\d s: score .* / threshold 2\.00 = 0\.\d\d, alarm CLEAR", alts[0]
    )
    assert alts[1].startswith("anomaly map, front at")


def test_where_it_comes_from(make_report, tell):
    """Versions and machine, and nothing that names the machine or its owner."""
    page = make_report(tell(30)).read_text(encoding="utf-8")
    text = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    for words in (
        "ls_ood_monitor 1.2.3",
        "torch 2.13.0",
        "Linux x86_64, 2 cores",
        "<span>ls-ood</span> <span>evaluate</span> <span>drive</span> <span>--out</span> <span>x</span>",
        "cpu, engine onnx fp32",
        "/data/drive",
        "ROS 2 bag (mcap), 1,234,567 bytes",
        "2023-11-14T22:13:20.000Z",
        "<th scope=row>alarm settings</th><td>trigger_consecutive_frames 3, lasting_window_s 5.0</td>",
        "<th scope=row>max_age_s</th><td>1.0</td>",
        "<th scope=row>optional_cameras</th><td>[&quot;&quot;]</td>",
    ):
        assert words in text
    assert platform.node() not in text


def test_names_of_a_recording_cannot_bring_scripts(page):
    """What comes from files and messages is text, in the page and in the figures."""
    assert NASTY not in page
    assert html.escape(NASTY) in page


def test_a_camera_that_is_never_heard_has_its_row(make_report, tell):
    """It has no score to draw; its silence is a stretch of the input, and stands among the faults with its reason."""
    causes = [Cause(CauseKind.STALE, "roof", 1.1 + n / 10.0, 1.0) for n in range(20)]
    alarms = [
        FrameRecord(cause.value, Alarm("roof", 0, AlarmState.RAISED, np.nan, np.nan, cause), FallbackMode.STOP, None)
        for cause in causes
    ]
    page = make_report(tell(30), silences=alarms).read_text(encoding="utf-8")
    assert "roof: score" in page
    assert "silent: alarm RAISED" in page
    assert "<td>stale</td><td>20</td>" in page
    assert "<td class=text>camera roof: no image for 3.0 s (limit 1.00 s)</td>" in page


def test_a_stop_has_a_row_for_each_of_its_reasons(make_report, tell):
    """Its times stand once, beside all of them; a second stop is a group of its own."""
    events = (Event("front", 1.0, 2.0, "fog"), Event("left", 1.5, 2.5, "mud"), Event("front", 4.0, 4.5, "fog"))
    cause = Cause(CauseKind.SUDDEN, "front", 9.0, 2.0)  # that of the decision, while another camera is clear
    images = [
        replace(image, mode=FallbackMode.STOP, alarm=replace(image.alarm, cause=cause))
        if image.alarm.state is AlarmState.CLEAR and (1.0 <= image.time_s < 2.5 or 4.0 <= image.time_s < 4.5)
        else image
        for image in tell(60, events, cameras=("front", "left"))
    ]
    page = make_report(images, events).read_text(encoding="utf-8")
    first, second = re.findall("<tbody class=stop>(.*?)</tbody>", page)
    assert first.startswith("<tr><td rowspan=2>1.00\u00a0s</td><td rowspan=2>1.50\u00a0s</td><td>1.00\u00a0s</td>")
    assert re.findall("camera ([a-z]+): out of distribution", first) == ["front", "left"]
    assert second.count("<tr>") == 1
    shown = page.replace("\\u003c", "<").replace("\\u003e", ">")
    assert re.search("1.00 s: camera front: out of [^<]*<br>1.50 s: camera left: out of distribution", shown)


def test_without_clean_driving_nothing_is_said_of_it(make_report, tell):
    """A second of stills: the alarm is counted, without a rate; what was not driven has no false stop."""
    event = (Event("front", 0.3, 0.9, "fog"),)
    alone = make_report(tell(10, event)).read_text(encoding="utf-8")
    assert "1 false alarm (no events given: every alarm counts); there was no clean driving to tell a rate by" in alone
    assert "Would have stopped once, 0.6 s of 0.9 s; 1 alarm." in alone
    judged = make_report(tell(10, event), event).read_text(encoding="utf-8")
    assert "in time; there was no clean driving to judge by" in judged
    assert "no false stop" not in judged


def test_a_stop_that_was_on_already_is_no_answer_to_an_event(make_report, tell):
    """The vehicle stood when it began, and the table says so."""
    earlier, later = Event("front", 3.0, 4.0, "fog"), Event("left", 3.5, 4.0, "mud")
    images = tell(60, (earlier, later), cameras=("front", "left"))
    images = [replace(image, mode=FallbackMode.STOP) if 3.0 <= image.time_s < 4.0 else image for image in images]
    page = make_report(images, (earlier, later)).read_text(encoding="utf-8")
    assert "<td>after 0.00\u00a0s</td><td>after 0.00\u00a0s</td>" in page
    assert "<td>after 0.00\u00a0s</td><td>was on already</td>" in page


def test_a_line_breaks_where_a_camera_is_silent():
    """Not at a single lost image; thinned, it breaks all the same."""
    times = [*np.arange(0.0, 3.0, 0.1), *np.arange(3.2, 5.0, 0.1), *np.arange(8.0, 10.0, 0.1)]
    everything = np.arange(len(times))
    (place,) = broken_where_silent(times, everything)
    assert times[place] == 8.0
    few = np.array([0, 10, 20, 60, 66])
    assert broken_where_silent(times, few).tolist() == [3]
    assert broken_where_silent([], np.arange(0)).tolist() == []
    assert broken_where_silent([1.0], np.arange(1)).tolist() == []
