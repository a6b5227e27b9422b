"""ls-ood profile: what it measures, not how fast it is."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.main import main


def run(*arguments) -> int:
    """Exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main(["profile", *map(str, arguments)])
    return ended.value.code


SMALL = ("--networks", "mobilenet_v2", "--size", "96x64", "--masks", "4")


def test_engines_are_held_against_eager_torch(tmp_path, capsys):
    """--check finds that exported graphs give the same scores and classes, and measures no time."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path / "check.json"
    assert run(*SMALL, "--check", "--json", path) == 0
    rows = json.loads(path.read_text())["check"]["mobilenet_v2"]
    assert [row["engine"] for row in rows] == ["eager", "onnx"]
    assert all(row["agrees"] for row in rows)
    assert rows[0]["score"] == 0.0
    assert "all engines agree" in capsys.readouterr().out


def test_a_table_has_every_piece_of_work(tmp_path):
    """The result has every piece of work with its ratio to the pass, the contenders of a file, and the machine."""
    peers = tmp_path / "peers.py"
    peers.write_text(
        "def contenders(network, pictures, mask_bank, score):\n"
        "    assert tuple(pictures.shape) == (1, 3, 64, 96) and mask_bank.shape[0] == 4\n"
        "    return {'somebody else': lambda: score(__import__('numpy').zeros((1, 320)))}\n"
    )
    path = tmp_path / "frames.json"
    assert run(*SMALL, "--engines", "eager", "--repeats", "2", "--with", peers, "--json", path) == 0
    result = json.loads(path.read_text())
    rows = {row["name"]: row for row in result["frames"]["mobilenet_v2"]}
    assert set(rows) == {
        "torch as it comes, pass",
        "eager, pass",
        "eager, larem",
        "eager, spatial",
        "eager, all four",
        "eager, to the alarm",
        "somebody else",
    }
    assert rows["eager, pass"]["of_base"]["median_ms"] == rows["eager, pass"]["of_own_pass"]["median_ms"] == 1.0
    assert rows["somebody else"]["of_own_pass"] is None
    assert result["machine"]["cores"] >= 1
    assert (result["settings"]["size"], result["settings"]["repeats"]) == ("96x64", 2)
    assert result["engines"] == ["eager"]
    assert result["left_out"] == {}
    assert "torch" in result["machine"]["versions"]


def test_a_bundle_of_random_weights_loads_as_any_other(tmp_path):
    """A bundle of random weights loads, and its provenance states what it is."""
    assert run(*SMALL, "--make-bundle", tmp_path / "bundle") == 0
    monitor = load_bundle(tmp_path / "bundle", device="cpu")
    assert monitor.provenance["domain"] == "random weights, for measuring time alone"
    assert monitor.frame_pass.preprocess_spec.width == 96


def test_growth_is_measured_along_each_axis():
    """Points vary one thing at a time, and rows carry pass, monitored frame and their ratio."""
    import torch

    from ls_ood_monitor.profiling.frame_cost import EngineChoice
    from ls_ood_monitor.profiling.growth import Point, measure_growth, points

    chosen = points("mobilenet_v2", 483, 64)
    assert {point.axis for point in chosen} == {"cameras", "height", "masks", "latent width"}
    middle = chosen[0]
    for point in chosen:
        assert (
            sum(getattr(point, name) != getattr(middle, name) for name in ("backbone", "height", "masks", "cameras"))
            < 2
        )
    done = []
    few = [Point("masks", value, "mobilenet_v2", 242, value, 1) for value in (2, 4)]
    rows = list(measure_growth(few, EngineChoice("eager"), torch.device("cpu"), 1, done.append))
    assert done == [1, 2]
    for row in rows:
        monitored, plain = row["monitored_ms"]["median_ms"], row["pass_ms"]["median_ms"]
        assert row["ratio"]["median_ms"] == pytest.approx(monitored / plain)  # of one turn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "640"), "--size is 640"),
        (("--networks", "vgg"), "--networks names 'vgg'"),
        (("--repeats", "0"), "--repeats is 0"),
        (("--with", "nowhere.py"), "there is no such file"),
        (("--make-bundle", "b", "--networks", "resnet18,resnet50"), "name one network"),
        (("--growth", "growth.txt"), "its name must end in"),
    ],
)
def test_bad_usage_is_a_sentence(arguments, message, capsys):
    """Bad usage exits with 2 and states what to do."""
    assert run("--size", "96x64", *arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engines", "foo"), "'foo' is no engine; it must be one of "),
        (("--engines", "eager,onnx:fp99"), "'onnx:fp99' is no engine"),
        (("--growth", "growth.png", "--cameras", "4"), "--growth has sizes and cameras of its own"),
        (("--growth", "growth.png", "--check"), "--growth has sizes and cameras of its own"),
        (("--growth", "growth.png", "--engines", "eager,onnx"), "--growth takes one network"),
        (("--growth", "growth.png", "--networks", "street"), "--growth takes one network"),
        (("--engines", "auto"), "'auto' is no engine"),
        (("--make-bundle", "b", "--check"), "--make-bundle times nothing"),
        (("--check", "--with", "peers.py"), "--check compares engines alone"),
    ],
)
def test_what_would_be_ignored_is_refused(capsys, monkeypatch, tmp_path, arguments, message):
    """Options that would be ignored are refused before anything is measured."""
    monkeypatch.chdir(tmp_path)
    assert run("--networks", "resnet18", *arguments) == 2
    assert message in capsys.readouterr().err


def test_an_engine_that_was_named_and_not_compared_does_not_agree(capsys):
    """If no named engine can run, --check fails."""
    assert run(*SMALL, "--device", "cpu", "--check", "--engines", "eager:bf16") == 1
    assert "not every engine could be compared" in capsys.readouterr().out


def test_an_engine_that_was_named_and_not_measured_is_no_success(tmp_path, capsys):
    """If a named engine cannot run, the command fails, and its result has the others and the reason."""
    path = tmp_path / "frames.json"
    arguments = ("--device", "cpu", "--engines", "eager,eager:bf16", "--repeats", "1", "--json", path)
    assert run(*SMALL, *arguments) == 1
    result = json.loads(path.read_text())
    assert "needs a GPU" in result["left_out"]["mobilenet_v2"]["eager:bf16"]
    assert any(row["name"] == "eager, pass" for row in result["frames"]["mobilenet_v2"])
    assert "not every engine that was named could be measured" in capsys.readouterr().out
