"""A convolution whose weights are distributions: Bayes by Backprop with a Gaussian mean-field posterior.

Source: Blundell et al., Weight Uncertainty in Neural Networks, ICML 2015, arXiv 1505.05424; prior and start values
as in the reference's variational last layer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the customary name

PRIOR_SIGMA = 0.1
_START_RHO = -2.0
_START_SPREAD = 0.1


class VariationalConv2d(nn.Module):
    """A 1x1 convolution with weights ~ N(mu, softplus(rho)^2), drawn anew for every call in train mode.

    In eval mode it uses the posterior mean, so that the vehicle's segmentation is repeatable. With ``sampling`` set to True
    it draws in eval mode, too, as the reference always does.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight_mu = nn.Parameter(torch.randn(outputs, inputs, 1, 1) * _START_SPREAD)
        self.weight_rho = nn.Parameter(_START_RHO + torch.randn(outputs, inputs, 1, 1) * _START_SPREAD)
        self.bias_mu = nn.Parameter(torch.randn(outputs) * _START_SPREAD)
        self.bias_rho = nn.Parameter(_START_RHO + torch.randn(outputs) * _START_SPREAD)
        self.sampling = False

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        if self.training or self.sampling:
            return F.conv2d(features, _draw(self.weight_mu, self.weight_rho), _draw(self.bias_mu, self.bias_rho))
        return F.conv2d(features, self.weight_mu, self.bias_mu)

    def kl_divergence(self) -> Tensor:
        """KL(posterior || prior) in nats, summed over all weights; scalar, 0 where both agree."""
        return _gaussian_kl(self.weight_mu, self.weight_rho) + _gaussian_kl(self.bias_mu, self.bias_rho)


def _draw(mu: Tensor, rho: Tensor) -> Tensor:
    return mu + F.softplus(rho) * torch.randn_like(mu)


def _gaussian_kl(mu: Tensor, rho: Tensor) -> Tensor:
    sigma = F.softplus(rho)
    return (math.log(PRIOR_SIGMA) - sigma.log() + (sigma**2 + mu**2) / (2 * PRIOR_SIGMA**2) - 0.5).sum()
