"""Files that are no ONNX network, and what is read from those that are."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from support.small_networks import HEIGHT, WIDTH, detector, saved, segmenter, transformer

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
    assert not proposal.output.decisive
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
    """What is written is read back; names of tensors may contain quotes, colons and hashes."""
    model = segmenter(output="two")
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == "stage_0":
                    names[index] = "it's: a #name"
    proposal, graph = propose(read_graph(saved(tmp_path / "n.onnx", model)))
    text = settings_text(proposal, graph, tap_candidates(graph, HEIGHT, WIDTH), "n.onnx")
    assert "# another output: lanes" in text
    assert text.count("CHECK") >= 4
    (tmp_path / "s.yaml").write_text(text)
    again = read_settings(tmp_path / "s.yaml")
    assert again.taps[0] == "it's: a #name"
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
