"""Features of a pass: equal to the steps taken by hand, and only computed for who reads them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812  the customary name

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.calibration.calibrate import calibrate
from ls_ood_monitor.calibration.collect import collect_features
from ls_ood_monitor.calibration.settings import CalibrationSettings
from ls_ood_monitor.config import from_mapping
from ls_ood_monitor.core.detectors import DETECTORS, required_features
from ls_ood_monitor.core.grid import GRID
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.features import CELL_CHANNELS, FEATURES, MI_SAMPLES, NetworkPass, compute_features, pool_cells
from ls_ood_monitor.frame_pass import LatentSettings
from ls_ood_monitor.networks.deeplab_pass import DeepLabPass
from ls_ood_monitor.vision.deeplabv3p import DeepLabV3Plus, NetworkSettings
from ls_ood_monitor.vision.preprocess import preprocess


@pytest.fixture(scope="module")
def embedded(tiny_bundle) -> DeepLabPass:
    """The tiny bundle's network, preprocessing and masks."""
    return load_bundle(tiny_bundle, device="cpu").frame_pass


def pass_for(embedded: DeepLabPass, names, **options) -> DeepLabPass:
    """The same pass for other features."""
    return DeepLabPass(embedded.network, embedded.preprocess_spec, embedded.mask_bank, features=names, **options)


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Random BGR pictures of the network's own size."""
    return list(np.random.default_rng(seed).integers(0, 256, (count, 96, 128, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def by_hand(embedded):
    """Tensors of two pictures, in double where sums are taken."""
    frame_pass = pass_for(embedded, ())
    with torch.inference_mode():
        encoded = embedded.network.encode(preprocess(pictures(2), frame_pass.preprocess_spec))
        low, high = encoded.low, encoded.high
        head_input = embedded.network.penultimate(low, high)
        return low, high, head_input, embedded.network.classify(head_input)


def test_head_cells_are_means_over_the_grid(embedded, by_hand):
    """Each cell is the mean of its patch of the last layer's input, row by row."""
    features = pass_for(embedded, ["head_cells"]).features_of(pictures(2)).of("head_cells")
    head_input = by_hand[2].double().numpy()
    rows, columns = GRID
    height, width = head_input.shape[2] // rows, head_input.shape[3] // columns
    assert features.shape == (2, rows * columns, head_input.shape[1])
    patch = head_input[1, :, 2 * height : 3 * height, 5 * width : 6 * width].mean(axis=(1, 2))
    np.testing.assert_allclose(features[1, 2 * columns + 5], patch, rtol=1e-4, atol=1e-5)


def test_cells_of_a_wide_encoder_read_some_of_its_channels():
    """ResNet-18's stages of 64, 128 and 256 channels: all, all, and 128 spread over the third."""
    network = DeepLabV3Plus(NetworkSettings("resnet18", classes=3, aspp_channels=16, separable=True)).eval()
    with torch.inference_mode():
        run = NetworkPass(network, network.encode(torch.rand(1, 3, 48, 64)), torch.zeros(0))
        cells = compute_features(run, ["cells"]).of("cells")
        last = pool_cells(run.encoded.stages[2]).numpy()
    assert cells.shape == (1, 48, 64 + 128 + CELL_CHANNELS)
    spread = np.round(np.linspace(0, 255, CELL_CHANNELS)).astype(int)
    np.testing.assert_allclose(cells[0, :, 192:], last[0][:, spread], rtol=1e-6)


@pytest.mark.parametrize("size", [(31, 40), (121, 160), (6, 8), (7, 9), (4, 5)])
def test_exported_cells_are_those_of_the_network(monkeypatch, size):
    """Products of matrices in place of torch's adaptive pooling: odd sizes, one that fits, and fewer pixels than cells."""
    plane = torch.rand(2, 5, *size)
    pooled = F.adaptive_avg_pool2d(plane, GRID).flatten(2).transpose(1, 2)
    assert torch.equal(pool_cells(plane), pooled)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    np.testing.assert_allclose(pool_cells(plane).numpy(), pooled.numpy(), rtol=2e-6)


def test_class_latents_are_means_over_predicted_cells(embedded, by_hand):
    """A class's row is the mean latent of the cells predicted as it, then their share; an absent class is zeros."""
    features = pass_for(embedded, ["class_latents"]).features_of(pictures(2)).of("class_latents")
    high, logits = by_hand[1], by_hand[3]
    predicted = F.adaptive_avg_pool2d(logits, high.shape[2:]).argmax(dim=1).numpy()
    assert features.shape == (2, logits.shape[1], high.shape[1] + 1)
    np.testing.assert_allclose(features[:, :, -1].sum(axis=1), 1.0, rtol=1e-6)
    for frame in range(2):
        for index in range(logits.shape[1]):
            cells = high[frame].double().numpy()[:, predicted[frame] == index]
            expected = cells.mean(axis=1) if cells.shape[1] else 0.0
            np.testing.assert_allclose(features[frame, index, :-1], expected, rtol=1e-4, atol=1e-5)
            assert features[frame, index, -1] == pytest.approx(cells.shape[1] / predicted[frame].size, rel=1e-6)


def test_output_scores_are_means_over_pixels(embedded, by_hand):
    """One value a frame: the mean of the pixels' scores at the decoder's resolution."""
    features = pass_for(embedded, ["msp", "energy", "predictive_entropy", "gen"]).features_of(pictures(2))
    logits = by_hand[3].double()
    p = logits.softmax(dim=1)
    for name, expected in (
        ("msp", -p.max(dim=1).values),
        ("energy", -logits.logsumexp(dim=1)),
        ("predictive_entropy", -(p * p.log()).sum(dim=1)),
        ("gen", (p * (1 - p)).pow(0.1).sum(dim=1)),
    ):
        np.testing.assert_allclose(features.of(name), expected.mean(dim=(1, 2))[:, None].numpy(), rtol=1e-3)


def test_mutual_information_equals_passes_with_dropped_features(embedded, by_hand):
    """Decoder passes with the first masks of the bank, one at a time, give the same information."""
    value = pass_for(embedded, ["mutual_information"]).features_of(pictures(2)).of("mutual_information")
    low, high = by_hand[:2]
    with torch.inference_mode():
        passes = []
        for mask in embedded.mask_bank[:MI_SAMPLES].float():
            head_input = embedded.network.penultimate(low, high * mask * (mask.numel() / mask.sum()))
            passes.append(embedded.network.classify(head_input).double().softmax(dim=1))
        samples = torch.stack(passes)
        mean = samples.mean(dim=0)
        information = -(mean * mean.log()).sum(dim=1) + (samples * samples.log()).sum(dim=2).mean(dim=0)
    assert value.shape == (2, 1)
    assert (value > 0.0).all()
    np.testing.assert_allclose(value[:, 0], information.mean(dim=(1, 2)).numpy(), rtol=1e-2)


@pytest.mark.parametrize(
    ("feature", "encoder", "decoder"),
    [
        ("stage_means", 1, 0),
        ("latent_means", 1, 0),
        ("entropies", 1, 0),
        ("head_cells", 1, 1),
        ("msp", 1, 1),
        ("class_latents", 1, 1),
        ("mutual_information", 1, MI_SAMPLES),
    ],
)
def test_a_feature_costs_only_what_it_needs(embedded, feature, encoder, decoder):
    """Encoder once; the decoder only for features that need it."""
    calls = Counter()

    class Counting:
        def __init__(self, network):
            self.network = network

        def __getattr__(self, name):
            calls[name] += 1
            return getattr(self.network, name)

    network = Counting(embedded.network)
    with torch.inference_mode():
        compute_features(
            NetworkPass(network, network.encode(torch.zeros(1, 3, 96, 128)), embedded.averaging), [feature]
        )
    assert (calls["encode"], calls["penultimate"]) == (encoder, decoder)


def test_fresh_masks_repeat_with_their_seed_alone(embedded):
    """Fresh masks change the entropies of one picture from pass to pass; a seed repeats them whatever the batches."""
    names, some = ["entropies", "latent_means"], pictures(3)
    together = pass_for(embedded, names, masks="fresh", fresh_seed=1).features_of(some)
    again = pass_for(embedded, names, masks="fresh", fresh_seed=1)
    alone = [again.features_of([picture]).of("entropies")[0] for picture in some]
    np.testing.assert_allclose(together.of("entropies"), alone, atol=2e-2)
    free = pass_for(embedded, names, masks="fresh")
    first, second = (free.features_of(some[:1]) for _ in range(2))
    assert np.abs(first.of("entropies") - second.of("entropies")).max() > 0.1
    np.testing.assert_array_equal(first.of("latent_means"), second.of("latent_means"))


def test_mask_modes_are_named_and_old_settings_load():
    """Settings stored before there were modes mean fixed masks; an unknown mode is refused."""
    assert from_mapping(LatentSettings, {"mc_samples": 16, "mask_seed": 0}).masks == "fixed"
    with pytest.raises(ConfigError, match="must be one of 'fixed', 'fresh'"):
        LatentSettings(masks="stale")


@pytest.fixture(scope="module")
def every_detector(embedded):
    """All detectors that clean frames can fit, on 40 frames; the table they were fitted to."""
    names = [name for name, spec in DETECTORS.items() if not spec.supervised]
    frame_pass = pass_for(embedded, required_features(names))
    frames = [Frame(image, index * 1_000_000_000, "front") for index, image in enumerate(pictures(40))]
    table = collect_features(frames, frame_pass)
    fitted = calibrate(table, CalibrationSettings(target_rate=0.05), names=names, head=frame_pass.head)
    detectors = {name: result.detector for name, result in fitted.items()}
    return frame_pass, table, detectors, {name: result.threshold for name, result in fitted.items()}


def test_every_detector_is_calibrated_stored_and_scores_again(every_detector, tmp_path):
    """A bundle with all of them, in fresh mode, loads in that mode and scores frames as before where no mask is drawn."""
    from ls_ood_monitor.bundle import save_bundle

    frame_pass, _, detectors, thresholds = every_detector
    fresh = pass_for(frame_pass, frame_pass.features, masks="fresh")
    classes = tuple(str(index) for index in range(10))
    latents = LatentSettings(mc_samples=16, masks="fresh")
    with pytest.raises(ConfigError, match="'fresh' in the settings"):
        save_bundle(tmp_path, frame_pass, latents, detectors, thresholds, "knn", classes, {})
    save_bundle(tmp_path, fresh, latents, detectors, thresholds, "knn", classes, {})
    monitor = load_bundle(tmp_path, device="cpu")
    assert monitor.frame_pass.masks == "fresh"
    image = pictures(1, seed=9)[0]
    result = monitor.process([Frame(image, 1, "front")])[0]
    assert set(result.scores) == set(DETECTORS) - {"kde_two_class"}
    assert all(np.isfinite(score) for score in result.scores.values())
    features = frame_pass.features_of([image])
    drawn = {"entropies", "mutual_information"}
    for name, detector in detectors.items():
        if DETECTORS[name].feature not in drawn:
            assert result.scores[name] == pytest.approx(
                detector.score(features.of(DETECTORS[name].feature))[0], rel=1e-3
            )


def test_a_supervised_detector_is_not_calibrated_on_clean_frames(every_detector):
    """The two-class density needs OoD frames, which calibration has not; the sentence says so."""
    frame_pass, table, *_ = every_detector
    with pytest.raises(ConfigError, match="kde_two_class learns from OoD frames"):
        calibrate(table, CalibrationSettings(target_rate=0.05), names=["kde_two_class"], head=frame_pass.head)


def test_a_broken_network_makes_every_feature_not_a_number(tiny_bundle):
    """NaN weights reach each feature that a detector reads, so no detector calls such a frame clear."""
    broken = load_bundle(tiny_bundle, device="cpu").frame_pass
    with torch.no_grad():
        for values in broken.network.parameters():
            values.fill_(float("nan"))
    features = pass_for(broken, FEATURES).features_of(pictures(1))
    for name in FEATURES:
        assert not np.isfinite(features.of(name)).all(), name
