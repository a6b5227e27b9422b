"""Figures of a replayed recording: the assessment by events, faults, silences, stops and the ranking of scores."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import polars as pl

from ..core.bursts import count_span_bursts
from ..core.metrics import aupr, auroc, fpr_at_tpr
from ..core.types import FallbackMode
from ..recordings.events import Event
from .assessment import assess, false_alarms, fraction, latency_of
from .replay_tables import ReplayTables
from .results import Assessment, CameraFigures, Latency, RankingFigures, SilenceFigures, Stop, rounded
from .silence import silences_of
from .stops import stops_of
from .timespans import CLEAN, Limits, events_of_frames


@dataclass(frozen=True, kw_only=True)
class ReplaySummary(Assessment):
    """What the tables of a replay come to; the part of ``Summary`` that they alone decide."""

    latency_ms: Latency
    faults: dict[str, int]
    fault_count: int
    by_camera: dict[str, CameraFigures]
    silences: tuple[SilenceFigures, ...]
    stops: tuple[Stop, ...]
    ood: RankingFigures


def summarise_replay(
    tables: ReplayTables, events: Sequence[Event], duration_s: float, limits: Limits, optional: Collection[str] = ()
) -> ReplaySummary:
    """Hold a replay against the events.

    An alarm of a silent camera is one like any other, and a fault; ranking is of images alone. ``optional`` cameras stop no
    vehicle. Times are rounded to the microsecond.
    """
    alarms, images, decisions = tables.alarms, tables.images, tables.decisions
    commands = decisions.select("time_s", stop=pl.col("mode") == FallbackMode.STOP.name)
    assessment = assess(
        events,
        alarms,
        decisions,
        commands,
        duration_s,
        limits,
        lambda row: tables.sentences([decisions["cause"][row]])[0],
    )
    faults = alarms.filter(pl.col("fault").is_not_null())
    faults_of, images_of = _counts(faults["camera"]), _counts(images["camera"])
    summary: ReplaySummary = rounded(
        ReplaySummary(
            **vars(assessment) | {"frames": len(images)},
            latency_ms=latency_of(alarms["latency_ms"]),
            faults=_counts(faults["fault"]),
            fault_count=len(faults),
            by_camera={
                camera: CameraFigures(images_of.get(camera, 0), count_span_bursts(false), faults_of.get(camera, 0))
                for camera, false in false_alarms(events, alarms, limits).items()
            },
            silences=tuple(SilenceFigures(*silence[:4]) for silence in silences_of(alarms)),
            stops=tuple(stops_of(tables, duration_s, limits.release_s, optional)),
            ood=_ranking(images, events, limits),
        )
    )
    return summary


def _counts(values: pl.Series) -> dict[str, int]:
    """How often each is there, in the order in which they come."""
    return dict(values.to_frame("value").group_by("value", maintain_order=True).len().iter_rows())


def _ranking(images: pl.DataFrame, events: Sequence[Event], limits: Limits) -> RankingFigures:
    judged = images.filter(pl.col("score").is_finite())
    places, scores = events_of_frames(judged, events, limits.release_s), judged["score"].to_numpy()
    above = (judged["score"] > judged["threshold"]).to_numpy()
    clean, ood = scores[places == CLEAN], scores[places >= 0]
    clean_above, ood_above = above[places == CLEAN].sum(), above[places >= 0].sum()
    figures = RankingFigures(
        len(clean), fraction(float(clean_above), len(clean)), len(ood), fraction(float(ood_above), len(ood))
    )
    if not (len(clean) and len(ood)):
        return figures
    return replace(figures, auroc=auroc(clean, ood), aupr=aupr(clean, ood), fpr_at_95tpr=fpr_at_tpr(clean, ood))
