"""Mask bank and latent samples, against the dropblock package."""

from __future__ import annotations

import pytest
import torch
from dropblock import DropBlock2D

from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.vision.mc_dropout import (
    FreshMasks,
    averaging_weights,
    draw_mask_bank,
    inference_dropblock,
    masked_features,
    sample_latents,
)


@pytest.mark.parametrize(("block_size", "prob"), [(3, 0.3), (8, 0.5), (12, 0.2), (1, 0.4)])
def test_latents_equal_dropblock2d_with_the_same_masks(block_size, prob):
    """One matrix product gives what the package gives, mask by mask at batch 1, for odd and even block sizes."""
    torch.manual_seed(3)
    features = torch.rand(1, 7, 31, 40, dtype=torch.float64)
    layer = DropBlock2D(drop_prob=prob, block_size=block_size).train()
    captured, expected = [], []
    original = layer._compute_block_mask

    def capture(mask):
        captured.append(original(mask))
        return captured[-1]

    layer._compute_block_mask = capture
    for _ in range(16):
        expected.append(layer(features).mean(dim=(2, 3))[0])
    bank = torch.cat(captured)
    weights = (bank / bank.flatten(1).sum(1)[:, None, None]).flatten(1).double()
    torch.testing.assert_close(sample_latents(features, weights)[0], torch.stack(expected), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(averaging_weights(bank.to(torch.uint8)).double(), weights, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("block_size", [3, 4])
def test_bank_is_drawn_like_the_package(block_size):
    """The same uniform draws give the package's masks cell by cell."""
    bank = draw_mask_bank(5, 12, 15, block_size=block_size, drop_prob=0.3, seed=11)
    draws = torch.rand(5, 12, 15, generator=torch.Generator().manual_seed(11))
    layer = DropBlock2D(drop_prob=0.3, block_size=block_size)
    expected = layer._compute_block_mask((draws < 0.3 / block_size**2).float())
    assert torch.equal(bank.float(), expected)


def test_latents_do_not_depend_on_the_rest_of_the_batch():
    """A frame's samples are its own; the package's batch-wide rescaling would couple them."""
    features = torch.rand(3, 5, 8, 10)
    weights = averaging_weights(draw_mask_bank(6, 8, 10, block_size=3, drop_prob=0.4, seed=0))
    torch.testing.assert_close(sample_latents(features, weights)[1:2], sample_latents(features[1:2], weights))


def test_bank_repeats_with_its_seed_and_only_then():
    """The same seed gives the same bank and leaves torch's global generator alone; None draws afresh."""
    settings = {"block_size": 3, "drop_prob": 0.3}
    state = torch.get_rng_state()
    first = draw_mask_bank(8, 15, 20, seed=4, **settings)
    assert torch.equal(first, draw_mask_bank(8, 15, 20, seed=4, **settings))
    assert not torch.equal(first, draw_mask_bank(8, 15, 20, seed=5, **settings))
    assert not torch.equal(draw_mask_bank(8, 15, 20, **settings), draw_mask_bank(8, 15, 20, **settings))
    assert torch.equal(state, torch.get_rng_state())


def test_no_mask_is_empty_on_a_tiny_map():
    """On a small map many masks would drop everything and divide by zero; those are drawn again."""
    bank = draw_mask_bank(2000, 6, 6, block_size=8, drop_prob=0.5, seed=0)
    assert int(bank.flatten(1).sum(1).min()) >= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"masks": 1, "height": 4, "width": 4, "block_size": 3, "drop_prob": 0.3}, "at least 2"),
        ({"masks": 4, "height": 4, "width": 4, "block_size": 3, "drop_prob": 0.0}, "within"),
        ({"masks": 4, "height": 3, "width": 3, "block_size": 1, "drop_prob": 1e-9}, "all 4 masks are the same"),
        ({"masks": 64, "height": 2, "width": 2, "block_size": 1, "drop_prob": 0.9999999}, "leaves nothing"),
    ],
)
def test_impossible_banks_are_refused(arguments, words):
    """Settings under which samples cannot differ or cannot exist are refused with the value named."""
    with pytest.raises(ConfigError, match=words):
        draw_mask_bank(**arguments, seed=0)


def test_bank_of_another_size_is_refused():
    """A bank only fits the feature map it was drawn for."""
    weights = averaging_weights(draw_mask_bank(4, 8, 10, block_size=3, drop_prob=0.3, seed=0))
    with pytest.raises(ConfigError, match="80 cells"):
        sample_latents(torch.rand(1, 5, 9, 10), weights)


def test_fresh_masks_do_not_depend_on_the_batch():
    """With one seed the third frame gets the same masks whether it came alone or in a batch; no two frames share theirs."""
    settings = {"masks": 8, "height": 6, "width": 8, "block_size": 3, "drop_prob": 0.5}
    together = FreshMasks(**settings, seed=3).weights(3)
    one_by_one = FreshMasks(**settings, seed=3)
    torch.testing.assert_close(torch.cat([one_by_one.weights(1) for _ in range(3)]), together, rtol=0.0, atol=0.0)
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(FreshMasks(**settings).weights(1), FreshMasks(**settings).weights(1))
    assert torch.allclose(together.sum(dim=2), torch.ones(3, 8))


def test_fresh_masks_are_drawn_like_a_bank():
    """The first frame's masks are those of the bank with the same seed, and latents those of that bank."""
    settings = {"height": 6, "width": 8, "block_size": 3, "drop_prob": 0.5, "seed": 5}
    weights, features = FreshMasks(8, **settings).weights(2), torch.rand(2, 7, 6, 8)
    bank = averaging_weights(draw_mask_bank(8, **settings))
    assert torch.equal(weights[0], bank)
    latents = sample_latents(features, weights)
    torch.testing.assert_close(latents[0], sample_latents(features, bank)[0])
    torch.testing.assert_close(latents[1], sample_latents(features[1:], weights[1])[0])


def test_equal_fresh_masks_do_not_stop_a_vehicle():
    """Where a drawing happens to drop nothing, a bank is refused; a frame at run time is not."""
    assert FreshMasks(4, 3, 3, block_size=1, drop_prob=1e-9, seed=0).weights(1).shape == (1, 4, 9)
    with pytest.raises(ConfigError, match="at least 2"):
        FreshMasks(1, 3, 3, block_size=1, drop_prob=0.5)


def test_masked_features_equal_dropblock2d():
    """Features after mask i are the package's: kept cells scaled by numel / sum, one mask for all or one for each frame."""
    features = torch.rand(2, 5, 6, 8)
    bank = draw_mask_bank(3, 6, 8, block_size=3, drop_prob=0.5, seed=0)
    weights = averaging_weights(bank)
    expected = features * bank[1] * (48 / bank[1].sum())
    torch.testing.assert_close(masked_features(features, weights, 1), expected)
    torch.testing.assert_close(masked_features(features, torch.stack([weights, weights.flip(0)]), 1), expected)
    own = masked_features(features, torch.stack([weights, weights.flip(0)]), 0)
    torch.testing.assert_close(own[1:], masked_features(features, weights, 2)[1:])


def test_a_network_without_dropblock_gets_the_references_masks():
    """Block 8 and p 0.5, the block no larger than a quarter of a small map; a trained-in DropBlock stays as it is."""
    assert inference_dropblock(12, 0.2, 31, 40) == (12, 0.2)
    assert inference_dropblock(12, 0.0, 32, 40) == (8, 0.5)
    assert inference_dropblock(12, 0.0, 6, 8) == (1, 0.5)
