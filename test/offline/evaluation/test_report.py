"""The report: one file with everything in it, whatever a recording's names hold."""

from __future__ import annotations

import html
import platform
import re
from dataclasses import replace

import numpy as np
import pytest

from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode, Frame, FrameResult
from ls_ood_monitor.offline.evaluation.judged_images import JudgedImage
from ls_ood_monitor.offline.evaluation.report import write_report
from ls_ood_monitor.offline.evaluation.summary import summarise_replay
from ls_ood_monitor.offline.evaluation.worst_frames import WorstFrames
from ls_ood_monitor.offline.events import Event
from ls_ood_monitor.offline.timeline import Limits, ModeSample, StopSample

NASTY = "<script>alert('fog')</script>"
MASK = np.zeros((24, 32), np.uint8)


def judged(index: int) -> JudgedImage:
    """Ten images a second, strange from 2 to 3 s, one fault."""
    odd = 20 <= index < 30
    score, state = (3.0, AlarmState.RAISED) if odd else (1.0, AlarmState.CLEAR)
    mode = FallbackMode.STOP if odd else FallbackMode.NOMINAL
    if index == 40:
        alarm = Alarm("front", 0, AlarmState.PENDING, np.nan, np.nan, f"broken {NASTY}", True, "unreadable")
        return JudgedImage(4.0, alarm, FallbackMode.SLOW, None, np.nan)
    frame = Frame(np.full((24, 32, 3), index, np.uint8), index + 1, "front")
    alarm = Alarm("front", index + 1, state, score, 2.0, f"frame {index}")
    return JudgedImage(
        index / 10.0, alarm, mode, FrameResult(frame, score, 2.0, "larem", segmentation=MASK, confidence=MASK), 5.0
    )


@pytest.fixture
def page(tmp_path) -> str:
    """The report of such a recording."""
    images = [judged(index) for index in range(60)]
    decisions = [ModeSample(image.time_s, image.mode, image.alarm.reason) for image in images]
    stops = [StopSample(one.time_s, one.mode is FallbackMode.STOP) for one in decisions]
    events = (Event("front", 2.0, 3.0, NASTY),)
    _, summary = summarise_replay(images, [], decisions, stops, events, 6.0, "ab" * 32, Limits(resume_s=0.5))
    rules = [{"name": "max_faults", "passed": False, "sentence": "1 (at most 0 accepted)"}]
    summary.update(
        recording=f"drive {NASTY}",
        truth="events",
        truncated="",
        detector="larem",
        threshold=2.0,
        gate={"passed": False, "rules": rules},
    )
    worst = WorstFrames(count=2)
    for image in images:
        worst.add(image)
    write_report(
        tmp_path / "report.html", summary, images, [], decisions, events, worst.frames, f"ls-ood evaluate {NASTY}"
    )
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_everything_is_in_the_file(page):
    """Script, pictures and figures; nothing is fetched from anywhere."""
    head = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=['\"](?!data:)[^'\"]*", head)
    assert page.count("data:image/jpeg;base64,") == 2  # two frames, without a map
    assert "Plotly.newPlot" in page
    assert page.count("plotly-graph-div") == 5
    assert len(page) > 1_000_000


def test_the_verdict_stands_at_the_top(page):
    """Gate, events, alarms, faults, and where it comes from."""
    text = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    for words in ("BROKEN", "1 (at most 0 accepted)", "1 of 1", "unreadable 1", "ab" * 32, "STOP in clean driving"):
        assert words in text
    assert "not judged" in page


def test_a_long_recording_is_drawn_with_few_points(make_report, tell):
    """Twenty thousand images: a bounded file that says so, and the one extreme among them is drawn."""
    images = tell(20_000)
    odd = images[12_345]
    images[12_345] = replace(odd, alarm=replace(odd.alarm, score=77.0, reason="camera front: the one"))
    path = make_report(images)
    page = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 8_000_000
    assert "of up to 20000 images a camera" in page
    assert "camera front: the one" in page


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
    assert re.fullmatch(r"camera picture, front at \d\.\d\d s: score .* / threshold 2 = 0\.\d\d, alarm CLEAR", alts[0])
    assert alts[1].startswith("anomaly map, front at")


def test_where_it_comes_from(make_report, tell):
    """Versions and machine, and nothing that names the machine or its owner."""
    page = make_report(tell(30)).read_text(encoding="utf-8")
    text = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    for words in ("ls_ood_monitor", "torch", platform.machine(), "ls-ood evaluate drive --out x"):
        assert words in text
    assert platform.node() not in text


def test_names_of_a_recording_cannot_bring_scripts(page):
    """What comes from files and messages is text, in the page and in the figures."""
    assert NASTY not in page
    assert html.escape(NASTY) in page


def test_a_camera_that_is_never_heard_has_its_row(make_report, tell):
    """It has no score to draw; its silence is a stretch of the input, and stands among the faults with its reason."""
    alarms = [
        JudgedImage(
            1.1 + n / 10.0,
            Alarm(
                "roof",
                0,
                AlarmState.RAISED,
                np.nan,
                np.nan,
                f"camera roof: no image for {1.1 + n / 10.0:.1f} s",
                True,
                "stale",
            ),
            FallbackMode.STOP,
            None,
            np.nan,
        )
        for n in range(20)
    ]
    page = make_report(tell(30), silences=alarms).read_text(encoding="utf-8")
    assert "roof: score" in page
    assert "silent: alarm RAISED" in page
    assert "<td>stale</td><td>20</td>" in page
    assert "<td>camera roof: no image for 3.0 s</td>" in page
