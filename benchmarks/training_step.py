"""A training step of ours beside a plain loop over torchvision's DeepLabv3: same backbone, batch, pictures, optimiser.

Runs are interleaved on one machine and reported as ratios of medians; the input pipeline is timed alone, as a share of
the step it feeds. Ours is DeepLabv3+ (it has a decoder, which DeepLabv3 lacks) with both DropBlocks, under Lightning.

    python benchmarks/training_step.py --json training_step.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from pathlib import Path

import torch

from ls_ood_monitor.offline.street import Drive
from ls_ood_monitor.offline.training.data import LabelledSet, make_loader
from ls_ood_monitor.offline.training.fit import Hardware, train_network
from ls_ood_monitor.offline.training.settings import reference_settings
from ls_ood_monitor.vision.deeplabv3p import variant_settings
from ls_ood_monitor.vision.preprocess import PreprocessSpec, normalise

import numpy as np  # isort: skip
import pytorch_lightning as pl  # isort: skip
from torchvision import models  # isort: skip
from torchvision.models._utils import IntermediateLayerGetter  # isort: skip
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3  # isort: skip


class _Clock(pl.Callback):
    """Seconds of every step, reading included."""

    def __init__(self) -> None:
        self.marks: list[float] = []

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
    drive = Drive(1000)
    shots = [drive.render("front", 0.5 * index, 640, 480) for index in range(8)]
    count = args.steps * args.batch
    pictures = LabelledSet(
        np.stack([shots[index % 8][0] for index in range(count)]),
        np.stack([shots[index % 8][1] for index in range(count)]),
    )
    settings = reference_settings("deeplabv3p-backbone-dropblock2d", batch=args.batch)
    network = variant_settings("deeplabv3p-backbone-dropblock2d", backbone=args.backbone)
    hardware = Hardware("gpu" if device == "cuda" else "cpu", 1)
    ours: list[float] = []
    peer: list[float] = []
    reading: list[float] = []
    for _ in range(args.runs):
        clock = _Clock()
        train_network(pictures, None, settings, network, spec, hardware=hardware, callbacks=[clock])
        ours += _steps(clock.marks)
        peer += _run_peer(args.backbone, pictures, spec, args.batch, device)
        marks = []
        for _batch in make_loader(pictures, spec, batch=args.batch, shuffle=True):
            marks.append(time.perf_counter())
        reading += _steps(marks)
    middle = {
        name: statistics.median(values) for name, values in (("ours", ours), ("peer", peer), ("reading", reading))
    }
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
        "reading_share_of_our_step": round(middle["reading"] / middle["ours"], 4),
    }
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
