"""Monte-Carlo latent samples from one forward pass.

The spatial mean after DropBlock is (mask . feature map) / sum(mask): DropBlock2D multiplies by a mask shared by all
channels and rescales by numel / sum(mask). So M samples are one matrix product of a mask bank with the feature map.
They equal M calls of the ``dropblock`` package at batch size 1, and do not depend on the other frames of a batch.
(The package rescales by the mask sum of the whole batch.)

Sources: DropBlock: Ghiasi et al. 2018, arXiv 1810.12890; latent samples: Arnez et al., UAI 2024 (LaREx).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  the customary name

from ..errors import ConfigError
from .deeplabv3p import DeepLabV3Plus
from .preprocess import PreprocessSpec

_MAX_REDRAWS = 1000
#: Masks for a network that was trained without DropBlock: the reference's run-time setting.
_DEFAULT_BLOCK, _DEFAULT_PROB = 8, 0.5


def inference_dropblock(block_size: int, drop_prob: float, height: int, width: int) -> tuple[int, float]:
    """Block size and p of the masks: those of the training; without DropBlock there, 8 and 0.5, smaller on small maps."""
    if drop_prob > 0.0:
        return block_size, drop_prob
    return min(_DEFAULT_BLOCK, max(1, min(height, width) // 4)), _DEFAULT_PROB


def draw_network_masks(network: DeepLabV3Plus, spec: PreprocessSpec, masks: int, seed: int) -> Tensor:
    """Draw the masks (masks, h, w) of a network in eval mode at an input size, with the DropBlock of its training."""
    with torch.inference_mode():
        blank = torch.zeros(1, 3, spec.height, spec.width, device=next(network.parameters()).device)
        rows, columns = network.encode(blank).high.shape[2:]  # the network knows the size of its feature map
    block, prob = inference_dropblock(network.settings.dropblock_size, network.settings.dropblock_prob, rows, columns)
    return draw_mask_bank(masks, rows, columns, block_size=block, drop_prob=prob, seed=seed)


def draw_mask_bank(
    masks: int, height: int, width: int, *, block_size: int, drop_prob: float, seed: int | None = None
) -> Tensor:
    """Draw ``masks`` keep-masks as the ``dropblock`` package does, gamma = p / block_size^2.

    They are uint8 (masks, height, width), 1 = kept; blocks are ``block_size`` cells wide. A mask that keeps nothing is
    drawn again: its mean would be NaN. A seed makes the bank repeatable; None = another bank in every call. Raises
    ``ConfigError`` for fewer than two masks, or if all masks are empty or equal under these settings.
    """
    _check_drawing(masks, drop_prob)
    bank = _draw_masks(masks, height, width, block_size, drop_prob, _generator(seed))
    if bool((bank == bank[0]).all()):
        raise ConfigError(
            f"all {masks} masks are the same (block {block_size}, p {drop_prob}, map {height}x{width}), so all samples "
            "would be equal; use a larger p or smaller blocks."
        )
    return bank


class FreshMasks:
    """New masks for every frame, as in the reference. Scores then differ from run to run; with a bank they do not.

    Masks are drawn frame by frame, so they do not depend on the batch. If all masks of a frame happen to be equal, its
    entropies are at their floor, as in the reference. Arguments as for ``draw_mask_bank``; without a seed other masks
    are drawn in every run. Raises ``ConfigError`` for fewer than two masks, or p outside (0, 1).
    """

    def __init__(
        self, masks: int, height: int, width: int, *, block_size: int, drop_prob: float, seed: int | None = None
    ) -> None:
        _check_drawing(masks, drop_prob)
        self._size = masks, height, width
        self._block_size, self._drop_prob = block_size, drop_prob
        self._generator = _generator(seed)

    def weights(self, frames: int) -> Tensor:
        """Averaging weights (frames, M, h*w) of the next frames, float32."""
        settings = (*self._size, self._block_size, self._drop_prob, self._generator)
        return torch.stack([averaging_weights(_draw_masks(*settings)) for _ in range(frames)])


def _check_drawing(masks: int, drop_prob: float) -> None:
    if masks < 2:
        raise ConfigError(f"mc_samples is {masks}; an entropy needs at least 2 samples.")
    if not 0.0 < drop_prob < 1.0:
        raise ConfigError(
            f"dropblock_prob is {drop_prob}; it must lie within (0, 1): without drops all samples are equal."
        )


def _generator(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def _draw_masks(
    masks: int, height: int, width: int, block_size: int, drop_prob: float, generator: torch.Generator
) -> Tensor:
    """Keep-masks (masks, height, width) uint8, none of them empty."""
    gamma = drop_prob / block_size**2
    bank = torch.empty(masks, height, width, dtype=torch.uint8)
    missing = torch.arange(masks)
    for _ in range(_MAX_REDRAWS):
        seeds = (torch.rand(len(missing), height, width, generator=generator) < gamma).float()
        bank[missing] = _keep_masks(seeds, block_size).to(torch.uint8)
        missing = (bank.flatten(1).sum(1) == 0).nonzero().flatten()
        if len(missing) == 0:
            break
    else:
        raise ConfigError(
            f"DropBlock of size {block_size} with p {drop_prob} leaves nothing of a {height}x{width} feature map; "
            "use smaller blocks or a smaller p."
        )
    return bank


def _keep_masks(seeds: Tensor, block_size: int) -> Tensor:
    """Grow each seed cell (M, h, w) into a dropped block. For even sizes the padding's last row and column are cut off."""
    dropped = F.max_pool2d(seeds[:, None], block_size, stride=1, padding=block_size // 2)[:, 0]
    if block_size % 2 == 0:
        dropped = dropped[:, :-1, :-1]
    return 1.0 - dropped


def averaging_weights(bank: Tensor) -> Tensor:
    """Turn keep-masks (M, h, w) into float32 weights (M, h*w) whose rows sum to one."""
    flat = bank.flatten(1).to(torch.float32)
    return flat / flat.sum(dim=1, keepdim=True)


def sample_latents(features: Tensor, weights: Tensor) -> Tensor:
    """Draw the M Monte-Carlo latents of each frame as one matrix product.

    Args:
        features: (N, C, h, w), output of the encoder at the seam.
        weights: (M, h*w) from ``averaging_weights``, or (N, M, h*w) with masks for each frame; on the same device.

    Returns:
        (N, M, C): per channel, the spatial mean after DropBlock with each mask. Raises ``ConfigError`` if the bank was
        drawn for another feature map size.
    """
    cells = features.shape[2] * features.shape[3]
    if weights.shape[-1] != cells:
        raise ConfigError(
            f"the mask bank has {weights.shape[-1]} cells, the feature map {features.shape[2]}x{features.shape[3]} = {cells}; "
            "draw the bank for this input size."
        )
    # The masks are transposed, not the feature map, which is some hundred times as large.
    return torch.matmul(features.flatten(2), weights.transpose(-1, -2)).transpose(1, 2)


def masked_features(features: Tensor, weights: Tensor, index: int) -> Tensor:
    """Features (N, C, h, w) after DropBlock with mask ``index``: kept cells scaled by numel / sum(mask)."""
    height, width = features.shape[2:]
    return features * (weights[..., index, :] * (height * width)).reshape(-1, 1, height, width)
