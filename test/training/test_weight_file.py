"""Files of weights: what training programs store beside them is harmless, and what is no weight file is named."""

from __future__ import annotations

import argparse
import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ls_ood_monitor.errors import DataError
from ls_ood_monitor.training.weight_file import load_torch_file

WEIGHTS = {"layer.weight": torch.arange(4.0)}


class Trap:
    """Leaves a file behind where its code is run."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("legacy", [False, True])
def test_what_lies_beside_the_weights_is_no_obstacle(tmp_path, legacy):
    """Scores as numpy scalars, arrays, the command line and paths are read past; the weights are untouched."""
    beside = {
        "best_score": np.float64(0.7),
        "epoch": np.int64(3),
        "iou": np.array([0.1, 0.9], np.float32),
        "type": np.dtype("float32"),
        "options": argparse.Namespace(lr=0.1, data=Path("pictures"), mean=np.float32(0.5)),
        "more": OrderedDict(a=1),
    }
    torch.save({"model_state": WEIGHTS, **beside}, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    content = load_torch_file(tmp_path / "x.pth", "a checkpoint")
    assert torch.equal(content["model_state"]["layer.weight"], WEIGHTS["layer.weight"])
    assert content["more"] == {"a": 1}


def test_names_of_older_numpy_are_read(tmp_path):
    """Numpy 1 wrote ``numpy.core``, numpy 2 writes ``numpy._core``; a file of either is read."""
    data = pickle.dumps({"score": np.float64(0.7)}, protocol=2)
    for core in (b"numpy.core.", b"numpy._core."):
        name = tmp_path / "x.pth"
        torch.save({"score": 1}, name)
        with zipfile.ZipFile(name) as old, zipfile.ZipFile(tmp_path / "y.pth", "w") as new:
            for entry in old.namelist():
                content = old.read(entry)
                if entry.endswith("data.pkl"):
                    content = data.replace(b"numpy._core.", core).replace(b"numpy.core.", core)
                new.writestr(entry, content)
        assert set(load_torch_file(tmp_path / "y.pth", "a checkpoint")) == {"score"}


def test_safetensors_are_read(tmp_path):
    """Whatever the file is called, its content decides."""
    save_file(WEIGHTS, tmp_path / "weights.pth")
    assert torch.equal(load_torch_file(tmp_path / "weights.pth", "weights")["layer.weight"], WEIGHTS["layer.weight"])
    (tmp_path / "cut").write_bytes((tmp_path / "weights.pth").read_bytes()[:-4])
    with pytest.raises(DataError, match=r"cut is cut off or damaged .* download it again"):
        load_torch_file(tmp_path / "cut", "weights")


def test_a_foreign_class_is_named_and_its_code_not_run(tmp_path):
    """Of a whole model or another object the class is named, with the way to save the weights alone."""
    torch.save(nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(DataError, match=r"object of torch\.nn\.modules\.linear\.Linear.*save the weights alone"):
        load_torch_file(tmp_path / "model.pth", "weights")
    torch.save({"state_dict": WEIGHTS, "x": Trap(tmp_path / "trace")}, tmp_path / "trap.pth")
    with pytest.raises(DataError, match="object of getattr, whose code is not run"):
        load_torch_file(tmp_path / "trap.pth", "weights")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"x": Trap(tmp_path / "trace"), "model": nn.Linear(2, 2)}))
    with pytest.raises(DataError, match=r"torch\.save did not write, with objects of .*Linear.*weights alone"):
        load_torch_file(tmp_path / "plain.pkl", "weights")
    assert not (tmp_path / "trace").exists()


HEADER = json.dumps({"a": {}}).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty; copy or download it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n",
            "a Git LFS pointer.* run 'git lfs pull'",
        ),
        (b"\n<!DOCTYPE html><html>", "is a web page, not weights.*download the file in a browser"),
        (b"<html><head></head></html>", "is a web page"),
        (b"\x08\x07\x12\x07pytorch\x1a\x052.0.0:", "is an ONNX model.*the checkpoint that it was exported from"),
        (b"PK\x03\x04 the rest is missing", "is cut off or damaged"),
        (b"\x08", "not a plain torch state dict"),
        (b"null", r"not a plain torch state dict \(unknown content\)"),  # torch's advice is to run what the file holds
        (b"no checkpoint", "not a plain torch state dict .*; give weights"),
        (len(HEADER).to_bytes(8, "little") + HEADER, "cut off or damaged"),
    ],
)
def test_what_is_no_weight_file_is_named(tmp_path, content, words):
    """One sentence says what the file is and what to do."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=f"file {words}|file is {words}"):
        load_torch_file(tmp_path / "file", "weights")


def test_other_archives_and_folders_are_named(tmp_path):
    """A TorchScript program, a zip of other files, a folder."""
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:  # torch warns that its own writer is deprecated
        for name in ("data.pkl", "constants.pkl", "code/model.py"):
            archive.writestr(f"script/{name}", b"")
    with pytest.raises(DataError, match=r"is a TorchScript program; save its weights: torch\.save\(torch\.jit\.load"):
        load_torch_file(tmp_path / "script.pt", "weights")
    with zipfile.ZipFile(tmp_path / "release.zip", "w") as archive:
        archive.writestr("weights.pth", b"")
    with pytest.raises(DataError, match="is a zip archive of other files; unpack it"):
        load_torch_file(tmp_path / "release.zip", "weights")
    with pytest.raises(DataError, match=r"cannot read .*: Is a directory; give weights"):
        load_torch_file(tmp_path, "weights")
