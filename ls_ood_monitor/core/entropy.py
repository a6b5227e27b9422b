"""Differential entropy of each latent dimension over its Monte-Carlo samples.

Sources: Kozachenko & Leonenko 1987 (nearest-neighbour entropy); Kraskov et al. 2004, doi 10.1103/PhysRevE.69.066138
(k-th neighbour form); use on latents: Arnez et al., UAI 2024.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma


def latent_entropies(latents: ArrayLike, *, k: int | None = None, min_distance: float = 1e-5) -> NDArray[np.float64]:
    """Estimate the entropy of each latent from its samples, one dimension at a time.

    psi(M) - psi(k) + mean(log(2 r)), r = distance of a sample to its k-th neighbour, raised to ``min_distance``;
    M equal samples give the finite floor psi(M) - psi(k) + log(2 min_distance).

    Args:
        latents: (N, M, C) samples; N frames, M samples, C channels.
        k: neighbour rank, 1 <= k < M; None = 5, or M - 1 where M <= 5 (the reference's rule).
        min_distance: smaller distances are raised to it, latent units, > 0.

    Returns:
        (N, C) nats. Differential: negative values are normal. A non-finite sample gives NaN in its frame and
        channel, which the alarm treats as *not OK*.

    Raises:
        ValueError: not three axes, fewer than two samples, k or min_distance out of range.
    """
    samples = np.asarray(latents, dtype=np.float64)
    if samples.ndim != 3:
        raise ValueError(f"latents have shape {samples.shape}; they must be (frames, samples, channels).")
    count = samples.shape[1]
    if count < 2:
        raise ValueError(f"latents hold {count} sample(s) a frame; an entropy needs at least 2.")
    rank = k if k is not None else min(5, count - 1)
    if not 1 <= rank < count:
        raise ValueError(f"k is {rank}; it must lie within [1, {count - 1}] for {count} samples.")
    if not min_distance > 0.0:
        raise ValueError(f"min_distance is {min_distance}; it must be larger than 0.")
    finite = np.asarray(np.isfinite(samples).all(axis=1))
    ordered = np.sort(np.where(finite[:, None, :], samples, 0.0), axis=1)
    # In one dimension the k nearest neighbours of a sorted sample and itself are k + 1 consecutive ones, so its
    # distance is the smallest, over the windows that hold it, of the larger gap to the window's ends.
    distance = np.full_like(ordered, np.inf)
    starts = count - rank
    for offset in range(rank + 1):
        own = ordered[:, offset : offset + starts]
        reach = np.maximum(own - ordered[:, :starts], ordered[:, rank:] - own)
        part = distance[:, offset : offset + starts]
        np.minimum(part, reach, out=part)
    logs = np.log(2.0 * np.maximum(distance, min_distance)).mean(axis=1)
    result = digamma(count) - digamma(rank) + logs
    result[~finite] = np.nan
    return np.asarray(result, dtype=np.float64)
