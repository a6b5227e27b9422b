"""``frames.csv``: one row an alarm, for whoever wants to draw or count something else.

Every image message has one, and a silent camera ten a second, with stamp 0 and no score.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from .judged_images import FrameRecord

COLUMNS = ("time_s", "camera", "stamp_ns", "score", "threshold", "alarm", "decision", "fault", "latency_ms", "reason")


def write_frames(path: Path, alarms: Iterable[FrameRecord], detectors: Sequence[str]) -> None:
    """Write the table; scores of every detector follow, larger = more OoD. Floats read back exactly."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*COLUMNS, *(f"score.{name}" for name in detectors)])
        for one in alarms:
            alarm, scores = one.alarm, one.result.scores if one.result is not None else {}
            table.writerow(
                [
                    f"{one.time_s:.6f}",
                    alarm.camera,
                    alarm.stamp_ns,
                    repr(alarm.score),
                    repr(alarm.threshold),
                    alarm.state.value,
                    one.mode.name,
                    alarm.fault,
                    f"{one.latency_ms:.3f}",
                    alarm.reason,
                    *(repr(scores[name]) if name in scores else "" for name in detectors),
                ]
            )
