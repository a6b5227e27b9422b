"""ViM, ReAct, DICE and ASH against pytorch-ood, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_ood import detector as other
from scipy.special import logsumexp

from ls_ood_monitor.core.detectors import Head
from ls_ood_monitor.core.detectors.head import AshDetector, DiceDetector, HeadDetector, ReactDetector, VimDetector
from ls_ood_monitor.errors import BundleError, ConfigError, MonitorError

CLASSES, WIDTH, CELLS = 7, 32, 12
KINDS = (VimDetector, ReactDetector, DiceDetector, AshDetector)


def cells(count: int, seed: int, scale: float = 1.0) -> np.ndarray:
    """Features after a ReLU, (count, cells, width); what is exact in float32, which pytorch-ood computes in."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(98).normal(size=(WIDTH, WIDTH)) / WIDTH**0.5
    values = np.maximum(random.normal(0.5, scale, size=(count, CELLS, WIDTH)) @ mixing, 0.0)
    return values.astype(np.float32).astype(np.float64)


@pytest.fixture
def head() -> Head:
    """A last layer, exact in float32."""
    random = np.random.default_rng(97)
    return Head(
        *(random.normal(size=size).astype(np.float32).astype(np.float64) for size in ((CLASSES, WIDTH), (CLASSES,)))
    )


def tensors(head: Head) -> tuple[torch.Tensor, torch.Tensor]:
    """The last layer as pytorch-ood takes it."""
    return torch.from_numpy(head.weight).float(), torch.from_numpy(head.bias).float()


def flat(rows: np.ndarray) -> torch.Tensor:
    """One feature vector a cell, (frames * cells, width)."""
    return torch.from_numpy(rows.reshape(-1, WIDTH)).float()


def mean_over_cells(scores: torch.Tensor) -> np.ndarray:
    """Frame scores from scores of single cells."""
    return scores.double().numpy().reshape(-1, CELLS).mean(axis=1)


def test_vim_equals_pytorch_ood(head):
    """Virtual logit and energy of every cell, averaged, with 10 principal directions and with the default half."""
    train, fresh = cells(50, 0), cells(9, 1, 2.0)
    for dimensions, used in ((10, 10), (None, WIDTH // 2)):
        detector = VimDetector(head, dimensions).fit(train)
        expected = other.ViM(None, used, *tensors(head)).fit_features(flat(train), torch.zeros(50 * CELLS))
        assert detector.state()["alpha"][0] == pytest.approx(expected.alpha, rel=1e-4)
        np.testing.assert_allclose(
            detector.score(fresh), mean_over_cells(expected.predict_features(flat(fresh))), rtol=1e-4, atol=1e-4
        )


def test_react_equals_pytorch_ood(head):
    """Energy after clipping at the 90th percentile of the clean features."""
    train, fresh = cells(50, 0), cells(9, 1, 3.0)
    weight, bias = tensors(head)
    expected = other.ReAct(lambda x: x, lambda x: x.flatten(1) @ weight.T + bias)
    expected.fit_feature_maps(flat(train)[:, :, None, None], torch.zeros(50 * CELLS))
    scores = expected.predict_feature_maps(flat(fresh)[:, :, None, None])
    np.testing.assert_allclose(ReactDetector(head).fit(train).score(fresh), mean_over_cells(scores), rtol=1e-5)


def test_dice_equals_pytorch_ood(head):
    """Energy with only the tenth of the weights that contributes most."""
    train, fresh = cells(50, 0), cells(9, 1, 2.0)
    expected = other.DICE(None, *tensors(head), 0.9).fit_features(flat(train), torch.zeros(50 * CELLS))
    detector = DiceDetector(head).fit(train)
    assert np.count_nonzero(detector.state()["kept"]) == pytest.approx(CLASSES * WIDTH / 10, abs=1)
    np.testing.assert_allclose(
        detector.score(fresh), mean_over_cells(expected.predict_features(flat(fresh))), rtol=1e-5
    )


@pytest.mark.parametrize("percentile", [1.0, 65.0, 90.0, 99.5])
def test_ash_equals_pytorch_ood(head, percentile):
    """Energy of features pruned and sharpened (ASH-S)."""
    fresh = cells(9, 1, 2.0)
    weight, bias = tensors(head)
    if percentile == 99.5:  # pytorch-ood would keep nothing of 32 features; one is kept here
        single = np.where(fresh == fresh.max(axis=2, keepdims=True), fresh, 0.0)
        logits = single * np.exp(fresh.sum(axis=2, keepdims=True) / single.sum(axis=2, keepdims=True)) @ head.weight.T
        expected = -logsumexp(logits + head.bias, axis=2).mean(axis=1)
    else:
        model = other.ASH(lambda x: x, lambda x: x.flatten(1) @ weight.T + bias, percentile=percentile / 100)
        expected = mean_over_cells(model.predict_feature_maps(flat(fresh)[:, :, None, None]))
    np.testing.assert_allclose(AshDetector(head, percentile).fit(cells(5, 2)).score(fresh), expected, rtol=1e-5)


def test_ash_of_a_dead_cell_is_the_energy_of_the_bias(head):
    """A cell whose features are all 0 has no sum to divide by; its logits are the bias."""
    detector = AshDetector(head).fit(cells(5, 2))
    assert detector.score(np.zeros((1, CELLS, WIDTH)))[0] == pytest.approx(-np.log(np.exp(head.bias).sum()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_layer_travels_with_the_state(kind, head):
    """A detector rebuilt from arrays needs no network, and can be fitted again."""
    detector: HeadDetector = kind(head).fit(cells(20, 0))
    rebuilt = kind.from_state(detector.state())
    np.testing.assert_array_equal(rebuilt.score(cells(4, 1)), detector.score(cells(4, 1)))
    np.testing.assert_array_equal(rebuilt.fit(cells(20, 0)).score(cells(4, 1)), detector.score(cells(4, 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_features_of_another_width_are_refused(kind, head):
    """Features that the last layer cannot take are refused in fitting, with the shape it needs."""
    with pytest.raises(MonitorError, match=r"the detector needs \(N, cells, 32\)"):
        kind(head).fit(np.random.default_rng(0).random((5, CELLS, WIDTH + 1)))


def test_impossible_settings_are_refused(head):
    """Percentiles outside (0, 100) and principal directions that leave no residual are named."""
    for kind in (ReactDetector, DiceDetector, AshDetector):
        with pytest.raises(ConfigError, match="percentile is 100"):
            kind(head, 100.0)
    with pytest.raises(ConfigError, match=r"within \[1, 31\]"):
        VimDetector(head, 32)
    line = np.random.default_rng(0).random((9, 1, 1)) * np.ones((9, CELLS, WIDTH))
    with pytest.raises(MonitorError, match="no residual"):
        VimDetector(Head(head.weight, np.zeros(CLASSES))).fit(line)
    with pytest.raises(BundleError, match="percentile"):
        AshDetector.from_state({**AshDetector(head).fit(cells(5, 2)).state(), "percentile": np.zeros(1)})
