"""Uncertainty of class logits, per pixel; larger = more OoD, whatever sign the paper uses.

Logits z are (N, K, ...), K classes; p = softmax(z) over them. A NaN logit gives NaN.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_GEN_GAMMA, _GEN_CLASSES = 0.1, 100


def msp(logits: Tensor) -> Tensor:
    """-max_k p_k, within [-1, -1/K] (Hendrycks & Gimpel, ICLR 2017, arXiv 1610.02136): (N, K, ...) -> (N, ...)."""
    return -logits.softmax(dim=1).amax(dim=1)


def energy(logits: Tensor) -> Tensor:
    """-log sum_k exp(z_k), nats (Liu et al., NeurIPS 2020, arXiv 2010.03759): (N, K, ...) -> (N, ...)."""
    return -logits.logsumexp(dim=1)


def gen(logits: Tensor) -> Tensor:
    """Sum over the (at most 100) largest p of (p (1 - p))^0.1, no unit: (N, K, ...) -> (N, ...).

    In double precision: the small power amplifies 1 - p, which float32 rounds to 0 for a confident pixel.

    Source: Liu et al., GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection, CVPR 2023.
    """
    probabilities = logits.double().softmax(dim=1)
    largest = probabilities.topk(min(_GEN_CLASSES, logits.shape[1]), dim=1).values
    return (largest * (1.0 - largest)).pow(_GEN_GAMMA).sum(dim=1)


def entropy(probabilities: Tensor) -> Tensor:
    """-sum_k p_k log p_k, nats, 0 log 0 = 0, within [0, log K]: (N, K, ...) -> (N, ...)."""
    values: Tensor = torch.special.entr(probabilities)
    return values.sum(dim=1)


def predictive_entropy(logits: Tensor) -> Tensor:
    """Entropy of p, nats, of one pass without dropped features: (N, K, ...) -> (N, ...)."""
    return entropy(logits.softmax(dim=1))


def mutual_information(probabilities: Iterable[Tensor]) -> Tensor:
    """Mutual information of class and network weights over Monte-Carlo passes, nats, >= 0 up to rounding.

    H(mean_m p_m) - mean_m H(p_m); p_m = probabilities (N, K, ...) of pass m, H = entropy. Only two sums are kept in
    memory. Source: Gal et al., ICML 2017, arXiv 1703.02910 (BALD); Depeweg et al., ICML 2018. Raises ``ValueError`` if
    there is no pass.
    """
    total, conditional, count = torch.zeros(()), torch.zeros(()), 0
    for sample in probabilities:
        total, conditional, count = sample + total, entropy(sample) + conditional, count + 1
    if count == 0:
        raise ValueError("there is no pass; mutual information needs at least one, and two to be more than 0.")
    return entropy(total / count) - conditional / count
