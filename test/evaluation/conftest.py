"""Recordings: as verdicts alone, for the report; and real ones, requests to judge them, and what counts as the same result."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState, Decision, FallbackMode, Frame
from ls_ood_monitor.evaluation.replay import FrameRecord, TimedVerdict
from ls_ood_monitor.evaluation.replay_tables import ReplayRecorder, ReplayTables
from ls_ood_monitor.evaluation.report import write_report
from ls_ood_monitor.evaluation.results import (
    AcceptanceResult,
    AlarmFigures,
    BundleFacts,
    DecisionFigures,
    Delays,
    Environment,
    EventCheck,
    Latency,
    NetworkFacts,
    RankingFigures,
    RecordingFacts,
    RecordingProvenance,
    Summary,
)
from ls_ood_monitor.evaluation.summary import summarise_replay
from ls_ood_monitor.evaluation.timespans import Limits
from ls_ood_monitor.evaluation.worst_frames import WorstFrames
from ls_ood_monitor.recordings.events import Event

START = 1_700_000_000 * 10**9
PROVENANCE = RecordingProvenance(
    version="1.2.3",
    network=NetworkFacts("cpu", "onnx", "fp32"),
    environment=Environment(
        "Linux x86_64, 2 cores", None, {"Python": "3.11.2", "torch": "2.13.0", "ONNX Runtime": "1.32.0"}
    ),
    parameters={
        "perception_node": {"trigger_consecutive_frames": 3, "lasting_window_s": 5.0, "max_age_s": 1.0},
        "supervisor_node": {"optional_cameras": [""], "slow_on_pending": True},
        "judgement": {"stop_within_s": 1.0, "release_within_s": 2.0},
    },
    recording=RecordingFacts("/data/drive", "ROS 2 bag (mcap)", "2023-11-14T22:13:20.000Z", None, 1234567),
    events_file=None,
)
SUMMARY = Summary(
    recording="drive",
    truth="none: every alarm counts as false",
    truncated="",
    duration_s=20.0,
    frames=100,
    cameras=("front",),
    alarms=AlarmFigures(0, 0, 0, 0, Delays(None, None), None, None),
    decision=DecisionFigures(None, 0.0, 18.0, 0.0, 0.0, 0.0, None, None, 0, messages=400),
    events=(),
    judgement=EventCheck(True),
    bundle=BundleFacts("ab" * 32),
    detector="spatial",
    threshold=2.0,
    provenance=PROVENANCE,
    faults={},
    fault_count=0,
    by_camera={},
    silences=(),
    acceptance=AcceptanceResult(),
    latency_ms=Latency(5.0, 5.0, 5.0),
    stops=(),
    ood=RankingFigures(100, 0.0, 0, None, None, None, None),
    clip=None,
    request="",
)
CELLS = np.linspace(0.0, 4.0, 48, dtype=np.float32).reshape(6, 8)


def changed_summary(**changes: Any) -> Summary:
    """A summary of a calm drive, with changes; of a part of it those named in a mapping."""
    for name in ("alarms", "decision", "ood"):
        if isinstance(changes.get(name), dict):
            changes[name] = replace(getattr(SUMMARY, name), **changes[name])
    return replace(SUMMARY, **changes)


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
                cause = Cause(CauseKind.BLACK, camera, 1.0, 0.99, "4")
                alarm = Alarm(camera, 0, AlarmState.RAISED, np.nan, np.nan, cause)
                images.append(FrameRecord(time_s, alarm, FallbackMode.STOP, None))
                continue
            score = 2.0 * odd + random.uniform(0.8, 1.2)
            state, mode = (AlarmState.RAISED, FallbackMode.STOP) if odd else (AlarmState.CLEAR, FallbackMode.NOMINAL)
            kind = CauseKind.SUDDEN if odd else CauseKind.IN_DISTRIBUTION
            frame = Frame(np.full((24, 32, 3), index % 256, np.uint8), index + 1, camera)
            alarm = Alarm(camera, index + 1, state, score, 2.0, Cause(kind, camera, score, 2.0))
            verdict = TimedVerdict(frame, score, 2.0, "spatial", {}, CELLS, latency_ms=5.0 + index % 7)
            images.append(FrameRecord(time_s, alarm, mode, verdict))
    return images


def tables(
    images: Sequence[FrameRecord],
    silences: Sequence[FrameRecord] = (),
    decisions: Sequence[tuple[float, FallbackMode, Cause]] | None = None,
    detectors: Sequence[str] = (),
) -> ReplayTables:
    """Tables of such records; where no decisions are given, one for each of them."""
    recorder = ReplayRecorder(detectors)
    records = sorted([*silences, *images], key=lambda record: record.time_s)
    for record in records:
        if any(record is silence for silence in silences):
            recorder.add_silence(record.time_s, record.alarm, record.mode)
        else:
            latency_ms = np.nan if record.verdict is None else record.verdict.latency_ms
            recorder.add_image(record.time_s, record.alarm, record.mode, record.verdict, latency_ms)
    if decisions is None:
        decisions = [(record.time_s, record.mode, record.alarm.cause) for record in records]
    for time_s, mode, cause in decisions:
        recorder.add_decision(time_s, Decision(mode, cause, 0))
    return recorder.tables()


@pytest.fixture(scope="session")
def make_report(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write the report of a list of images and their events; returns its path."""

    def make(
        images: list[FrameRecord],
        events: tuple[Event, ...] = (),
        name: str = "drive",
        silences: Sequence[FrameRecord] = (),
        **changes: Any,
    ) -> Path:
        replayed = tables(images, silences)
        figures = vars(summarise_replay(replayed, events, images[-1].time_s, Limits()))
        changes = {"recording": name, "truth": "events" if events else "none", **changes}
        worst = WorstFrames(lambda verdict: verdict, count=4)
        for image in images:
            worst.add(image)
        path = tmp_path_factory.mktemp("report") / "report.html"
        summary = changed_summary(**{**figures, **changes})
        write_report(path, summary, replayed, events, worst.frames, f"ls-ood evaluate {name} --out x")
        return path

    return make


@pytest.fixture(scope="session")
def tell() -> Callable[..., list[FrameRecord]]:
    """``story``."""
    return story


@pytest.fixture(scope="session")
def tables_of() -> Callable[..., ReplayTables]:
    """``tables``."""
    return tables


@pytest.fixture(scope="session")
def make_summary() -> Callable[..., Summary]:
    """``changed_summary``."""
    return changed_summary


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
            "acceptance": None,
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
