"""The report's figures, as plotly draws them: over the recording's time, or of its scores; larger scores = more OoD.

However long the recording, a figure holds a bounded number of points (``downsampling``).
"""

from __future__ import annotations

import html
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from ..core.types import AlarmState, FallbackMode
from ..recordings.events import Event
from .downsampling import LabelledSpan, keep_extremes, merge_spans
from .ranking import Curve, FrameScores, Ranking, histogram
from .replay_tables import ReplayTables, has_lasting, score_over_threshold
from .results import Stop, StopReason
from .silence import SILENCE_PERIOD_S, Silence, silences_of
from .timespans import spans_of

_GOOD, _UNSURE, _BAD, _LINE, _SILENT, _LASTING = "#2e7d32", "#f9a825", "#c62828", "#37474f", "#8e24aa", "#1565c0"
_QUIET = "#ce93d8"
_LABEL = "rgba(255, 255, 255, 0.7)"
_EVENT = {"fillcolor": "rgba(96, 125, 139, 0.25)", "line_width": 0, "layer": "below"}
_DASHED = {"dash": "dash", "width": 1}
#: Shapes as well as colours: not everybody tells green from red.
_STATES = {
    AlarmState.CLEAR: (_GOOD, "circle"),
    AlarmState.PENDING: (_UNSURE, "triangle-up"),
    AlarmState.RAISED: (_BAD, "square"),
}
#: Name and colour of each kind of stretch.
_MODES = {int(mode): (mode.name, colour) for mode, colour in zip(FallbackMode, (_GOOD, _UNSURE, _BAD), strict=True)}
_JUDGED, _NO_IMAGE, _NOT_JUDGED, _ALARMED = range(4)
_INPUTS = {
    _JUDGED: ("judged", "#90a4ae"),
    _NO_IMAGE: ("no image", _QUIET),
    _NOT_JUDGED: ("not judged", _BAD),
    _ALARMED: ("silent: alarm RAISED", _SILENT),
}

#: Points of all cameras together, stretches of one row, and events that are named in the figure.
_MAX_POINTS, _MAX_SPANS, _MAX_LABELS = 12_000, 1_500, 24
_BINS = 60
_MAX_REASON, _MAX_REASONS = 180, 4
#: Of a percentile, as a share of the axis, on a phone.
_LABEL_WIDTH = 0.1
#: Scores this far above the threshold would press it to the floor of a linear axis.
_FAR = 20.0


def most_points(cameras: int) -> int:
    """How many images of one camera the timeline shows before it is downsampled."""
    return max(600, _MAX_POINTS // max(1, cameras))


def timeline(tables: ReplayTables, events: Sequence[Event], duration_s: float, stops: Sequence[Stop] = ()) -> Any:
    """A row a camera with score, threshold, alarm and events; what came in; what was commanded, with reasons of ``stops``."""
    from plotly.subplots import make_subplots

    images, silences = tables.images, silences_of(tables.alarms)
    cameras = sorted(tables.alarms["camera"].unique().cast(pl.String))
    titles = [*(html.escape(f"{camera}: score / threshold") for camera in cameras), "input", "command"]
    rows, length_s = len(titles), max(duration_s, 0.1)
    heights = [*[170.0] * len(cameras), 26.0 * len(cameras) + 14.0, 34.0]
    spacing = 32.0 / (sum(heights) + 32.0 * rows)
    figure = make_subplots(
        rows, 1, shared_xaxes=True, vertical_spacing=spacing, row_heights=heights, subplot_titles=titles
    )
    figure.update_annotations(x=0.0, xanchor="left")
    labelled = len(events) <= _MAX_LABELS
    for row, camera in enumerate(cameras, 1):
        own = images.filter(pl.col("camera") == camera)
        _draw_scores(figure, tables, own, row, most_points(len(cameras)))
        for event in (event for event in events if event.camera == camera):
            label = {"text": html.escape(event.label), "y": 0.02, "bgcolor": _LABEL}
            shown = {"annotation": label, "annotation_position": "bottom left"} if labelled else {}
            figure.add_vrect(event.start_s, min(event.end_s, length_s), row=row, col=1, **_EVENT, **shown)
        silent = [silence for silence in silences if silence.camera == camera]
        spans = merge_spans(_input_spans(tables, own, silent, length_s), _MAX_SPANS)
        _draw_bars(figure, spans, camera, _INPUTS, rows - 1)
    _draw_bars(figure, merge_spans(_command_spans(tables, length_s, stops), _MAX_SPANS), "", _MODES, rows)
    figure.update_layout(
        height=sum(heights) + 32.0 * rows + 150.0,
        template="plotly_white",
        margin={"l": 50, "r": 12, "t": 60, "b": 105},
        legend={"orientation": "h", "yref": "container", "y": 0.0, "yanchor": "bottom"},
        barmode="overlay",
        hovermode="closest",
    )
    # A zoom is one of time; what was scored stays in sight.
    figure.update_yaxes(fixedrange=True)
    figure.update_yaxes(showticklabels=False, row=rows, col=1)
    order = [html.escape(camera) for camera in reversed(cameras)]  # from below, and so from above as the rows
    figure.update_yaxes(categoryorder="array", categoryarray=order, row=rows - 1, col=1)
    figure.update_xaxes(range=[0.0, length_s], title_text="time in the recording, s", row=rows, col=1)
    return figure


def _draw_scores(figure: Any, tables: ReplayTables, own: pl.DataFrame, row: int, most: int) -> None:
    """Line, marks by alarm state, and the threshold, of one camera."""
    moments = own["time_s"].to_numpy()
    ratios = own.select(score_over_threshold().alias("ratio"))["ratio"].to_numpy().copy()
    ratios[~np.isfinite(ratios)] = np.nan
    severities, is_fault = own["state"].to_physical().to_numpy(), own["fault"].is_not_null().to_numpy()
    chosen = keep_extremes(moments, ratios, severities + 3 * is_fault, most)
    times, reasons = moments[chosen].round(4), tables.sentences(own["cause"].gather(chosen))
    line = broken_where_silent(moments, chosen)
    figure.add_scatter(
        x=np.insert(times, line, times[line]),
        y=np.insert(ratios[chosen], line, np.nan),
        mode="lines",
        line={"color": _LINE, "width": 1},
        hoverinfo="skip",
        showlegend=False,
        row=row,
        col=1,
    )
    if has_lasting(own):
        medians = (own["lasting_score"] / own["lasting_threshold"]).to_numpy()
        figure.add_scatter(
            x=np.insert(times, line, times[line]),
            y=np.insert(medians[chosen], line, np.nan),
            mode="lines",
            line={"color": _LASTING, "width": 1.5},
            name="median / its threshold",
            legendgroup="lasting",
            showlegend=row == 1,
            hovertemplate="%{x:.2f} s, median %{y:.2f}<extra></extra>",
            row=row,
            col=1,
        )
    for state, (colour, symbol) in _STATES.items():
        marks = np.flatnonzero(severities[chosen] == state.severity)
        figure.add_scatter(
            x=times[marks],
            y=ratios[chosen[marks]],
            text=[_tooltip(reasons[mark]) for mark in marks],
            mode="markers",
            marker={"color": colour, "size": 6, "symbol": symbol},
            name=f"alarm {state.value}",
            legendgroup=state.value,
            showlegend=row == 1,
            hovertemplate="%{x:.2f} s, %{y:.2f}<br>%{text}<extra></extra>",
            row=row,
            col=1,
        )
    figure.add_hline(y=1.0, line={"color": _BAD} | _DASHED, row=row, col=1)
    finite = ratios[np.isfinite(ratios)]
    if len(finite) and finite.min() > 0.0 and finite.max() > _FAR:
        figure.update_yaxes(type="log", row=row, col=1)
    else:  # from a usual score to the threshold at least
        low, high = float(np.min(finite, initial=0.0)), float(np.max(finite, initial=1.1))
        margin = 0.08 * (high - low)
        figure.update_yaxes(range=[low - margin, high + margin], row=row, col=1)


def _tooltip(text: str) -> str:
    """As HTML, and short enough for a tooltip, of which there are thousands."""
    return html.escape(text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]} ...")


def broken_where_silent(times: ArrayLike, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places (K,) in ``chosen``, before which a line must break: no image came for longer than ``patience_s`` there."""
    moments = np.asarray(times, np.float64)
    silences = np.cumsum(np.diff(moments, prepend=moments[:1]) > patience_s(moments))
    return np.flatnonzero(np.diff(silences[chosen], prepend=silences[chosen[:1]]))


def patience_s(times: NDArray[np.float64]) -> float:
    """How long a camera may send nothing before it counts as a gap: some periods, seconds."""
    return max(3.0 * float(np.median(np.diff(times))), 0.5) if len(times) > 1 else np.inf


def _input_spans(
    tables: ReplayTables, own: pl.DataFrame, silent: Sequence[Silence], length_s: float
) -> list[LabelledSpan]:
    """What one camera's input was over time: judged, not judged with the first reason, no image, or an alarm for that."""
    times, is_fault = own["time_s"].to_numpy(), own["fault"].is_not_null().to_numpy()
    starts = [silence.start_s for silence in silent]
    alarmed = dict(zip(starts, tables.sentences([silence.cause for silence in silent]), strict=True))
    spans: list[LabelledSpan] = []

    def add_gap(begin_s: float, end_s: float) -> None:
        """A stretch without images, and in it the alarms that it raised."""
        for silence in silent[bisect_left(starts, begin_s) : bisect_left(starts, end_s)]:
            if begin_s < silence.start_s:
                spans.append(LabelledSpan(begin_s, silence.start_s, _NO_IMAGE, "no image"))
            begin_s = min(silence.end_s + SILENCE_PERIOD_S, end_s)
            reason = _tooltip(alarmed[silence.start_s])
            spans.append(LabelledSpan(silence.start_s, begin_s, _ALARMED, reason))
        if begin_s < end_s:
            spans.append(LabelledSpan(begin_s, end_s, _NO_IMAGE, "no image"))

    if not len(times):
        add_gap(0.0, length_s)
        return spans
    usual_s, longest_s = float(np.median(np.diff(times))) if len(times) > 1 else length_s, patience_s(times)
    nexts = np.append(times[1:], length_s)
    first, behind = np.searchsorted(starts, times), np.searchsorted(starts, nexts)
    is_alarmed = first < behind
    ends = np.where((nexts - times <= longest_s) & ~is_alarmed, nexts, times + usual_s)
    ends[is_alarmed] = np.minimum(ends, np.append(starts, np.inf)[first])[is_alarmed]
    if times[0] > longest_s or bisect_left(starts, times[0]):
        add_gap(0.0, float(times[0]))
    begins = np.flatnonzero(np.append(True, (is_fault[1:] != is_fault[:-1]) | (ends < nexts)[:-1]))
    lasts = np.append(begins[1:], len(times)) - 1
    reasons = tables.sentences(own["cause"].gather(begins))
    for begin, last, reason in zip(begins, lasts, reasons, strict=True):
        severity, label = (_NOT_JUDGED, _tooltip(reason)) if is_fault[begin] else (_JUDGED, "judged")
        spans.append(LabelledSpan(float(times[begin]), float(ends[last]), severity, label))
        if ends[last] < nexts[last]:
            add_gap(float(ends[last]), float(nexts[last]))
    return spans


def _command_spans(tables: ReplayTables, length_s: float, stops: Sequence[Stop]) -> list[LabelledSpan]:
    """Stretches of one command; its first reason stands for it, or, of the summary's ``stops``, the first few."""
    decisions = tables.decisions
    spans = spans_of(decisions["time_s"], decisions["mode"].to_physical(), length_s)
    reasons = tables.sentences(decisions["cause"].gather([span.row for span in spans]))
    texts = {round(span.begin_s, 6): _tooltip(reason) for span, reason in zip(spans, reasons, strict=True)}
    texts |= {stop.start_s: _first_reasons(stop.reasons) for stop in stops}
    return [LabelledSpan(span.begin_s, span.end_s, span.value, texts[round(span.begin_s, 6)]) for span in spans]


def _first_reasons(reasons: Sequence[StopReason]) -> str:
    """A line each."""
    lines = [f"{reason.start_s:.2f} s: {_tooltip(reason.reason)}" for reason in reasons[:_MAX_REASONS]]
    more = len(reasons) - len(lines)
    return "<br>".join([*lines, f"and {more} more"] if more else lines)


def _draw_bars(
    figure: Any, spans: Sequence[LabelledSpan], line: str, kinds: Mapping[int, tuple[str, str]], row: int
) -> None:
    """A strip with its colours, each of which stands once in the legend."""
    listed = {trace.name for trace in figure.data}
    for severity, (name, colour) in kinds.items():
        shown = [span for span in spans if span.severity == severity]
        if not shown:
            continue
        figure.add_bar(
            x=[round(span.end_s - span.begin_s, 4) for span in shown],
            base=[round(span.begin_s, 4) for span in shown],
            y=[html.escape(line)] * len(shown),
            text=[span.text for span in shown],
            textposition="none",
            orientation="h",
            # The outline keeps a stretch visible that is narrower than a dot of the screen.
            marker={"color": colour, "line": {"color": colour, "width": 1}},
            width=0.7,
            name=name,
            legendgroup=name,
            showlegend=name not in listed,
            hovertemplate="from %{base:.2f} s<br>%{text}<extra>" + name + "</extra>",
            row=row,
            col=1,
        )


def score_histogram(clean: FrameScores, odd: FrameScores, has_events: bool) -> Any:
    """Shares of frames by score over threshold, with intervals where there are units enough."""
    shares_axis = {"title": "share of frames", "tickformat": ".0%", "rangemode": "tozero"}
    figure = _figure(340, xaxis_title="score / threshold", yaxis=shares_axis, barmode="overlay", legend=_LEGEND)
    both = np.concatenate([clean.ratios, odd.ratios])
    low, high = np.quantile(both, [0.001, 0.999]) if len(both) >= 1000 else (both.min(), both.max())
    edges = _edges(low, high, 0.3)
    names = ("outside events" if has_events else "all frames", "in events")
    for frames, name, colour in zip((clean, odd), names, (_GOOD, _BAD), strict=True):
        if not len(frames.ratios):
            continue
        shares, lower, upper = histogram(frames, edges)
        chosen = np.flatnonzero(shares)
        bars: dict[str, Any] = {"visible": False}
        if lower is not None and upper is not None:
            above, below = (np.maximum(0.0, ends)[chosen] for ends in (upper - shares, shares - lower))
            bars = {"array": above, "arrayminus": below, "color": colour, "thickness": 1, "width": 2}
        figure.add_bar(
            x=((edges[:-1] + edges[1:]) / 2.0)[chosen],
            y=shares[chosen],
            width=(edges[1] - edges[0]) * 0.96,
            error_y=bars,
            name=name,
            marker={"color": colour},
            opacity=0.6,
            hovertemplate="%{x:.3g}: %{y:.2%}<extra>" + name + "</extra>",
        )
    figure.add_vline(x=1.0, line={"color": _LINE} | _DASHED)
    figure.add_annotation(x=1.0, y=1.0, yref="paper", text="threshold", showarrow=False, xanchor="left", yanchor="top")
    return figure


def roc_figure(ranking: Ranking, at: tuple[float, float]) -> Any:
    """ROC with its band, and where the calibrated threshold lies (clean share, event share)."""
    figure = _curve_figure(ranking.roc, "hv", "share of clean frames above", "share of event frames above")
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": "#9e9e9e", "dash": "dot"}, name="chance")
    _mark(figure, *at)
    return figure


def pr_figure(ranking: Ranking, at: tuple[float, float] | None) -> Any:
    """Precision over recall with its band, and where the calibrated threshold lies; None where nothing is above it."""
    titles = "share of event frames above (recall)", "share of events among them (precision)"
    figure = _curve_figure(ranking.pr, "linear", *titles)
    if at is not None:
        _mark(figure, *at)
    return figure


def _curve_figure(curve: Curve, shape: str, x: str, y: str) -> Any:
    axes = {"xaxis": {"title": x, "range": [0.0, 1.0]}, "yaxis": {"title": y, "range": [0.0, 1.02]}}
    figure = _figure(380, **axes, legend=_LEGEND)
    if len(curve.places):
        figure.add_scatter(
            x=[*curve.places, *curve.places[::-1]],
            y=[*curve.high.round(4), *curve.low[::-1].round(4)],
            fill="toself",
            fillcolor="rgba(55, 71, 79, 0.18)",
            line={"width": 0},
            hoverinfo="skip",
            name="95 % interval",
        )
    figure.add_scatter(
        x=curve.x.round(5),
        y=curve.y.round(5),
        mode="lines",
        line={"color": _LINE, "shape": shape},
        showlegend=False,
        hovertemplate="%{x:.3f}, %{y:.3f}<extra></extra>",
    )
    return figure


def _mark(figure: Any, x: float, y: float) -> None:
    figure.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        marker={"size": 11, "color": _BAD},
        name="calibrated threshold",
        hovertemplate="%{x:.3f}, %{y:.3f}<extra></extra>",
        cliponaxis=False,
    )


def latency_histogram(latencies: NDArray[np.float64], percentiles: Mapping[str, float]) -> Any:
    """Frames by the network's time for them, ms, with the percentiles marked."""
    figure = _figure(300, xaxis_title="ms", yaxis_title="frames", showlegend=False)
    high = float(np.quantile(latencies, 0.999))
    edges = _edges(float(latencies.min()), high, 6.0)
    counts, _ = np.histogram(np.minimum(latencies, high), edges)
    figure.add_bar(
        x=(edges[:-1] + edges[1:]) / 2.0,
        y=counts,
        width=(edges[1] - edges[0]) * 0.96,
        marker={"color": _LINE},
        hovertemplate="%{x:.1f} ms: %{y}<extra></extra>",
    )
    level, before = 0, -np.inf
    for name, value in percentiles.items():
        place = min(value, float(edges[-1]))
        # Labels stand above the bars, and one above the other where they are close.
        level = level + 1 if place - before < _LABEL_WIDTH * (edges[-1] - edges[0]) else 0
        before = place
        figure.add_vline(x=place, line={"color": _BAD} | _DASHED)
        figure.add_annotation(x=place, y=1.0 + 0.09 * level, yref="paper", text=name, showarrow=False, yanchor="bottom")
    return figure


def _edges(low: float, high: float, least: float) -> NDArray[np.float64]:
    """Edges of the bins from low to high, or wider than that: at least ``least`` apart."""
    margin = max(0.0, least - (high - low)) / 2.0
    return np.linspace(low - margin, high + margin, _BINS + 1)


_LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0.0}


def _figure(height: int, **layout: Any) -> Any:
    import plotly.graph_objects as go

    margin = {"l": 60, "r": 15, "t": 75, "b": 50}
    return go.Figure(layout={"height": height, "margin": margin, "template": "plotly_white", **layout})
