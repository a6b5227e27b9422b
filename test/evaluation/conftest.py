"""Recordings: as verdicts alone, for the report; and real ones, requests to judge them, and what counts as the same result."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode, Frame, FrameResult
from ls_ood_monitor.evaluation.judged_images import FrameRecord, in_order
from ls_ood_monitor.evaluation.report import write_report
from ls_ood_monitor.evaluation.summary import summarise_replay
from ls_ood_monitor.evaluation.timeline import Limits, ModeSample, StopSample
from ls_ood_monitor.evaluation.worst_frames import WorstFrames
from ls_ood_monitor.recordings.events import Event

START = 1_700_000_000 * 10**9
MASK = np.zeros((24, 32), np.uint8)
#: As an evaluation tells where it comes from.
PROVENANCE = {
    "version": "1.2.3",
    "network": {"device": "cpu", "engine": "onnx", "precision": "fp32"},
    "environment": {
        "machine": "Linux x86_64, 2 cores",
        "gpu": None,
        "versions": {"Python": "3.11.2", "torch": "2.13.0", "ONNX Runtime": "1.32.0"},
    },
    "recording": {
        "path": "/data/drive",
        "format": "ROS 2 bag (mcap)",
        "start": "2023-11-14T22:13:20.000Z",
        "size_bytes": 1234567,
        "rate_hz": None,
    },
    "events_file": None,
    "parameters": {
        "perception_node": {"rule": "window", "trigger_consecutive_frames": 3, "window_frames": 9, "max_age_s": 1.0},
        "supervisor_node": {"optional_cameras": [""], "slow_on_pending": True},
        "judgement": {"stop_within_s": 1.0, "resume_within_s": 2.0},
    },
}
CELLS = np.linspace(0.0, 4.0, 48, dtype=np.float32).reshape(6, 8)


def story(
    count: int, events: tuple[Event, ...] = (), faults: range = range(0), cameras: tuple[str, ...] = ("front",)
) -> list[FrameRecord]:
    """``count`` images of each camera at 10 Hz, score 3 in its events and about 1 outside; threshold 2."""
    random = np.random.default_rng(0)
    images = []
    for index in range(count):
        time_s = index / 10.0
        for camera in cameras:
            odd = any(event.camera == camera and event.start_s <= time_s < event.end_s for event in events)
            if index in faults:
                alarm = Alarm(camera, 0, AlarmState.RAISED, np.nan, np.nan, f"camera {camera}: black", True, "black")
                images.append(FrameRecord(time_s, alarm, FallbackMode.STOP, None, np.nan))
                continue
            score = 2.0 * odd + random.uniform(0.8, 1.2)
            state, mode = (AlarmState.RAISED, FallbackMode.STOP) if odd else (AlarmState.CLEAR, FallbackMode.NOMINAL)
            frame = Frame(np.full((24, 32, 3), index % 256, np.uint8), index + 1, camera)
            alarm = Alarm(camera, index + 1, state, score, 2.0, f"camera {camera}: image {index}")
            result = FrameResult(frame, score, 2.0, "spatial", {}, CELLS, segmentation=MASK, confidence=MASK)
            images.append(FrameRecord(time_s, alarm, mode, result, 5.0 + index % 7))
    return images


@pytest.fixture(scope="session")
def make_report(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write the report of a list of images and their events; returns its path."""

    def make(
        images: list[FrameRecord],
        events: tuple[Event, ...] = (),
        name: str = "drive",
        silences: Sequence[FrameRecord] = (),
        **changes,
    ) -> Path:
        decisions = [ModeSample(one.time_s, one.mode, one.alarm.reason) for one in in_order(images, silences)]
        stops = [StopSample(one.time_s, one.mode is FallbackMode.STOP) for one in decisions]
        duration_s = images[-1].time_s
        _, summary = summarise_replay(images, silences, decisions, stops, events, duration_s, "ab" * 32, Limits())
        judgement = summary.pop("gate")
        summary.update(
            recording=name,
            truth="events" if events else "none",
            truncated="",
            detector="spatial",
            threshold=2.0,
            judgement=judgement,
            gate={"passed": None, "rules": []},
            clip=None,
            provenance=PROVENANCE,
        )
        summary.update(changes)
        worst = WorstFrames(count=4)
        for image in images:
            worst.add(image)
        path = tmp_path_factory.mktemp("report") / "report.html"
        write_report(
            path, summary, images, silences, decisions, events, worst.frames, f"ls-ood evaluate {name} --out x"
        )
        return path

    return make


@pytest.fixture(scope="session")
def tell() -> Callable[..., list[FrameRecord]]:
    """``story``."""
    return story


@pytest.fixture(scope="session")
def write_drive(make_pictures) -> Callable[..., Path]:
    """Write a bag of one camera at 10 Hz: pictures that the tiny bundle knows, noise for its second third.

    ``beside`` is a second camera and the numbers of its images, which the bundle knows, too.
    """
    from ls_ood_monitor.recordings.bags import FrameBagWriter

    def write(
        path: Path, count: int = 45, seed: int = 5, storage: str = "mcap", beside: tuple[str, range] | None = None
    ) -> Path:
        random = np.random.default_rng(seed)
        with FrameBagWriter(path, storage) as writer:
            for index, picture in enumerate(make_pictures(count, seed=seed)):
                noise = random.integers(0, 256, picture.shape, dtype=np.uint8)
                image = noise if count // 3 <= index < 2 * count // 3 else picture
                writer.write("front", image, START + index * 10**8)
                if beside is not None and index in beside[1]:
                    writer.write(beside[0], picture, START + index * 10**8)
        return path

    return write


@pytest.fixture(scope="session")
def drives(tmp_path_factory, write_drive) -> list[Path]:
    """Three such bags."""
    folder = tmp_path_factory.mktemp("drives")
    return [write_drive(folder / f"drive_{seed}", seed=seed) for seed in (5, 6, 7)]


@pytest.fixture
def request_for(tiny_bundle) -> Callable[..., Any]:
    """A request to judge a recording by the tiny bundle."""
    from ls_ood_monitor.bundle import load_bundle
    from ls_ood_monitor.evaluation.request import Request
    from ls_ood_monitor.evaluation.timeline import Limits
    from ls_ood_monitor.parameter_file import VehicleSettings
    from ls_ood_monitor.recordings.recording import open_recording

    bundle_id = load_bundle(tiny_bundle, device="cpu").bundle_id

    def make(path: Path, out: Path, **changes: Any) -> Request:
        out.mkdir(parents=True, exist_ok=True)
        values = {
            "recording": open_recording(path),
            "events": None,
            "bundle": tiny_bundle,
            "bundle_id": bundle_id,
            "detector": None,
            "device": "cpu",
            "vehicle": VehicleSettings(),
            "gate": None,
            "limits": Limits(),
            "out": out,
            "command": "ls-ood evaluate",
            "run": "first",
        }
        return Request(**{**values, **changes})

    return make


@pytest.fixture
def figures() -> Callable[[Path], tuple[Any, Any]]:
    """Table and summary in a folder, without the times that the machine took."""

    def read(out: Path) -> tuple[Any, Any]:
        with (out / "frames.csv").open(newline="", encoding="utf-8") as file:
            rows = [{key: value for key, value in row.items() if key != "latency_ms"} for row in csv.DictReader(file)]
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        assert summary.pop("latency_ms")
        return rows, summary

    return read


@pytest.fixture
def worker_of() -> Callable[[Path, Sequence[int]], int | None]:
    """Which of some processes has a file open below a folder."""

    def find(out: Path, pids: Sequence[int]) -> int | None:
        for pid in pids:
            try:
                links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
            except OSError:
                continue
            if any(link.startswith(f"{out}{os.sep}") for link in links):
                return pid
        return None

    return find
