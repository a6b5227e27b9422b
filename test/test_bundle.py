"""Bundles: round trip, and refusal of whatever is missing, truncated, altered or foreign."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ls_ood_monitor.bundle import (
    CALIBRATION,
    MANIFEST,
    MONITOR,
    NETWORK,
    load_bundle,
    manifest_checksum,
    read_calibration,
    verify_bundle,
)
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.errors import BundleError, ConfigError


@pytest.fixture
def copy(tiny_bundle, tmp_path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


def edit_manifest(folder: Path, **changes: object) -> None:
    """Change top-level entries of a manifest."""
    content = json.loads((folder / MANIFEST).read_text())
    content.update(changes)
    content["checksum"] = manifest_checksum(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def test_a_loaded_bundle_repeats_its_scores(tiny_bundle):
    """Two loads of one bundle give the same scores to the last bit, and the same identity."""
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    results = [load_bundle(tiny_bundle, device="cpu").process([Frame(image, 1, "front")])[0] for _ in range(2)]
    assert results[0].scores == results[1].scores
    assert load_bundle(tiny_bundle, device="cpu").bundle_id == verify_bundle(tiny_bundle).bundle_id


@pytest.mark.parametrize("name", [MANIFEST, NETWORK, MONITOR])
def test_a_missing_file_is_named(copy, name):
    """A bundle without one of its files is refused, naming the file."""
    (copy / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(copy)


@pytest.mark.parametrize("name", [NETWORK, MONITOR])
def test_a_truncated_file_is_named(copy, name):
    """A file cut short is refused before anything in it is used."""
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(BundleError, match=f"{name} has .* bytes"):
        load_bundle(copy)


@pytest.mark.parametrize("name", [NETWORK, MONITOR])
def test_one_altered_byte_is_noticed(copy, name):
    """A single flipped bit breaks the SHA-256."""
    data = bytearray((copy / name).read_bytes())
    data[-5] ^= 1
    (copy / name).write_bytes(bytes(data))
    with pytest.raises(BundleError, match="SHA-256"):
        verify_bundle(copy)


def test_a_bundle_without_calibration_table_says_so(copy):
    """The table is optional: verify does without, and what needs it says how to get it."""
    assert CALIBRATION not in verify_bundle(copy).content["files"]
    with pytest.raises(BundleError, match="without --table none"):
        read_calibration(copy)


def test_an_edited_threshold_changes_the_identity(copy):
    """The identity covers the manifest, thresholds included."""
    before = verify_bundle(copy).bundle_id
    content = json.loads((copy / MANIFEST).read_text())
    content["thresholds"]["larem"]["value"] *= 2
    edit_manifest(copy, thresholds=content["thresholds"])
    assert verify_bundle(copy).bundle_id != before


def test_a_threshold_edited_by_hand_is_refused(copy):
    """The manifest vouches for itself, by a checksum that bundles of version 0.1.0 do not have."""
    content = json.loads((copy / MANIFEST).read_text())
    content["thresholds"]["larem"]["value"] = 1e9
    (copy / MANIFEST).write_text(json.dumps(content))
    for use in (verify_bundle, load_bundle):
        with pytest.raises(BundleError, match=r"manifest\.json does not match its own checksum"):
            use(copy)
    del content["checksum"]
    (copy / MANIFEST).write_text(json.dumps(content))
    verify_bundle(copy)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"class_names": []}, "0 class names for"),
        ({"format_version": 99}, "format 99"),
        ({"thresholds": {}}, "not calibrated"),
        ({"network": {"backbone": "resnet18"}}, "does not fit"),
        ({"preprocess": {"width": 3}}, "does not fit"),
        ({"detector": "nonsense"}, "nonsense"),
    ],
)
def test_foreign_content_is_refused(copy, changes, words):
    """Unknown formats, settings that do not fit the weights and unknown detectors are refused in a sentence."""
    edit_manifest(copy, **changes)
    with pytest.raises((BundleError, ConfigError), match=words):
        load_bundle(copy)


def test_a_manifest_that_is_not_json_is_refused(copy):
    """A damaged manifest is a sentence, not a traceback."""
    (copy / MANIFEST).write_text("{")
    with pytest.raises(BundleError, match="not a bundle manifest"):
        verify_bundle(copy)


def test_a_missing_folder_is_refused(tmp_path):
    """A wrong path says how to get a bundle."""
    with pytest.raises(BundleError, match="no bundle folder"):
        load_bundle(tmp_path / "nowhere")


def test_unknown_device_and_detector_are_refused(tiny_bundle):
    """Device and detector are named in the refusal, with the choices."""
    with pytest.raises(ConfigError, match="tpu"):
        load_bundle(tiny_bundle, device="tpu")
    with pytest.raises(ConfigError, match="holds larem"):
        load_bundle(tiny_bundle, device="cpu", detector="nonsense")


def test_the_embedded_bundle_is_whole():
    """The bundle in the package verifies, holds every detector and says that it is synthetic."""
    manifest = verify_bundle()
    assert {"spatial", "larem", "mahalanobis", "multistage"} <= set(manifest.content["thresholds"])
    assert "synthetic" in manifest.content["provenance"]["dataset"]["data"]
    assert manifest.content["provenance"]["test"]["miou"] >= 0.65
