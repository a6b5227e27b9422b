"""The rows of a replay, in tables: alarms, decisions, and the causes of both. No picture is kept.

Causes have a table of their own because one stands on another one (``Cause.underlying``), and because many rows share one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import polars as pl

from ..core.causes import AlarmProgress, Cause, CauseKind, ProgressGoal
from ..core.types import Alarm, AlarmState, Decision, FallbackMode, Verdict
from ..wording import sentence

#: Physical numbers of the categories are ``AlarmState.severity`` and ``FallbackMode``.
STATE = pl.Enum([state.value for state in AlarmState])
MODE = pl.Enum([mode.name for mode in FallbackMode])
KIND = pl.Enum([kind.value for kind in CauseKind])
_CAUSES = {
    "kind": KIND,
    "camera": pl.Categorical,
    "value": pl.Float64,
    "limit": pl.Float64,
    "detail": pl.Categorical,
    "expected": pl.Categorical,
    "goal": pl.Categorical,  # null where there is no progress
    "count": pl.Float64,
    "needed": pl.Float64,
    "after": pl.UInt32,  # row of the cause that it stands on
}
_DECISIONS = {"time_s": pl.Float64, "mode": MODE, "cause": pl.UInt32}
_ALARMS = {
    "time_s": pl.Float64,  # from the start of the recording
    "camera": pl.Categorical,
    "stamp_ns": pl.Int64,
    "state": STATE,
    "mode": MODE,  # of the decision after it
    "score": pl.Float64,  # larger = more OoD; NaN where the frame was not judged
    "threshold": pl.Float64,  # likewise
    "fault": KIND,  # null where the frame was judged
    "cause": pl.UInt32,  # its row
    "lasting_score": pl.Float64,  # median over seconds; NaN where there is no lasting path
    "lasting_threshold": pl.Float64,  # likewise
    "latency_ms": pl.Float64,  # of the network; NaN where it was not asked
    "from_image": pl.Boolean,
}
#: Rows are Python objects until there are so many.
_CHUNK = 4096
#: Causes that are found again, as of a stop that lasts.
_MAX_RECENT = 256


@dataclass(frozen=True)
class ReplayTables:
    """A whole replay, in order of time, in the columns above."""

    alarms: pl.DataFrame  # of every image, and ten a second of a silent camera; with ``score.NAME`` of each detector
    decisions: pl.DataFrame  # every tick's, and every new stop
    causes: pl.DataFrame
    detectors: tuple[str, ...]  # whose scores there are

    @property
    def images(self) -> pl.DataFrame:
        """The alarms of images."""
        return self.alarms.filter("from_image")

    def sentences(self, rows: pl.Series | Sequence[int]) -> list[str]:
        """What these rows of ``causes`` say."""
        return [sentence(cause) for cause in self.causes_at(rows)]

    def causes_at(self, rows: pl.Series | Sequence[int]) -> list[Cause]:
        """These rows of ``causes``."""
        chosen = self.causes[pl.Series(rows, dtype=pl.UInt32)]
        behind = chosen["after"].drop_nulls().unique()
        after = dict(zip(behind, self.causes_at(behind), strict=True)) if len(behind) else {}
        causes = []
        for kind, camera, value, limit, detail, expected, goal, count, needed, row in chosen.iter_rows():
            progress = None if goal is None else AlarmProgress(ProgressGoal(goal), count, needed)
            causes.append(Cause(CauseKind(kind), camera, value, limit, detail, expected, progress, after.get(row)))
        return causes


def score_over_threshold() -> pl.Expr:
    """``core.types.score_over_threshold`` of each row."""
    return pl.when(pl.col("threshold") <= 0.0).then("score").otherwise(pl.col("score") / pl.col("threshold"))


def has_lasting(alarms: pl.DataFrame) -> bool:
    """Whether the alarms have a lasting path."""
    return "lasting_threshold" in alarms.columns and bool(alarms["lasting_threshold"].is_finite().any())


class ReplayRecorder:
    """Gathers the rows of a replay, with the scores of ``detectors``; counts its ``images``, the last one at ``last_image_s``."""

    def __init__(self, detectors: Sequence[str]) -> None:
        self._detectors = tuple(detectors)
        self._alarms = _Rows({**_ALARMS, **{f"score.{name}": pl.Float64 for name in detectors}})
        self._decisions, self._causes = _Rows(_DECISIONS), _Rows(_CAUSES)
        self._recent: dict[Cause, int] = {}
        self.images, self.last_image_s = 0, 0.0

    def add_image(
        self, time_s: float, alarm: Alarm, mode: FallbackMode, verdict: Verdict | None, latency_ms: float = nan
    ) -> None:
        """The alarm of an image, the mode after it, and the network's verdict, where it was asked for one."""
        self.images, self.last_image_s = self.images + 1, time_s
        self._add_alarm(time_s, alarm, mode, verdict, latency_ms, True)

    def add_silence(self, time_s: float, alarm: Alarm, mode: FallbackMode) -> None:
        """The alarm of a silent camera, and the mode after it."""
        self._add_alarm(time_s, alarm, mode, None, nan, False)

    def add_decision(self, time_s: float, decision: Decision) -> None:
        """A decision."""
        self._decisions.append((time_s, decision.mode.name, self._row_of(decision.cause)))

    def tables(self) -> ReplayTables:
        """All rows so far."""
        return ReplayTables(self._alarms.table(), self._decisions.table(), self._causes.table(), self._detectors)

    def _add_alarm(
        self,
        time_s: float,
        alarm: Alarm,
        mode: FallbackMode,
        verdict: Verdict | None,
        latency_ms: float,
        is_image: bool,
    ) -> None:
        states = (time_s, alarm.camera, alarm.stamp_ns, alarm.state.value, mode.name)
        judged = (alarm.score, alarm.threshold, alarm.fault or None, self._row_of(alarm.cause))
        lasting = (alarm.lasting_score, alarm.lasting_threshold)
        scores = verdict.scores if verdict is not None else {}
        self._alarms.append(
            (*states, *judged, *lasting, latency_ms, is_image, *(scores.get(name) for name in self._detectors))
        )

    def _row_of(self, cause: Cause) -> int:
        """Row of the cause, which is added where it is not among the last ones."""
        row = self._recent.get(cause)
        if row is not None:
            return row
        after = None if cause.underlying is None else self._row_of(cause.underlying)
        progress = cause.progress
        counted = (progress.goal.value, progress.count, progress.needed) if progress else (None,) * 3
        numbers = (cause.value, cause.limit, cause.detail, cause.expected)
        row = self._causes.append((cause.kind.value, cause.camera, *numbers, *counted, after))
        if len(self._recent) >= _MAX_RECENT:
            self._recent.clear()
        self._recent[cause] = row
        return row


class _Rows:
    """Rows of one table while they come in."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = dict(schema)
        self._chunks = [pl.DataFrame(schema=self._schema)]
        self._rows: list[tuple[Any, ...]] = []
        self._count = 0

    def append(self, row: tuple[Any, ...]) -> int:
        """Returns its number."""
        self._rows.append(row)
        self._count += 1
        if len(self._rows) >= _CHUNK:
            self._pack()
        return self._count - 1

    def table(self) -> pl.DataFrame:
        """All rows so far."""
        self._pack()
        self._chunks = [pl.concat(self._chunks, rechunk=False)]
        return self._chunks[0]

    def _pack(self) -> None:
        if self._rows:
            self._chunks.append(pl.DataFrame(self._rows, schema=self._schema, orient="row"))
            self._rows.clear()
