"""ls-ood adopt: list, propose, write; then the same commands as for any bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from support.small_networks import HEIGHT, WIDTH, saved, segmenter

from ls_ood_monitor.bundle import load_bundle, manifest_checksum
from ls_ood_monitor.cli.main import main
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.errors import BundleError
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
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "engine onnx native" in page
    assert run("profile", "--bundle", calibrated[1], "--repeats", "2", "--json", tmp_path / "profile.json") == 0
    (rows,) = json.loads((tmp_path / "profile.json").read_text())["frames"].values()
    assert [row["name"] for row in rows] == ["onnx native, pass", "onnx native, spatial", "onnx native, to the alarm"]


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


def test_compare_takes_what_an_adopted_network_gives(calibrated, tmp_path):
    """All detectors that its features allow; those that need its last layer are left out."""
    drives = [calibrated[1].parent / f"drive_{seed}" for seed in (1, 2)]
    test_drive = write_drive(tmp_path / "drive_4", 4, 10)
    options = ("--protocol", "recordings", "--clean", *drives, "--test", test_drive, "--bundle", calibrated[0])
    options += ("--kinds", "fog", "--severities", "3", "--resamples", "100", "--every", "5")
    assert run("compare", *options, "--out", tmp_path / "comparison") == 0
    table = (tmp_path / "comparison" / "results.md").read_text()
    assert all(name in table for name in ("spatial", "multistage", "larem", "energy"))
    assert not any(name in table for name in ("vim", "ddu", "mutual_information"))


def test_a_suggestion_does_not_replace_an_edited_file(tmp_path, capsys):
    """The file stays as a person left it."""
    network = saved(tmp_path / "network.onnx", segmenter())
    (tmp_path / "settings.yaml").write_text("mine")
    assert run("adopt", network, "--suggest", tmp_path / "settings.yaml") == 2
    assert "which exists" in capsys.readouterr().err
    assert (tmp_path / "settings.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('- "stage_0"', '- "nowhere"', "taps names 'nowhere', which is not a feature map of the input picture"),
        ("layout: NCHW", "layout: NHWC", "input.layout is NHWC, but the file's input is image"),
        ('class_ids: ""', 'class_ids: "scores"', "has the shape (2, 5, 6, 8), which is no class map"),
        ('class_ids: ""', 'class_ids: "nothing"', "output.class_ids is 'nothing'"),
        ("    - class_4\n", "", "has 5 classes in NCHW, but there are 4 class names"),
        ("width: 64", "width: 128", "the file's input is fixed to 64x48 (width x height), not 128x48"),
        ("type: float32", "type: uint8", "input.type is uint8, but the file's input is image"),
        ("batch: false", "batch: true", "input.batch is true, but the file's input takes one picture at a time"),
        ("mc_samples: 64", "mc_samples: many", "mc_samples is 'many'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, capsys, old, new, words):
    """One sentence, exit code 2, and no bundle."""
    network = saved(tmp_path / "network.onnx", segmenter())
    settings = tmp_path / "settings.yaml"
    assert run("adopt", network, "--suggest", settings) == 0
    text = settings.read_text()
    assert old in text
    settings.write_text(text.replace(old, new, 1))
    assert run("adopt", network, "--settings", settings, "--out", tmp_path / "bundle") == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "bundle").exists()


def test_taps_that_are_too_large_are_refused(tmp_path, capsys):
    """Channels of taps and latents, and places of the latents."""
    network = saved(tmp_path / "network.onnx", segmenter(widths=(2100, 2100, 16)))
    settings = tmp_path / "settings.yaml"
    assert run("adopt", network, "--suggest", settings) == 0
    assert run("adopt", network, "--settings", settings, "--out", tmp_path / "bundle") == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert "the taps have 4200 channels together; at most 4096 are allowed" in printed
    large = saved(tmp_path / "large.onnx", segmenter(size=False))
    assert run("adopt", large, "--size", "256x256", "--suggest", tmp_path / "large.yaml") == 0
    text = (tmp_path / "large.yaml").read_text().replace('tensor: "stage_2"', 'tensor: "stage_0"')
    (tmp_path / "large.yaml").write_text(text.replace("mc_samples: 64", "mc_samples: 4096"))
    assert run("adopt", large, "--settings", tmp_path / "large.yaml", "--out", tmp_path / "bundle") == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert "latents has a map of 128 x 128 places, which is too large for 4096 masks" in printed
    assert not (tmp_path / "bundle").exists()


def test_a_network_that_onnx_runtime_cannot_run_is_refused(tmp_path, capsys):
    """An unknown operator, a second input, a fixed number of pictures, and a size that the file does not have."""
    unknown, second, four = segmenter(), segmenter(), segmenter()
    unknown.graph.node[0].op_type = "Stem"
    second.graph.input.append(helper.make_tensor_value_info("speed", 1, [1]))
    second.graph.node.append(helper.make_node("Identity", ["speed"], ["same_speed"]))
    four.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    cases = ((unknown, (), "cannot use an ONNX graph"), (second, (), "the network also needs the input speed"))
    cases += ((four, (), "takes 4 pictures at a time"), (segmenter(), ("--size", "128x96"), "fixed to 64x48"))
    for model, options, words in cases:
        network = saved(tmp_path / "network.onnx", model)
        assert run("adopt", network, "--suggest", tmp_path / "settings.yaml", *options) == 2
        assert words in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "settings.yaml").exists()


def test_profile_refuses_what_a_bundle_has(calibrated, capsys):
    """The size and the masks are the bundle's own."""
    for option in (("--size", "640x483"), ("--masks", "32")):
        assert run("profile", "--bundle", calibrated[1], *option) == 2
        assert "leave out --networks, --engines, --size, --masks" in " ".join(capsys.readouterr().err.split())


def test_a_bundle_that_cannot_run_is_named(calibrated, tmp_path):
    """The message has the bundle's path, and does not advise a new calibration."""
    folder = shutil.copytree(calibrated[1], tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["class_names"] = manifest["class_names"][:-1]
    manifest["checksum"] = manifest_checksum({key: value for key, value in manifest.items() if key != "checksum"})
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    with pytest.raises(BundleError, match=r"bundle: output\.scores .* there are 4 class names") as refused:
        load_bundle(folder)
    assert "calibrate again" not in str(refused.value)
