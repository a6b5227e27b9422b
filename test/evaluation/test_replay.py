"""A replayed recording: the same rules as on the vehicle, told by times that were written into it."""

from __future__ import annotations

import json
import re

import numpy as np
import polars as pl
import pytest

from ls_ood_monitor.config import AlarmSettings
from ls_ood_monitor.core.alarm import LastingLevels
from ls_ood_monitor.core.types import AlarmState, FallbackMode, FrameResult
from ls_ood_monitor.evaluation.replay import Replay
from ls_ood_monitor.evaluation.results import SilenceFigures, to_plain
from ls_ood_monitor.evaluation.summary import summarise_replay
from ls_ood_monitor.evaluation.timespans import Limits
from ls_ood_monitor.parameter_file import VehicleSettings
from ls_ood_monitor.recordings.bags import ImageArrival
from ls_ood_monitor.recordings.events import Event

BEGIN = 1_700_000_000 * 10**9
PERIOD = 10**8
MASK = np.zeros((8, 8), np.uint8)


class BrightnessMonitor:
    """A monitor whose score is the mean of the picture, threshold 100; what it cannot do is not used."""

    alarm, lasting_levels, detector, threshold = AlarmSettings(3, 5), LastingLevels(), "brightness", 100.0
    bundle_id = "0" * 64
    detectors = ("brightness",)

    def process(self, frames):
        return [
            FrameResult(
                frame,
                float(frame.image.mean()),
                100.0,
                "brightness",
                {"brightness": 1.0},
                segmentation=MASK,
                confidence=MASK,
            )
            for frame in frames
        ]


def arrival(number: int, camera: str = "front", bright: bool = False, **changes) -> ImageArrival:
    """Image ``number`` of 10 Hz: dark noise is clean, bright noise is not."""
    random = np.random.default_rng(number)
    low, high = (150, 250) if bright else (20, 80)
    values = {
        "camera": camera,
        "topic": f"/{camera}/image",
        "received_ns": BEGIN + number * PERIOD,
        "stamp_ns": BEGIN + number * PERIOD,
        "encoding": "bgr8",
        "image": random.integers(low, high, (24, 32, 3), dtype=np.uint8),
        "error": "",
    }
    return ImageArrival(**{**values, **changes})


def replayed(arrivals, seconds: float, cameras=("front",)):
    """The tables of a replay, and its images."""
    replay = Replay(BrightnessMonitor(), cameras, VehicleSettings(), BEGIN)
    images = list(replay.run(arrivals))
    replay.finish(BEGIN + round(seconds * 1e9))
    return replay.recorder.tables(), images


def mode_at(tables, time_s: float) -> FallbackMode:
    """The command that stood at a moment."""
    return FallbackMode[tables.decisions.filter(pl.col("time_s") <= time_s)["mode"][-1]]


def test_an_event_raises_the_alarm_stops_and_is_left_again():
    """Three bright frames raise, five dark ones clear; STOP until the first clear frame, and again while it lasts."""
    tables, images = replayed([arrival(n, bright=20 <= n < 40) for n in range(60)], 6.0)
    states = [image.alarm.state for image in images]
    assert states[0] is AlarmState.CLEAR
    assert states[20:23] == [AlarmState.PENDING, AlarmState.PENDING, AlarmState.RAISED]
    assert states[44] is AlarmState.CLEAR
    assert states[43] is AlarmState.RAISED
    assert mode_at(tables, 0.0) is FallbackMode.STOP  # before the first frame
    assert mode_at(tables, 1.0) is FallbackMode.NOMINAL
    assert mode_at(tables, 2.12) is FallbackMode.SLOW
    assert mode_at(tables, 2.2) is FallbackMode.STOP
    assert mode_at(tables, 4.35) is FallbackMode.STOP
    assert mode_at(tables, 4.5) is FallbackMode.NOMINAL


def test_a_silent_camera_stops_after_its_timeout_and_says_so():
    """Images cease at 1.9 s: the supervisor misses their alarms 0.5 s later, and perception says why after 1 s."""
    tables, _ = replayed([arrival(n) for n in range(20)], 4.0)
    stops = tables.decisions.filter((pl.col("mode") == "STOP") & (pl.col("time_s") > 1.0))
    reasons = tables.sentences(stops["cause"])
    assert stops["time_s"][0] == pytest.approx(2.45, abs=0.051)
    assert "silent for" in reasons[0]
    assert "no image for" in reasons[-1]
    assert "/front/image" in reasons[-1]
    assert mode_at(tables, 3.99) is FallbackMode.STOP


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"image": None, "error": "image data has 3 bytes"}, "unreadable"),
        ({"stamp_ns": 0}, "no_stamp"),
        ({"stamp_ns": BEGIN + 9 * PERIOD}, "repeated"),
        ({"stamp_ns": BEGIN + 10 * PERIOD + 2 * 10**9}, "clock_ahead"),
        ({"stamp_ns": BEGIN - 10**9}, "clock_back"),
        ({"image": np.zeros((24, 32, 3), np.uint8)}, "black"),
    ],
)
def test_a_bad_image_is_a_fault_and_not_judged(changes, fault):
    """The same checks as in the node, each named; the next good image is judged."""
    _, images = replayed([*[arrival(n) for n in range(10)], arrival(10, **changes), arrival(11)], 1.2)
    assert images[10].alarm.fault == fault
    assert images[10].alarm.state is AlarmState.PENDING
    assert images[10].verdict is None
    assert images[11].alarm.state is AlarmState.CLEAR


def test_the_figures_of_a_story():
    """Two events of two cameras, and one false alarm between them, counted by hand."""
    bright = {"front": range(20, 40), "left": range(80, 90)}
    false = range(60, 64)  # on the left camera, nobody's event
    arrivals = [
        arrival(n, camera, n in bright[camera] or (camera == "left" and n in false))
        for n in range(120)
        for camera in ("front", "left")
    ]
    events = (Event("front", 2.0, 4.0, "glare"), Event("left", 8.0, 9.0, "glare"))
    tables, _ = replayed(arrivals, 12.0, ("front", "left"))
    figures = summarise_replay(tables, events, 12.0, Limits(stop_s=1.0, release_s=1.0))
    summary = to_plain(figures)
    assert summary["frames"] == 240
    assert summary["alarms"]["detected"] == 2
    assert summary["alarms"]["detected_share"] == 1.0
    assert summary["alarms"]["delay_s"]["max"] == pytest.approx(0.2)
    assert summary["alarms"]["false"] == 1
    clean_s = (2.0 - 1.0) + (8.0 - 5.0) + (12.0 - 10.0)
    rate = summary["alarms"]["false_per_hour"]
    assert rate["per_hour"] == pytest.approx(3600.0 / clean_s)
    assert rate["low"] < rate["per_hour"] < rate["high"]
    assert summary["decision"]["time_to_stop_s"] == pytest.approx(0.2)
    assert summary["decision"]["hold_ratio"] == pytest.approx((1.8 + 0.8) / 3.0, abs=0.02)
    assert 0.4 <= summary["decision"]["time_to_release_s"] <= 0.5
    assert summary["decision"]["false_stop_ratio"] == pytest.approx(0.6 / clean_s, abs=0.02)
    assert summary["ood"]["auroc"] == pytest.approx(1.0, abs=0.05)
    assert summary["ood"]["ood_above_threshold"] == 1.0
    assert summary["ood"]["ood_frames"] == 30
    assert summary["ood"]["clean_above_threshold"] == pytest.approx(4 / summary["ood"]["clean_frames"])
    assert not figures.judgement.passed  # the false stop


def test_stops_are_told_with_every_camera():
    """The start, then front, then left within the same stop, whose good frames end it; times have no more than six digits."""
    bright = {"front": range(20, 30), "left": range(25, 40)}
    arrivals = [
        arrival(n, camera, n in bright[camera], received_ns=BEGIN + n * PERIOD + 1234)
        for n in range(60)
        for camera in ("front", "left")
    ]
    tables, _ = replayed(arrivals, 6.0, ("front", "left"))
    for optional, left_s in (((), 2.700001), (("left",), 3.45)):  # an optional one, where decisions alone name it
        summary = to_plain(summarise_replay(tables, (), 6.0, Limits(release_s=1.0), optional))
        start, stop = summary["stops"]
        assert (start["start_s"], start["start_up"], stop["start_up"]) == (0.0, True, False)
        assert "no alarm message has arrived yet" in start["reasons"][0]["reason"]
        assert stop["start_s"] == 2.200001
        assert 4.4 < stop["end_s"] <= 4.45
        assert [reason["camera"] for reason in stop["reasons"]] == ["front", "left"]
        assert stop["reasons"][1]["start_s"] == left_s
        assert stop["reasons"][0]["start_s"] == stop["start_s"]
        assert "out of distribution" in stop["reasons"][0]["reason"]
    text = json.dumps(summary)
    assert not re.search(r'_s": [0-9]+[.][0-9]{7}', text)


def test_without_events_nothing_is_claimed_about_detection():
    """No ranking, no share detected; alarms are still counted against the whole time."""
    tables, _ = replayed([arrival(n) for n in range(30)], 3.0)
    summary = to_plain(summarise_replay(tables, (), 3.0, Limits(release_s=0.0)))
    assert summary["ood"]["auroc"] is None
    assert summary["alarms"]["detected_share"] is None
    assert summary["alarms"]["false_per_hour"]["hours"] == pytest.approx(3.0 / 3600.0)
    assert summary["decision"]["hold_ratio"] is None


def stopping(first: int, last: int, **event):
    """Two cameras for 8 s; the left one sends nothing from image ``first`` to ``last``: the tables and their figures."""
    arrivals = [
        arrival(n, camera)
        for n in range(80)
        for camera in ("front", "left")
        if camera == "front" or not first <= n <= last
    ]
    tables, _ = replayed(arrivals, 8.0, ("front", "left"))
    events = (Event("left", **event),) if event else ()
    return tables, summarise_replay(tables, events, 8.0, Limits(release_s=1.0))


def test_a_silence_outside_of_events_is_a_false_alarm_and_a_fault():
    """Missing from 3.0 to 4.9 s: silent for more than a second at 4.0 s, told ten times, one alarm, images are what they are."""
    tables, summary = stopping(30, 49)
    silent = tables.alarms.filter(~pl.col("from_image"))
    assert silent["time_s"].to_list() == pytest.approx([4.0 + 0.1 * n for n in range(11)])
    shown = silent.select("camera", "state", "fault", "stamp_ns", "mode").unique().rows()
    assert shown == [("left", "RAISED", "stale", 0, "STOP")]
    assert summary.frames == len(tables.images) == 140
    assert summary.faults == {"stale": 11}
    assert summary.silences == (SilenceFigures("left", pytest.approx(4.0), pytest.approx(5.0), 11),)
    assert summary.alarms.false == 1  # not once more when its first images have not cleared it yet
    assert summary.alarms.false_per_hour.events == 1
    assert summary.ood.clean_frames == 140


def test_a_silence_within_an_event_of_its_camera_is_its_detection():
    """Its delay is from the event's start to the first alarm; no false alarm is left."""
    _, summary = stopping(30, 49, start_s=3.0, end_s=5.0, label="cable pulled")
    assert (summary.alarms.detected, summary.alarms.false) == (1, 0)
    assert summary.alarms.delay_s.max == pytest.approx(1.0, abs=0.1)
    assert summary.events[0].alarm_delay_s == summary.alarms.delay_s.max
    assert summary.faults == {"stale": 11}
    assert summary.ood.auroc is None  # no image in the event is left to rank


def test_a_camera_that_is_never_heard_is_silent_from_the_start_and_no_false_alarm():
    """As on the vehicle it is said from a second on, until the end; it never was clear, so nothing has risen."""
    _, summary = stopping(0, 79)
    assert [(silence.camera, silence.alarms) for silence in summary.silences] == [("left", 70)]
    assert summary.cameras == ("front", "left")
    assert summary.alarms.false == 0
