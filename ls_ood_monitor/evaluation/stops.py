"""When a vehicle would have stopped, and why: every stretch under STOP with all of its reasons.

A decision carries one cause, that of the worst camera. So the reasons of a stop are the causes that take over in it, and the
alarms of further cameras that are raised meanwhile. A reason is a camera and a kind of cause, whatever its numbers; one that
comes back is named once.
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from ..core.causes import HOLDING, QUALIFYING, CauseKind
from ..core.supervision import root_cause
from ..core.types import AlarmState, FallbackMode
from ..wording import sentence
from .replay_tables import ReplayTables
from .results import Stop, StopReason
from .timespans import Span, spans_of

#: Kind and camera of these are those of the cause that they stand on.
_QUALIFYING = sorted(kind.value for kind in QUALIFYING)
#: These are no camera's own: they hold a mode, or come from a camera that is not configured.
_OF_NO_CAMERA = sorted(kind.value for kind in (*HOLDING, CauseKind.UNKNOWN_CAMERA))


def stops_of(
    tables: ReplayTables, duration_s: float, settle_s: float = 0.0, optional: Collection[str] = ()
) -> list[Stop]:
    """The stops of a replay; ``optional`` cameras stop no vehicle.

    The stop at the start is a usual one if it is released within ``settle_s``.
    """
    decisions = tables.decisions
    is_stop = decisions["mode"] == FallbackMode.STOP.name
    spans = [span for span in spans_of(decisions["time_s"], is_stop, duration_s) if span.value]
    reasons: list[list[StopReason]] = [[] for _ in spans]
    rows = _first_of_each_kind(tables, spans, optional)
    shown = rows.select("stop", "time_s", "camera", "kind").iter_rows()
    for (number, time_s, camera, kind), cause in zip(shown, tables.causes_at(rows["cause"]), strict=True):
        # A camera that waits for good frames: what raised its alarm is the reason, where that is known.
        waits = kind == CauseKind.IN_DISTRIBUTION.value
        if not (waits and any(reason.camera == camera for reason in reasons[number])):
            reasons[number].append(StopReason(camera, time_s, sentence(cause), root_cause(cause).kind.value))
    stops = []
    for span, found in zip(spans, reasons, strict=True):
        is_start_up = span.row == 0 and span.end_s < duration_s and span.end_s - span.begin_s <= settle_s
        stops.append(Stop(span.begin_s, span.end_s, is_start_up, tuple(found)))
    return stops


def _first_of_each_kind(tables: ReplayTables, spans: list[Span], optional: Collection[str]) -> pl.DataFrame:
    """Rows ``stop`` (number of its span), ``time_s``, ``cause``, ``camera``, ``kind``; the first of each camera and kind."""
    called = tables.decisions.filter(pl.col("mode") == FallbackMode.STOP.name)
    is_optional = pl.col("camera").cast(pl.String).is_in(list(optional))
    raised = tables.alarms.filter((pl.col("state") == AlarmState.RAISED.value) & ~is_optional)
    schema = {"time_s": pl.Float64, "end_s": pl.Float64, "stop": pl.UInt32}
    ends = [(span.begin_s, span.end_s, number) for number, span in enumerate(spans)]
    stops = pl.DataFrame(ends, schema, orient="row").set_sorted("time_s")
    return (
        pl.concat([called.select("time_s", "cause"), raised.select("time_s", "cause")])
        .sort("time_s", maintain_order=True)
        .join_asof(stops, on="time_s")
        .filter(pl.col("time_s") < pl.col("end_s"))
        .join(_kinds(tables.causes), on="cause", maintain_order="left")
        .unique(["stop", "camera", "kind"], keep="first", maintain_order=True)
    )


def _kinds(causes: pl.DataFrame) -> pl.DataFrame:
    """Row of each ``cause``, its ``kind``, and the ``camera`` that it blames; null where no single one is to blame."""
    shown = causes.select("kind", pl.col("camera").cast(pl.String), "after").with_row_index("cause")
    while len(found := shown.filter(pl.col("kind").is_in(_QUALIFYING))):
        behind = shown.select("kind", "camera", "after", after_row="cause")
        found = found.select("cause", pl.col("after").alias("after_row")).join(behind, on="after_row", how="left")
        shown = shown.update(found.drop("after_row"), on="cause", include_nulls=True)
    no_camera = pl.col("kind").is_in(_OF_NO_CAMERA) | (pl.col("camera") == "")
    return shown.select("cause", "kind", camera=pl.when(~no_camera).then("camera"))
