"""What a monitored frame costs beside the network: entropies against a KD-tree loop, and the whole score against a pass.

    python benchmarks/score_cost.py [--repeats 15] [--json FILE]

Everything is timed interleaved in one run on one machine with one thread; medians and their ratios are what counts.
The KD-tree loop is our own statement of how the reference estimates entropies (``peers.py``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable

import numpy as np
import torch
from command_line import count, exit_code
from peers import kd_tree_entropies

from ls_ood_monitor.core.detectors import DEFAULT_DETECTORS, detector_spec
from ls_ood_monitor.core.entropy import latent_entropies
from ls_ood_monitor.features import NetworkPass, compute_features
from ls_ood_monitor.profiling.timing import interleaved
from ls_ood_monitor.vision.deeplabv3p import DeepLabV3Plus, NetworkSettings
from ls_ood_monitor.vision.mc_dropout import averaging_weights, draw_mask_bank

HEIGHT, WIDTH, MASKS = 483, 640, 64


def medians(work: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each, taken in turns so that load hits all alike."""
    return {name: statistics.median(values) for name, values in interleaved(work, repeats).items()}


def entropy_cost(repeats: int) -> dict[str, float]:
    """32 samples of 2048 latents: the loop, ours, their ratio and largest difference."""
    samples = np.random.default_rng(0).normal(size=(32, 2048))
    figures = medians(
        {"kd_tree_ms": lambda: kd_tree_entropies(samples), "ours_ms": lambda: latent_entropies(samples[None])}, repeats
    )
    difference = np.abs(kd_tree_entropies(samples) - latent_entropies(samples[None])[0]).max()
    return {**figures, "ratio": figures["kd_tree_ms"] / figures["ours_ms"], "largest_difference": float(difference)}


@torch.inference_mode()
def score_cost(backbone: str, repeats: int) -> dict[str, float]:
    """Encoder, decoder, and each default detector's feature and score, as milliseconds and as shares of a plain pass."""
    torch.manual_seed(0)
    network = DeepLabV3Plus(NetworkSettings(backbone=backbone, dropblock_size=8, dropblock_prob=0.5)).eval()
    pictures = torch.randn(1, 3, HEIGHT, WIDTH)
    rows, columns = network.encode(pictures).high.shape[2:]
    averaging = averaging_weights(draw_mask_bank(MASKS, rows, columns, block_size=8, drop_prob=0.5, seed=0))
    encoded = network.encode(pictures)

    def plain() -> None:
        features = network.encode(pictures)
        network.decode(features.low, features.high, (HEIGHT, WIDTH))

    def feature(name: str) -> np.ndarray:
        return compute_features(NetworkPass(network, encoded, averaging), [name]).of(name)

    work: dict[str, Callable[[], object]] = {"pass_ms": plain}
    random = np.random.default_rng(0)
    for name in DEFAULT_DETECTORS:
        spec = detector_spec(name)
        row = feature(spec.feature)
        # The cost of a score depends on shapes alone: noise around the row serves for clean frames.
        fitted = spec.make(None).fit(row + random.normal(size=(40, *row.shape[1:])) * (np.abs(row).mean() + 1e-6))
        work[f"{name}_ms"] = lambda spec=spec, fitted=fitted: fitted.score(feature(spec.feature))
    figures = medians(work, repeats)
    shares = {f"{name}_share": figures[f"{name}_ms"] / figures["pass_ms"] for name in DEFAULT_DETECTORS}
    return {**figures, **shares}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=count, default=15)
    parser.add_argument("--backbones", default="mobilenet_v2,resnet101")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, dict[str, float]] = {"entropies_32x2048": entropy_cost(args.repeats)}
    for backbone in args.backbones.split(","):
        result[f"{backbone}_{HEIGHT}x{WIDTH}_M{MASKS}"] = score_cost(backbone, args.repeats)
    for title, figures in result.items():
        print(title)
        for name, value in figures.items():
            print(f"  {name:24s} {value:.4g}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    sys.exit(exit_code(main))
