"""A training step of ours beside a plain loop over torchvision's DeepLabv3: same backbone, batch, pictures, optimiser.

    python benchmarks/training_step.py --json training_step.json

Runs take turns on one machine and are reported as ratios of medians. Ours is DeepLabv3+ (it has a decoder, which DeepLabv3
lacks) with both DropBlocks, under Lightning. Both read their pictures from memory. Ours is timed once more on a tree in
WoodScape's layout, 1280x966 PNGs read by as many processes as ls-ood train starts, with the share of the step that waits for
them. Reading is also timed alone, in pictures a second.
"""

from __future__ import annotations

import itertools
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from command_line import count, exit_code, make_parser, read_arguments

from ls_ood_monitor.cli.console import console, write_json
from ls_ood_monitor.datasets import LabelledFolder, open_woodscape
from ls_ood_monitor.street import StreetDrive
from ls_ood_monitor.street.shots import RenderedShot, Shot
from ls_ood_monitor.street.woodscape_writer import write_woodscape
from ls_ood_monitor.training.data import LabelledSet, make_loader
from ls_ood_monitor.training.fit import Hardware, train_network
from ls_ood_monitor.training.settings import reference_settings
from ls_ood_monitor.vision.deeplabv3p import variant_settings
from ls_ood_monitor.vision.preprocess import PreprocessSpec, normalise

# After the package, whose vision/torchvision_compat.py lets a CUDA build of torchvision load beside a CPU torch.
import pytorch_lightning as pl  # isort: skip
from torchvision import models  # isort: skip
from torchvision.models._utils import IntermediateLayerGetter  # isort: skip
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3  # isort: skip

#: Of a picture of WoodScape: width and height, pixels.
WOODSCAPE_SIZE = (1280, 966)


class _Clock(pl.Callback):
    """Seconds of every step, reading included, and of the wait for its pictures before it."""

    def __init__(self) -> None:
        self.marks: list[float] = []
        self.waits: list[float] = []

    def on_train_batch_start(self, *_: object) -> None:
        if self.marks:
            self.waits.append(time.perf_counter() - self.marks[-1])

    def on_train_batch_end(self, *_: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.marks.append(time.perf_counter())


def _steps(marks: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(marks)]


def _peer(backbone: str) -> torch.nn.Module:
    net = getattr(models, backbone)(weights=None, replace_stride_with_dilation=[False, False, True])
    return DeepLabV3(IntermediateLayerGetter(net, {"layer4": "out"}), DeepLabHead(2048, 10, [6, 12, 18]))


def _run_peer(backbone: str, pictures: LabelledSet, spec: PreprocessSpec, batch: int, device: str) -> list[float]:
    network = _peer(backbone).to(device).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    marks = []
    for images, labels in make_loader(pictures, spec, batch=batch, shuffle=True):
        logits = network(normalise(images.to(device), spec))["out"]
        loss = torch.nn.functional.cross_entropy(logits, labels.to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if device == "cuda":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
    return _steps(marks)


def _street(width: int, height: int, count: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Picture and labels of ``count`` street frames, of which eight repeat."""
    drive = StreetDrive(1000)
    return itertools.islice(
        itertools.cycle([drive.render("front", 0.5 * index, width, height) for index in range(8)]), count
    )


def _tree(root: Path, count: int) -> LabelledFolder:
    """``count`` street frames of WoodScape's size on disk."""
    frames = enumerate(_street(*WOODSCAPE_SIZE, count))
    write_woodscape(root, (RenderedShot(Shot(1000, "front", float(index)), *frame) for index, frame in frames))
    return open_woodscape(root)


def _rate(folder: LabelledFolder, spec: PreprocessSpec, batch: int, workers: int) -> float:
    """Pictures a second that ``workers`` processes read, decode and resize; 0 = the calling one."""
    marks = []
    for _batch in make_loader(folder, spec, batch=batch, workers=workers):
        marks.append(time.perf_counter())
    steady = marks[2 * workers :]  # each process prepares two batches ahead
    return batch * (len(steady) - 1) / (steady[-1] - steady[0])


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--backbone", choices=("resnet50", "resnet101"), default="resnet50")
    parser.add_argument("--batch", type=count, default=2)
    parser.add_argument("--width", type=count, default=320)
    parser.add_argument("--height", type=count, default=242)
    parser.add_argument("--steps", type=count, default=8, help="steps of a run; the first is not counted")
    parser.add_argument("--runs", type=count, default=3, help="runs of each, in turns")
    args = read_arguments(parser)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    spec = PreprocessSpec(width=args.width, height=args.height)
    pictures = args.steps * args.batch
    images, labels = zip(*_street(640, 480, pictures), strict=True)
    memory = LabelledSet(np.stack(images), np.stack(labels))
    settings = reference_settings("deeplabv3p-backbone-dropblock2d", batch=args.batch)
    network = variant_settings("deeplabv3p-backbone-dropblock2d", backbone=args.backbone)
    hardware = Hardware("gpu" if device == "cuda" else "cpu", 1)
    workers = min(4, os.cpu_count() or 1)  # the default of ls-ood train
    steps: dict[str, list[float]] = defaultdict(list)
    waits: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = _tree(Path(temporary) / "woodscape", max(pictures, 32 * args.batch * workers))
        disk = folder.only(folder.names[:pictures])
        for _ in range(args.runs):
            clock = _Clock()
            train_network(memory, None, settings, network, spec, hardware=hardware, callbacks=[clock])
            steps["ours"] += _steps(clock.marks)
            steps["peer"] += _run_peer(args.backbone, memory, spec, args.batch, device)
            clock = _Clock()
            reading = replace(settings, workers=workers)
            train_network(disk, None, reading, network, spec, hardware=hardware, callbacks=[clock])
            steps["disk"] += _steps(clock.marks)
            waits += clock.waits
        one_process, all_workers = (_rate(folder, spec, args.batch, number) for number in (0, workers))
    median = {name: statistics.median(values) for name, values in steps.items()}
    machine = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    report = {
        "machine": machine if device == "cuda" else f"{machine}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "backbone": args.backbone,
        "batch": args.batch,
        "input": [args.width, args.height],
        "images_per_s_ours": round(args.batch / median["ours"], 3),
        "images_per_s_torchvision_deeplabv3": round(args.batch / median["peer"], 3),
        "step_ratio_ours_to_peer": round(median["ours"] / median["peer"], 3),
        **{f"step_spread_{name}_s": [round(min(values), 4), round(max(values), 4)] for name, values in steps.items()},
        "workers": workers,
        "step_ratio_disk_to_memory": round(median["disk"] / median["ours"], 3),
        "waiting_share_of_disk_step": round(sum(waits) / sum(steps["disk"]), 4),
        "read_pictures_per_s_one_process": round(one_process, 2),
        "read_pictures_per_s_workers": round(all_workers, 2),
        "reading_share_of_our_step": round(args.batch / one_process / median["ours"], 4),
    }
    console.print_json(data=report)
    write_json(args.json, report)


if __name__ == "__main__":
    sys.exit(exit_code(main))
