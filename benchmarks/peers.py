"""A monitored frame by other methods, on the same network and the same pictures.

    ls-ood profile --with benchmarks/peers.py

- *naive MC*: M full passes with DropBlock at the seam, spatial means as latents, entropies, score.
- *reference*: one pass, 16 DropBlock modules on its latent, one KD-tree a channel in a loop, score: our own statement of
  the public reference implementation.
- *torch-uncertainty*: its Monte-Carlo dropout wrapper, in a loop and as one batch (Apache-2.0). It switches on the dropout
  layers of torch alone and not DropBlock, so an ``nn.Dropout2d`` of the same probability stands at the seam.
- *pytorch-ood MCD*: its Monte-Carlo dropout detector (Apache-2.0), with DropBlock at the seam.

The seam is between encoder and decoder. Every peer ends with class ids and confidence at the picture's size and a score, on
the CPU. Every choice favours the peer: several passes are averaged at the decoder's resolution and brought to size once,
naive MC uses our fast entropies, the reference omits the joint entropy that its callers discard, and only the seam is
random. A peer whose package is missing (``requirements/bench.txt``) is left out with a note.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from dropblock import DropBlock2D
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import digamma
from torch import Tensor, nn

from ls_ood_monitor.cli.console import warn
from ls_ood_monitor.core.entropy import latent_entropies
from ls_ood_monitor.vision.deeplabv3p import DeepLabV3Plus, upsample
from ls_ood_monitor.vision.mc_dropout import inference_dropblock

EntropiesToScore = Callable[[np.ndarray], np.ndarray]
#: Samples of the reference's online form.
REFERENCE_SAMPLES = 16


class MonitoredFrame(NamedTuple):
    """Result of every peer: uint8 (N, H, W) class ids and confidence, and scores (N,); larger = more OoD."""

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
            else torch.cat([super(SeamDropBlock, self).forward(picture) for picture in x.split(1)])
        )

    def _compute_block_mask(self, mask: Tensor) -> Tensor:
        kept: Tensor = super()._compute_block_mask(mask)
        return torch.where(kept.any(), kept, torch.ones_like(kept))  # without asking the GPU, which would wait


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
    """Whole monitored frames of the peers, by name: each call does one and returns its ``MonitoredFrame`` on the CPU.

    Args:
        network: put into eval mode here.
        pictures: normalised (N, 3, H, W), on the network's device.
        mask_bank: (M, h, w), our own bank; it has the size of the feature map.
        entropies_to_score: (N, C) nats -> scores (N,).
    """
    network.eval()
    size = pictures.shape[2:]
    settings = network.settings
    block, prob = inference_dropblock(
        settings.dropblock_size, settings.dropblock_prob, mask_bank.shape[-2], mask_bank.shape[-1]
    )
    drop = SeamDropBlock(prob, block).train()
    drops = nn.ModuleList(SeamDropBlock(prob, block) for _ in range(REFERENCE_SAMPLES)).train()

    def naive(passes: int) -> MonitoredFrame:
        probabilities, latents = naive_pass(network, pictures, drop, passes)
        entropies = latent_entropies(latents.to("cpu", torch.float64).numpy())
        return _of_probabilities(probabilities, size, entropies_to_score(entropies))

    def reference() -> MonitoredFrame:
        logits, latents = reference_pass(network, pictures, drops)
        samples = latents.to("cpu", torch.float64).numpy()
        return _of_logits(
            logits, size, entropies_to_score(np.stack([kd_tree_entropies(picture) for picture in samples]))
        )

    work: dict[str, Callable[[], object]] = {
        "naive MC, 16 passes": lambda: naive(16),
        "naive MC, 32 passes": lambda: naive(32),
        "reference (KD-tree loop)": reference,
    }
    for add in (_torch_uncertainty, _pytorch_ood):
        work.update(add(network, pictures, block, prob))
    return {name: torch.inference_mode()(run) for name, run in work.items()}


def _torch_uncertainty(
    network: DeepLabV3Plus, pictures: Tensor, _block: int, prob: float
) -> dict[str, Callable[[], object]]:
    try:
        from torch_uncertainty.methods import mc_dropout
    except ImportError as error:
        return _left_out("torch-uncertainty", error)

    def frame(wrapped: nn.Module) -> MonitoredFrame:
        logits = wrapped(pictures)  # (16 * N, classes, H/4, W/4), pass by pass
        mean = logits.softmax(dim=1).unflatten(0, (-1, len(pictures))).mean(dim=0)
        score = torch.special.entr(mean).sum(dim=1).mean(dim=(1, 2))  # entropy, averaged over the pixels
        return _of_probabilities(mean, pictures.shape[2:], score.to("cpu", torch.float64).numpy())

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
        return _of_probabilities(mean, pictures.shape[2:], score.to("cpu", torch.float64).numpy())

    return {"pytorch-ood MCD, 16 passes": frame}


def _left_out(package: str, error: ImportError) -> dict[str, Callable[[], object]]:
    warn(f"{package} is left out: {error}; pip install -r requirements/bench.txt to compare with it.")
    return {}


def _of_probabilities(probabilities: Tensor, size: tuple[int, int], score: np.ndarray) -> MonitoredFrame:
    confidence, class_ids = upsample(probabilities, size).max(dim=1)
    return _to_host(class_ids, confidence, score)


def _of_logits(logits: Tensor, size: tuple[int, int], score: np.ndarray) -> MonitoredFrame:
    """As ``engines.DecoderGraph``: classes at the picture's size, confidence at that of the logits, which is cheaper."""
    return _to_host(upsample(logits, size).argmax(dim=1), logits.softmax(dim=1).amax(dim=1), score)


def _to_host(class_ids: Tensor, confidence: Tensor, score: np.ndarray) -> MonitoredFrame:
    confidence = (confidence.nan_to_num(0.0) * 255.0).round()
    return MonitoredFrame(class_ids.to(torch.uint8).cpu().numpy(), confidence.to(torch.uint8).cpu().numpy(), score)
