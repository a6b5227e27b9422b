"""ls-ood adopt: list, propose, write; then the same commands as for any bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.small_networks import HEIGHT, WIDTH, saved, segmenter

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.main import main
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.recordings.bags import FrameBagWriter

PERIOD_NS = 200_000_000


def run(*arguments: object) -> int:
    """Exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def write_drive(path: Path, seed: int, seconds: int = 30) -> Path:
    """A scene that drifts slowly, with noise."""
    random = np.random.default_rng(seed)
    scene = random.integers(60, 200, (HEIGHT, WIDTH * 2, 3)).astype(np.uint8)
    with FrameBagWriter(path) as writer:
        for index in range(seconds * 5):
            part = scene[:, index % WIDTH : index % WIDTH + WIDTH].astype(int) + random.integers(
                -8, 9, (HEIGHT, WIDTH, 3)
            )
            writer.write("front", np.clip(part, 0, 255).astype(np.uint8), 10**18 + seed * 10**13 + index * PERIOD_NS)
    return path


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory) -> tuple[Path, Path]:
    """Folder of the uncalibrated bundle and of the calibrated one, by the three commands."""
    folder = tmp_path_factory.mktemp("adopt")
    network = saved(folder / "network.onnx", segmenter(output="ids"))
    drives = [write_drive(folder / f"drive_{seed}", seed) for seed in (1, 2)]
    assert run("adopt", network, "--suggest", folder / "settings.yaml") == 0
    assert run("adopt", network, "--settings", folder / "settings.yaml", "--out", folder / "adopted") == 0
    options = ("--bundle", folder / "adopted", "--out", folder / "bundle", "--sensitivity-minutes", "0")
    assert run("calibrate", *drives, *options, "--target-rate", "0.05") == 0
    return folder / "adopted", folder / "bundle"


def test_a_listing_names_what_can_be_tapped(tmp_path, capsys):
    """Inputs, outputs, and the proposed taps; the same as JSON."""
    network = saved(tmp_path / "network.onnx", segmenter())
    assert run("adopt", network, "--json", tmp_path / "facts.json") == 0
    printed = capsys.readouterr().out
    assert "input: image  float32 1 x 3 x 48 x 64" in printed
    assert "stage_1" in printed
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["taps"] == ["stage_0", "stage_1"]
    assert {row["stride"] for row in facts["candidates"]} == {2, 4, 8}


def test_a_calibrated_bundle_judges_frames(calibrated):
    """A picture of the drive is clear and one of noise is not; classes and confidence have the picture's size."""
    monitor = load_bundle(calibrated[1])
    assert set(monitor.detectors) == {"spatial", "larem", "mahalanobis", "multistage"}
    noise = np.random.default_rng(0).integers(0, 2, (60, 80, 3)).astype(np.uint8) * 255
    result = monitor.process([Frame(noise, 1, "front")])[0]
    assert result.score > result.threshold
    assert result.segmentation.shape == result.confidence.shape == (60, 80)
    assert result.class_names == monitor.class_names


def test_an_uncalibrated_bundle_says_so(calibrated, capsys):
    """Show and verify; evaluate refuses it."""
    uncalibrated, bundle = calibrated
    assert run("bundle", "show", uncalibrated) == 0
    assert run("bundle", "verify", uncalibrated) == 0
    printed = capsys.readouterr().out
    assert "Not calibrated: it judges no frame" in printed
    assert ", not calibrated" in printed
    assert run("bundle", "show", bundle) == 0
    assert "network.onnx, adopted as it is" in capsys.readouterr().out
    assert run("evaluate", bundle.parent / "drive_1", "--bundle", uncalibrated, "--out", bundle.parent / "no") == 2
    assert "is not calibrated" in capsys.readouterr().err
    assert run("bundle", "export", bundle) == 2
    assert "there is nothing to export" in capsys.readouterr().err


def test_evaluate_and_profile_take_an_adopted_bundle(calibrated, tmp_path):
    """The commands that a vehicle's bundle goes through."""
    drive = calibrated[1].parent / "drive_2"
    assert run("evaluate", drive, "--bundle", calibrated[1], "--out", tmp_path / "report") == 0
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["frames"] == 150
    assert run("profile", "--bundle", calibrated[1], "--repeats", "2", "--json", tmp_path / "profile.json") == 0
    (rows,) = json.loads((tmp_path / "profile.json").read_text())["frames"].values()
    assert [row["name"] for row in rows] == ["onnx fp32, pass", "onnx fp32, spatial", "onnx fp32, to the alarm"]


def test_a_drive_can_be_added(calibrated, tmp_path):
    """--update of an adopted bundle."""
    third = write_drive(tmp_path / "drive_3", 3)
    options = ("--update", calibrated[1], "--out", tmp_path / "more", "--sensitivity-minutes", "0")
    assert run("calibrate", third, *options) == 0
    assert load_bundle(tmp_path / "more").provenance["adopted"]["file"] == "network.onnx"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--settings", "s.yaml"], "--settings and --out belong together"),
        (["--settings", "s.yaml", "--out", "x", "--size", "64x64"], "leave out --suggest and --size"),
        (["--size", "big"], "must be WIDTHxHEIGHT"),
        (["--suggest", "settings.txt"], "must end in .yaml"),
    ],
)
def test_wrong_options_are_refused(tmp_path, capsys, arguments, words):
    """One sentence, exit code 2."""
    network = saved(tmp_path / "network.onnx", segmenter())
    assert run("adopt", network, *arguments) == 2
    assert words in capsys.readouterr().err
