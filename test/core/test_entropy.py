"""k-nearest-neighbour entropy: parity with the reference's values, closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import digamma

from ls_ood_monitor.core.entropy import latent_entropies


def brute_force(samples: np.ndarray, k: int, floor: float = 1e-5) -> np.ndarray:
    """The estimator written out: all pairwise distances, k-th smallest without oneself. (M, C) -> (C,)."""
    count = len(samples)
    distances = np.sort(np.abs(samples[:, None] - samples[None]), axis=1)[:, k]
    return digamma(count) - digamma(k) + np.log(2.0 * np.maximum(distances, floor)).mean(axis=0)


def test_reference_values_numpy():
    """The values published for rand(3, 20), seed 1, k = 2."""
    samples = np.random.RandomState(1).rand(3, 20)
    first = [0.50127026, -0.24113694, -0.00449107, 0.3995355, 0.91656596]
    last = [0.64812784, 0.55261872, 0.56711444]
    result = latent_entropies(samples[None], k=2)[0]
    np.testing.assert_allclose(result[:5], first, atol=1e-7)
    np.testing.assert_allclose(result[-3:], last, atol=1e-7)


def test_reference_values_torch():
    """The values published for 1000 images of three float32 samples, torch seed 1; k = M - 1 by the reference's rule."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    samples = torch.rand(3000, 20).numpy().reshape(1000, 3, 20)
    expected = [0.66213845, -1.24553263, 0.43274342, 0.16964551, -0.11109334]
    np.testing.assert_allclose(latent_entropies(samples)[0, :5], expected, atol=1e-6)


@pytest.mark.parametrize(("count", "floor"), [(3, -10.319778), (10, -10.074143), (16, -9.584883), (32, -8.875866)])
def test_equal_samples_give_the_floor(count, floor):
    """M equal samples give psi(M) - psi(k) + log(2e-5), the reference's floors, and never minus infinity."""
    np.testing.assert_allclose(latent_entropies(np.full((2, count, 3), 7.0)), floor, atol=1e-6)


@pytest.mark.parametrize(("count", "k"), [(2, 1), (4, 3), (6, 5), (7, 5), (16, 5), (16, 1), (64, 9)])
def test_equals_brute_force(count, k):
    """Sorting and windows give what all pairwise distances give, ties and duplicates included."""
    samples = np.random.default_rng(count * k).normal(size=(3, count, 11)).round(1)
    result = latent_entropies(samples, k=k)
    for frame in range(3):
        np.testing.assert_allclose(result[frame], brute_force(samples[frame], k), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 25.0])
def test_gaussian_samples_give_the_closed_form(sigma):
    """Many Gaussian samples give ln(2 pi e sigma^2) / 2 within the estimator's spread."""
    samples = np.random.default_rng(0).normal(scale=sigma, size=(1, 4000, 8))
    expected = 0.5 * np.log(2 * np.pi * np.e * sigma**2)
    np.testing.assert_allclose(latent_entropies(samples).mean(), expected, atol=0.03)


def test_shift_changes_nothing_and_scale_adds_its_logarithm():
    """Differential entropy: h(x + c) = h(x), h(a x) = h(x) + ln|a|."""
    samples = np.random.default_rng(1).normal(size=(2, 16, 5))
    np.testing.assert_allclose(latent_entropies(samples + 100.0), latent_entropies(samples), atol=1e-9)
    np.testing.assert_allclose(latent_entropies(-3.0 * samples), latent_entropies(samples) + np.log(3.0), atol=1e-9)


def test_order_of_samples_does_not_matter():
    """The samples of a frame form a set."""
    samples = np.random.default_rng(2).normal(size=(1, 16, 4))
    shuffled = samples[:, np.random.default_rng(3).permutation(16)]
    np.testing.assert_array_equal(latent_entropies(samples), latent_entropies(shuffled))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_non_finite_sample_gives_nan_there_and_nowhere_else(value):
    """NaN marks its frame and channel, so that the alarm can say not OK; the rest is untouched."""
    samples = np.random.default_rng(4).normal(size=(2, 8, 3))
    clean = latent_entropies(samples)
    samples[1, 5, 2] = value
    result = latent_entropies(samples)
    assert np.isnan(result[1, 2])
    result[1, 2] = clean[1, 2]
    np.testing.assert_array_equal(result, clean)


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((4, 5), {}, "frames, samples, channels"),
        ((1, 1, 5), {}, "at least 2"),
        ((1, 5, 2), {"k": 5}, r"\[1, 4\]"),
        ((1, 5, 2), {"k": 0}, r"\[1, 4\]"),
        ((1, 5, 2), {"min_distance": 0.0}, "larger than 0"),
    ],
)
def test_impossible_input_is_refused(shape, options, words):
    """Wrong shapes, ranks and distances are refused with their value."""
    with pytest.raises(ValueError, match=words):
        latent_entropies(np.zeros(shape), **options)
