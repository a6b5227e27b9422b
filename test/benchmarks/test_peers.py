"""The peers are what they claim to be: their samples, entropies and probabilities, against other ways to them."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import peers

from ls_ood_monitor.core.entropy import latent_entropies
from ls_ood_monitor.vision.deeplabv3p import DeepLabV3Plus, NetworkSettings
from ls_ood_monitor.vision.mc_dropout import averaging_weights, draw_mask_bank, sample_latents

HEIGHT, WIDTH = 96, 128
OURS = ("naive MC, 16 passes", "naive MC, 32 passes", "reference (KD-tree loop)")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    settings = NetworkSettings(aspp_channels=16, low_level_channels=8, dropblock_size=3, dropblock_prob=0.4)
    network = DeepLabV3Plus(settings).eval()
    for layer in network.modules():  # drawn weights alone let the signal of a deep network fade away
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_var.fill_(0.1)
    return network


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def bank(network):
    return draw_mask_bank(16, 6, 8, block_size=3, drop_prob=0.4, seed=0)


def mean_score(entropies: np.ndarray) -> np.ndarray:
    return entropies.mean(axis=1)


@pytest.mark.parametrize("count", [3, 5, 6, 16, 32])
def test_the_loop_estimates_the_same_entropies(count):
    """One KD-tree a channel gives ``latent_entropies``, for all equal samples and repeated ones too."""
    samples = np.random.default_rng(0).normal(size=(count, 40))
    samples[:, 0] = 1.0
    samples[: count // 2, 1] = samples[0, 1]
    np.testing.assert_allclose(peers.kd_tree_entropies(samples), latent_entropies(samples[None])[0], atol=1e-12)


def test_the_loop_gives_the_published_vector():
    """Values that the reference's own tests state for numpy's seed 1."""
    np.random.seed(1)  # the legacy generator is what they used
    entropies = peers.kd_tree_entropies(np.random.rand(3, 20))
    np.testing.assert_allclose(entropies[:5], [0.50127026, -0.24113694, -0.00449107, 0.3995355, 0.91656596], atol=1e-7)


def test_the_floor_is_the_references():
    """Samples that are all the same: psi(3) - psi(2) + log(2e-5)."""
    assert peers.kd_tree_entropies(np.ones((3, 1)))[0] == pytest.approx(-10.31977828)


@torch.inference_mode()
def test_naive_passes_sample_what_a_hook_on_the_network_sees(network, pictures):
    """Latents and probabilities are those of the network itself with only its DropBlock switched on."""
    seen, answers = [], []
    switched = copy.deepcopy(network)
    switched.dropblock.train()
    switched.dropblock.register_forward_hook(lambda _module, _inputs, output: seen.append(output.mean(dim=(2, 3))))
    switched.decoder[-1].register_forward_hook(lambda _module, _inputs, logits: answers.append(logits.softmax(dim=1)))
    torch.manual_seed(3)
    for _ in range(4):
        switched(pictures[:1])
    torch.manual_seed(3)
    probabilities, latents = peers.naive_pass(network, pictures[:1], peers.SeamDropBlock(0.4, 3).train(), 4)
    torch.testing.assert_close(latents[0], torch.cat(seen), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(probabilities, torch.cat(answers).mean(dim=0, keepdim=True), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_one_pass_with_many_dropblocks_samples_what_many_passes_do(network, pictures):
    """The encoder is deterministic: with one seed the reference's latents are those of the naive passes."""
    drops = torch.nn.ModuleList(peers.SeamDropBlock(0.4, 3) for _ in range(16)).train()
    torch.manual_seed(5)
    _, once = peers.reference_pass(network, pictures, drops)
    torch.manual_seed(5)
    _, often = peers.naive_pass(network, pictures, drops[0], 16)
    torch.testing.assert_close(once, often, atol=1e-6, rtol=1e-5)


def test_a_picture_is_dropped_from_on_its_own():
    """The layer's output for a picture does not depend on the picture beside it, and nothing is ever all dropped."""
    features = torch.rand(2, 4, 6, 8)
    layer = peers.SeamDropBlock(0.4, 3).train()
    torch.manual_seed(7)
    both = layer(features)
    torch.manual_seed(7)
    torch.testing.assert_close(both, torch.cat([layer(features[:1]), layer(features[1:])]))
    assert torch.isfinite(peers.SeamDropBlock(0.9, 8).train()(features)).all()


@torch.inference_mode()
def test_the_latents_spread_as_those_of_our_bank_do(network, pictures):
    """Naive passes and the mask bank are draws from one distribution: means and deviations of 400 samples agree."""
    torch.manual_seed(0)
    drops = torch.nn.ModuleList(peers.SeamDropBlock(0.4, 3) for _ in range(400)).train()
    _, drawn = peers.reference_pass(network, pictures[:1], drops)
    bank = draw_mask_bank(400, 6, 8, block_size=3, drop_prob=0.4, seed=1)
    ours = sample_latents(network.encode(pictures[:1]).high, averaging_weights(bank))
    spread = ours.std(dim=1)
    lively = spread > 1e-3 * spread.max()
    assert ((drawn.mean(dim=1) - ours.mean(dim=1)).abs() / spread)[lively].max() < 0.35  # 5 standard errors
    assert (drawn.std(dim=1) / spread)[lively].median() == pytest.approx(1.0, abs=0.15)


def test_every_contender_ends_with_a_whole_frame(network, pictures, bank):
    """Class ids and confidence at the picture's size, a finite score each, and a network left as it was."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    work = peers.contenders(network, pictures, bank, mean_score)
    assert list(work)[:3] == list(OURS)
    for name, run in work.items():
        frame = run()
        assert frame.class_ids.shape == (2, HEIGHT, WIDTH), name
        assert frame.confidence.shape in ((2, HEIGHT, WIDTH), (2, HEIGHT // 4, WIDTH // 4)), name
        assert frame.class_ids.dtype == frame.confidence.dtype == np.uint8, name
        assert frame.score.shape == (2,), name
        assert np.isfinite(frame.score).all(), name
    assert not any(module.training for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_naive_mc_and_the_reference_score_one_seed_alike(network, pictures, bank):
    """From pictures to scores, by 16 passes and fast entropies or by one pass and the loop."""
    work = peers.contenders(network, pictures, bank, mean_score)
    torch.manual_seed(11)
    naive = work["naive MC, 16 passes"]()
    torch.manual_seed(11)
    reference = work["reference (KD-tree loop)"]()
    np.testing.assert_allclose(naive.score, reference.score, atol=1e-3)


@torch.inference_mode()
def test_one_pass_segments_as_the_plain_pass_does(network, pictures, bank):
    """The reference's monitor on one pass adds a score and changes no pixel."""
    features = network.encode(pictures)
    logits = network.classify(network.penultimate(features.low, features.high))
    reference = peers.contenders(network, pictures, bank, mean_score)["reference (KD-tree loop)"]()
    np.testing.assert_array_equal(reference.class_ids, network(pictures).argmax(dim=1).numpy())
    confidence = (logits.softmax(dim=1).amax(dim=1) * 255.0).round()
    np.testing.assert_array_equal(reference.confidence, confidence.to(torch.uint8).numpy())


@torch.inference_mode()
def test_pytorch_ood_takes_the_mean_of_the_same_passes(network, pictures, bank):
    """With one seed its class ids are those of naive MC: the same 16 masks, the same mean."""
    pytest.importorskip("pytorch_ood")
    work = peers.contenders(network, pictures, bank, mean_score)
    torch.manual_seed(13)
    theirs = work["pytorch-ood MCD, 16 passes"]()
    torch.manual_seed(13)
    naive = work["naive MC, 16 passes"]()
    np.testing.assert_array_equal(theirs.class_ids, naive.class_ids)
    assert (theirs.score < 0.0).all()  # minus the mean of the largest probability


@torch.inference_mode()
def test_torch_uncertainty_runs_sixteen_different_passes(network, pictures, bank):
    """With one seed its class ids are those of the network run 16 times with a Dropout2d at the seam."""
    pytest.importorskip("torch_uncertainty")
    work = peers.contenders(network, pictures, bank, mean_score)
    torch.manual_seed(17)
    theirs = work["torch-uncertainty, 16 passes"]()
    torch.manual_seed(17)
    layer = torch.nn.Dropout2d(0.4).train()
    probabilities, _ = peers.naive_pass(network, pictures, layer, 16)
    expected = torch.nn.functional.interpolate(probabilities, size=(HEIGHT, WIDTH), mode="bilinear").argmax(dim=1)
    assert (theirs.class_ids == expected.numpy()).mean() > 0.999
    assert not np.array_equal(theirs.score, work["torch-uncertainty, 16 passes"]().score)


@pytest.mark.parametrize(
    ("package", "module", "lost"),
    [
        ("torch-uncertainty", "torch_uncertainty.methods", "torch-uncertainty, 16 passes"),
        ("pytorch-ood", "pytorch_ood.detector", "pytorch-ood MCD, 16 passes"),
    ],
)
def test_a_peer_that_is_not_installed_is_left_out_with_a_sentence(
    network, pictures, bank, monkeypatch, capsys, package, module, lost
):
    """The others stay, and nothing is raised."""
    monkeypatch.setitem(sys.modules, module, None)
    work = peers.contenders(network, pictures, bank, mean_score)
    assert lost not in work
    assert set(OURS) <= set(work)
    note = " ".join(capsys.readouterr().err.split())
    assert f"{package} is left out" in note
    assert "requirements/bench.txt" in note
