"""The entropies of ``core/entropy.py`` for tensors: they run on the device, and can be compiled and exported.

The code uses operations that ONNX has, and no branch depends on a value.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  the customary name


def tensor_entropies(latents: Tensor, *, k: int | None = None, min_distance: float = 1e-5) -> Tensor:
    """``core.entropy.latent_entropies`` for tensors: the same values, in double precision, on the device of the latents.

    Args:
        latents: (N, M, C) samples, M >= 2.
        k: neighbour rank, 1 <= k < M; None = 5, or M - 1 where M <= 5.
        min_distance: smaller distances are raised to it, latent units, > 0.

    Returns:
        (N, C) nats, float64; NaN for a channel with a non-finite sample.
    """
    count = latents.shape[1]
    rank = k if k is not None else min(5, count - 1)
    ordered = latents.transpose(1, 2).sort(dim=-1).values.to(torch.float64)
    starts = count - rank
    reaches = []
    for offset in range(rank + 1):
        own = ordered[..., offset : offset + starts]
        reach = torch.maximum(own - ordered[..., :starts], ordered[..., rank:] - own)
        reaches.append(F.pad(reach, (offset, rank - offset), value=float("inf")))
    distance = torch.stack(reaches).amin(dim=0)
    constant = sum(1.0 / number for number in range(rank, count))  # psi(M) - psi(k) of whole numbers
    entropies = constant + (2.0 * distance.clamp(min=min_distance)).log().mean(dim=-1)
    return torch.where(latents.isfinite().all(dim=1), entropies, torch.nan)
