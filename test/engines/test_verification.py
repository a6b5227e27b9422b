"""An engine that gives something else is found out."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from ls_ood_monitor import bundle
from ls_ood_monitor.bundle import export_bundle, load_bundle
from ls_ood_monitor.engines.verification import measure_difference
from ls_ood_monitor.errors import BundleError

IDS = np.arange(96, dtype=np.uint8).reshape(2, 6, 8) % 5


@pytest.mark.parametrize(
    ("factor", "changed", "share", "classes"), [(1.0, 0, 0.0, 0.0), (1.01, 0, 0.01, 0.0), (1.0, 24, 0.0, 0.25)]
)
def test_the_difference_is_the_one_that_was_put_in(factor, changed, share, classes):
    """One per cent of a score above its threshold; a quarter of the pixels; named is the detector that is farthest off."""
    expected = {"calm": np.array([3.0, 4.0]), "moved": np.array([20.0, 10.0])}
    scores = {"calm": expected["calm"], "moved": expected["moved"] * factor}
    ids = IDS.copy()
    ids.reshape(-1)[:changed] += 1
    difference = measure_difference(scores, ids, expected, IDS, {"calm": 1.0, "moved": 2.0})
    assert difference.score == pytest.approx(share, abs=1e-12)
    assert difference.class_ids == classes
    if share:
        assert difference.detector == "moved"


def test_a_score_near_zero_is_measured_by_its_threshold():
    """Clean scores lie around zero: what counts is how far they move towards the threshold."""
    difference = measure_difference({"a": np.array([0.02])}, IDS, {"a": np.array([0.01])}, IDS, {"a": 2.0})
    assert difference.score == pytest.approx(0.005)


def test_a_number_against_none_is_infinitely_far():
    """NaN on one side alone can never pass; NaN on both is a broken network, which its scores tell already."""
    nan, one = {"a": np.array([np.nan])}, {"a": np.array([1.0])}
    for scores, expected in ((nan, one), (one, nan)):
        assert measure_difference(scores, IDS, expected, IDS, {"a": 1.0}).score == np.inf
    assert measure_difference(nan, IDS, nan, IDS, {"a": 1.0}).score == 0.0


def test_an_exported_bundle_runs_and_an_altered_network_is_refused(tiny_bundle, tmp_path):
    """Export adds two verified files; graphs of other weights than the network's are refused at load, with the difference."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, folder)
    identity = export_bundle(folder)
    monitor = load_bundle(folder, device="cpu")
    assert monitor.bundle_id == identity == bundle.verify_bundle(folder).bundle_id
    assert monitor.engine_name == "onnx"
    assert monitor.difference is not None
    assert monitor.difference.score < 1e-3
    assert load_bundle(folder, device="cpu", engine="eager").difference is None

    weights = load_file(folder / bundle.NETWORK)
    name = next(key for key, value in weights.items() if value.dim() == 4)
    save_file({**weights, name: weights[name] * 1.05}, folder / bundle.NETWORK)
    data = (folder / bundle.NETWORK).read_bytes()
    content = json.loads((folder / bundle.MANIFEST).read_text())
    content["files"][bundle.NETWORK] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    content["checksum"] = bundle.manifest_checksum(content)
    (folder / bundle.MANIFEST).write_text(json.dumps(content))
    with pytest.raises(BundleError, match="differs from eager torch: scores differ"):
        load_bundle(folder, device="cpu", engine="onnx")


def test_a_graph_is_verified_as_every_file_of_the_bundle(tiny_bundle, tmp_path):
    """One altered byte of an exported graph is refused before it is parsed."""
    pytest.importorskip("onnxscript")
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, folder)
    export_bundle(folder)
    path = folder / "encoder.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BundleError, match=r"encoder\.onnx does not match the SHA-256"):
        load_bundle(folder, device="cpu")
