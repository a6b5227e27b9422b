"""A training step of ours beside a plain loop over torchvision's DeepLabv3: same backbone, batch, pictures, optimiser.

Runs are interleaved on one machine and reported as ratios of medians. Ours is DeepLabv3+ (it has a decoder, which
DeepLabv3 lacks) with both DropBlocks, under Lightning. These steps take their pictures from memory; ours is timed once
more on a tree in WoodScape's layout, 1280x966 PNGs read by as many processes as ls-ood train starts, with the share of the
step that it waits for them; and the reading alone, in pictures a second.

    python benchmarks/training_step.py --json training_step.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from ls_ood_monitor.datasets import LabelledFolder, open_woodscape
from ls_ood_monitor.street import StreetDrive
from ls_ood_monitor.street.shots import RenderedShot, Shot
from ls_ood_monitor.street.woodscape_writer import write_woodscape
from ls_ood_monitor.training.data import LabelledSet, make_loader
from ls_ood_monitor.training.fit import Hardware, train_network
from ls_ood_monitor.training.settings import reference_settings
from ls_ood_monitor.vision.deeplabv3p import variant_settings
from ls_ood_monitor.vision.preprocess import PreprocessSpec, normalise

import numpy as np  # isort: skip
import pytorch_lightning as pl  # isort: skip
from torchvision import models  # isort: skip
from torchvision.models._utils import IntermediateLayerGetter  # isort: skip
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3  # isort: skip


#: Of a picture of WoodScape, pixels.
WOODSCAPE_SIZE = (1280, 966)


class _Clock(pl.Callback):
    """Seconds of every step, reading included, and of the wait before it for its pictures."""

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


def _tree(root: Path, count: int) -> LabelledFolder:
    """``count`` street pictures of WoodScape's size on disk, of a few that repeat."""
    drive = StreetDrive(1000)
    seen = [drive.render("front", 0.5 * index, *WOODSCAPE_SIZE) for index in range(8)]
    write_woodscape(root, (RenderedShot(Shot(1000, "front", float(index)), *seen[index % 8]) for index in range(count)))
    return open_woodscape(root)


def _rate(folder: LabelledFolder, spec: PreprocessSpec, batch: int, workers: int) -> float:
    """Pictures a second that ``workers`` processes read, decode and resize; 0 = the calling one."""
    marks = []
    for _batch in make_loader(folder, spec, batch=batch, workers=workers):
        marks.append(time.perf_counter())
    steady = marks[2 * workers :]  # each process has two batches ready before it is waited for
    return batch * (len(steady) - 1) / (steady[-1] - steady[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", choices=("resnet50", "resnet101"), default="resnet50")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=242)
    parser.add_argument("--steps", type=int, default=8, help="steps of a run; the first is not counted")
    parser.add_argument("--runs", type=int, default=3, help="runs of each, interleaved")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    spec = PreprocessSpec(width=args.width, height=args.height)
    drive = StreetDrive(1000)
    shots = [drive.render("front", 0.5 * index, 640, 480) for index in range(8)]
    count = args.steps * args.batch
    pictures = LabelledSet(
        np.stack([shots[index % 8][0] for index in range(count)]),
        np.stack([shots[index % 8][1] for index in range(count)]),
    )
    settings = reference_settings("deeplabv3p-backbone-dropblock2d", batch=args.batch)
    network = variant_settings("deeplabv3p-backbone-dropblock2d", backbone=args.backbone)
    hardware = Hardware("gpu" if device == "cuda" else "cpu", 1)
    workers = min(4, os.cpu_count() or 1)  # the default of ls-ood train
    ours: list[float] = []
    peer: list[float] = []
    disk: list[float] = []
    waits: list[float] = []
    temporary = tempfile.TemporaryDirectory()
    folder = _tree(Path(temporary.name) / "woodscape", max(count, 32 * args.batch * workers))
    fed = folder.only(folder.names[:count])
    for _ in range(args.runs):
        clock = _Clock()
        train_network(pictures, None, settings, network, spec, hardware=hardware, callbacks=[clock])
        ours += _steps(clock.marks)
        peer += _run_peer(args.backbone, pictures, spec, args.batch, device)
        clock = _Clock()
        fetching = replace(settings, workers=workers)
        train_network(fed, None, fetching, network, spec, hardware=hardware, callbacks=[clock])
        disk += _steps(clock.marks)
        waits += clock.waits
    alone, together = (_rate(folder, spec, args.batch, number) for number in (0, workers))
    temporary.cleanup()
    middle = {name: statistics.median(values) for name, values in (("ours", ours), ("peer", peer), ("disk", disk))}
    result = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads"
        if device == "cpu"
        else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "backbone": args.backbone,
        "batch": args.batch,
        "input": [args.width, args.height],
        "images_per_s_ours": round(args.batch / middle["ours"], 3),
        "images_per_s_torchvision_deeplabv3": round(args.batch / middle["peer"], 3),
        "step_ratio_ours_to_peer": round(middle["ours"] / middle["peer"], 3),
        "step_spread_ours_s": [round(min(ours), 4), round(max(ours), 4)],
        "step_spread_peer_s": [round(min(peer), 4), round(max(peer), 4)],
        "workers": workers,
        "step_ratio_disk_to_memory": round(middle["disk"] / middle["ours"], 3),
        "step_spread_disk_s": [round(min(disk), 4), round(max(disk), 4)],
        "waiting_share_of_disk_step": round(sum(waits) / sum(disk), 4),
        "read_pictures_per_s_one_process": round(alone, 2),
        "read_pictures_per_s_workers": round(together, 2),
        "reading_share_of_our_step": round(args.batch / alone / middle["ours"], 4),
    }
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
