"""``report.html``: one file that opens in a browser without a network; plotly's script is in it.

The verdict comes first, then when it would have stopped and why, the recording over time, the strangest frames, the figures
with their intervals, and where they come from. A sentence stands where a recording cannot show something.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..monitor import OodMonitor
from ..recordings.events import Event
from . import report_figures as figures
from . import summary_text as text
from .ranking import FPR_AT_95TPR, MIN_UNITS, FrameScores, Ranking, rank, share_above, split_frames
from .replay_tables import ReplayTables
from .report_page import UNIT, banner, command_line, decision_rows, page, rule_rows, seconds, word
from .report_provenance import bundle_part, environment_part, parameters_part, recording_part
from .report_tables import MAX_ROWS, facts_table, first_of, list_table, with_head
from .results import DecisionFigures, Delays, Stop, Summary
from .silence import silences_of
from .timespans import Limits
from .worst_frames import WorstFrame

_MAX_REASONS = 12
_LIMITS = Limits()
_STYLE = """
figcaption { color: #454545 }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 560px), 1fr)); gap: 14px }
.pair { display: flex; gap: 4px }
.pair img { width: 50%; flex: 1 1 0; min-width: 0 }
.pair img:only-child { max-width: 50% }
.halves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 460px), 1fr)) }
.halves > div { min-width: 0 }
figure { margin: 0; break-inside: avoid }
figcaption { font-size: .9em }
summary { cursor: pointer }
.touch { display: none }
@media (pointer: coarse) {
  .touch { display: inline }
  .mouse { display: none }
  .modebar { opacity: 1 !important }
}
@media print {
  body { font-size: 12px; padding: 0; max-width: none }
  .modebar { display: none !important }
  .plot, table { break-inside: avoid }
  .wide { overflow: visible }
}
"""
# A finger that goes over a plot wants to scroll the page: there it does not drag, and buttons zoom.
_TOUCH = """
if (matchMedia('(pointer: coarse)').matches)
  document.querySelectorAll('.js-plotly-plot').forEach(plot => Plotly.relayout(plot, {dragmode: false}));
"""
# Plotly draws for the width of the window; paper is narrower.
_PRINT = """
const redraw = size => document.querySelectorAll('.js-plotly-plot').forEach(plot => Plotly.relayout(plot, size));
addEventListener('beforeprint', () => {
  document.querySelectorAll('details').forEach(part => part.open = true);
  document.body.style.width = '700px';
  redraw({width: 690});
});
addEventListener('afterprint', () => { document.body.style.width = ''; redraw({width: null, autosize: true}) });
"""


def write_report(
    path: Path,
    summary: Summary,
    tables: ReplayTables,
    events: Sequence[Event],
    worst: Sequence[WorstFrame],
    command: str,
    *,
    limits: Limits = _LIMITS,
    monitor: OodMonitor | None = None,
    note: str = "",
) -> None:
    """Write the report of one recording.

    ``command`` makes it again. ``limits`` are those by which the summary was made. Without ``monitor`` it lacks the bundle's
    provenance. ``note`` is what a reader must know first, a sentence; empty = nothing.
    """
    images = tables.images
    clean, odd = split_frames(images, events, limits)
    ranking = rank(clean, odd) if len(clean.ratios) and len(odd.ratios) else None
    timeline = figures.timeline(tables, events, summary.duration_s, summary.stops)
    parts = [
        f"<p>{html.escape(note)}</p>" if note else "",
        banner(*text.headline(summary)),
        "<noscript><p class=bad>The plots need JavaScript; tables and pictures do without.</p></noscript>",
        _verdict(summary),
        "<h2>Events</h2>" + _events(summary) if summary.events else "",
        "<h2>When and why it would have stopped</h2>" + _stops(summary.stops),
        "<h2>Score, input and command over time</h2>",
        _timeline_note(images),
        _plot(timeline, "Timeline of every camera", first=True),
        "<h2>Strangest frames</h2>" + _gallery(worst),
        "<h2>How well scores tell events from clean driving</h2>" + _detection(clean, odd, ranking, bool(events)),
        "<h2>Faults: images that could not be judged, and silent cameras</h2>" + _faults(tables),
        "<h2>The network's time for a frame</h2>" + _latency(images),
        "<h2>Recording</h2>" + recording_part(summary),
        "<h2>Bundle</h2>" + bundle_part(summary, monitor),
        "<h2>Parameters</h2>" + parameters_part(summary.provenance.parameters),
        "<h2>Environment</h2>" + environment_part(summary.provenance),
        f"<h2>Make it again</h2><p>{command_line(command)}</p>"
        "<p class=note>The same recording, bundle and settings give the same figures, but for the times of the network.</p>",
        f"<script>{_TOUCH}{_PRINT}</script>",
    ]
    path.write_text(page(f"Evaluation of {summary.recording}", parts, _STYLE), encoding="utf-8", errors="replace")


def _plot(figure: Any, label: str, first: bool = False) -> str:
    """The first plot brings the script for all."""
    buttons = [["zoom2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"], ["toImage"]]
    options = {"responsive": True, "displaylogo": False, "doubleClick": "reset", "modeBarButtons": buttons}
    drawn = figure.to_html(full_html=False, include_plotlyjs=first, config=options, default_width="100%")
    return f"<div class=plot role=group aria-label='{html.escape(label)}'>{drawn}</div>"


def _verdict(summary: Summary) -> str:
    alarms, decision = summary.alarms, summary.decision
    size = f"{text.counted(summary.frames, 'image')} of {', '.join(summary.cameras)}, {summary.duration_s:.2f} s"
    rows = [
        *rule_rows(summary.acceptance),
        *([("judgement by the events", _judgement(summary))] if summary.has_events else []),
        ("recording", html.escape(size)),
        ("ground truth", "events" if summary.has_events else "none given: every alarm counts as false"),
        ("alarms", str(alarms.raised)),
        ("events detected", f"{alarms.detected} of {alarms.events}" if alarms.events else "-"),
        ("time to the alarm, median and longest", _delays(alarms.delay_s)),
        *decision_rows(decision),
        ("false alarms", html.escape(text.false_alarm_rate(summary))),
        ("STOP in clean driving", "-" if summary.clip else _clean(decision)),
        ("alarms without a verdict", html.escape(text.counts(summary)) or "none"),
        *([("damage", word(False, "", summary.truncated))] if summary.truncated else []),
    ]
    return facts_table(rows)


def _judgement(summary: Summary) -> str:
    failures = [word(False, "", failure) for failure in summary.judgement.failures]
    return "<br>".join(failures) or word(True, text.passed_sentence(summary), "")


def _delays(delay_s: Delays) -> str:
    return "-" if delay_s.median is None else f"{seconds(delay_s.median)}, {seconds(delay_s.max)}"


def _clean(decision: DecisionFigures) -> str:
    if not decision.clean_s:
        return "there was no clean driving"
    return f"{seconds(decision.false_stop_s)} of {seconds(decision.clean_s)}"


def _events(summary: Summary) -> str:
    rows = [
        [
            html.escape(event.label),
            html.escape(event.camera),
            seconds(event.start_s),
            seconds(event.end_s),
            *(delay(event).replace(" s", UNIT) for delay in (text.alarm_delay, text.stop_delay)),
        ]
        for event in summary.events
    ]
    return list_table({"event": "name", "camera": "name", "from": "", "to": "", "alarm": "", "STOP": ""}, rows)


def _stops(stops: Sequence[Stop]) -> str:
    """A group of rows for each stop, one for each of its reasons."""
    if not stops:
        return "<p>It would not have stopped.</p>"
    groups = []
    for stop in stops[:MAX_ROWS]:
        reasons = [(seconds(reason.start_s), html.escape(reason.reason)) for reason in stop.reasons[:_MAX_REASONS]]
        if len(stop.reasons) > _MAX_REASONS:
            reasons.append(("", f"and {len(stop.reasons) - _MAX_REASONS} more"))
        times = [stop.start_s, stop.end_s - stop.start_s]
        start = "".join(f"<td rowspan={len(reasons)}>{seconds(time_s)}</td>" for time_s in times)
        lines = [f"<td>{since}</td><td class=text>{reason}</td>" for since, reason in reasons]
        groups.append(f"<tbody class=stop><tr>{start}{'</tr><tr>'.join(lines)}</tr></tbody>")
    note = "<p class=note>Every drive begins under STOP, until each camera was heard.</p>" if stops[0].start_up else ""
    return f"{note}{with_head(('at', 'for', 'since', 'reason'), ''.join(groups))}{first_of(len(stops))}"


def _timeline_note(images: pl.DataFrame) -> str:
    note = (
        "<span class=mouse>Drag to zoom, double click to go back, point to read.</span><span class=touch>Tap a point to read "
        "it; the buttons above the plot zoom, move and go back.</span> Above 1, the dashed line, a frame is out of "
        "distribution; grey stretches are events."
    )
    counts = images["camera"].value_counts()["count"].to_list()
    most = figures.most_points(len(counts))
    if max(counts) > most:
        note += (
            f" Drawn are about {most} of up to {max(counts)} images a camera: of every slice of time the smallest "
            "and the largest score and one image of each alarm state. frames.csv has all of them."
        )
    if not images["score"].is_finite().any():
        note += " No image could be judged, so there is no score to draw."
    return f"<p class=note>{note}</p>"


def _gallery(worst: Sequence[WorstFrame]) -> str:
    if not worst:
        return "<p>No image could be judged, so none is the strangest.</p>"
    note = (
        "Right of each picture, where the detector found it strange: orange is the threshold, light yellow twice it; "
        "strange places are outlined. A picture may be strange as a whole, as in fog, and have no strange place."
        if any(frame.map is not None for frame in worst)
        else "This detector does not say where in a picture it finds something strange."
    )
    pictures = []
    for frame in worst:
        alarm = frame.alarm
        caption = html.escape(
            f"{frame.camera} at {frame.time_s:.2f} s: score {alarm.score:.2f} / threshold {alarm.threshold:.2f} = "
            f"{frame.ratio:.2f}, alarm {alarm.state.value}"
        )
        shown = {"camera picture": frame.picture, "anomaly map": frame.map}
        pair = [_picture(pixels, f"{name}, {caption}") for name, pixels in shown.items() if pixels is not None]
        pictures.append(f"<figure><div class=pair>{''.join(pair)}</div><figcaption>{caption}</figcaption></figure>")
    return f"<p class=note>{note}</p><div class=frames>{''.join(pictures)}</div>"


def _picture(picture: NDArray[np.uint8], label: str) -> str:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f"<img src='data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}' alt='{label}'>"


def _detection(clean: FrameScores, odd: FrameScores, ranking: Ranking | None, has_events: bool) -> str:
    if not len(clean.ratios) and not len(odd.ratios):
        return "<p>No image could be judged, so there are no scores.</p>"
    kinds = (("clean frames" if has_events else "frames"), clean), ("frames in events", odd)
    rows = [
        (f"{name} above the threshold", _with_interval(*share_above(frames), percent=True))
        for name, frames in kinds
        if len(frames.ratios)
    ]
    if ranking is not None:
        rows += [
            (name, _with_interval(value, interval and interval[1:], percent=name == FPR_AT_95TPR))
            for name, (value, interval) in ranking.figures.items()
        ]
    notes = [
        "Frames of a video are alike: 95 % intervals draw whole events, and whole blocks of 10 s of clean driving."
    ]
    few = [f"{frames.unit} ({frames.unit_count})" for _, frames in kinds if len(frames.ratios) and not frames.is_enough]
    if few:
        notes.append(f"Too few for an interval, which takes at least {MIN_UNITS}: {', '.join(few)}.")
    notes.append(
        "Without both clean frames and frames in events there is nothing to rank: no ROC, no precision and recall."
        if ranking is None
        else "Intervals know only such events as are in this recording; precision depends on how much of it they take up."
    )
    histogram = _plot(figures.score_histogram(clean, odd, has_events), "Histogram of score over threshold")
    part = f"{facts_table(rows)}<p class=note>{' '.join(notes)}</p>{histogram}"
    if ranking is None:
        return part
    at = float(clean.above.mean()), float(odd.above.mean())
    hits, alarms = int(odd.above.sum()), int(odd.above.sum() + clean.above.sum())
    roc = _plot(figures.roc_figure(ranking, at), "ROC curve")
    pr = _plot(figures.pr_figure(ranking, (at[1], hits / alarms) if alarms else None), "Precision and recall")
    return f"{part}<div class=halves>{roc}{pr}</div>"


def _with_interval(value: float, interval: tuple[float, float] | None, percent: bool) -> str:
    numbers = [f"{100 * number:.1f}\u00a0%" if percent else f"{number:.3f}" for number in (value, *(interval or ()))]
    return numbers[0] + (f", 95 % interval {numbers[1]} to {numbers[2]}" if interval else "")


def _faults(tables: ReplayTables) -> str:
    faults = tables.alarms.filter(pl.col("fault").is_not_null())
    if not len(faults):
        return "<p>None.</p>"
    by_fault = (
        faults.group_by("fault", maintain_order=True)
        .agg(pl.len(), pl.col("time_s").first(), pl.col("cause").first())
        .sort("len", descending=True, maintain_order=True)
    )
    rows = [
        [html.escape(fault), str(count), seconds(time_s), html.escape(tables.sentences([cause])[0])]
        for fault, count, time_s, cause in by_fault.iter_rows()
    ]
    table = list_table({"fault": "", "alarms": "", "first at": "", "first reason": "text"}, rows)
    silences = silences_of(tables.alarms)
    if not silences:
        return table
    reasons = tables.sentences([silence.cause for silence in silences])
    silent = [
        [html.escape(silence.camera), seconds(silence.start_s), seconds(silence.end_s), html.escape(reason)]
        for silence, reason in zip(silences, reasons, strict=True)
    ]
    table += "<p class=note>A silent camera raises its alarm ten times a second:</p>"
    return table + list_table({"silent camera": "name", "alarm from": "", "to": "", "last reason": "text"}, silent)


def _latency(images: pl.DataFrame) -> str:
    times = images["latency_ms"].filter(images["latency_ms"].is_finite()).to_numpy()
    if not len(times):
        return "<p>The network was never asked.</p>"
    percentiles = {f"p{level}": float(np.percentile(times, level)) for level in (50, 95, 99)}
    named = ", ".join(f"{name} {value:.1f} ms" for name, value in percentiles.items())
    named += f", longest {times.max():.1f} ms, of {len(times)} frames on this machine."
    histogram = _plot(figures.latency_histogram(times, percentiles), "Histogram of the network's time")
    return f"<p>{named} The 0.1 % longest share the last bar.</p>{histogram}"
