"""What bringing a picture to the network's size costs, and what the way of it does to pixels and scores.

    python benchmarks/resizing.py --json resizing.json

Three ways in turns, by one thread, on pictures of the procedural (synthetic) street: OpenCV's means of areas at once
(``INTER_AREA``), the same means by ``vision/area_means.py``, and ``resize_image``, which halves large pictures first. Then
the detectors of the embedded bundle judge what each way makes of clean and foggy pictures: the largest move of a score from
that of OpenCV's way, as a share of its threshold, and how many scores change sides of theirs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from command_line import count, exit_code
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.console import progress_bar, require_file_place, write_json
from ls_ood_monitor.cli.profile import parse_size
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.machine import describe_machine
from ls_ood_monitor.monitor import OodMonitor
from ls_ood_monitor.profiling.timing import Timing, interleaved, ratio
from ls_ood_monitor.street import StreetDrive
from ls_ood_monitor.vision.area_means import area_means
from ls_ood_monitor.vision.preprocess import PreprocessSpec, resize_image

Picture = NDArray[np.uint8]
Way = Callable[[Picture], Picture]

SIZES = "640x480,640x483,960x540,1280x720,1280x966,1920x1080,2560x1932"
#: Drives that neither trained nor calibrated the embedded bundle.
FIRST_DRIVE = 7000
AT_ONCE = "OpenCV at once"


def ways_to(spec: PreprocessSpec) -> dict[str, Way]:
    """The three ways, by name."""
    size = (spec.width, spec.height)
    return {
        AT_ONCE: lambda image: np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8),
        "area_means at once": lambda image: area_means(image, *size),
        "resize_image": lambda image: resize_image(image, spec),
    }


def scores_of(monitor: OodMonitor, image: Picture) -> dict[str, float]:
    """Each detector's score in multiples of its threshold."""
    scores = monitor.begin([Frame(image, 0, "front")], decode=False).verdicts[0].scores
    return {name: score / monitor.thresholds[name].value for name, score in scores.items()}


def compare(monitor: OodMonitor, pictures: list[Picture], repeats: int) -> dict[str, dict[str, Any]]:
    """Figures of each way, by name."""
    ways = ways_to(monitor.frame_pass.preprocess_spec)
    times = interleaved({name: partial(way, pictures[0]) for name, way in ways.items()}, repeats)
    small = {name: np.stack([way(picture) for picture in pictures]) for name, way in ways.items()}
    scores = {name: [scores_of(monitor, one) for one in shown] for name, shown in small.items()}
    figures: dict[str, dict[str, Any]] = {}
    for name in ways:
        levels = np.abs(small[name].astype(int) - small[AT_ONCE])
        pairs = [
            (score, base[detector])
            for found, base in zip(scores[name], scores[AT_ONCE], strict=True)
            for detector, score in found.items()
        ]
        figures[name] = {
            "ms": vars(Timing.of(times[name])),
            "of_opencv": vars(ratio(times, name, AT_ONCE)),
            "levels_that_differ": float((levels != 0).mean()),
            "largest_difference": int(levels.max()),
            "scores": len(pairs),
            "score_moves_at_most": max(abs(score - base) for score, base in pairs),
            "scores_that_change_sides": sum((score > 1.0) != (base > 1.0) for score, base in pairs),
        }
    return figures


def table_of(told: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    """A row for each way of each size."""
    head = (
        "camera",
        "way",
        "ms",
        "of OpenCV's",
        "levels that differ (most)",
        "largest move of a score",
        "change sides",
    )
    table = Table(*head, title="To the network's size")
    for size, figures in told.items():
        for name, one in figures.items():
            times = one["of_opencv"]
            table.add_row(
                size if name == AT_ONCE else "",
                name,
                f"{one['ms']['median_ms']:.2f}",
                f"{times['median_ms']:.2f} ({times['low_ms']:.2f} to {times['high_ms']:.2f})",
                f"{one['levels_that_differ']:.3%} ({one['largest_difference']})",
                f"{one['score_moves_at_most']:.2%} of the threshold",
                f"{one['scores_that_change_sides']} of {one['scores']}",
            )
        table.add_section()
    return table


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES, help="of the camera, WIDTHxHEIGHT,... (default %(default)s)")
    parser.add_argument("--repeats", type=count, default=60, help="turns of each way (default %(default)s)")
    parser.add_argument(
        "--pictures", type=count, default=12, help="of as many drives, each clean and in fog (default %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    require_file_place("--json", args.json)
    sizes = {size: parse_size(size) for size in args.sizes.split(",")}
    cv2.setNumThreads(1)
    monitor = load_bundle(engine="eager")
    spec = monitor.frame_pass.preprocess_spec
    for size, (width, height) in sizes.items():
        if width < spec.width or height < spec.height:
            raise ConfigError(
                f"--sizes names {size}; the network's is {spec.width}x{spec.height}, and areas only shrink."
            )
    told: dict[str, dict[str, dict[str, Any]]] = {}
    for size, (width, height) in sizes.items():
        pictures: list[Picture] = []
        with progress_bar(f"rendering {size}", args.pictures) as update:
            for drive in range(args.pictures):
                clean = StreetDrive(FIRST_DRIVE + drive).render("front", 1.0, width, height)[0]
                pictures += [clean, apply_anomaly("fog", clean, 1, drive)]
                update(drive + 1)
        told[size] = compare(monitor, pictures, args.repeats)
    Console(width=150).print(table_of(told))
    write_json(args.json, {"machine": describe_machine(), "pictures": 2 * args.pictures, "sizes": told})


if __name__ == "__main__":
    sys.exit(exit_code(main))
