"""The variational layer against torch.distributions and sampling statistics."""

from __future__ import annotations

import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F  # noqa: N812

from ls_ood_monitor.vision.variational import PRIOR_SIGMA, VariationalConv2d


def test_kl_equals_torch_distributions():
    """The closed form agrees with torch's own Gaussian KL, weights and biases together."""
    torch.manual_seed(1)
    layer = VariationalConv2d(6, 4).double()
    prior = Normal(torch.zeros((), dtype=torch.float64), torch.tensor(PRIOR_SIGMA, dtype=torch.float64))
    expected = sum(
        kl_divergence(Normal(mu, F.softplus(rho)), prior).sum()
        for mu, rho in ((layer.weight_mu, layer.weight_rho), (layer.bias_mu, layer.bias_rho))
    )
    torch.testing.assert_close(layer.kl_divergence(), expected)


def test_kl_is_zero_at_the_prior():
    """A posterior equal to the prior costs nothing."""
    layer = VariationalConv2d(3, 2)
    rho = torch.log(torch.expm1(torch.tensor(PRIOR_SIGMA)))
    with torch.no_grad():
        for mu in (layer.weight_mu, layer.bias_mu):
            mu.zero_()
        for spread in (layer.weight_rho, layer.bias_rho):
            spread.fill_(rho)
    assert abs(float(layer.kl_divergence().detach())) < 1e-5


def test_eval_uses_the_posterior_mean_unless_told_to_sample():
    """Eval mode is repeatable; ``sampling`` draws there, too."""
    torch.manual_seed(0)
    layer = VariationalConv2d(5, 3).eval()
    features = torch.rand(2, 5, 4, 4)
    expected = torch.einsum("oi,nihw->nohw", layer.weight_mu[:, :, 0, 0], features) + layer.bias_mu[:, None, None]
    torch.testing.assert_close(layer(features), expected)
    layer.sampling = True
    assert not torch.equal(layer(features), layer(features))


def test_samples_have_the_stated_moments():
    """Outputs on a one-hot input have mean mu + bias mean and the summed variance."""
    torch.manual_seed(0)
    layer = VariationalConv2d(2, 1).train()
    pixel = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    with torch.no_grad():
        draws = torch.stack([layer(pixel).flatten() for _ in range(20000)]).double()
        mean = layer.weight_mu[0, 0] + layer.bias_mu
        sigma = (F.softplus(layer.weight_rho[0, 0]) ** 2 + F.softplus(layer.bias_rho) ** 2).sqrt()
    assert abs(float(draws.mean() - mean)) < 5 * float(sigma) / 20000**0.5
    assert abs(float(draws.std() / sigma) - 1) < 0.03
