"""``frames.csv``: one row an alarm, for whoever wants to draw or count something else.

Every image message has one, and a silent camera ten a second, with stamp 0 and no score.
"""

from __future__ import annotations

import csv
from pathlib import Path

from .replay_tables import ReplayTables

_COLUMNS = ("time_s", "camera", "stamp_ns", "score", "threshold", "alarm", "decision", "fault", "latency_ms", "reason")
_LASTING = ("lasting_score", "lasting_threshold")
#: Rows whose sentences are in memory at a time.
_SLICE = 5000


def write_frames(path: Path, tables: ReplayTables) -> None:
    """Write the table; scores of every detector follow, larger = more OoD. Floats read back exactly."""
    scores = [f"score.{name}" for name in tables.detectors]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*_COLUMNS, *_LASTING, *scores])
        for part in tables.alarms.iter_slices(_SLICE):
            reasons = tables.sentences(part["cause"])
            shown = part.select(
                "time_s",
                "camera",
                "stamp_ns",
                "score",
                "threshold",
                "state",
                "mode",
                "fault",
                "latency_ms",
                *_LASTING,
                *scores,
            )
            for row, reason in zip(shown.iter_rows(), reasons, strict=True):
                time_s, camera, stamp_ns, score, threshold, state, mode, fault, latency_ms, *others = row
                numbers = ("" if value is None or value != value else repr(value) for value in others)
                judged = (repr(score), repr(threshold), state, mode, fault or "", f"{latency_ms:.3f}", reason)
                writer.writerow((f"{time_s:.6f}", camera, stamp_ns, *judged, *numbers))
