"""Cost of a monitored frame beside the network: entropies against a KD-tree loop, and each score against a pass.

    python benchmarks/score_cost.py [--repeats 15] [--json FILE]

Everything is timed in turns in one run, with one thread; medians and their ratios count. The KD-tree loop is our own
statement of how the reference estimates entropies (``peers.py``).
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import numpy as np
import torch
from command_line import exit_code, make_parser, print_table, read_arguments
from peers import kd_tree_entropies

from ls_ood_monitor.cli.console import write_json
from ls_ood_monitor.core.detectors import DEFAULT_DETECTORS, detector_spec
from ls_ood_monitor.core.entropy import latent_entropies
from ls_ood_monitor.features import NetworkPass, compute_features
from ls_ood_monitor.profiling.random_network import RandomNetwork
from ls_ood_monitor.profiling.timing import interleaved
from ls_ood_monitor.vision.deeplabv3p import NetworkSettings
from ls_ood_monitor.vision.mc_dropout import averaging_weights

HEIGHT, WIDTH, MASKS = 483, 640, 64


def medians(work: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each, taken in turns."""
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
    """The plain pass, and feature and score of each default detector, as milliseconds and as shares of the pass."""
    settings = NetworkSettings(backbone=backbone, dropblock_size=8, dropblock_prob=0.5)
    random_network = RandomNetwork(settings, WIDTH, HEIGHT, MASKS)
    network, averaging = random_network.network, averaging_weights(random_network.bank)
    pictures = torch.randn(1, 3, HEIGHT, WIDTH)
    encoded = network.encode(pictures)

    def plain() -> None:
        features = network.encode(pictures)
        network.decode(features.low, features.high, (HEIGHT, WIDTH))

    def score(name: str) -> np.ndarray:
        feature = detector_spec(name).feature
        row = compute_features(NetworkPass(network, encoded, averaging), [feature]).of(feature)
        return random_network.detectors[name].score(row)

    work: dict[str, Callable[[], object]] = {"pass_ms": plain}
    work |= {f"{name}_ms": lambda name=name: score(name) for name in DEFAULT_DETECTORS}
    figures = medians(work, repeats)
    shares = {f"{name}_share": figures[f"{name}_ms"] / figures["pass_ms"] for name in DEFAULT_DETECTORS}
    return {**figures, **shares}


def main() -> None:
    """Measure and print."""
    parser = make_parser(__doc__, repeats=15)
    parser.add_argument("--backbones", default="mobilenet_v2,resnet101")
    args = read_arguments(parser)
    torch.set_num_threads(1)
    report = {"entropies_32x2048": entropy_cost(args.repeats)}
    for backbone in args.backbones.split(","):
        report[f"{backbone}_{HEIGHT}x{WIDTH}_M{MASKS}"] = score_cost(backbone, args.repeats)
    for title, figures in report.items():
        print_table(("", "value"), ((name, f"{value:.4g}") for name, value in figures.items()), title)
    write_json(args.json, report)


if __name__ == "__main__":
    sys.exit(exit_code(main))
