"""What judging cameras together saves: as many pictures one after the other, in pairs, in fours, all at once.

    python benchmarks/batches.py --networks street,mobilenet_v2,resnet101 --json batches.json

In turns, in one process, as multiples of one after the other; to the alarm, and with the segmentation. ``--pause-ms`` lets
the cores rest before each eight pictures. ``street`` is the embedded bundle's network at its own size.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from command_line import count, exit_code
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.console import progress_bar, require_file_place, write_json
from ls_ood_monitor.cli.profile import parse_size
from ls_ood_monitor.core.detectors import required_features
from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.frame_pass import FramePass
from ls_ood_monitor.machine import describe_machine
from ls_ood_monitor.profiling.random_network import RandomNetwork
from ls_ood_monitor.profiling.timing import Timing, interleaved, ratio
from ls_ood_monitor.vision.backbones import BACKBONES
from ls_ood_monitor.vision.deeplabv3p import NetworkSettings

Picture = NDArray[np.uint8]

CAMERAS = 8
SIZES = (1, 2, 4, 8)
ENGINES = ("onnx", "eager")
STREET = "street"
ENDS = {"to the alarm": False, "with the segmentation": True}


def passes_of(network: str, width: int, height: int) -> tuple[dict[str, FramePass], Picture]:
    """The pass of a network by each engine, and a picture of its size."""
    random = np.random.default_rng(0)
    if network == STREET:
        passes = {engine: load_bundle(engine=engine).frame_pass for engine in ENGINES}
        spec = passes[ENGINES[0]].preprocess_spec
        return passes, random.integers(0, 256, (spec.height, spec.width, 3), dtype=np.uint8)
    subject = RandomNetwork(NetworkSettings(backbone=network, dropblock_size=8, dropblock_prob=0.5), width, height)
    features = required_features(("spatial", "larem"))
    return {engine: subject.frame_pass(engine, "fp32", features) for engine in ENGINES}, subject.picture


def judge(frame_pass: FramePass, picture: Picture, size: int, decode: bool) -> None:
    """All cameras' pictures, so many at a time."""
    for _ in range(CAMERAS // size):
        run = frame_pass.begin([picture] * size, decode=decode)
        _ = run.features
        if decode:
            _ = run.class_ids


def measure(frame_pass: FramePass, picture: Picture, repeats: int, pause_s: float) -> dict[str, Any]:
    """Milliseconds of all cameras, and multiples of one after the other, by end and batch."""
    work = {
        f"{end}, {size}": partial(judge, frame_pass, picture, size, decode)
        for end, decode in ENDS.items()
        for size in SIZES
    }
    with progress_bar(frame_pass.engine.name, repeats + 1) as update:
        times = interleaved(work, repeats, update, rest_s=pause_s)
    return {
        end: {
            str(size): {
                "ms": vars(Timing.of(times[f"{end}, {size}"])),
                "of_single": vars(ratio(times, f"{end}, {size}", f"{end}, 1")),
            }
            for size in SIZES
        }
        for end in ENDS
    }


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="street,mobilenet_v2", help="default %(default)s")
    parser.add_argument("--size", default="640x483", metavar="WIDTHxHEIGHT", help="of all but street")
    parser.add_argument("--repeats", type=count, default=9)
    parser.add_argument("--pause-ms", type=count, default=0, help="rest before each turn (default none)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    require_file_place("--json", args.json)
    width, height = parse_size(args.size)
    networks = args.networks.split(",")
    for network in networks:
        if network not in (STREET, *BACKBONES):
            raise ConfigError(f"--networks names {network!r}; there are {STREET}, {', '.join(BACKBONES)}.")
    table = Table("", "engine", "", *(f"by {size}" for size in SIZES), title=f"{CAMERAS} pictures, ms; of one by one")
    told: dict[str, dict[str, Any]] = {}
    for network in networks:
        passes, picture = passes_of(network, width, height)
        told[network] = {}
        for engine, frame_pass in passes.items():
            figures = measure(frame_pass, picture, args.repeats, args.pause_ms / 1000.0)
            told[network][engine] = figures
            for end, sizes in figures.items():
                cells = [f"{one['ms']['median_ms']:.0f}; {one['of_single']['median_ms']:.2f}" for one in sizes.values()]
                table.add_row(network, engine, end, *cells)
    Console(width=130).print(table)
    settings = {"cameras": CAMERAS, "size": args.size, "repeats": args.repeats, "pause_ms": args.pause_ms}
    write_json(args.json, {"machine": describe_machine(), **settings, "networks": told})


if __name__ == "__main__":
    sys.exit(exit_code(main))
