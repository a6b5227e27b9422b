"""A network by others becomes a bundle: its file unchanged, its classes equal, its taps the right means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from support.small_networks import CLASSES, HEIGHT, WIDTH, saved, segmenter, transformer
from torch.nn import functional as F  # noqa: N812  the customary name

from ls_ood_monitor.adoption.adopt import adopt_graph, write_adopted_bundle
from ls_ood_monitor.adoption.onnx_graph import read_graph
from ls_ood_monitor.adoption.proposal import propose
from ls_ood_monitor.bundle import MONITOR, load_bundle, open_bundle
from ls_ood_monitor.core.entropy import latent_entropies
from ls_ood_monitor.errors import BundleError, ConfigError
from ls_ood_monitor.networks.adopted_pass import ADDITIONS, GRAPH, AdoptedPass
from ls_ood_monitor.vision.mc_dropout import draw_mask_bank

NETWORKS = {
    "scores": {},
    "ids of NHWC uint8": {"layout": "NHWC", "output": "ids", "kind": "uint8"},
    "probabilities": {"output": "probabilities"},
    "any size": {"size": False},
    "two heads": {"output": "two"},
    "opset 11": {"opset": 11, "output": "ids"},
}


def adopted(tmp_path, model, size=None) -> AdoptedPass:
    """The network with the settings that are proposed for it."""
    graph = read_graph(saved(tmp_path / "network.onnx", model))
    proposal, _ = propose(graph, size)
    return adopt_graph(graph, proposal, "network.onnx")


def pictures(count: int) -> list[np.ndarray]:
    """Seeded noise at the network's size."""
    return list(np.random.default_rng(1).integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8))


def run_alone(frame_pass: AdoptedPass, picture: np.ndarray, *tensors: str) -> list[np.ndarray]:
    """Tensors of the untouched file in ONNX Runtime, at one picture that is normalised here."""
    import onnx

    settings, spec = frame_pass.settings, frame_pass.preprocess_spec
    model = onnx.load_model_from_string(frame_pass.stored().files[GRAPH])
    declared = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in declared)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rgb = picture[:, :, ::-1]
    if settings.input.type != "uint8":
        rgb = (rgb / 255.0 - np.array(spec.mean)) / np.array(spec.std)
    value = rgb if settings.input.layout == "NHWC" else rgb.transpose(2, 0, 1)
    return session.run(list(tensors), {settings.input.name: value[None].astype(settings.input.type)})


@pytest.mark.parametrize("kind", NETWORKS)
def test_class_ids_equal_those_of_the_file(tmp_path, kind):
    """Of every picture, whatever the layout and the output."""
    frame_pass = adopted(tmp_path, segmenter(**NETWORKS[kind]), (HEIGHT, WIDTH))
    output = frame_pass.settings.output
    images = pictures(3)
    ids = frame_pass.begin(images).class_ids
    for image, own in zip(images, ids, strict=True):
        (expected,) = run_alone(frame_pass, image, output.class_ids or output.scores)
        if not output.class_ids:
            size = (HEIGHT, WIDTH)
            expected = F.interpolate(torch.from_numpy(expected), size, mode="bilinear").argmax(1).numpy()
        np.testing.assert_array_equal(own, expected.reshape(HEIGHT, WIDTH))
    assert len(np.unique(ids)) > 1


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "tokens"])
def test_taps_are_the_means_of_their_cells(tmp_path, layout):
    """Stage means and cells equal torch's adaptive pooling of the tapped tensors."""
    model = transformer() if layout == "tokens" else segmenter(layout=layout)
    frame_pass = adopted(tmp_path, model)
    image = pictures(1)[0]
    features = frame_pass.features_of([image])
    cells, means = [], []
    for tap in frame_pass.settings.taps:
        assert tap.layout == ("tokens" if layout == "tokens" else "NCHW")
        (values,) = run_alone(frame_pass, image, tap.tensor)
        plane = torch.from_numpy(values).double()
        if layout == "tokens":
            assert tap.skipped == 1
            plane = plane[:, 1:].transpose(1, 2).reshape(1, -1, tap.rows, tap.columns)
        cells.append(F.adaptive_avg_pool2d(plane, (6, 8)).flatten(2).transpose(1, 2)[0])
        means.append(plane.mean(dim=(2, 3))[0])
    np.testing.assert_allclose(features.of("cells")[0], torch.cat(cells, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features.of("stage_means")[0], torch.cat(means), rtol=1e-4, atol=1e-5)


def test_nhwc_maps_are_tapped(tmp_path):
    """A tensor in the order rows, columns, channels."""
    import onnx
    from onnx import helper

    model = segmenter()
    for stage in range(3):
        model.graph.node.append(helper.make_node("Transpose", [f"stage_{stage}"], [f"last_{stage}"], perm=[0, 2, 3, 1]))
    graph = read_graph(saved(tmp_path / "network.onnx", model))
    proposal, _ = propose(graph)
    assert onnx.checker.check_model(model) is None
    frame_pass = adopt_graph(graph, replace(proposal, taps=("last_0", "last_1"), latents="last_2"), "")
    assert {tap.layout for tap in frame_pass.settings.taps} == {"NHWC"}
    assert frame_pass.settings.latents.layout == "NHWC"
    other = adopted(tmp_path, segmenter())
    for name in ("cells", "stage_means", "latent_means", "entropies"):
        own = frame_pass.features_of(pictures(2)).of(name)
        np.testing.assert_allclose(own, other.features_of(pictures(2)).of(name), rtol=1e-4, atol=1e-5)


def test_entropies_are_those_of_masked_means(tmp_path):
    """The entropy over the masks of the bank, from the latent tensor that ONNX Runtime gives alone."""
    frame_pass = adopted(tmp_path, segmenter())
    tap = frame_pass.settings.latents
    image = pictures(1)[0]
    (values,) = run_alone(frame_pass, image, tap.tensor)
    bank = draw_mask_bank(
        64, tap.rows, tap.columns, block_size=tap.dropblock_size, drop_prob=tap.dropblock_prob, seed=0
    ).numpy()
    samples = np.stack([(values[0] * mask).sum((1, 2)) / mask.sum() for mask in bank])
    features = frame_pass.features_of([image])
    np.testing.assert_allclose(features.of("entropies")[0], latent_entropies(samples[None])[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(features.of("latent_means")[0], values[0].mean((1, 2)), rtol=1e-4, atol=1e-5)


def test_scores_of_the_output(tmp_path):
    """Confidence and the energy come from the logits that the file gives; after a softmax the energy is 0 by definition."""
    image = pictures(1)[0]
    for output in ("scores", "probabilities"):
        frame_pass = adopted(tmp_path, segmenter(output=output))
        (scores,) = run_alone(frame_pass, image, "scores")
        run = frame_pass.begin([image])
        expected = np.round(255 * torch.from_numpy(scores).softmax(1).amax(1).numpy())
        np.testing.assert_allclose(run.confidence, expected, atol=1)
        energy = -torch.from_numpy(scores).logsumexp(1).mean() if output == "scores" else 0.0
        np.testing.assert_allclose(run.features.of("energy"), [[float(energy)]], rtol=1e-4, atol=1e-5)


def test_a_network_without_a_segmentation(tmp_path):
    """Boxes of a detector: taps as ever, every pixel of class 0, no confidence; its outputs stay as they are."""
    from onnx import TensorProto, helper

    model = segmenter()
    del model.graph.output[:]
    model.graph.node.append(helper.make_node("GlobalAveragePool", ["scores"], ["pooled"]))
    model.graph.node.append(helper.make_node("Flatten", ["pooled"], ["boxes"]))
    model.graph.output.append(helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, CLASSES]))
    frame_pass = adopted(tmp_path, model)
    run = frame_pass.begin(pictures(2))
    assert run.class_ids.shape == (2, HEIGHT, WIDTH)
    assert not run.class_ids.any()
    assert run.confidence is None
    assert set(run.features.rows) == {"cells", "stage_means", "latent_means", "entropies"}


def test_several_pictures_at_once_equal_one_by_one(tmp_path):
    """A network with an open number of pictures takes them together, one with a fixed number one after the other."""
    for free in (True, False):
        frame_pass = adopted(tmp_path, segmenter(size=not free), (HEIGHT, WIDTH))
        assert frame_pass.settings.input.batch is free
        together = frame_pass.features_of(pictures(3))
        for index, picture in enumerate(pictures(3)):
            alone = frame_pass.features_of([picture])
            for name in frame_pass.features:
                np.testing.assert_allclose(together.of(name)[index], alone.of(name)[0], rtol=1e-4, atol=1e-4)


def test_the_bundle_holds_the_file_byte_by_byte(tmp_path):
    """An uncalibrated bundle opens, and judges no frame; a changed file is refused."""
    graph = read_graph(saved(tmp_path / "network.onnx", segmenter()))
    proposal, _ = propose(graph)
    frame_pass = adopt_graph(graph, proposal, "network.onnx")
    identity = write_adopted_bundle(tmp_path / "bundle", frame_pass, proposal)
    assert (tmp_path / "bundle" / GRAPH).read_bytes() == (tmp_path / "network.onnx").read_bytes()
    opened = open_bundle(tmp_path / "bundle", device="cpu")
    assert opened.manifest.bundle_id == identity
    assert opened.class_names == tuple(f"class_{index}" for index in range(CLASSES))
    own = frame_pass.features_of(pictures(2))
    for name, rows in opened.frame_pass.features_of(pictures(2)).rows.items():
        np.testing.assert_array_equal(rows, own.of(name))
    with pytest.raises(BundleError, match=r"is not calibrated, so it cannot judge frames; run 'ls-ood calibrate"):
        load_bundle(tmp_path / "bundle")
    with pytest.raises(ConfigError, match=r"engine is 'eager', but the network .* is an ONNX file"):
        open_bundle(tmp_path / "bundle", engine="eager")
    assert (tmp_path / "bundle" / MONITOR).exists()
    content = bytearray((tmp_path / "bundle" / ADDITIONS).read_bytes())
    content[-1] ^= 1
    (tmp_path / "bundle" / ADDITIONS).write_bytes(content)
    with pytest.raises(BundleError, match=r"taps\.onnx does not match the SHA-256"):
        open_bundle(tmp_path / "bundle")


def test_a_tap_that_changes_the_classes_is_refused(tmp_path):
    """ONNX Runtime joins layers of a quantised network; the bundle is refused if a tap splits them and a class differs."""
    frame_pass = adopted(tmp_path, segmenter())
    graph = frame_pass.stored().files[GRAPH]
    other = adopted(tmp_path, segmenter(output="two")).stored().files[GRAPH]
    assert graph != other

    class Changed(AdoptedPass):
        def _untapped(self):
            engine = super()._untapped()
            begin = engine.begin

            def changed(pixels):
                run = begin(pixels)
                run._outputs["scores"] = -run._outputs["scores"]
                return run

            engine.begin = changed
            return engine

    settings = frame_pass.settings
    with pytest.raises(BundleError, match=r"with these taps the network gives other classes in .* of the pixels"):
        Changed(graph, frame_pass.stored().files[ADDITIONS], settings, frame_pass.preprocess_spec, CLASSES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"taps": ("nowhere",)}, "taps names 'nowhere', which is no map of the picture"),
        ({"latents": "scale"}, "latents names 'scale', which is no map"),
        ({"class_names": ("a", "b")}, "there are 2 class names; give a name for each class"),
    ],
)
def test_settings_that_do_not_fit_the_graph_are_refused(tmp_path, changes, words):
    """The message names the setting and the value."""
    graph = read_graph(saved(tmp_path / "network.onnx", segmenter()))
    proposal, _ = propose(graph)
    with pytest.raises(ConfigError, match=words):
        adopt_graph(graph, replace(proposal, **changes), "")


def test_detectors_that_need_what_the_network_lacks_are_refused(tmp_path):
    """The last layer of a graph is not known; the message says what can be chosen."""
    frame_pass = adopted(tmp_path, segmenter())
    frame_pass.require_detectors(["spatial", "larem", "energy"])
    with pytest.raises(
        ConfigError, match=r"detector vim reads head_cells, which this network cannot give .* choose among"
    ):
        frame_pass.require_detectors(["spatial", "vim"])
