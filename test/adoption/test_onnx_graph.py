"""Files that are no ONNX network, and what is read from those that are."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from support.small_networks import CLASSES, HEIGHT, WIDTH, detector, saved, segmenter, transformer

from ls_ood_monitor.adoption.onnx_graph import read_graph, tap_candidates
from ls_ood_monitor.adoption.proposal import propose, read_settings, settings_text
from ls_ood_monitor.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "pointer of Git LFS"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"PK\x03\x04 something", "torch.save or torch.jit"),
        (b"\x1c\x00\x00\x00TFL3 and more", "TensorFlow Lite"),
        (b"\x00\x01\x02 nonsense", "is not an ONNX network"),
    ],
)
def test_other_files_are_named(tmp_path, content, words):
    """The sentence says what the file is, and what to do."""
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_graph(path)
    with pytest.raises(DataError, match="is no file"):
        read_graph(tmp_path / "missing.onnx")


def test_old_operators_are_refused(tmp_path):
    """Opset 9."""
    with pytest.raises(DataError, match="has opset 9; at least 11 is needed"):
        read_graph(saved(tmp_path / "old.onnx", segmenter(opset=9)))


def test_weights_in_another_file_are_brought_in(tmp_path):
    """External data become part of the one file; where they are missing it says so."""
    model = segmenter()
    onnx.save(model, str(tmp_path / "n.onnx"), save_as_external_data=True, location="n.data", size_threshold=0)
    graph = read_graph(tmp_path / "n.onnx")
    assert len(graph.content) > (tmp_path / "n.data").stat().st_size
    (tmp_path / "n.data").unlink()
    with pytest.raises(DataError, match="weights"):
        read_graph(tmp_path / "n.onnx")


def test_ends_of_stages_are_proposed(tmp_path):
    """Fine stages as taps, the last one for latents; of a transformer with one stride, depths of it."""
    proposal, graph = propose(read_graph(saved(tmp_path / "n.onnx", segmenter(output="ids"))))
    assert proposal.taps == ("stage_0", "stage_1")
    assert proposal.latents == "stage_2"
    assert (proposal.output.class_ids, proposal.output.scores) == ("ids", "scores")
    strides = {own.tensor.name: own.stride for own in tap_candidates(graph, HEIGHT, WIDTH)}
    assert [strides[f"stage_{index}"] for index in range(3)] == [2, 4, 8]
    proposal, graph = propose(read_graph(saved(tmp_path / "t.onnx", transformer())))
    assert len(proposal.taps) == 2
    layouts = {own.tensor.name: (own.layout, own.skipped) for own in tap_candidates(graph, HEIGHT, WIDTH)}
    assert layouts["block_1"] == ("tokens", 1)


def test_heads_and_prototypes_of_a_detector_are_left_out(tmp_path):
    """Prototypes beside boxes are no classes; taps end stages of the encoder, also where a head of that stride is later."""
    proposal, graph = propose(read_graph(saved(tmp_path / "n.onnx", detector())))
    assert not proposal.output.class_source
    assert proposal.class_names == ("everything",)
    assert (proposal.taps, proposal.latents) == (("stage_0", "stage_1"), "stage_2")
    assert {"scores_1", "scores"} <= {own.tensor.name for own in tap_candidates(graph, HEIGHT, WIDTH) if own.is_encoder}


def test_more_classes_than_rows(tmp_path):
    """150 classes at 6 x 8: the layout is that of the map, not of the shorter axis."""
    proposal, _ = propose(read_graph(saved(tmp_path / "n.onnx", segmenter(classes=150))))
    assert proposal.output.scores_layout == "NCHW"
    assert len(proposal.class_names) == 150


def test_a_network_without_a_picture_is_refused(tmp_path):
    """The message lists what the file has."""
    model = segmenter()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7
    with pytest.raises(DataError, match="no input of this network is a picture of three channels"):
        propose(read_graph(saved(tmp_path / "n.onnx", model)))


def test_proposed_settings_survive_their_file(tmp_path):
    """What is written is read back; names of tensors may contain quotes, line ends and hashes."""
    model = segmenter(output="two")
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == "stage_0":
                    names[index] = "it's: a\n#name"
    proposal, graph = propose(read_graph(saved(tmp_path / "n.onnx", model)))
    text = settings_text(proposal, graph, tap_candidates(graph, HEIGHT, WIDTH), "n.onnx")
    assert '# another output: "lanes' in text
    assert text.count("CHECK") >= 4
    (tmp_path / "s.yaml").write_text(text)
    again = read_settings(tmp_path / "s.yaml")
    assert again.taps[0] == "it's: a\n#name"
    np.testing.assert_allclose(again.preprocess.mean, proposal.preprocess.mean)
    assert (again.input, again.output, again.taps, again.latents, again.class_names) == (
        proposal.input,
        proposal.output,
        proposal.taps,
        proposal.latents,
        proposal.class_names,
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("colour: rgb", "colour: yuv", "colour is 'yuv'; it must be one of 'rgb', 'bgr'"),
        ("layout: NCHW", "layuot: NCHW", "has no setting layuot"),
        ("latents:", "latent:", "has the unknown key latent"),
        ("taps:\n", "taps: []\nx:\n", "unknown key x"),
        ("  mc_samples: 64", "  samples: 64", "unknown key samples"),
        ("  width: 64", "  width: wide", "width is 'wide'"),
        ("output:", "output: 3\nother:", "unknown key other"),
        ("  mc_samples: 64", "  mc_samples: many", "mc_samples is 'many'; it must be a number"),
        ("  mc_samples: 64", "  mc_samples: 64.5", "mc_samples is 64.5; it must be a whole number"),
        ('- "stage_0"', "- 12", "taps has 12, which YAML does not read as text"),
        ("- class_3", "- no", "class_names has False, which YAML does not read as text"),
        ('name: "image"', "name: 7", "name is 7; it must be text"),
        ("token_grid: null", "token_grid: 16", r"token_grid is 16; it must be \[rows, columns\]"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, old, new, words):
    """In a sentence that names the file's mistake."""
    proposal, graph = propose(read_graph(saved(tmp_path / "n.onnx", segmenter())))
    text = settings_text(proposal, graph, tap_candidates(graph, HEIGHT, WIDTH), "n.onnx")
    assert old in text
    (tmp_path / "s.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=words):
        read_settings(tmp_path / "s.yaml")


def test_class_names_from_a_file_beside(tmp_path):
    """A list, or a mapping of ids, in a YAML file beside the settings."""
    proposal, graph = propose(read_graph(saved(tmp_path / "n.onnx", segmenter())))
    text = settings_text(proposal, graph, tap_candidates(graph, HEIGHT, WIDTH), "n.onnx")
    start, end = text.index("  class_names:"), text.index("# Tensors whose means")
    (tmp_path / "s.yaml").write_text(text[:start] + "  class_names: names.yaml\n\n" + text[end:])
    (tmp_path / "names.yaml").write_text("1: b\n0: a\n2: c\n3: d\n4: e\n")
    assert read_settings(tmp_path / "s.yaml").class_names == ("a", "b", "c", "d", "e")
    for text in ("'0': a\n'1': b\n", "0: a\n2: b\n"):
        (tmp_path / "names.yaml").write_text(text)
        with pytest.raises(ConfigError, match="whole numbers from 0 on without gaps"):
            read_settings(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    ("end", "classes", "class_ids"),
    [
        ([("ArgMax", {"axis": 1, "keepdims": 1}), ("Cast", {"to": onnx.TensorProto.FLOAT})], CLASSES, True),
        ([("ArgMax", {"axis": 1, "keepdims": 0}), ("Cast", {"to": onnx.TensorProto.INT16})], CLASSES, True),
        ([("ArgMax", {"axis": 1, "keepdims": 0}), ("Squeeze", {})], CLASSES, True),
        ([("Sigmoid", {})], 2, False),
        ([("Sigmoid", {}), ("Squeeze", {})], 2, False),
        ([("Relu", {})], 1, False),
    ],
    ids=["float (N, 1, h, w)", "int16 (N, h, w)", "(h, w)", "sigmoid", "sigmoid (h, w)", "depth"],
)
def test_one_value_at_each_place(tmp_path, end, classes, class_ids):
    """Ids of any type and shape, and a sigmoid's two classes; any other value is no segmentation. No score is a tap."""
    model = segmenter(end=end, classes=CLASSES if class_ids else 1)
    proposal, _ = propose(read_graph(saved(tmp_path / "n.onnx", model)))
    assert len(proposal.class_names) == classes
    assert bool(proposal.output.class_ids) is class_ids
    assert bool(proposal.output.class_source) is (classes > 1)
    assert (proposal.taps, proposal.latents) == (("stage_0", "stage_1"), "stage_2")


def test_token_grids(tmp_path):
    """Patches of 14 pixels; a class token and four registers, or two tokens; a grid that only a person knows."""
    for tokens in (0, 1, 2, 5):
        graph = read_graph(saved(tmp_path / "t.onnx", transformer(patch=14, size=(84, 112), tokens=tokens)))
        _, known = propose(graph)
        found = {own.tensor.name: own for own in tap_candidates(known, 84, 112)}
        block = found["block_1"]
        assert (block.layout, block.rows, block.columns, block.skipped, block.stride) == ("tokens", 6, 8, tokens, 14)
    (own,) = [own for own in tap_candidates(known, 84, 112, (4, 13)) if own.tensor.name == "block_1"]
    assert (own.rows, own.columns, own.skipped) == (4, 13, 1)


def test_tensors_that_a_subgraph_takes_from_outside(tmp_path):
    """Scores behind an If depend on the picture although its node lists no input; a constant output is left out."""
    model = segmenter()
    branches = [
        helper.make_graph(
            [helper.make_node(operator, ["scores"], [f"{operator}_out"])],
            operator,
            [],
            [helper.make_tensor_value_info(f"{operator}_out", onnx.TensorProto.FLOAT, None)],
        )
        for operator in ("Relu", "Identity")
    ]
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "chosen"))
    model.graph.node.append(
        helper.make_node("If", ["chosen"], ["end"], then_branch=branches[0], else_branch=branches[1])
    )
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 2), np.float32), "nothing"))
    model.graph.node.append(helper.make_node("Identity", ["nothing"], ["constant"]))
    del model.graph.output[:]
    for name in ("constant", "end"):
        model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    proposal, _ = propose(read_graph(saved(tmp_path / "n.onnx", model)))
    assert proposal.output.scores == "end"
    assert len(proposal.class_names) == CLASSES


def test_what_onnx_runtime_cannot_run_is_named(tmp_path):
    """An operator that it does not know."""
    model = segmenter()
    model.graph.node[0].domain, model.graph.node[0].op_type = "com.acme", "Stem"
    model.opset_import.append(helper.make_opsetid("com.acme", 1))
    with pytest.raises(DataError, match=r"ONNX Runtime .* cannot use .*Stem"):
        propose(read_graph(saved(tmp_path / "n.onnx", model)))


def test_weights_of_constants_in_another_file(tmp_path):
    """Also attributes may be external data."""
    model = segmenter()
    node = helper.make_node("Constant", [], ["head"], value=model.graph.initializer[-1])
    assert model.graph.initializer[-1].name == "head"
    del model.graph.initializer[-1]
    model.graph.node.insert(0, node)
    onnx.save(
        model,
        str(tmp_path / "n.onnx"),
        save_as_external_data=True,
        location="n.data",
        size_threshold=0,
        convert_attribute=True,
    )
    graph = read_graph(tmp_path / "n.onnx")
    (tmp_path / "n.data").unlink()
    proposal, _ = propose(graph)
    assert len(proposal.class_names) == CLASSES
