"""The layouts in ``config/`` for RViz, Foxglove, PlotJuggler and rqt_robot_monitor, read as those programs read them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import yaml


class Display(NamedTuple):
    """One display of RViz: its name, class without the package, topic, and whether it is switched on."""

    name: str
    kind: str
    topic: str
    is_on: bool


class Rviz(NamedTuple):
    """A configuration of RViz.

    Attributes:
        displays: from the top of the list.
        background: red, green, blue in 0 to 1.
        fixed_frame: name.
        focal_m: the point that the view turns around.
        distance_m: of the eye from it.
        size: width and height of the window, pixels.
    """

    displays: tuple[Display, ...]
    background: tuple[float, float, float]
    fixed_frame: str
    focal_m: tuple[float, float, float]
    distance_m: float
    size: tuple[int, int]


def read_rviz(path: Path) -> Rviz:
    """``monitor.rviz``."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    manager, window = content["Visualization Manager"], content["Window Geometry"]
    view, common = manager["Views"]["Current"], manager["Global Options"]
    red, green, blue = (int(part) / 255 for part in common["Background Color"].split(";"))
    displays = tuple(
        Display(one["Name"], one["Class"].rsplit("/", 1)[1], one["Topic"]["Value"], one["Enabled"])
        for one in manager["Displays"]
    )
    focal = tuple(float(view["Focal Point"][axis]) for axis in "XYZ")
    size = (int(window["Width"]), int(window["Height"]))
    return Rviz(displays, (red, green, blue), common["Fixed Frame"], focal, float(view["Distance"]), size)


def with_camera(layout: Rviz, camera: str) -> Rviz:
    """The configuration after its picture displays were copied for one more camera, as its first line says."""
    copies = [
        one._replace(name=one.name.replace("front", camera), topic=one.topic.replace("/front/", f"/{camera}/"))
        for one in layout.displays
        if one.kind == "Image"
    ]
    return layout._replace(displays=(*layout.displays, *copies))


class Panel(NamedTuple):
    """One panel of Foxglove, its place as parts of the window (left, top, width, height), and its configuration."""

    kind: str
    place: tuple[float, float, float, float]
    config: Mapping[str, Any]


def read_foxglove(path: Path) -> list[Panel]:
    """``foxglove_layout.json``, its tree of splits taken apart."""
    content = json.loads(path.read_text(encoding="utf-8"))

    def parts(node: Any, left: float, top: float, width: float, height: float) -> list[Panel]:
        if isinstance(node, str):
            return [Panel(node.split("!")[0], (left, top, width, height), content["configById"][node])]
        share = node["splitPercentage"] / 100
        if node["direction"] == "row":
            first, second = (left, top, width * share, height), (left + width * share, top, width * (1 - share), height)
        else:
            first, second = (
                (left, top, width, height * share),
                (left, top + height * share, width, height * (1 - share)),
            )
        return parts(node["first"], *first) + parts(node["second"], *second)

    return parts(content["layout"], 0.0, 0.0, 1.0, 1.0)


def foxglove_topic(path: str) -> str:
    """The topic of a message path."""
    return re.split(r"[.\[{]", path, maxsplit=1)[0]


def foxglove_values(path: str, message: Any) -> list[Any]:
    """What a message path finds in a message of its topic.

    Raises:
        ValueError: a step that this reader does not know.
    """
    found, rest = [message], path[len(foxglove_topic(path)) :]
    while rest:
        if step := re.match(r"\.(\w+)", rest):
            found = [getattr(one, step[1]) for one in found]
        elif step := re.match(r"\[:\]", rest):
            found = [item for one in found for item in one]
        elif step := re.match(r'\{(\w+)=="([^"]*)"\}', rest):
            found = [one for one in found if getattr(one, step[1]) == step[2]]
        else:
            raise ValueError(f"{path}: {rest!r} is no step of a message path that is known here.")
        rest = rest[step.end() :]
    return found


class Curve(NamedTuple):
    """One curve of PlotJuggler: series name and colour."""

    name: str
    colour: str


class Graph(NamedTuple):
    """One plot of PlotJuggler: title, curves, share of the height, whether drawn in steps, least and largest y."""

    title: str
    curves: tuple[Curve, ...]
    share: float
    is_steps: bool
    limits: tuple[float, float] | None


class PlotJuggler(NamedTuple):
    """A layout of PlotJuggler: name of its tab, plots from the top, topics to subscribe to."""

    tab: str
    graphs: tuple[Graph, ...]
    topics: tuple[str, ...]


def read_plotjuggler(path: Path) -> PlotJuggler:
    """``plotjuggler_layout.xml``, whose plots stand above one another."""
    root = ElementTree.parse(path).getroot()
    tab, splitter, topics = root.find(".//Tab"), root.find(".//DockSplitter"), root.find(".//selected_topics")
    if tab is None or splitter is None or topics is None:
        raise ValueError(f"{path} has no tab, no splitter or no topics.")
    graphs = []
    for area, share in zip(splitter, splitter.get("sizes", "").split(";"), strict=True):
        plot = area.find("plot")
        limit = area.find(".//limitY")
        if plot is None or limit is None:
            raise ValueError(f"{path}: an area of the splitter has no plot.")
        low, high = limit.get("min"), limit.get("max")
        curves = tuple(Curve(one.get("name", ""), one.get("color", "")) for one in plot.iter("curve"))
        limits = (float(low), float(high)) if low is not None and high is not None else None
        graphs.append(Graph(area.get("name", ""), curves, float(share), "Steps" in plot.get("style", ""), limits))
    names = tuple(one.get("name", "") for one in topics)
    return PlotJuggler(tab.get("tab_name", ""), tuple(graphs), names)


def plotjuggler_series(topic: str, message: Any) -> dict[str, float]:
    """Series that PlotJuggler makes of a message: of ``data``, and of the values of a DiagnosticArray that are numbers."""
    if hasattr(message, "data"):
        return {f"{topic}/data": float(message.data)}
    found = {}
    for one in message.status:
        for pair in one.values:
            try:
                found[f"{topic}/{one.hardware_id}/{one.name}/{pair.key}"] = float(pair.value)
            except ValueError:
                continue
    return found


class Aggregator(NamedTuple):
    """Groups of the diagnostic aggregator: the path above them, and of each the prefixes of its statuses."""

    path: str
    groups: Mapping[str, Sequence[str]]


def read_aggregator(path: Path) -> Aggregator:
    """``diagnostic_aggregator.yaml``, whose analyzers are all generic ones."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))["analyzers"]["ros__parameters"]
    groups = {one["path"]: one["startswith"] for one in content.values() if isinstance(one, dict)}
    return Aggregator(content["path"], groups)
