"""Training losses for semantic segmentation, with the reference's conventions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  the customary name

from ..datasets.labelled import IGNORE_LABEL
from ..errors import ConfigError

LOSSES: tuple[str, ...] = ("cross_entropy", "focal_loss")


def segmentation_loss(name: str, logits: Tensor, labels: Tensor) -> Tensor:
    """The named loss, a scalar in nats, of logits (N, classes, H, W) and int64 labels (N, H, W); 255 is ignored.

    Raises ``ConfigError`` for a name that is not one of ``LOSSES``.
    """
    if name == "cross_entropy":
        # Mean over the pixels that are not ignored; 0 instead of NaN if all are.
        total = F.cross_entropy(logits, labels, ignore_index=IGNORE_LABEL, reduction="sum")
        return total / (labels != IGNORE_LABEL).sum().clamp(min=1)
    if name == "focal_loss":
        return focal_loss(logits, labels)
    raise ConfigError(f"loss_type is {name!r}; it must be one of {', '.join(LOSSES)}.")


def focal_loss(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """(1 - p)^gamma * cross entropy, mean over all pixels; ignored pixels count as 0 in the mean, as in the reference.

    Source: Lin et al., Focal Loss, ICCV 2017, arXiv 1708.02002 (alpha = 1).
    """
    surprise = F.cross_entropy(logits, labels, ignore_index=IGNORE_LABEL, reduction="none")
    return ((1.0 - torch.exp(-surprise)) ** gamma * surprise).mean()


def kl_weight(batch: int, batches: int) -> float:
    """Weight of the KL term for batch 0 <= i < M of an epoch: 2^(M-i-1) / (2^M - 1); the weights of an epoch sum to 1.

    Source: Blundell et al., ICML 2015, section 3.4.
    """
    if not 0 <= batch < batches:
        raise ValueError(f"batch is {batch}; it must lie within [0, {batches - 1}].")
    # 2^-(i+1) / (1 - 2^-M): the same number without overflow at thousands of batches.
    return 2.0 ** -(batch + 1) / (1.0 - 2.0**-batches)
