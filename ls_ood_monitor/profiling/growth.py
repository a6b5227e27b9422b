"""Measures how the cost of the monitor grows with cameras, resolution, masks and latent channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError
from ..vision.deeplabv3p import NetworkSettings
from .frame_cost import PASS, EngineChoice, frame_work
from .random_network import RandomNetwork
from .timing import Timing, interleaved, ratio

#: The axes: pictures at once, height of the input with its width, masks, and backbones with their latent channels.
CAMERAS = (1, 2, 4, 8)
HEIGHTS = {242: 320, 483: 640, 966: 1280}
MASKS = (16, 64, 256)
BACKBONES = {"resnet18": 512, "resnet101": 2048}


@dataclass(frozen=True)
class Point:
    """One setting on one axis."""

    axis: str
    value: int
    backbone: str
    height: int
    masks: int
    cameras: int


def points(backbone: str, height: int, masks: int) -> list[Point]:
    """Return the points of all axes. The axes cross in one point."""
    middle = Point("cameras", 1, backbone, height, masks, 1)
    return [
        *(replace(middle, value=count, cameras=count) for count in CAMERAS),
        *(replace(middle, axis="height", value=value, height=value) for value in HEIGHTS),
        *(replace(middle, axis="masks", value=value, masks=value) for value in MASKS),
        *(replace(middle, axis="latent width", value=width, backbone=name) for name, width in BACKBONES.items()),
    ]


def measure_growth(
    chosen: list[Point], engine: EngineChoice, device: torch.device, repeats: int, done: Callable[[int], None]
) -> Iterator[dict[str, Any]]:
    """Yield a row per point: the point, the times of the pass and of the frame monitored by ``larem``, and their ratio.

    Raises ``ConfigError`` if the engine cannot run here.
    """
    for number, point in enumerate(chosen):
        settings = NetworkSettings(backbone=point.backbone, dropblock_size=8, dropblock_prob=0.5)
        subject = RandomNetwork(settings, HEIGHTS[point.height], point.height, point.masks, device)
        work, missing = frame_work(subject, [engine], point.cameras, {"larem": ("larem",)})
        if missing:
            raise ConfigError(next(iter(missing.values())))
        plain, monitored = f"{engine}, {PASS}", f"{engine}, larem"
        times = interleaved({name: work[name] for name in (plain, monitored)}, repeats)
        yield {
            **vars(point),
            "pass_ms": vars(Timing.of(times[plain])),
            "monitored_ms": vars(Timing.of(times[monitored])),
            "ratio": vars(ratio(times, monitored, plain)),
        }
        done(number + 1)


def draw_growth(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw one panel per axis: milliseconds of the pass and of the monitored frame, with their ratio."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    axes = list(dict.fromkeys(row["axis"] for row in rows))
    figure, panels = plt.subplots(1, len(axes), figsize=(3.4 * len(axes), 3.2), squeeze=False)
    for panel, axis in zip(panels[0], axes, strict=True):
        own = sorted((row for row in rows if row["axis"] == axis), key=lambda row: row["value"])
        values = [row["value"] for row in own]
        for key, label, style in (("pass_ms", "pass", "o-"), ("monitored_ms", "monitored", "x--")):
            panel.plot(values, [row[key]["median_ms"] for row in own], style, label=label)
        for row in own:
            text, at = f"x{row['ratio']['median_ms']:.3f}", (row["value"], row["monitored_ms"]["median_ms"])
            panel.annotate(text, at, (0, 8), textcoords="offset points", ha="center")
        panel.set_xscale("log", base=2)
        panel.set_xticks(values, [str(value) for value in values])
        panel.set_xlabel(axis)
        panel.margins(x=0.2)
        # From zero: otherwise one per cent looks like a doubling.
        panel.set_ylim(0.0, 1.2 * max(row["monitored_ms"]["median_ms"] for row in own))
    panels[0][0].set_ylabel("ms a frame (all cameras)")
    panels[0][0].legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
