"""Cost of judging several cameras in one batch: as many pictures one after the other, in pairs, in fours, all at once.

    python benchmarks/batches.py --networks street,mobilenet_v2,resnet101 --json batches.json

The batches take turns in one process; figures are multiples of one after the other, to the alarm and with the segmentation.
``--pause-ms`` lets the cores rest before each eight pictures. ``street`` is the embedded bundle's network at its own size.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import numpy as np
from command_line import count, exit_code, make_parser, print_table, read_arguments
from numpy.typing import NDArray

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.console import progress_bar, write_json
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
    if network != STREET:
        random_network = RandomNetwork(
            NetworkSettings(backbone=network, dropblock_size=8, dropblock_prob=0.5), width, height
        )
        features = required_features(("spatial", "larem"))
        passes = {engine: random_network.frame_pass(engine, "fp32", features) for engine in ENGINES}
        return passes, random_network.picture
    passes = {engine: load_bundle(engine=engine).frame_pass for engine in ENGINES}
    spec = passes[ENGINES[0]].preprocess_spec
    return passes, np.random.default_rng(0).integers(0, 256, (spec.height, spec.width, 3), dtype=np.uint8)


def judge(frame_pass: FramePass, picture: Picture, size: int, decode: bool) -> None:
    """All cameras' pictures, ``size`` at a time."""
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

    def figures(end: str, size: int) -> dict[str, Any]:
        name = f"{end}, {size}"
        return {"ms": vars(Timing.of(times[name])), "of_single": vars(ratio(times, name, f"{end}, 1"))}

    return {end: {str(size): figures(end, size) for size in SIZES} for end in ENDS}


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__, repeats=9)
    parser.add_argument("--networks", default="street,mobilenet_v2", help="default %(default)s")
    parser.add_argument("--size", default="640x483", metavar="WIDTHxHEIGHT", help="of all but street")
    parser.add_argument("--pause-ms", type=count, default=0, help="rest before each turn (default none)")
    args = read_arguments(parser)
    width, height = parse_size(args.size)
    networks = args.networks.split(",")
    for network in networks:
        if network not in (STREET, *BACKBONES):
            raise ConfigError(f"--networks names {network!r}; there are {STREET}, {', '.join(BACKBONES)}.")
    report: dict[str, dict[str, Any]] = {}
    rows = []
    for network in networks:
        passes, picture = passes_of(network, width, height)
        report[network] = {
            engine: measure(frame_pass, picture, args.repeats, args.pause_ms / 1000.0)
            for engine, frame_pass in passes.items()
        }
        for engine, ends in report[network].items():
            for end, sizes in ends.items():
                cells = [
                    f"{size['ms']['median_ms']:.0f}; {size['of_single']['median_ms']:.2f}" for size in sizes.values()
                ]
                rows.append((network, engine, end, *cells))
    columns = ("", "engine", "", *(f"by {size}" for size in SIZES))
    print_table(columns, rows, f"{CAMERAS} pictures, ms; multiple of one by one")
    settings = {"cameras": CAMERAS, "size": args.size, "repeats": args.repeats, "pause_ms": args.pause_ms}
    write_json(args.json, {"machine": describe_machine(), **settings, "networks": report})


if __name__ == "__main__":
    sys.exit(exit_code(main))
