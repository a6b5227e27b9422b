"""Every example runs as its first line says."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import cv2
import pytest

from ls_ood_monitor.bundle import verify_bundle
from ls_ood_monitor.recordings.bags import count_images

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_pictures) -> Path:
    """Twenty seconds of pictures at 2 Hz."""
    root = tmp_path_factory.mktemp("examples")
    (root / "pictures").mkdir()
    for index, picture in enumerate(make_pictures(40)):
        cv2.imwrite(str(root / "pictures" / f"{index:03d}.png"), picture)
    return root


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Run an example in the folder; returns what it prints."""

    def run_example(name: str, *arguments: object) -> str:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run_example


def test_examples_of_pictures(run, folder, tiny_bundle):
    """Judge, compare, disturb."""
    picture = folder / "pictures" / "000.png"
    assert "Prediction:" in run("judge_a_picture.py", picture, tiny_bundle)
    assert (folder / "judged.png").is_file()
    assert "multistage: " in run("compare_scores.py", picture, tiny_bundle)
    run("disturb_a_picture.py", picture, folder / "disturbed", 3)
    assert (folder / "disturbed" / "fog.png").is_file()


def test_examples_of_recordings(run, folder, tiny_bundle):
    """Write a bag, judge it, follow its alarm."""
    run("write_a_bag.py", folder / "pictures", folder / "bag", 2)
    assert count_images(folder / "bag") == 40
    assert len(run("judge_a_recording.py", folder / "bag", tiny_bundle).splitlines()) == 40
    assert "CLEAR" in run("alarm_over_time.py", folder / "bag", "front", tiny_bundle)


def test_examples_of_calibration_and_adoption(run, folder):
    """Both write a bundle that verifies."""
    assert "OodMonitor" in run("calibrate_pictures.py", folder / "pictures", folder / "calibrated", 2)
    run("adopt_a_torch_network.py", folder / "adopted")
    for name in ("calibrated", "adopted"):
        verify_bundle(folder / name)


def test_a_detector_on_other_features(run):
    """A shift of two standard deviations in 8 dimensions is nearly always detected."""
    detected = run("your_own_features.py")
    assert int(detected.split()[1].rstrip("%")) > 90


def test_every_example_is_run_by_a_test():
    """The one of ROS is run beside real nodes (test_readme.py)."""
    own, live = Path(__file__).read_text(encoding="utf-8"), Path(__file__).with_name("test_readme.py")
    for example in EXAMPLES.glob("*.py"):
        assert example.name in own + live.read_text(encoding="utf-8")
