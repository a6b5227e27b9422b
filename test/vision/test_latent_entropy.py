"""The tensors' estimator is the one of the core."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ls_ood_monitor.core.entropy import latent_entropies
from ls_ood_monitor.vision.latent_entropy import tensor_entropies


@pytest.mark.parametrize("samples", [2, 3, 6, 16, 64])
def test_it_equals_the_definition(samples):
    """Random, repeated and equal samples, whatever their number, to rounding of double precision."""
    random = np.random.default_rng(samples)
    latents = random.normal(size=(2, samples, 7))
    latents[0, :, 1] = 3.0
    latents[1, ::2, 2] = latents[1, 0, 2]
    computed = tensor_entropies(torch.from_numpy(latents)).numpy()
    np.testing.assert_allclose(computed, latent_entropies(latents), atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_broken_sample_breaks_its_channel_alone(bad):
    """NaN and infinities give NaN where they are, and leave the others as they were."""
    latents = np.random.default_rng(0).normal(size=(1, 16, 3))
    whole = latent_entropies(latents)
    latents[0, 4, 1] = bad
    computed = tensor_entropies(torch.from_numpy(latents)).numpy()
    assert np.isnan(computed[0, 1])
    np.testing.assert_allclose(computed[0, [0, 2]], whole[0, [0, 2]], atol=1e-12)
