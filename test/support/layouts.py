"""The layouts in ``config/`` read as Foxglove and PlotJuggler read them."""

from __future__ import annotations

import re
from typing import Any


def foxglove_panels(node: Any) -> list[str]:
    """Panels of a layout's tree of splits.

    Raises:
        ValueError: a split without a direction or with an empty side.
    """
    if isinstance(node, str):
        return [node]
    if node["direction"] not in ("row", "column") or not 0 < node["splitPercentage"] < 100:
        raise ValueError(f"{node['direction']!r}, {node['splitPercentage']} % is no split of a row or a column.")
    return foxglove_panels(node["first"]) + foxglove_panels(node["second"])


def foxglove_topic(path: str) -> str:
    """The topic of a message path."""
    return re.split(r"[.\[{]", path, maxsplit=1)[0]


def foxglove_values(path: str, message: Any) -> list[Any]:
    """What a message path selects in a message of its topic.

    Raises:
        ValueError: a step other than a field, all items, or the items with a value.
    """
    values, rest = [message], path[len(foxglove_topic(path)) :]
    while rest:
        if step := re.match(r"\.(\w+)", rest):
            values = [getattr(value, step[1]) for value in values]
        elif step := re.match(r"\[:\]", rest):
            values = [item for value in values for item in value]
        elif step := re.match(r'\{(\w+)=="([^"]*)"\}', rest):
            values = [value for value in values if getattr(value, step[1]) == step[2]]
        else:
            raise ValueError(f"{path}: {rest!r} is no known step of a message path.")
        rest = rest[step.end() :]
    return values


def plotjuggler_series(topic: str, message: Any) -> dict[str, float]:
    """Series that PlotJuggler makes of a message: of ``data``, and of the numbers in a DiagnosticArray."""
    if hasattr(message, "data"):
        return {f"{topic}/data": float(message.data)}
    series = {}
    for status in message.status:
        for pair in status.values:
            try:
                series[f"{topic}/{status.hardware_id}/{status.name}/{pair.key}"] = float(pair.value)
            except ValueError:
                continue  # a text
    return series
