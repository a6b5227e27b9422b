"""Bundles that version 0.1 wrote (format 1) load with equal scores; unknown formats and old names are refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from ls_ood_monitor.bundle import (
    CALIBRATION,
    EMBEDDED_BUNDLE,
    GRAPHS,
    MANIFEST,
    MONITOR,
    export_bundle,
    load_bundle,
    manifest_checksum,
    read_calibration,
    verify_bundle,
)
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.errors import BundleError, ConfigError

OLD_ARRAYS = {
    "multistage.mean": "multitap.mean",
    "multistage.precision": "multitap.precision",
    "spatial.clean_median": "spatial.usual",
    "feature.stage_means": "feature.taps",
}


def write_manifest(folder: Path, content: dict) -> None:
    """Write a manifest with the hashes of the files as they are."""
    for name in content["files"]:
        data = (folder / name).read_bytes()
        content["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    content["checksum"] = manifest_checksum(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def as_format_1(source: Path, folder: Path) -> Path:
    """A copy of a bundle with the names of version 0.1, in the manifest, the arrays and the exported encoder."""
    shutil.copytree(source, folder)
    content = json.loads((folder / MANIFEST).read_text())
    content["format_version"] = 1
    content["thresholds"] = {
        name.replace("multistage", "multitap"): {
            key.replace("clean_median", "usual"): item for key, item in values.items()
        }
        for name, values in content["thresholds"].items()
    }
    content["detector"] = content["detector"].replace("multistage", "multitap")
    calibration = content["provenance"].get("calibration", {})
    for facts in (calibration.get("detectors", {}), content["provenance"].get("check_on_unseen_drives", {})):
        if "multistage" in facts:
            facts["multitap"] = facts.pop("multistage")
    for name in (MONITOR, CALIBRATION):
        if (folder / name).exists():
            arrays = load((folder / name).read_bytes())
            (folder / name).write_bytes(save({OLD_ARRAYS.get(key, key): value for key, value in arrays.items()}))
    if "encoder.onnx" in content["files"]:
        onnx = pytest.importorskip("onnx")
        model = onnx.load(folder / "encoder.onnx")
        for names in (model.graph.output, [node for node in model.graph.node if "stage_means" in node.output]):
            for item in names:
                if isinstance(item, onnx.NodeProto):
                    item.output[:] = ["taps" if name == "stage_means" else name for name in item.output]
                elif item.name == "stage_means":
                    item.name = "taps"
        onnx.save(model, folder / "encoder.onnx")
    write_manifest(folder, content)
    return folder


def scores_of(folder: Path, engine: str) -> dict[str, float]:
    """Scores of every detector for one picture."""
    picture = np.random.default_rng(0).integers(0, 256, (242, 320, 3), dtype=np.uint8)
    return dict(load_bundle(folder, device="cpu", engine=engine).process([Frame(picture, 1, "front")])[0].scores)


@pytest.mark.parametrize("engine", ["eager", "onnx"])
def test_the_embedded_bundle_in_format_1_scores_as_in_format_2(tmp_path, engine):
    """Every detector's score is equal to the last bit, in torch and in ONNX Runtime."""
    if engine == "onnx":
        pytest.importorskip("onnxruntime")
    old = as_format_1(EMBEDDED_BUNDLE, tmp_path / "old")
    assert scores_of(old, engine) == scores_of(EMBEDDED_BUNDLE, engine)


def test_a_manifest_of_format_1_is_read_under_the_new_names(tmp_path):
    """Thresholds, default detector and provenance have the new names; identity and format are those on disk."""
    old = as_format_1(EMBEDDED_BUNDLE, tmp_path / "old")
    manifest, now = verify_bundle(old), verify_bundle()
    assert manifest.content["thresholds"] == now.content["thresholds"]
    assert manifest.content["provenance"] == now.content["provenance"]
    assert manifest.content["format_version"] == 1
    assert manifest.bundle_id == hashlib.sha256((old / MANIFEST).read_bytes()).hexdigest()


def test_a_default_detector_and_a_table_of_format_1_get_their_new_names(tiny_bundle, tmp_path):
    """The bundle's default is ``multistage``, and the stored clean features hold ``stage_means``."""
    folder = as_format_1(tiny_bundle, tmp_path / "old")
    (folder / CALIBRATION).write_bytes(save({"feature.taps": np.arange(3.0)}))
    content = json.loads((folder / MANIFEST).read_text())
    content["files"][CALIBRATION] = {}
    write_manifest(folder, content)
    monitor = load_bundle(folder, device="cpu")
    assert monitor.detector == "multistage"
    levels = load_bundle(tiny_bundle, device="cpu").lasting_levels
    assert monitor.lasting_levels.clean_median == levels.clean_median
    assert list(load(read_calibration(folder))) == ["feature.stage_means"]


def test_export_writes_a_bundle_of_format_1_anew(tiny_bundle, tmp_path):
    """After the export the files hold the new names, and scores are unchanged."""
    pytest.importorskip("onnxscript")
    folder = as_format_1(tiny_bundle, tmp_path / "old")
    before = scores_of(folder, "eager")
    identity = export_bundle(folder)
    content = json.loads((folder / MANIFEST).read_text())
    assert content["format_version"] == 2
    assert "multistage" in content["thresholds"]
    assert set(GRAPHS.values()) < set(content["files"])
    arrays = load((folder / MONITOR).read_bytes())
    assert not set(OLD_ARRAYS.values()) & set(arrays)
    assert scores_of(folder, "eager") == before
    assert verify_bundle(folder).bundle_id == identity


@pytest.mark.parametrize("version", [0, 3, "2", None])
def test_an_unknown_format_is_refused(tiny_bundle, tmp_path, version):
    """A bundle of a later version, or of none, says which formats can be read and what to do."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))
    write_manifest(folder, {**json.loads((folder / MANIFEST).read_text()), "format_version": version})
    with pytest.raises(BundleError, match=r"reads formats 1 to 2; update ls_ood_monitor"):
        verify_bundle(folder)


def test_format_1_without_its_entries_is_refused(tiny_bundle, tmp_path):
    """A damaged manifest is a sentence, not a traceback."""
    folder = as_format_1(tiny_bundle, tmp_path / "old")
    content = json.loads((folder / MANIFEST).read_text())
    del content["thresholds"]
    write_manifest(folder, content)
    with pytest.raises(BundleError, match="is not a bundle of format 1"):
        verify_bundle(folder)


def test_the_old_name_of_a_detector_is_refused_with_the_new_one(tiny_bundle):
    """Who asks for ``multitap`` learns its name."""
    with pytest.raises(ConfigError, match="'multitap' is called 'multistage'"):
        load_bundle(tiny_bundle, device="cpu", detector="multitap")


def test_alarm_rules_that_are_gone_are_refused(tiny_bundle, tmp_path):
    """Bundles of the rule ``consecutive`` load; the threshold of another rule fits no rule of today."""
    for rule in ("consecutive", "cusum"):
        folder = tmp_path / rule
        shutil.copytree(tiny_bundle, folder)
        content = json.loads((folder / MANIFEST).read_text())
        alarm = {"rule": rule, "trigger_consecutive_frames": 4, "window_frames": 5, "cusum_limit": 1.0}
        content["provenance"]["calibration"] = {"alarm": alarm}
        write_manifest(folder, content)
    assert load_bundle(tmp_path / "consecutive", device="cpu").alarm.trigger_consecutive_frames == 4
    with pytest.raises(
        BundleError, match=r"alarm rule is 'cusum', which the lasting path has replaced.*calibrate again"
    ):
        load_bundle(tmp_path / "cusum", device="cpu")
    content["provenance"]["calibration"] = {"alarm": {"lasting_time_constant_s": 2.0}}
    write_manifest(folder, content)
    with pytest.raises(BundleError, match=r"a mean over seconds, which a median has replaced.*calibrate again"):
        load_bundle(folder, device="cpu")
