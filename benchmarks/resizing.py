"""Cost of bringing a picture to the network's size, and its effect on pixels and scores.

    python benchmarks/resizing.py --json resizing.json

Three methods take turns on one thread, on pictures of the procedural (synthetic) street: OpenCV's area means at once
(``INTER_AREA``), the same means by ``vision/area_means.py``, and ``resize_image``, which halves large pictures first. Then
the embedded bundle judges the result of each method on clean and foggy pictures. Reported are the largest change of a score
against OpenCV's method, as a share of its threshold, and how many scores cross their threshold.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from command_line import count, exit_code, make_parser, print_table, read_arguments
from numpy.typing import NDArray

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.console import progress_bar, write_json
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
Method = Callable[[Picture], Picture]

SIZES = "640x480,640x483,960x540,1280x720,1280x966,1920x1080,2560x1932"
#: Drives that neither trained nor calibrated the embedded bundle.
FIRST_DRIVE = 7000
OPENCV = "OpenCV at once"


def methods_to(spec: PreprocessSpec) -> dict[str, Method]:
    """The three methods, by name."""
    size = (spec.width, spec.height)
    return {
        OPENCV: lambda image: np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8),
        "area_means at once": lambda image: area_means(image, *size),
        "resize_image": lambda image: resize_image(image, spec),
    }


def scores_of(monitor: OodMonitor, image: Picture) -> NDArray[np.float64]:
    """Each detector's score in multiples of its threshold."""
    scores = monitor.begin([Frame(image, 0, "front")], decode=False).verdicts[0].scores
    return np.array([score / monitor.thresholds[name].value for name, score in scores.items()])


def compare(monitor: OodMonitor, pictures: list[Picture], repeats: int) -> dict[str, dict[str, Any]]:
    """Figures of each method, by name."""
    methods = methods_to(monitor.frame_pass.preprocess_spec)
    times = interleaved({name: partial(method, pictures[0]) for name, method in methods.items()}, repeats)
    small = {name: np.stack([method(picture) for picture in pictures]) for name, method in methods.items()}
    scores = {name: np.stack([scores_of(monitor, image) for image in images]) for name, images in small.items()}
    figures: dict[str, dict[str, Any]] = {}
    for name in methods:
        levels = np.abs(small[name].astype(int) - small[OPENCV])
        figures[name] = {
            "ms": vars(Timing.of(times[name])),
            "of_opencv": vars(ratio(times, name, OPENCV)),
            "levels_that_differ": float((levels != 0).mean()),
            "largest_difference": int(levels.max()),
            "scores": scores[name].size,
            "score_moves_at_most": float(np.abs(scores[name] - scores[OPENCV]).max()),
            "scores_that_change_sides": int(((scores[name] > 1.0) != (scores[OPENCV] > 1.0)).sum()),
        }
    return figures


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__, repeats=60)
    parser.add_argument("--sizes", default=SIZES, help="of the camera, WIDTHxHEIGHT,... (default %(default)s)")
    parser.add_argument(
        "--pictures", type=count, default=12, help="of as many drives, each clean and in fog (default %(default)s)"
    )
    args = read_arguments(parser)
    sizes = {size: parse_size(size) for size in args.sizes.split(",")}
    cv2.setNumThreads(1)
    monitor = load_bundle(engine="eager")
    spec = monitor.frame_pass.preprocess_spec
    for size, (width, height) in sizes.items():
        if width < spec.width or height < spec.height:
            raise ConfigError(
                f"--sizes names {size}; it must be at least the network's size, {spec.width}x{spec.height}."
            )
    report: dict[str, dict[str, dict[str, Any]]] = {}
    rows = []
    for size, (width, height) in sizes.items():
        pictures: list[Picture] = []
        with progress_bar(f"rendering {size}", args.pictures) as update:
            for drive in range(args.pictures):
                clean = StreetDrive(FIRST_DRIVE + drive).render("front", 1.0, width, height)[0]
                pictures += [clean, apply_anomaly("fog", clean, 1, drive)]
                update(drive + 1)
        report[size] = compare(monitor, pictures, args.repeats)
        for name, figures in report[size].items():
            times = figures["of_opencv"]
            row = (
                size,
                name,
                f"{figures['ms']['median_ms']:.2f}",
                f"{times['median_ms']:.2f} ({times['low_ms']:.2f} to {times['high_ms']:.2f})",
                f"{figures['levels_that_differ']:.3%} ({figures['largest_difference']})",
                f"{figures['score_moves_at_most']:.2%} of the threshold",
                f"{figures['scores_that_change_sides']} of {figures['scores']}",
            )
            rows.append(row)
    head = (
        "camera",
        "method",
        "ms",
        "of OpenCV's",
        "levels that differ (most)",
        "largest change of a score",
        "cross it",
    )
    print_table(head, rows, "To the network's size")
    write_json(args.json, {"machine": describe_machine(), "pictures": 2 * args.pictures, "sizes": report})


if __name__ == "__main__":
    sys.exit(exit_code(main))
