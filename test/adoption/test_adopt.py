"""An adopted network becomes a bundle: its file unchanged, its classes equal, its taps the right means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from support.small_networks import CLASSES, HEIGHT, WIDTH, saved, segmenter, transformer
from torch.nn import functional as F  # noqa: N812  the customary name

from ls_ood_monitor.adoption.adopt import adopt_graph, write_adopted_bundle
from ls_ood_monitor.adoption.onnx_graph import read_graph, tap_candidates
from ls_ood_monitor.adoption.proposal import propose
from ls_ood_monitor.bundle import MONITOR, load_bundle, open_bundle
from ls_ood_monitor.core.entropy import latent_entropies
from ls_ood_monitor.errors import BundleError, ConfigError, MonitorError
from ls_ood_monitor.networks.adopted_pass import APPENDED_NODES, GRAPH, AdoptedPass
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
    content = bytearray((tmp_path / "bundle" / APPENDED_NODES).read_bytes())
    content[-1] ^= 1
    (tmp_path / "bundle" / APPENDED_NODES).write_bytes(content)
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
                run._runs = [{**own, "scores": -own["scores"]} for own in run._runs]
                return run

            engine.begin = changed
            return engine

    settings = frame_pass.settings
    with pytest.raises(BundleError, match=r"with these taps the network gives other classes in .* of the pixels"):
        Changed(graph, frame_pass.stored().files[APPENDED_NODES], settings, frame_pass.preprocess_spec, CLASSES)


def quantised(tmp_path, form: str) -> Path:
    """The network quantised by ONNX Runtime, as QDQ or with operators such as QLinearConv."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Noise(CalibrationDataReader):
        def __init__(self) -> None:
            random = np.random.default_rng(0)
            self._left = [{"image": random.normal(0, 1, (1, 3, HEIGHT, WIDTH)).astype(np.float32)} for _ in range(3)]

        def get_next(self):
            return self._left.pop() if self._left else None

    float_file = saved(tmp_path / "float.onnx", segmenter(output="ids"))
    quantize_static(float_file, tmp_path / "network.onnx", Noise(), quant_format=QuantFormat[form])
    return tmp_path / "network.onnx"


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_quantised_networks(tmp_path, form):
    """Class ids equal those of the file; stage means are the means of the tapped tensors, of 8 bits or not."""
    graph = read_graph(quantised(tmp_path, form))
    proposal, known = propose(graph)
    types = {own.tensor.name: own.tensor.type for own in tap_candidates(known, HEIGHT, WIDTH)}
    assert proposal.output.class_ids == "ids"
    assert len(proposal.class_names) == CLASSES
    if form == "QOperator":
        quantised_taps = [name for name, kind in types.items() if kind in ("int8", "uint8")]
        proposal = replace(proposal, taps=tuple(quantised_taps[:2]))
        assert len(proposal.taps) == 2
    frame_pass = adopt_graph(graph, proposal, "network.onnx")
    image = pictures(1)[0]
    run = frame_pass.begin([image])
    ids, *taps = run_alone(frame_pass, image, "ids", *proposal.taps)
    np.testing.assert_array_equal(run.class_ids, ids)
    means = np.concatenate([tap.astype(np.float64).mean((2, 3))[0] for tap in taps])
    np.testing.assert_allclose(run.features.of("stage_means")[0], means, rtol=1e-4, atol=1e-5)


def test_half_precision(tmp_path):
    """A network whose input, weights and taps are float16."""
    from onnx import TensorProto, numpy_helper

    model = segmenter(kind="float16")
    for weight in model.graph.initializer:
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), weight.name))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    frame_pass = adopted(tmp_path, model)
    assert frame_pass.settings.input.type == "float16"
    image = pictures(1)[0]
    run = frame_pass.begin([image])
    scores, tap = run_alone(frame_pass, image, "scores", "stage_0")
    large = F.interpolate(torch.from_numpy(scores).float(), (HEIGHT, WIDTH), mode="bilinear").argmax(1).numpy()
    np.testing.assert_array_equal(run.class_ids, large)
    np.testing.assert_allclose(run.features.of("stage_means")[0, :8], tap[0].astype(float).mean((1, 2)), rtol=1e-3)


def test_scores_in_the_order_rows_columns_classes(tmp_path):
    """Classes and confidence are those of the last axis."""
    frame_pass = adopted(tmp_path, segmenter(end=[("Transpose", {"perm": [0, 2, 3, 1]})]))
    assert frame_pass.settings.output.scores_layout == "NHWC"
    other = adopted(tmp_path, segmenter())
    own, expected = (which.begin(pictures(2)) for which in (frame_pass, other))
    np.testing.assert_array_equal(own.class_ids, expected.class_ids)
    np.testing.assert_array_equal(own.confidence, expected.confidence)
    wrong = replace(frame_pass.settings.output, scores_layout="NCHW")
    graph = read_graph(saved(tmp_path / "n.onnx", segmenter(end=[("Transpose", {"perm": [0, 2, 3, 1]})])))
    with pytest.raises(
        ConfigError, match=r"has 6 classes in NCHW, but there are 5 class names; .* check scores_layout"
    ):
        adopt_graph(graph, replace(propose(graph)[0], output=wrong), "")


@pytest.mark.parametrize(
    "end",
    [
        [("ArgMax", {"axis": 1, "keepdims": 1}), ("Cast", {"to": 1})],
        [("ArgMax", {"axis": 1, "keepdims": 1}), ("Transpose", {"perm": [0, 2, 3, 1]})],
        [("ArgMax", {"axis": 1, "keepdims": 0}), ("Squeeze", {})],
        [("ArgMax", {"axis": 1, "keepdims": 0}), ("Cast", {"to": 5})],
    ],
    ids=["float", "(N, h, w, 1)", "(h, w)", "int16"],
)
def test_ids_of_any_type_and_shape(tmp_path, end):
    """All give the classes of the largest score at the same place."""
    frame_pass = adopted(tmp_path, segmenter(end=end))
    images = pictures(2)
    ids = frame_pass.begin(images).class_ids
    for image, own in zip(images, ids, strict=True):
        (scores,) = run_alone(frame_pass, image, "scores")
        np.testing.assert_array_equal(own[4::8, 4::8], scores[0].argmax(0))


def test_one_channel_is_two_classes(tmp_path):
    """Class 1 where the sigmoid is above 0.5; a logit means the same."""
    images = pictures(2)
    for end, probabilities in (([("Sigmoid", {})], True), ([], False)):
        graph = read_graph(saved(tmp_path / "n.onnx", segmenter(classes=1, end=end)))
        proposal, _ = propose(graph)
        assert bool(proposal.output.scores) is probabilities
        output = replace(proposal.output, scores=graph.outputs[0].name)
        frame_pass = adopt_graph(graph, replace(proposal, output=output, class_names=("other", "road")), "")
        run = frame_pass.begin(images)
        logits = torch.from_numpy(np.concatenate([run_alone(frame_pass, image, "scores")[0] for image in images]))
        road = logits.sigmoid()[:, 0]
        expected = np.round(255 * torch.maximum(road, 1 - road).numpy())
        np.testing.assert_allclose(run.confidence, expected, atol=1)
        resized = F.interpolate(logits.sigmoid() if probabilities else logits, (HEIGHT, WIDTH), mode="bilinear")
        np.testing.assert_array_equal(run.class_ids, resized[:, 0].numpy() > (0.5 if probabilities else 0.0))


def test_a_scalar_beside_the_scores(tmp_path):
    """An output without an axis of pictures, such as a number of boxes, is left alone."""
    from onnx import TensorProto, helper

    model = segmenter()
    model.graph.node.append(helper.make_node("ReduceMax", ["scores"], ["largest"], keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("largest", TensorProto.FLOAT, []))
    assert adopted(tmp_path, model).begin(pictures(2)).class_ids.shape == (2, HEIGHT, WIDTH)


def test_a_batch_that_the_graph_does_not_take(tmp_path):
    """The declared number of pictures is open, but a Reshape inside takes one: pictures run one by one."""
    from onnx import helper, numpy_helper

    model = segmenter(size=False)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 8, HEIGHT // 2, WIDTH // 2]), "one"))
    for node in model.graph.node:
        if node.name == "" and list(node.input)[:1] == ["stage_0"]:
            node.input[0] = "reshaped"
    model.graph.node.insert(2, helper.make_node("Reshape", ["stage_0", "one"], ["reshaped"]))
    frame_pass = adopted(tmp_path, model, (HEIGHT, WIDTH))
    assert not frame_pass.settings.input.batch
    assert frame_pass.begin(pictures(2)).class_ids.shape == (2, HEIGHT, WIDTH)
    graph = read_graph(tmp_path / "network.onnx")
    proposal, _ = propose(graph, (HEIGHT, WIDTH))
    with pytest.raises(MonitorError, match=r"ONNX Runtime .* cannot run the network"):
        adopt_graph(graph, replace(proposal, input=replace(proposal.input, batch=True)), "")


def test_any_other_output_is_refused(tmp_path):
    """Outputs beside the classes are compared, too, to the bit."""
    frame_pass = adopted(tmp_path, segmenter(output="two"))

    class Changed(AdoptedPass):
        def _untapped(self):
            engine = super()._untapped()
            begin = engine.begin

            def changed(pixels):
                run = begin(pixels)
                run._runs = [{**own, "lanes": np.nextafter(own["lanes"], np.float32(np.inf))} for own in run._runs]
                return run

            engine.begin = changed
            return engine

    stored = frame_pass.stored().files
    with pytest.raises(BundleError, match="the network gives other values of its output lanes"):
        Changed(stored[GRAPH], stored[APPENDED_NODES], frame_pass.settings, frame_pass.preprocess_spec, CLASSES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"taps": ("nowhere",)}, "taps names 'nowhere', which is not a feature map of the input picture"),
        ({"latents": "scale"}, "latents names 'scale', which is not a feature map"),
        ({"class_names": ("a",) * 257}, "there are 257 class names; a segmentation picture holds 256"),
        ({"class_names": ("a", "b")}, "there are 2 class names; give one name for each class"),
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
