"""``report.html``: one file that opens in a browser without a network; plotly's script is in it.

Only standard figures, each over the recording's time or its scores; larger scores = more OoD.
"""

from __future__ import annotations

import base64
import html
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...core.types import AlarmState, FallbackMode
from ..events import Event
from ..timeline import ModeSample
from .replay import JudgedImage
from .worst_frames import WorstFrame

_STATE_COLOURS = {AlarmState.CLEAR: "#2e7d32", AlarmState.PENDING: "#f9a825", AlarmState.RAISED: "#c62828"}
_MODE_COLOURS = {FallbackMode.NOMINAL: "#2e7d32", FallbackMode.SLOW: "#f9a825", FallbackMode.STOP: "#c62828"}
_EVENT_COLOUR, _LINE = "#90a4ae", "#37474f"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 12px; max-width: 1240px;
  color: #1b1b1b; background: #fff }
h1 { font-size: 1.5em; margin: .3em 0 }
h2 { font-size: 1.15em; margin: 1.6em 0 .4em }
table { border-collapse: collapse; display: block; overflow-x: auto }
td, th { padding: 3px 14px 3px 0; text-align: left; vertical-align: top }
.good { color: #2e7d32; font-weight: 600 }
.bad { color: #c62828; font-weight: 600 }
.plain { color: #555 }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 10px }
figure { margin: 0 }
figure img { width: 100% }
figcaption { font-size: .85em; color: #555 }
code { overflow-wrap: anywhere }
"""


def write_report(
    path: Path,
    summary: Mapping[str, Any],
    images: Sequence[JudgedImage],
    decisions: Sequence[ModeSample],
    events: Sequence[Event],
    worst: Sequence[WorstFrame],
    command: str,
) -> None:
    """Write the report of one recording.

    Args:
        path: of the file.
        summary: as in ``summary.json``.
        images: all image messages, judged.
        decisions: the supervisor's, at least every change.
        events: ground truth.
        worst: the strangest frames.
        command: that made it.
    """
    parts = [
        f"<h1>{html.escape(str(summary['recording']))}</h1>",
        _verdict(summary),
        "<h2>Score, alarm and command over time</h2>",
        "<p class=plain>Drag to zoom, double click to go back. Score over threshold; above 1 is out of distribution.</p>",
        _plot(_timeline(images, decisions, events, float(summary["duration_s"])), first=True),
        "<h2>Events</h2>" + _events(summary) if summary["events"] else "",
        "<h2>Strangest frames</h2>" + _gallery(worst) if worst else "",
        "<h2>Scores</h2>" + _plot(_histogram(images, events)),
        *(["<h2>ROC</h2>" + _plot(_roc(images, events))] if summary["ood"]["auroc"] is not None else []),
        "<h2>The network's time for a frame</h2>" + _plot(_latency(images)),
        "<h2>Where this comes from</h2>" + _provenance(summary, command),
    ]
    page = (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width, "
        f"initial-scale=1'><title>{html.escape(str(summary['recording']))}</title><link rel=icon href='data:,'><style>{_STYLE}"
        f"</style></head><body>{''.join(parts)}</body></html>\n"
    )
    path.write_text(page, encoding="utf-8")


def _plot(figure: Any, first: bool = False) -> str:
    """The first plot brings the script for all."""
    options = {"responsive": True, "displaylogo": False}
    return str(figure.to_html(full_html=False, include_plotlyjs=first, config=options, default_width="100%"))


def _figure(height: int, **layout: Any) -> Any:
    import plotly.graph_objects as go

    return go.Figure(
        layout={"height": height, "margin": {"l": 55, "r": 15, "t": 25, "b": 45}, "template": "plotly_white", **layout}
    )


def _timeline(
    images: Sequence[JudgedImage], decisions: Sequence[ModeSample], events: Sequence[Event], duration_s: float
) -> Any:
    from plotly.subplots import make_subplots

    cameras = sorted({image.alarm.camera for image in images})
    rows = len(cameras) + 1
    figure = make_subplots(
        rows,
        1,
        shared_xaxes=True,
        vertical_spacing=0.04,
        row_heights=[*[1.0] * len(cameras), 0.3],
        subplot_titles=[*cameras, "command"],
    )
    for row, camera in enumerate(cameras, 1):
        own = [image for image in images if image.alarm.camera == camera]
        times = [round(image.time_s, 4) for image in own]
        ratios = [_ratio(image) for image in own]
        figure.add_scatter(
            x=times,
            y=ratios,
            mode="lines",
            line={"color": _LINE, "width": 1},
            hoverinfo="skip",
            showlegend=False,
            row=row,
            col=1,
        )
        for state, colour in _STATE_COLOURS.items():
            chosen = [index for index, image in enumerate(own) if image.alarm.state is state]
            figure.add_scatter(
                x=[times[index] for index in chosen],
                y=[ratios[index] for index in chosen],
                text=[html.escape(own[index].alarm.reason) for index in chosen],
                mode="markers",
                marker={"color": colour, "size": 6},
                name=state.value,
                legendgroup=state.value,
                showlegend=row == 1,
                hovertemplate="%{x:.2f} s, %{y:.2f}<br>%{text}<extra></extra>",
                row=row,
                col=1,
            )
        faults = [image for image in own if image.alarm.is_fault]
        if faults:
            figure.add_scatter(
                x=[image.time_s for image in faults],
                y=[0.0] * len(faults),
                text=[html.escape(image.alarm.reason) for image in faults],
                mode="markers",
                marker={"symbol": "x", "color": _STATE_COLOURS[AlarmState.RAISED], "size": 7},
                name="not judged",
                legendgroup="not judged",
                showlegend=row == 1,
                hovertemplate="%{x:.2f} s<br>%{text}<extra></extra>",
                row=row,
                col=1,
            )
        figure.add_hline(
            y=1.0, line={"color": _STATE_COLOURS[AlarmState.RAISED], "dash": "dash", "width": 1}, row=row, col=1
        )
        for event in events:
            if event.camera == camera:
                figure.add_vrect(
                    x0=event.start_s,
                    x1=min(event.end_s, duration_s),
                    fillcolor=_EVENT_COLOUR,
                    opacity=0.3,
                    line_width=0,
                    annotation_text=html.escape(event.label),
                    annotation_position="top left",
                    row=row,
                    col=1,
                )
    for mode, colour in _MODE_COLOURS.items():
        spans = [span for span in _spans(decisions, duration_s) if span[2].mode is mode]
        figure.add_bar(
            x=[end - begin for begin, end, _ in spans],
            base=[begin for begin, _, _ in spans],
            y=["command"] * len(spans),
            text=[html.escape(said.reason) for _, _, said in spans],
            textposition="none",
            orientation="h",
            marker={"color": colour},
            name=mode.name,
            hovertemplate="from %{base:.2f} s<br>%{text}<extra>" + mode.name + "</extra>",
            row=rows,
            col=1,
        )
    figure.update_layout(
        height=170 * len(cameras) + 150,
        template="plotly_white",
        margin={"l": 55, "r": 15, "t": 30, "b": 45},
        legend={"orientation": "h", "y": -0.12},
        barmode="overlay",
        hovermode="closest",
    )
    figure.update_yaxes(visible=False, row=rows, col=1)
    figure.update_xaxes(range=[0.0, duration_s], title_text="time in the recording, s", row=rows, col=1)
    return figure


def _ratio(image: JudgedImage) -> float | None:
    """For plotly, which takes None for a gap."""
    return round(image.ratio, 4) if np.isfinite(image.ratio) else None


def _spans(decisions: Sequence[ModeSample], duration_s: float) -> list[tuple[float, float, ModeSample]]:
    """Stretches of one command; its first reason stands for it."""
    changes = [one for index, one in enumerate(decisions) if index == 0 or decisions[index - 1].mode is not one.mode]
    ends = [*(one.time_s for one in changes[1:]), duration_s]
    return [(one.time_s, end, one) for one, end in zip(changes, ends, strict=True) if end > one.time_s]


def _split(images: Sequence[JudgedImage], events: Sequence[Event]) -> tuple[list[float], list[float]]:
    """Scores over threshold of frames outside and inside the events of their camera."""
    inside: list[float] = []
    outside: list[float] = []
    for image in images:
        ratio = _ratio(image)
        if ratio is None:
            continue
        odd = any(
            event.camera == image.alarm.camera and event.start_s <= image.time_s < event.end_s for event in events
        )
        (inside if odd else outside).append(ratio)
    return outside, inside


def _histogram(images: Sequence[JudgedImage], events: Sequence[Event]) -> Any:
    outside, inside = _split(images, events)
    figure = _figure(
        280,
        xaxis_title="score / threshold",
        yaxis_title="frames",
        barmode="overlay",
        legend={"orientation": "h", "y": 1.1},
    )
    figure.add_histogram(
        x=outside,
        name="outside events" if events else "all frames",
        marker={"color": _STATE_COLOURS[AlarmState.CLEAR]},
        opacity=0.65,
        nbinsx=60,
    )
    if inside:
        figure.add_histogram(
            x=inside, name="in events", marker={"color": _STATE_COLOURS[AlarmState.RAISED]}, opacity=0.65, nbinsx=60
        )
    figure.add_vline(x=1.0, line={"color": _LINE, "dash": "dash", "width": 1})
    return figure


def _roc(images: Sequence[JudgedImage], events: Sequence[Event]) -> Any:
    from sklearn.metrics import roc_curve

    outside, inside = _split(images, events)
    false, true, _ = roc_curve([0] * len(outside) + [1] * len(inside), outside + inside)
    figure = _figure(
        320, xaxis_title="share of frames outside events above a threshold", yaxis_title="share of frames in events"
    )
    figure.add_scatter(x=false, y=true, mode="lines", line={"color": _LINE, "shape": "hv"}, showlegend=False)
    at = [[float(np.mean(np.array(values) > 1.0))] for values in (outside, inside)]
    figure.add_scatter(
        x=at[0],
        y=at[1],
        mode="markers",
        marker={"size": 11, "color": _STATE_COLOURS[AlarmState.RAISED]},
        name="at the calibrated threshold",
    )
    figure.update_layout(legend={"orientation": "h", "y": 1.12})
    return figure


def _latency(images: Sequence[JudgedImage]) -> Any:
    figure = _figure(240, xaxis_title="ms", yaxis_title="frames")
    figure.add_histogram(
        x=[round(image.latency_ms, 2) for image in images if np.isfinite(image.latency_ms)],
        marker={"color": _LINE},
        nbinsx=60,
        showlegend=False,
    )
    return figure


def _verdict(summary: Mapping[str, Any]) -> str:
    alarms, decision, gate = summary["alarms"], summary["decision"], summary["gate"]
    rows = []
    if gate["passed"] is not None:
        rows.append(("gate", "<span class=good>PASSED</span>" if gate["passed"] else "<span class=bad>BROKEN</span>"))
    rows += [(rule["name"], _kept(rule)) for rule in gate["rules"]]
    truth = "events" if summary["truth"] == "events" else "none given: every alarm counts as false"
    rows += [
        (
            "recording",
            f"{summary['frames']} images of {html.escape(', '.join(summary['cameras']))}, {summary['duration_s']:.1f} s",
        ),
        ("ground truth", truth),
        ("events detected", f"{alarms['detected']} of {alarms['events']}" if alarms["events"] else "-"),
        ("longest time to STOP", _seconds(decision["time_to_stop_s"])),
        ("longest time to resume", _seconds(decision["time_to_resume_s"])),
        ("false alarms" if summary["truth"] == "events" else "alarms", _rate(alarms)),
        ("STOP in clean driving", f"{decision['false_stop_s']:.2f} s of {decision['clean_s']:.1f} s"),
        ("AUROC", "-" if summary["ood"]["auroc"] is None else f"{summary['ood']['auroc']:.3f}"),
        (
            "images not judged",
            html.escape(", ".join(f"{name} {count}" for name, count in summary["faults"].items())) or "none",
        ),
    ]
    if summary["truncated"]:
        rows.append(("damage", f"<span class=bad>{html.escape(summary['truncated'])}</span>"))
    return _table(rows)


def _kept(rule: Mapping[str, Any]) -> str:
    word = "<span class=good>kept</span>" if rule["passed"] else "<span class=bad>broken</span>"
    return f"{word} {html.escape(rule['sentence'])}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _rate(alarms: Mapping[str, Any]) -> str:
    rate = alarms["false_per_hour"]
    if rate is None:
        return "-"
    return f"{alarms['false']}: {rate['per_hour']:.1f} an hour, 95 % interval {rate['low']:.1f} to {rate['high']:.1f}"


def _events(summary: Mapping[str, Any]) -> str:
    head = "<tr><th>event</th><th>camera</th><th>from</th><th>to</th><th>alarm after</th><th>STOP after</th></tr>"
    rows = "".join(
        f"<tr><td>{html.escape(one['label'])}</td><td>{html.escape(one['camera'])}</td><td>{one['start_s']:g} s</td>"
        f"<td>{one['end_s']:g} s</td><td>{_seconds(one['alarm_delay_s'])}</td><td>{_seconds(one['stop_delay_s'])}</td></tr>"
        for one in summary["events"]
    )
    return f"<table>{head}{rows}</table>"


def _gallery(worst: Sequence[WorstFrame]) -> str:
    figures = []
    for frame in worst:
        _, data = cv2.imencode(".jpg", frame.picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
        source = "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
        caption = f"{html.escape(frame.camera)} at {frame.time_s:.2f} s: {frame.ratio:.2f} times the threshold"
        figures.append(f"<figure><img src='{source}' alt='{caption}'><figcaption>{caption}</figcaption></figure>")
    return f"<div class=frames>{''.join(figures)}</div>"


def _provenance(summary: Mapping[str, Any], command: str) -> str:
    import torch

    from ... import __version__

    return _table(
        [
            ("bundle", f"<code>{summary['bundle']['sha256']}</code>"),
            ("detector", f"{html.escape(summary['detector'])}, threshold {summary['threshold']:.4g}"),
            ("package", f"ls_ood_monitor {__version__}, Python {platform.python_version()}, torch {torch.__version__}"),
            ("machine", html.escape(f"{platform.system()} {platform.machine()}")),
            ("made by", f"<code>{html.escape(command)}</code>"),
        ]
    )


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return (
        "<table>"
        + "".join(f"<tr><th>{html.escape(name)}</th><td>{value}</td></tr>" for name, value in rows)
        + "</table>"
    )
