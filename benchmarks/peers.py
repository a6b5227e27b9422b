"""What a monitored frame costs by other means than ours, on the same network and the same pictures.

    python benchmarks/peers.py --backbone resnet101 --size 640x483 [--repeats 7] [--json FILE]
    ls-ood profile --with benchmarks/peers.py

- *naive MC*: M full passes with DropBlock at the seam, spatial means as latents, entropies, score.
- *reference*: one pass, 16 DropBlock modules on its latent, one KD-tree a channel in a loop, score: our own statement of
  the public reference implementation.
- *torch-uncertainty*: its Monte-Carlo dropout wrapper, in a loop and as one batch (Apache-2.0). It turns on the dropout
  layers of torch alone and does not know DropBlock, so an ``nn.Dropout2d`` of the same probability stands at the seam.
- *pytorch-ood MCD*: its Monte-Carlo dropout detector (Apache-2.0), with DropBlock at the seam.

Every one of them ends with class ids and confidence at the picture's size and a score, on the CPU. Where there is a
choice it is the peer's advantage: several passes are averaged at the decoder's resolution and brought to size once, naive
MC takes our fast entropies, the reference does not compute the joint entropy that its callers throw away, and only the
seam is random. A peer whose package is missing (``requirements/bench.txt``) is left out with a sentence.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from dropblock import DropBlock2D
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree
from scipy.special import digamma
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))  # when it is loaded as a module
from command_line import count

from ls_ood_monitor.cli.console import require_file_place
from ls_ood_monitor.cli.profile import parse_size
from ls_ood_monitor.core.entropy import latent_entropies
from ls_ood_monitor.engines.device import choose_device
from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.profiling.random_network import RandomNetwork
from ls_ood_monitor.profiling.timing import interleaved
from ls_ood_monitor.vision.backbones import BACKBONES
from ls_ood_monitor.vision.deeplabv3p import DeepLabV3Plus, NetworkSettings, upsample
from ls_ood_monitor.vision.mc_dropout import averaging_weights, run_time_dropblock, sample_latents
from ls_ood_monitor.vision.preprocess import normalise

EntropiesToScore = Callable[[np.ndarray], np.ndarray]
#: Samples of the reference's online form.
REFERENCE_SAMPLES = 16
#: Masks of our own bank in this table: the default of ``LatentSettings``.
OUR_MASKS = 64


class MonitoredFrame(NamedTuple):
    """What every contender ends with: uint8 (N, H, W) class ids and confidence, and scores (N,)."""

    class_ids: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    score: NDArray[np.float64]


def kd_tree_entropies(samples: np.ndarray, floor: float = 1e-5) -> np.ndarray:
    """Entropies (C,), nats, of samples (M, C), one KD-tree a channel; k = 5, or M - 1 where M <= 5, as in the reference.

    Our own statement of it (scipy's cKDTree): it must not, and does not, differ from ``core.entropy``.
    """
    count = len(samples)
    k = 5 if count > 5 else count - 1
    result = np.empty(samples.shape[1])
    for channel in range(samples.shape[1]):
        column = samples[:, channel : channel + 1]
        distance = cKDTree(column).query(column, k=k + 1, p=np.inf)[0][:, -1]
        result[channel] = digamma(count) - digamma(k) + np.log(2.0 * np.maximum(distance, floor)).mean()
    return result


class SeamDropBlock(DropBlock2D):  # type: ignore[misc]  dropblock ships no types
    """The package's layer, for each picture on its own, and a draw that would drop everything drops nothing.

    The package rescales by the mask sum of its whole batch: pictures would change each other's latents.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, C, h, w) -> the same with blocks dropped."""
        return (
            super().forward(x)
            if len(x) == 1
            else torch.cat([super(SeamDropBlock, self).forward(one) for one in x.split(1)])
        )

    def _compute_block_mask(self, mask: Tensor) -> Tensor:
        kept: Tensor = super()._compute_block_mask(mask)
        return torch.where(kept.any(), kept, torch.ones_like(kept))  # no question to the GPU, which would wait for it


class RandomSeam(nn.Module):
    """The network with a random layer at the seam, as a model whose train and eval modes the peers switch.

    Only that layer is a part of it: whatever a peer does to its modes, the shared network stays as it is, in eval mode.
    Output is logits (N, classes, H/4, W/4).
    """

    def __init__(self, network: DeepLabV3Plus, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.encode, self.penultimate, self.classify = network.encode, network.penultimate, network.classify

    def forward(self, pictures: Tensor) -> Tensor:
        """One full pass."""
        features = self.encode(pictures)
        return self.classify(self.penultimate(features.low, self.layer(features.high)))


def naive_pass(network: DeepLabV3Plus, pictures: Tensor, drop: nn.Module, passes: int) -> tuple[Tensor, Tensor]:
    """Mean probabilities (N, classes, H/4, W/4) and latents (N, passes, C) of that many full passes."""
    total: Tensor | None = None
    latents = []
    for _ in range(passes):
        features = network.encode(pictures)
        high = drop(features.high)
        latents.append(high.mean(dim=(2, 3)))
        probabilities = network.classify(network.penultimate(features.low, high)).softmax(dim=1)
        total = probabilities if total is None else total.add_(probabilities)
    if total is None:
        raise ValueError(f"passes is {passes}; at least 1 is needed.")
    return total / passes, torch.stack(latents, dim=1)


def reference_pass(network: DeepLabV3Plus, pictures: Tensor, drops: nn.ModuleList) -> tuple[Tensor, Tensor]:
    """Logits (N, classes, H/4, W/4) of one pass, and latents (N, M, C): M DropBlocks on its latent, each averaged over H, W."""
    features = network.encode(pictures)
    latents = torch.stack([drop(features.high).mean(dim=2).mean(dim=2) for drop in drops], dim=1)
    return network.classify(network.penultimate(features.low, features.high)), latents


def contenders(
    network: DeepLabV3Plus,
    pictures: torch.Tensor,
    mask_bank: torch.Tensor,
    entropies_to_score: EntropiesToScore,
) -> dict[str, Callable[[], object]]:
    """Whole monitored frames of the peers, by name.

    Args:
        network: put into eval mode here.
        pictures: normalised (N, 3, H, W), on the network's device.
        mask_bank: (M, h, w), our own bank; tells the size of the feature map.
        entropies_to_score: (N, C) nats -> scores (N,).

    Returns:
        Name -> a call that does one frame and returns once its ``MonitoredFrame`` is on the CPU.
    """
    network.eval()
    size = (pictures.shape[2], pictures.shape[3])
    settings = network.settings
    block, prob = run_time_dropblock(
        settings.dropblock_size, settings.dropblock_prob, mask_bank.shape[-2], mask_bank.shape[-1]
    )
    drop = SeamDropBlock(prob, block).train()
    drops = nn.ModuleList(SeamDropBlock(prob, block) for _ in range(REFERENCE_SAMPLES)).train()

    def naive(passes: int) -> MonitoredFrame:
        probabilities, latents = naive_pass(network, pictures, drop, passes)
        entropies = latent_entropies(latents.to("cpu", torch.float64).numpy())
        return _finished(probabilities, size, entropies_to_score(entropies))

    def reference() -> MonitoredFrame:
        logits, latents = reference_pass(network, pictures, drops)
        samples = latents.to("cpu", torch.float64).numpy()
        return _of_logits(logits, size, entropies_to_score(np.stack([kd_tree_entropies(one) for one in samples])))

    found: dict[str, Callable[[], object]] = {
        "naive MC, 16 passes": lambda: naive(16),
        "naive MC, 32 passes": lambda: naive(32),
        "reference (KD-tree loop)": reference,
    }
    for add in (_torch_uncertainty, _pytorch_ood):
        found.update(add(network, pictures, block, prob))
    return {name: torch.inference_mode()(run) for name, run in found.items()}


def _torch_uncertainty(
    network: DeepLabV3Plus, pictures: Tensor, _block: int, prob: float
) -> dict[str, Callable[[], object]]:
    try:
        from torch_uncertainty.methods import mc_dropout
    except ImportError as error:
        return _left_out("torch-uncertainty", error)

    def frame(wrapped: nn.Module) -> MonitoredFrame:
        logits = wrapped(pictures)  # (16 * N, classes, H/4, W/4), pass by pass
        samples = logits.softmax(dim=1).unflatten(0, (-1, len(pictures)))
        return _by_entropy(samples.mean(dim=0), pictures)

    work: dict[str, Callable[[], object]] = {}
    for name, at_once in (("torch-uncertainty, 16 passes", False), ("torch-uncertainty, batch of 16", True)):
        model = RandomSeam(network, nn.Dropout2d(prob))
        wrapped = mc_dropout(model, 16, on_batch=at_once, task="segmentation").eval()
        work[name] = lambda wrapped=wrapped: frame(wrapped)
    return work


def _pytorch_ood(network: DeepLabV3Plus, pictures: Tensor, block: int, prob: float) -> dict[str, Callable[[], object]]:
    try:
        from pytorch_ood.detector import MCD
    except ImportError as error:
        return _left_out("pytorch-ood", error)
    model = RandomSeam(network, SeamDropBlock(prob, block)).eval()

    def frame() -> MonitoredFrame:
        mean = MCD.run_mean(model, pictures, samples=16)
        # What its ``predict`` makes of these probabilities in mode "mean", averaged over the pixels.
        score = -mean.max(dim=1).values.mean(dim=(1, 2))
        return _finished(mean, (pictures.shape[2], pictures.shape[3]), score.to("cpu", torch.float64).numpy())

    return {"pytorch-ood MCD, 16 passes": frame}


def _left_out(package: str, error: ImportError) -> dict[str, Callable[[], object]]:
    print(f"{package} is left out: {error}; pip install -r requirements/bench.txt to compare with it.", file=sys.stderr)
    return {}


def _by_entropy(probabilities: Tensor, pictures: Tensor) -> MonitoredFrame:
    """Scored by the entropy of the mean prediction, averaged over the pixels."""
    score = torch.special.entr(probabilities).sum(dim=1).mean(dim=(1, 2))
    return _finished(probabilities, (pictures.shape[2], pictures.shape[3]), score.to("cpu", torch.float64).numpy())


def _finished(probabilities: Tensor, size: tuple[int, int], score: np.ndarray) -> MonitoredFrame:
    return _fetched(upsample(probabilities, size), score)


def _of_logits(logits: Tensor, size: tuple[int, int], score: np.ndarray) -> MonitoredFrame:
    """As ``engines.DecoderGraph``: classes at the picture's size, confidence at that of the logits, which is cheaper."""
    return _to_host(upsample(logits, size).argmax(dim=1), logits.softmax(dim=1).amax(dim=1), score)


def _fetched(probabilities: Tensor, score: np.ndarray) -> MonitoredFrame:
    confidence, class_ids = probabilities.max(dim=1)
    return _to_host(class_ids, confidence, score)


def _to_host(class_ids: Tensor, confidence: Tensor, score: np.ndarray) -> MonitoredFrame:
    confidence = (confidence.nan_to_num(0.0) * 255.0).round()
    return MonitoredFrame(class_ids.to(torch.uint8).cpu().numpy(), confidence.to(torch.uint8).cpu().numpy(), score)


@torch.inference_mode()
def plain_frame(network: DeepLabV3Plus, pictures: Tensor) -> MonitoredFrame:
    """One deterministic pass without any monitor, to the same class ids and confidence; its scores are zeros."""
    features = network.encode(pictures)
    logits = network.classify(network.penultimate(features.low, features.high))
    return _of_logits(logits, (pictures.shape[2], pictures.shape[3]), np.zeros(len(pictures)))


@torch.inference_mode()
def our_frame(
    network: DeepLabV3Plus, pictures: Tensor, averaging: Tensor, entropies_to_score: EntropiesToScore
) -> MonitoredFrame:
    """The same with our monitor: one matrix product with the bank's averaging weights (M, h*w), entropies, score."""
    features = network.encode(pictures)
    latents = sample_latents(features.high, averaging).to("cpu", torch.float64).numpy()
    score = entropies_to_score(latent_entropies(latents))
    logits = network.classify(network.penultimate(features.low, features.high))
    return _of_logits(logits, (pictures.shape[2], pictures.shape[3]), score)


def measure(backbone: str, width: int, height: int, repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Milliseconds of each turn, of one picture, by contender; the plain pass first, then ours."""
    settings = NetworkSettings(backbone=backbone, dropblock_size=8, dropblock_prob=0.5)
    subject = RandomNetwork(settings, width, height, OUR_MASKS, device)
    network, score = subject.network, subject.detectors["larem"].score
    pictures = normalise(torch.from_numpy(subject.picture[None]).to(device), subject.spec)
    averaging = averaging_weights(subject.bank).to(device)
    work: dict[str, Callable[[], object]] = {
        "one pass, no monitor": lambda: plain_frame(network, pictures),
        f"ours, one pass, {OUR_MASKS} masks": lambda: our_frame(network, pictures, averaging, score),
        **contenders(network, pictures, subject.bank, score),
    }
    return interleaved(work, repeats)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", choices=BACKBONES, default="resnet101")
    parser.add_argument("--size", default="640x483", metavar="WIDTHxHEIGHT", help="default %(default)s")
    parser.add_argument("--repeats", type=count, default=7, help="turns that count (default %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<index> (default %(default)s)")
    parser.add_argument("--threads", type=count, default=1, help="CPU threads of torch (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    try:
        require_file_place("--json", args.json)
        device = choose_device(args.device)
        width, height = parse_size(args.size)
    except ConfigError as error:
        parser.error(str(error))
    torch.set_num_threads(args.threads)
    times = measure(args.backbone, width, height, args.repeats, device)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    middle = {name: statistics.median(values) for name, values in times.items()}
    plain = next(iter(middle.values()))
    table = Table(
        "frame",
        "median ms",
        "fastest .. slowest",
        "passes",
        title=f"{args.backbone}, {width}x{height}, one picture; {machine}, {args.threads} threads, torch {torch.__version__}",
    )
    for name, values in times.items():
        table.add_row(
            name, f"{middle[name]:.1f}", f"{min(values):.1f} .. {max(values):.1f}", f"{middle[name] / plain:.3f}"
        )
    Console().print(table)
    if args.json:
        result = {
            "machine": machine,
            "threads": args.threads,
            "torch": torch.__version__,
            "backbone": args.backbone,
            "size": [width, height],
            "repeats": args.repeats,
            "median_ms": middle,
            "ratio_to_plain": {name: value / plain for name, value in middle.items()},
            "turns_ms": times,
        }
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
