"""Recordings that exist only as verdicts, for the report and the browser that opens it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode, Frame, FrameResult
from ls_ood_monitor.offline.evaluation.replay import JudgedImage
from ls_ood_monitor.offline.evaluation.report import write_report
from ls_ood_monitor.offline.evaluation.summary import summarise_replay
from ls_ood_monitor.offline.evaluation.worst_frames import WorstFrames
from ls_ood_monitor.offline.events import Event
from ls_ood_monitor.offline.timeline import Limits, ModeSample, StopSample

MASK = np.zeros((24, 32), np.uint8)
CELLS = np.linspace(0.0, 4.0, 48, dtype=np.float32).reshape(6, 8)


def story(
    count: int, events: tuple[Event, ...] = (), faults: range = range(0), cameras: tuple[str, ...] = ("front",)
) -> list[JudgedImage]:
    """``count`` images of each camera at 10 Hz, score 3 in its events and about 1 outside; threshold 2."""
    random = np.random.default_rng(0)
    images = []
    for index in range(count):
        time_s = index / 10.0
        for camera in cameras:
            odd = any(event.camera == camera and event.start_s <= time_s < event.end_s for event in events)
            if index in faults:
                alarm = Alarm(camera, 0, AlarmState.RAISED, np.nan, np.nan, f"camera {camera}: black", True, "black")
                images.append(JudgedImage(time_s, alarm, FallbackMode.STOP, None, np.nan))
                continue
            score = 2.0 * odd + random.uniform(0.8, 1.2)
            state, mode = (AlarmState.RAISED, FallbackMode.STOP) if odd else (AlarmState.CLEAR, FallbackMode.NOMINAL)
            frame = Frame(np.full((24, 32, 3), index % 256, np.uint8), index + 1, camera)
            alarm = Alarm(camera, index + 1, state, score, 2.0, f"camera {camera}: image {index}")
            result = FrameResult(frame, MASK, MASK, score, 2.0, "spatial", {}, CELLS)
            images.append(JudgedImage(time_s, alarm, mode, result, 5.0 + index % 7))
    return images


@pytest.fixture(scope="session")
def make_report(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write the report of a list of images and their events; returns its path."""

    def make(images: list[JudgedImage], events: tuple[Event, ...] = (), name: str = "drive", **changes) -> Path:
        decisions = [ModeSample(image.time_s, image.mode, image.alarm.reason) for image in images]
        stops = [StopSample(one.time_s, one.mode is FallbackMode.STOP) for one in decisions]
        duration_s = images[-1].time_s
        _, summary = summarise_replay(images, decisions, stops, events, duration_s, "ab" * 32, Limits())
        judgement = summary.pop("gate")
        summary.update(
            recording=name,
            truth="events" if events else "none",
            truncated="",
            detector="spatial",
            threshold=2.0,
            judgement=judgement,
            gate={"passed": None, "rules": []},
        )
        summary.update(changes)
        worst = WorstFrames(count=4)
        for image in images:
            worst.add(image)
        path = tmp_path_factory.mktemp("report") / "report.html"
        write_report(path, summary, images, decisions, events, worst.frames, f"ls-ood evaluate {name} --out x")
        return path

    return make


@pytest.fixture(scope="session")
def tell() -> Callable[..., list[JudgedImage]]:
    """``story``."""
    return story
