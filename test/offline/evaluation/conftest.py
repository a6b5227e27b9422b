"""Recordings, requests to judge them, and what counts as the same result."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

START = 1_700_000_000 * 10**9


@pytest.fixture(scope="session")
def write_drive(make_pictures) -> Callable[..., Path]:
    """Write a bag of one camera at 10 Hz: pictures that the tiny bundle knows, noise for its second third."""
    from ls_ood_monitor.offline.bags import FrameBagWriter

    def write(path: Path, count: int = 45, seed: int = 5, storage: str = "mcap") -> Path:
        random = np.random.default_rng(seed)
        with FrameBagWriter(path, storage) as writer:
            for index, picture in enumerate(make_pictures(count, seed=seed)):
                noise = random.integers(0, 256, picture.shape, dtype=np.uint8)
                image = noise if count // 3 <= index < 2 * count // 3 else picture
                writer.write("front", image, START + index * 10**8)
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
    from ls_ood_monitor.offline.evaluation.recording import open_recording
    from ls_ood_monitor.offline.evaluation.request import Request
    from ls_ood_monitor.offline.evaluation.vehicle import VehicleSettings
    from ls_ood_monitor.offline.timeline import Limits

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
