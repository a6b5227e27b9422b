"""Draws what a layout shows of the messages that were heard: panels in their places, curves, states, texts.

A drawing, not the program: colours and arrangement follow it, its own looks are not imitated. Every picture says so.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from math import isfinite, radians, tan
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from layouts import (
    Graph,
    Panel,
    foxglove_topic,
    foxglove_values,
    plotjuggler_series,
    read_aggregator,
    read_foxglove,
    read_plotjuggler,
    read_rviz,
    with_camera,
)
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from ls_ood_monitor.vision.image_codec import decode_image

#: By topic: seconds from now, negative, and the message; oldest first.
Heard = Mapping[str, Sequence[tuple[float, Any]]]

_DPI = 100
_WIDTH = 1100
_CAPTION = 24
_INK, _FAINT, _LINE, _PAPER, _BAR = "#263238", "#607d8b", "#cfd8dc", "#ffffff", "#eceff1"
_OK, _WARN, _ERROR, _STALE = "#2e7d32", "#ef6c00", "#c62828", "#78909c"
_LEVELS = {0: _OK, 1: _WARN, 2: _ERROR, 3: _STALE}
_WORDS = {0: "OK", 1: "WARN", 2: "ERROR", 3: "STALE"}
_STATES = {
    "CLEAR": _OK, "NOMINAL": _OK, "False": _OK, "PENDING": _WARN, "SLOW": _WARN, "RAISED": _ERROR, "STOP": _ERROR,
    "True": _ERROR, "": "#b0bec5",
}  # fmt: skip


class Sheet:
    """A picture in pixels, the origin at the top left, with a caption below that says what it is.

    Args:
        height: without the caption.
        caption: sentence.
    """

    def __init__(self, height: int, caption: str) -> None:
        self.height = height
        whole = height + _CAPTION
        self.figure = Figure(figsize=(_WIDTH / _DPI, whole / _DPI), dpi=_DPI, facecolor=_PAPER)
        FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, _WIDTH)
        self.axes.set_ylim(whole, 0)
        self.axes.axis("off")
        self.box(0, height, _WIDTH, _CAPTION, "#fff8e1", edge="#ffe082")
        self.text(8, height + _CAPTION / 2, caption, size=10.5, colour="#5d4037")

    def box(self, left: float, top: float, width: float, height: float, face: str, edge: str | None = _LINE) -> None:
        """A filled rectangle."""
        self.axes.add_patch(
            Rectangle((left, top), width, height, facecolor=face, edgecolor=edge or face, linewidth=0.8)
        )

    def dot(self, x: float, y: float, colour: str, radius: float = 5.0) -> None:
        """A filled circle."""
        self.axes.add_patch(Circle((x, y), radius, facecolor=colour, edgecolor="none"))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 11.0,
        colour: str = _INK,
        width: float | None = None,
        weight: str = "normal",
        align: str = "left",
    ) -> None:
        """One line, its middle at y and of so many pixels; cut off at ``width``."""
        if width is not None:
            most = max(3, int(width / (size * 0.56)))
            text = text if len(text) <= most else f"{text[: most - 1]}…"
        self.axes.text(
            x, y, text, fontsize=size * 72 / _DPI, color=colour, ha=align, va="center", fontweight=weight,
            parse_math=False,
        )  # fmt: skip

    def picture(self, image: np.ndarray, left: float, top: float, width: float, height: float) -> None:
        """An RGB picture, as large as it fits."""
        scale = min(width / image.shape[1], height / image.shape[0])
        wide, high = image.shape[1] * scale, image.shape[0] * scale
        x, y = left + (width - wide) / 2, top + (height - high) / 2
        self.axes.imshow(
            image, extent=(x, x + wide, y + high, y), interpolation="antialiased", aspect="auto", zorder=1.5
        )

    def plot(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes at a place."""
        whole = self.height + _CAPTION
        place = (left / _WIDTH, 1 - (top + height) / whole, width / _WIDTH, height / whole)
        axes = self.figure.add_axes(place)
        axes.tick_params(labelsize=7.5, colors=_FAINT, length=2.5)
        axes.grid(color="#eceff1", linewidth=0.8)
        for spine in axes.spines.values():
            spine.set_color(_LINE)
        return axes

    def save(self, path: Path) -> Path:
        """Write it; the kind is told by the name's end."""
        options = {"pil_kwargs": {"quality": 82, "optimize": True}} if path.suffix == ".jpg" else {}
        self.figure.savefig(path, dpi=_DPI, **options)
        return path


def draw_all(heard: Heard, config: Path, out: Path) -> list[Path]:
    """All four pictures into a folder; returns their paths."""
    with mpl.rc_context({"font.family": "DejaVu Sans"}):
        return [
            draw_rviz(heard, config / "monitor.rviz").save(out / "view_rviz.jpg"),
            draw_foxglove(heard, config / "foxglove_layout.json").save(out / "view_foxglove.jpg"),
            draw_plotjuggler(heard, config / "plotjuggler_layout.xml").save(out / "view_plotjuggler.png"),
            draw_robot_monitor(heard, config / "examples" / "diagnostic_aggregator.yaml").save(
                out / "view_robot_monitor.png"
            ),
        ]


def _caption(file: str, program: str) -> str:
    return (
        f"Our own rendering of {file} from what the nodes published, not a screenshot of {program}. Synthetic street."
    )


def _rgb(message: Any) -> np.ndarray:
    picture = decode_image(message)
    return np.ascontiguousarray(picture[..., ::-1])


def _newest(heard: Heard, topic: str) -> Any:
    return heard[topic][-1][1]


# RViz


def draw_rviz(heard: Heard, path: Path) -> Sheet:
    """The pictures of each camera in a column, the texts in the view that RViz opens with, the list of displays below it."""
    layout = with_camera(read_rviz(path), "left")
    bar, line, time_bar, wide = 22, 19, 30, 270
    pictures = [one for one in layout.displays if one.kind == "Image" and one.is_on]
    columns = [[one for one in pictures if f"/{camera}/" in one.topic] for camera in ("front", "left")]
    room = bar + 0.76 * wide
    left, high = wide * len(columns), room * max(map(len, columns))
    sheet = Sheet(
        round(high) + time_bar, _caption("config/monitor.rviz, its pictures copied for a second camera,", "RViz")
    )
    for column, displays in enumerate(columns):
        for row, one in enumerate(displays):
            x, y = column * wide, row * room
            _title(sheet, x, y, wide, bar, one.name)
            sheet.box(x, y + bar, wide, room - bar, "#303030")
            sheet.picture(_rgb(_newest(heard, one.topic)), x + 2, y + bar + 2, wide - 4, room - bar - 4)
    listed = bar + line * (len(layout.displays) + 1) + 8
    top = high - listed
    sheet.box(left, 0, _WIDTH - left, top, mpl.colors.to_hex(layout.background))
    # The eye looks level at the focal point, with RViz's angle of view of 45 degrees.
    pixels_per_m = top / (2 * layout.distance_m * tan(radians(22.5)))
    for topic in (one.topic for one in layout.displays if one.kind == "MarkerArray" and one.is_on):
        for marker in _newest(heard, topic).markers:
            y = top / 2 - (marker.pose.position.z - layout.focal_m[2]) * pixels_per_m
            letter = marker.scale.z * pixels_per_m
            colour = mpl.colors.to_hex((marker.color.r, marker.color.g, marker.color.b))
            rows = marker.text.split("\n")
            for row, words in enumerate(rows):
                row_y = y + (row - (len(rows) - 1) / 2) * letter * 1.5
                sheet.text((left + _WIDTH) / 2, row_y, words, size=letter / 0.73, colour=colour, align="center")
    _title(sheet, left, top, _WIDTH - left, bar, "Displays")
    sheet.box(left, top + bar, _WIDTH - left, listed - bar, _PAPER)
    sheet.text(left + 10, top + bar + 14, f"Fixed Frame   {layout.fixed_frame}", colour=_FAINT)
    for place, one in enumerate(layout.displays):
        y = top + bar + 14 + line * (place + 1)
        sheet.box(left + 12, y - 6, 12, 12, _PAPER, _FAINT)
        if one.is_on:
            sheet.text(left + 18, y, "✓", size=12, weight="bold", align="center")
        sheet.text(left + 32, y, one.name, weight="bold", colour="#1565c0" if one.is_on else _FAINT)
        sheet.text(_WIDTH - 10, y, one.topic, colour=_FAINT, align="right")
    sheet.box(0, high, _WIDTH, time_bar, _BAR)
    stamp = _newest(heard, "/diagnostics").header.stamp
    sheet.text(
        10, high + time_bar / 2, f"Time   ROS Time: {stamp.sec}.{stamp.nanosec // 10_000_000:02d}", colour=_FAINT
    )
    return sheet


def _title(sheet: Sheet, left: float, top: float, width: float, height: float, text: str) -> None:
    sheet.box(left, top, width, height, _BAR)
    sheet.text(left + 8, top + height / 2, text, size=11, width=width - 16)


# Foxglove


def draw_foxglove(heard: Heard, path: Path) -> Sheet:
    """Every panel in its place."""
    height = 640
    sheet = Sheet(height, _caption("config/foxglove_layout.json", "Foxglove"))
    draw = {
        "Image": _image_panel,
        "Plot": _plot_panel,
        "StateTransitions": _states_panel,
        "DiagnosticSummary": _summary_panel,
        "DiagnosticStatusPanel": _status_panel,
    }
    for panel in read_foxglove(path):
        left, top, width, high = (part * whole for part, whole in zip(panel.place, (_WIDTH, height) * 2, strict=True))
        sheet.box(left, top, width, high, _PAPER)
        _title(sheet, left, top, width, 24, panel.config["foxglovePanelTitle"])
        draw[panel.kind](sheet, heard, panel, left, top + 24, width, high - 24)
    return sheet


def _image_panel(sheet: Sheet, heard: Heard, panel: Panel, left: float, top: float, width: float, high: float) -> None:
    sheet.box(left, top, width, high, "#15151a")
    sheet.picture(_rgb(_newest(heard, panel.config["imageMode"]["imageTopic"])), left, top + 2, width, high - 4)


def _plot_panel(sheet: Sheet, heard: Heard, panel: Panel, left: float, top: float, width: float, high: float) -> None:
    axes = sheet.plot(left + 34, top + 10, width - 46, high - 46)
    for path in panel.config["paths"]:
        points = _points(heard, path["value"])
        values = [float(value) for _, value in points]
        label = f"{path['label']}  {values[-1]:.2f}"
        axes.plot([at for at, _ in points], values, color=path["color"], linewidth=1.3, label=label)
    axes.set_xlim(_begin(heard, panel.config["followingViewWidth"]), 0)
    axes.legend(loc="upper left", fontsize=8, frameon=True, edgecolor=_LINE)
    axes.set_xlabel("s", fontsize=7.5, color=_FAINT, labelpad=0)


def _points(heard: Heard, path: str) -> list[tuple[float, Any]]:
    return [(at, value) for at, message in heard[foxglove_topic(path)] for value in foxglove_values(path, message)]


def _begin(heard: Heard, width_s: float) -> float:
    """The window that is followed; one that is longer than what was heard begins with it."""
    return max(-width_s, min(entries[0][0] for entries in heard.values() if len(entries) > 1))


def _states_panel(sheet: Sheet, heard: Heard, panel: Panel, left: float, top: float, width: float, high: float) -> None:
    paths = panel.config["paths"]
    begin, room = _begin(heard, 60.0), (high - 8) / len(paths)
    x0, x1 = left + 84, left + width - 12

    def x_of(at: float) -> float:
        return x0 + (max(at, begin) - begin) / -begin * (x1 - x0)

    for place, path in enumerate(paths):
        y = top + 6 + place * room
        sheet.text(left + 8, y + room / 2, path["label"], size=10.5, colour=_FAINT, width=78)
        points = [(at, str(value)) for at, value in _points(heard, path["value"])]
        runs: list[tuple[float, str]] = []
        for at, value in points:
            if not runs or runs[-1][1] != value:
                runs.append((at, value))
        ends = [at for at, _ in runs[1:]] + [0.0]
        for (at, value), end in zip(runs, ends, strict=True):
            if end <= begin:
                continue
            wide = x_of(end) - x_of(at)
            colour = _STATES.get(value, _ERROR)
            sheet.box(x_of(at), y + 2, wide, room - 6, colour, _PAPER)
            words = {"True": "true", "False": "false"}.get(value, value)
            if wide > len(words) * 6.5 + 6:
                sheet.text(x_of(at) + 4, y + room / 2 - 1, words, size=10, colour=_PAPER)


def _statuses(heard: Heard, topic: str = "/diagnostics") -> list[Any]:
    """The newest status of each name."""
    newest = {one.name: one for _, message in heard[topic] for one in message.status}
    return list(newest.values())


def _summary_panel(
    sheet: Sheet, heard: Heard, panel: Panel, left: float, top: float, width: float, high: float
) -> None:
    found = [one for one in _statuses(heard, panel.config["topicToRender"]) if one.level[0] >= panel.config["minLevel"]]
    found.sort(key=lambda one: -one.level[0] if panel.config["sortByLevel"] else 0)
    y = top + 14
    for one in found:
        rows = _wrapped(one.message, width - 36, 9.5)
        if y + 4 + 13 * len(rows) > top + high:
            break
        colour = _LEVELS[one.level[0]]
        sheet.dot(left + 14, y, colour)
        sheet.text(left + 26, y, one.name, size=10.5, weight="bold", colour=colour, width=width - 34)
        for words in rows:
            y += 13
            sheet.text(left + 26, y, words, size=9.5, colour=_FAINT)
        y += 18


def _status_panel(sheet: Sheet, heard: Heard, panel: Panel, left: float, top: float, width: float, high: float) -> None:
    one = next(
        one for one in _statuses(heard, panel.config["topicToRender"]) if one.name == panel.config["selectedName"]
    )
    colour = _LEVELS[one.level[0]]
    sheet.text(
        left + 10, top + 16, f"{one.name} ({one.hardware_id})", size=10.5, weight="bold", colour=colour, width=width
    )
    y = top + 34
    for words in _wrapped(one.message, width - 20, 10):
        sheet.text(left + 10, y, words, size=10, colour=colour)
        y += 14
    for pair in one.values:
        rows = _wrapped(pair.value, width - 98, 10) or [""]
        if y + 5 + 14 * len(rows) > top + high:
            break
        sheet.box(left + 8, y, width - 16, 4 + 14 * len(rows), _PAPER, "#eceff1")
        sheet.text(left + 14, y + 9, pair.key, size=10, colour=_FAINT)
        for words in rows:
            sheet.text(left + 84, y + 9, words, size=10)
            y += 14
        y += 5


def _wrapped(text: str, width: float, size: float) -> list[str]:
    """Lines of at most so many pixels."""
    return textwrap.wrap(text, max(3, int(width / (size * 0.56))))


# PlotJuggler


def draw_plotjuggler(heard: Heard, path: Path) -> Sheet:
    """The list of series on the left, the plots of the tab on the right."""
    layout = read_plotjuggler(path)
    height, dock, bar = 640, 330, 24
    sheet = Sheet(height, _caption("config/plotjuggler_layout.xml", "PlotJuggler"))
    series = {
        topic: [(at, plotjuggler_series(topic, message)) for at, message in heard[topic]] for topic in layout.topics
    }
    names = sorted({name for entries in series.values() for _, found in entries for name in found})
    used = {curve.name: curve.colour for graph in layout.graphs for curve in graph.curves}
    sheet.box(0, 0, dock, height, _PAPER)
    _title(sheet, 0, 0, dock, bar, "Timeseries: ROS2 Topic Subscriber")
    y = bar + 14
    for name in sorted(used):
        sheet.box(8, y - 4, 8, 8, used[name], None)
        for words in textwrap.wrap(name, 50, break_on_hyphens=False):
            sheet.text(22, y, words, size=9.5)
            y += 13
        y += 5
    sheet.text(22, y + 4, f"and {len(set(names) - set(used))} more that are not plotted", size=9.5, colour=_FAINT)
    _title(sheet, dock, 0, _WIDTH - dock, bar, f"tab: {layout.tab}")
    whole, top = height - bar, float(bar)
    for graph in layout.graphs:
        _graph(sheet, series, graph, dock, top, whole * graph.share)
        top += whole * graph.share
    return sheet


def _graph(
    sheet: Sheet,
    series: Mapping[str, Sequence[tuple[float, Mapping[str, float]]]],
    graph: Graph,
    left: float,
    top: float,
    high: float,
) -> None:
    sheet.box(left, top, _WIDTH - left, high, _PAPER)
    sheet.text(left + 44, top + 12, graph.title, size=11, weight="bold")
    axes = sheet.plot(left + 44, top + 22, _WIDTH - left - 56, high - 42)
    begin = min(entries[0][0] for entries in series.values())
    for curve in graph.curves:
        entries = next(entries for entries in series.values() if any(curve.name in found for _, found in entries))
        points = [(at - begin, found[curve.name]) for at, found in entries if isfinite(found.get(curve.name, np.nan))]
        axes.plot(
            [at for at, _ in points],
            [value for _, value in points],
            color=curve.colour,
            linewidth=1.2,
            drawstyle="steps-pre" if graph.is_steps else "default",
            label=curve.name.rsplit("/", 1)[1] if not curve.name.endswith("/data") else curve.name.split("/")[-2],
        )
    if graph.limits is not None:
        axes.set_ylim(*graph.limits)
    axes.set_xlim(0, -begin)
    # Beside the title, where it covers no curve.
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.97), fontsize=7.5, frameon=False, ncol=3)


# rqt_robot_monitor


def draw_robot_monitor(heard: Heard, path: Path) -> Sheet:
    """Its three trees, of errors, warnings and everything, as the aggregator of that file groups the statuses."""
    layout = read_aggregator(path)
    groups = {
        name: [one for one in _statuses(heard) if one.name.startswith(tuple(prefixes))]
        for name, prefixes in layout.groups.items()
    }
    rows = 1 + sum(1 + len(entries) for entries in groups.values())
    found = [one for entries in groups.values() for one in entries]
    bad = {level: [one for one in found if one.level[0] == level] for level in (2, 1)}
    heights = [26 + 22 * max(1, len(bad[2])), 26 + 22 * max(1, len(bad[1])), 26 + 22 * rows]
    sheet = Sheet(sum(heights), _caption("config/examples/diagnostic_aggregator.yaml", "rqt_robot_monitor"))
    top = 0.0
    for title, level, high in (("Errors", 2, heights[0]), ("Warnings", 1, heights[1])):
        _columns(sheet, top, title)
        sheet.box(0, top + 24, _WIDTH, high - 24, _PAPER)
        for place, one in enumerate(bad[level]):
            group = next(name for name, entries in groups.items() if one in entries)
            _entry(sheet, top + 24 + 22 * place, 0, f"/{layout.path}/{group}/{one.name}", one.level[0], one.message)
        top += high
    _columns(sheet, top, "All devices")
    sheet.box(0, top + 24, _WIDTH, heights[2] - 24, _PAPER)
    worst = max((one.level[0] for one in found), default=0)
    _entry(sheet, top + 24, 0, layout.path, worst, _WORDS[worst])
    y = top + 46
    for name, entries in groups.items():
        level = max((one.level[0] for one in entries), default=3)
        _entry(sheet, y, 1, name, level, _WORDS[level])
        y += 22
        for one in entries:
            _entry(sheet, y, 2, one.name, one.level[0], one.message)
            y += 22
    return sheet


def _columns(sheet: Sheet, top: float, title: str) -> None:
    _title(sheet, 0, top, 430, 24, title)
    _title(sheet, 430, top, _WIDTH - 430, 24, "Message")


def _entry(sheet: Sheet, top: float, depth: int, name: str, level: int, message: str) -> None:
    x = 14 + 24 * depth
    sheet.dot(x, top + 11, _LEVELS[level], 6)
    sheet.text(x + 14, top + 11, name, size=11.5, width=416 - x)
    sheet.text(438, top + 11, message, size=11.5, width=_WIDTH - 444, colour=_LEVELS[level] if level else _INK)
