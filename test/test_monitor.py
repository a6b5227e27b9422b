"""The composition: one frame in, one result out, the same whoever calls."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest
import torch

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.core.entropy import latent_entropies
from ls_ood_monitor.core.grid import GRID
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.street import StreetDrive
from ls_ood_monitor.street.shots import CAMERA_SIZE


@pytest.fixture(scope="module")
def monitor(tiny_bundle):
    """A monitor on the CPU."""
    return load_bundle(tiny_bundle, device="cpu")


def picture(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    """A random BGR picture."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_result_has_the_size_of_its_frame(monitor):
    """Segmentation and confidence come back at the camera's own size, class ids within range."""
    small, large = monitor.process([Frame(picture(0), 5, "front"), Frame(picture(1, 120, 200), 6, "left")])
    assert small.segmentation.shape == small.confidence.shape == (60, 80)
    assert large.segmentation.shape == (120, 200)
    assert small.segmentation.max() < 10
    assert (small.frame.camera, large.frame.camera) == ("front", "left")
    assert np.isfinite(small.score)
    assert small.score == small.scores[monitor.detector]


def test_a_score_does_not_depend_on_the_batch(monitor):
    """A frame alone and the same frame among others score alike, to float32 accuracy."""
    frames = [Frame(picture(seed), seed + 1, "front") for seed in range(3)]
    together = [result.score for result in monitor.process(frames)]
    alone = [monitor.process([frame])[0].score for frame in frames]
    np.testing.assert_allclose(together, alone, rtol=1e-3)


def test_features_equal_the_steps_taken_by_hand(monitor):
    """Entropies are those of DropBlock samples taken mask by mask; means are those of the feature map."""
    frame_pass = monitor.frame_pass
    image = picture(3, 96, 128)  # the network's own size: no resampling
    features = frame_pass.features_of([image])
    spec = frame_pass.preprocess_spec
    normalised = (image[:, :, ::-1] / 255.0 - np.array(spec.mean)) / np.array(spec.std)
    with torch.inference_mode():
        batch = torch.from_numpy(normalised.transpose(2, 0, 1)[None].astype(np.float32))
        high = frame_pass.network.encode(batch).high.double()
        samples = [
            (high * mask * mask.numel() / mask.sum()).mean(dim=(2, 3))[0] for mask in frame_pass.mask_bank.double()
        ]
    expected = latent_entropies(torch.stack(samples)[None].numpy())
    np.testing.assert_allclose(features.of("entropies"), expected, atol=1e-2)
    np.testing.assert_allclose(features.of("latent_means")[0], high.mean(dim=(2, 3))[0].numpy(), rtol=1e-4, atol=1e-5)


def test_colour_order_matters(monitor):
    """Swapping red and blue changes the score: BGR is what the monitor takes."""
    image = picture(4)
    swapped = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    first, second = monitor.process([Frame(image, 1, "front"), Frame(swapped, 2, "front")])
    assert first.score != second.score


def test_broken_weights_give_a_score_that_is_not_a_number(tiny_bundle):
    """NaN in the network comes out as NaN, which the alarm treats as not OK, and not as an exception."""
    broken = load_bundle(tiny_bundle, device="cpu")
    with torch.no_grad():
        next(broken.frame_pass.network.parameters()).fill_(float("nan"))
    result = broken.process([Frame(picture(0), 1, "front")])[0]
    assert all(np.isnan(score) for score in result.scores.values())


@pytest.mark.parametrize("severity", [1, 5])
def test_the_control_anomaly_is_in_distribution_for_every_detector(severity):
    """Identity through the path of the anomalies: the scores of the picture itself, within every threshold."""
    monitor = load_bundle()
    picture = StreetDrive(5000).render("front", 1.0, *CAMERA_SIZE)[0]
    control = apply_anomaly("identity", picture, severity, seed=3)
    clean, same = (monitor.process([Frame(image, 1, "front")])[0].scores for image in (picture, control))
    assert same == clean
    assert all(score <= monitor.thresholds[name].value for name, score in same.items())


def test_nothing_in_nothing_out(monitor):
    """An empty tick is an empty result."""
    assert monitor.process([]) == []


def test_the_map_is_that_of_the_detector_that_raises_the_alarm(tiny_bundle, monitor):
    """A detector that says where gives each frame its cells, on the grid, from the same rows; others give none."""
    image = picture(5)
    assert monitor.process([Frame(image, 1, "front")])[0].anomaly_map is None
    spatial = load_bundle(tiny_bundle, device="cpu", detector="spatial")
    result = spatial.process([Frame(image, 1, "front")])[0]
    rows = spatial.frame_pass.features_of([image]).of("cells")
    assert result.anomaly_map.shape == GRID
    expected = spatial.detectors["spatial"].cell_scores(rows)[0].reshape(GRID)
    np.testing.assert_allclose(result.anomaly_map, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_scores_as_the_cpu_does(monitor, tiny_bundle):
    """Float32 on both: scores agree to the accuracy of their sums, and the masks nearly everywhere."""
    frames = [Frame(picture(seed, 483, 640), seed + 1, "front") for seed in range(4)]
    on_gpu = load_bundle(tiny_bundle, device="cuda")
    on_gpu.warm_up(len(frames))
    for ours, other in zip(on_gpu.process(frames), monitor.process(frames), strict=True):
        assert ours.scores == pytest.approx(other.scores, rel=1e-2)
        assert (ours.segmentation == other.segmentation).mean() > 0.99


def test_exported_graphs_score_nothing_on_a_gpu(monkeypatch):
    """The pass keeps all features, because the host scores them."""
    pytest.importorskip("onnxruntime")
    embedded = load_bundle(device="cpu")
    assert embedded.engine_name == "onnx"
    monkeypatch.setattr(embedded.frame_pass, "device", torch.device("cuda"))
    assert embedded.frame_pass.with_scores(embedded.detectors) is embedded.frame_pass


def test_the_network_s_time_is_the_engine_s_alone(monitor):
    """It grows with what is asked for, and not by asking again; results of one frame are those of all."""
    frames = [Frame(picture(0), 5, "front"), Frame(picture(1), 6, "left")]
    run = monitor.begin(frames)
    begun = run.network_ms
    assert len(run.verdicts) == 2
    judged = run.network_ms
    second = run.result(1)
    assert 0.0 < begun <= judged < run.network_ms
    shown = run.network_ms
    whole = [run.result(index) for index in range(len(frames))]
    assert run.network_ms == shown
    np.testing.assert_array_equal(second.segmentation, whole[1].segmentation)
    assert second.frame.camera == "left"


def test_a_monitor_names_its_device_and_engine(monitor):
    """Device, engine, precision and batch size are those of the engine that runs."""
    assert monitor.device == torch.device("cpu")
    assert (monitor.engine_name, monitor.precision, monitor.engine_label) == ("eager", "fp32", "eager fp32")
    assert (monitor.preferred_batch_size, monitor.reentrant) == (1, True)


def test_a_pass_for_other_features_replaces_exported_graphs():
    """Exported graphs compute their own features only: eager torch computes others; the same features keep the engine."""
    pytest.importorskip("onnxruntime")
    own = load_bundle(device="cpu").frame_pass
    assert own.with_features(own.features).engine.name == "onnx"
    other = own.with_features(("energy",))
    assert (other.engine.name, other.features, other.graphs) == ("eager", ("energy",), {})


def test_a_picture_that_may_not_be_written_is_judged(monitor):
    """As one of a message is, of the network's own size: it goes to the network as a copy."""
    spec = monitor.frame_pass.preprocess_spec
    image = picture(3, spec.height, spec.width)
    expected = monitor.process([Frame(image.copy(), 5, "front")])[0].score
    image.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert monitor.process([Frame(image, 6, "front")])[0].score == expected
