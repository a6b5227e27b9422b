"""``frames.csv``: one row an image message, for whoever wants to draw or count something else."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from .replay import JudgedImage

COLUMNS = ("time_s", "camera", "stamp_ns", "score", "threshold", "alarm", "decision", "fault", "latency_ms", "reason")


def write_frames(path: Path, images: Sequence[JudgedImage], detectors: Sequence[str]) -> None:
    """Write the table; scores of every detector follow, larger = more OoD. Floats read back exactly."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*COLUMNS, *(f"score.{name}" for name in detectors)])
        for image in images:
            alarm, scores = image.alarm, image.result.scores if image.result is not None else {}
            table.writerow(
                [
                    f"{image.time_s:.6f}",
                    alarm.camera,
                    alarm.stamp_ns,
                    repr(alarm.score),
                    repr(alarm.threshold),
                    alarm.state.value,
                    image.mode.name,
                    alarm.fault,
                    f"{image.latency_ms:.3f}",
                    alarm.reason,
                    *(repr(scores[name]) if name in scores else "" for name in detectors),
                ]
            )
