"""What was heard of running nodes, as samples; judged and drawn as a replay is.

Times are seconds on one axis: the recording's own, from its start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import polars as pl

from ..core.types import AlarmState, FallbackMode
from ..recordings.events import Event
from .assessment import assess, latency_of
from .replay_tables import MODE, STATE
from .results import BundleFacts, LiveSummary
from .timeline import draw_timeline
from .timespans import Limits

_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class ScoreSample:
    """One alarm message; a score larger than the threshold is OoD."""

    time_s: float
    camera: str
    state: AlarmState
    score: float
    threshold: float
    latency_ms: float
    lasting_score: float = nan  # median over seconds; NaN where there is no lasting path
    lasting_threshold: float = nan


@dataclass(frozen=True, slots=True)
class ModeSample:
    """One decision."""

    time_s: float
    mode: FallbackMode
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StopSample:
    """One stop command: what a vehicle obeys."""

    time_s: float
    stop: bool


def summarise_live(
    events: Sequence[Event],
    scores: Sequence[ScoreSample],
    modes: Sequence[ModeSample],
    stops: Sequence[StopSample],
    duration_s: float,
    bundle_id: str,
    limits: Limits = _LIMITS,
) -> LiveSummary:
    """Judge what was heard, each list in order of time (``assessment.assess``)."""
    schema = {"time_s": pl.Float64, "stop": pl.Boolean}
    commands = pl.DataFrame([(sample.time_s, sample.stop) for sample in stops], schema, orient="row")
    alarms = _alarms(scores)
    assessment = assess(events, alarms, _decisions(modes), commands, duration_s, limits, lambda row: modes[row].reason)
    return LiveSummary(**vars(assessment), bundle=BundleFacts(bundle_id), latency_ms=latency_of(alarms["latency_ms"]))


def draw_live(
    path: Path,
    events: Sequence[Event],
    scores: Sequence[ScoreSample],
    modes: Sequence[ModeSample],
    duration_s: float,
    title: str,
) -> None:
    """Draw what was heard as a PNG (``timeline.draw_timeline``)."""
    draw_timeline(path, events, _alarms(scores), _decisions(modes), duration_s, title)


def _alarms(scores: Sequence[ScoreSample]) -> pl.DataFrame:
    schema: dict[str, Any] = {"time_s": pl.Float64, "camera": pl.Categorical, "state": STATE}
    numbers = ("score", "threshold", "latency_ms", "lasting_score", "lasting_threshold")
    schema |= dict.fromkeys(numbers, pl.Float64)
    rows = [
        (sample.time_s, sample.camera, sample.state.value, *(getattr(sample, name) for name in numbers))
        for sample in scores
    ]
    return pl.DataFrame(rows, schema, orient="row")


def _decisions(modes: Sequence[ModeSample]) -> pl.DataFrame:
    schema: dict[str, Any] = {"time_s": pl.Float64, "mode": MODE}
    return pl.DataFrame([(sample.time_s, sample.mode.name) for sample in modes], schema, orient="row")
