"""A recording as one picture: scores with their alarms and events, and the command, over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from ..core.types import AlarmState, FallbackMode
from ..recordings.events import Event
from .downsampling import LabelledSpan, keep_extremes, merge_spans
from .replay_tables import has_lasting, score_over_threshold
from .timespans import spans_of

_STATE_COLOURS = {AlarmState.CLEAR: "#2e7d32", AlarmState.PENDING: "#f9a825", AlarmState.RAISED: "#c62828"}
_MODE_COLOURS = {FallbackMode.NOMINAL: "#2e7d32", FallbackMode.SLOW: "#f9a825", FallbackMode.STOP: "#c62828"}
#: Of one camera, and of the command, in the picture; it is some thousand dots wide.
_MAX_POINTS, _MAX_SPANS = 6000, 1000
_LASTING_COLOUR = "#1565c0"


def draw_timeline(
    path: Path, events: Sequence[Event], alarms: pl.DataFrame, decisions: pl.DataFrame, duration_s: float, title: str
) -> None:
    """Draw score over threshold per camera, with events, alarm states and the commanded mode, as a PNG.

    ``alarms`` have ``time_s``, ``camera``, ``state``, ``score`` and ``threshold``, ``decisions`` ``time_s`` and ``mode``; both
    are in order of time.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    cameras = sorted({*alarms["camera"].unique().cast(pl.String), *(event.camera for event in events)})
    figure = Figure(figsize=(11, 1.6 + 2.1 * len(cameras)), layout="constrained")
    FigureCanvasAgg(figure)
    heights = {"height_ratios": [*([1.0] * len(cameras)), 0.28]}
    rows = figure.subplots(len(cameras) + 1, 1, sharex=True, squeeze=False, gridspec_kw=heights)[:, 0]
    for axis, camera in zip(rows, cameras, strict=False):
        own = _shown_rows(alarms.filter(pl.col("camera") == camera))
        times, ratio = own["time_s"].to_numpy(), own["ratio"].to_numpy()
        for event in events:
            if event.camera == camera:
                axis.axvspan(event.start_s, event.end_s, color="#90a4ae", alpha=0.35, linewidth=0)
                middle_s, place = (event.start_s + event.end_s) / 2, axis.get_xaxis_transform()
                axis.text(middle_s, 0.04, event.label, ha="center", va="bottom", transform=place, fontsize=10)
        axis.plot(times, ratio, color="#37474f", linewidth=1.0, zorder=2)
        if "lasting" in own.columns:
            axis.plot(times, own["lasting"].to_numpy(), color=_LASTING_COLOUR, linewidth=1.4, zorder=2.5)
        colours = [_STATE_COLOURS[AlarmState(state)] for state in own["state"]]
        axis.scatter(times, ratio, s=16, zorder=3, color=colours)
        known = np.isfinite(ratio)
        lost = np.flatnonzero(~known)
        marks = {"marker": "|", "color": [colours[index] for index in lost]}
        # Below the threshold, which lies near the top where all is well.
        axis.scatter(times[lost], np.full(len(lost), 0.86), transform=axis.get_xaxis_transform(), **marks)
        axis.axhline(1.0, color="#c62828", linestyle="--", linewidth=1.0)
        # Distances span decades; logarithms of them, as of the detector spatial, may be negative.
        if known.any() and ratio[known].min() > 0.0:
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_ylabel(f"{camera}\nscore / threshold")
        axis.grid(axis="x", alpha=0.25)
    last = rows[-1]
    modes = spans_of(decisions["time_s"], decisions["mode"].to_physical(), duration_s)
    spans = [LabelledSpan(span.begin_s, span.end_s, span.value, "") for span in modes]
    for span in merge_spans(spans, _MAX_SPANS):
        colour = _MODE_COLOURS[FallbackMode(span.severity)]
        last.axvspan(span.begin_s, span.end_s, color=colour, alpha=0.85, linewidth=0)
    last.set_yticks([])
    last.set_ylabel("command", rotation=0, ha="right", va="center")
    last.set_xlim(0.0, duration_s)
    last.set_xlabel("time in the recording, s")
    handles: list[Patch | Line2D] = [
        Patch(color=colour, label=f"{state.value} / {mode.name}")
        for (state, colour), mode in zip(_STATE_COLOURS.items(), FallbackMode, strict=True)
    ]
    if has_lasting(alarms):
        handles.append(Line2D([], [], color=_LASTING_COLOUR, label="median over seconds / its threshold"))
    handles.append(Patch(color="#90a4ae", alpha=0.35, label="event (ground truth)"))
    if not alarms["score"].is_finite().all():
        handles.append(Line2D([], [], color="#37474f", marker="|", linestyle="", label="not judged, or silent"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    figure.suptitle(title, fontsize=12)
    figure.savefig(path, dpi=100)


def _shown_rows(own: pl.DataFrame) -> pl.DataFrame:
    """Rows of one camera with their ``ratio``, NaN where there is none; of more than the picture can show the extremes."""
    ratio = score_over_threshold()
    own = own.with_columns(ratio=pl.when(ratio.is_finite()).then(ratio).otherwise(np.nan))
    if has_lasting(own):
        own = own.with_columns(lasting=pl.col("lasting_score") / pl.col("lasting_threshold"))
    return own[keep_extremes(own["time_s"], own["ratio"], own["state"].to_physical(), _MAX_POINTS)]
