"""The package as Python programs use it: ``import ls_ood_monitor as ood``."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

import ls_ood_monitor as ood
from ls_ood_monitor.cli.main import main
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.errors import CalibrationError, ConfigError, DataError


@pytest.fixture(scope="module")
def monitor(tiny_bundle):
    """A monitor on the CPU."""
    return ood.load_bundle(tiny_bundle, device="cpu")


def test_the_import_loads_nothing_heavy_and_names_everything():
    """Neither numpy nor torch nor OpenCV; every public name is there, and another one is an AttributeError."""
    script = (
        "import sys, ls_ood_monitor as ood; print(sorted({'numpy', 'torch', 'cv2'} & set(sys.modules))); "
        "print(set(ood.__all__) <= set(dir(ood)), hasattr(ood, 'no_such_name'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "True False"]
    assert all(getattr(ood, name) is not None for name in ood.__all__)


def test_a_picture_is_judged_as_in_the_monitor(monitor, make_pictures):
    """Score, threshold and classes are those of ``process``; the cause carries both numbers."""
    (picture,) = make_pictures(1, seed=3)
    prediction, (result,) = monitor.predict(picture), monitor.process([Frame(picture, 1, "")])
    assert (prediction.score, prediction.threshold) == (result.score, monitor.threshold)
    assert prediction.is_ood == (result.score > monitor.threshold)
    assert (prediction.cause.value, prediction.cause.limit) == (result.score, monitor.threshold)
    np.testing.assert_array_equal(prediction.class_ids, result.segmentation)
    assert f"{result.score:.2f}" in repr(prediction)


@pytest.mark.parametrize(("level", "cause"), [(0, "black"), (255, "saturated"), (90, "blank")])
def test_a_picture_that_cannot_be_judged_is_not_in_distribution(monitor, level, cause):
    """The vehicle's checks of content hold for a single picture, too."""
    prediction = monitor.predict(np.full((48, 64, 3), level, np.uint8))
    assert prediction.is_ood
    assert (prediction.cause.kind.value, prediction.cause.kind.is_fault) == (cause, True)
    assert "cannot be judged" in repr(prediction)


@pytest.mark.parametrize(
    "picture", [np.zeros((48, 64), np.uint8), np.zeros((48, 64, 3)), np.zeros((0, 0, 3), np.uint8)]
)
def test_another_array_is_refused_in_words(monitor, picture):
    """A grey picture, one of floats, and an empty one."""
    with pytest.raises(DataError, match="must be BGR uint8"):
        monitor.predict(picture)


def test_a_prediction_draws_picture_classes_and_map(make_pictures, tmp_path):
    """Three panels with ``spatial``, which has a map; the file is a picture."""
    prediction = ood.load_bundle(device="cpu").predict(make_pictures(1, seed=4)[0])
    figure = prediction.plot()
    assert [axes.get_title() for axes in figure.axes] == ["picture", "classes", "anomaly map"]
    figure.savefig(tmp_path / "prediction.png")
    assert ood.read_picture(tmp_path / "prediction.png").ndim == 3


def test_pictures_calibrate_as_the_command_does(tiny_bundle, make_pictures, tmp_path):
    """Pictures in memory, and the same as files to ``ls-ood calibrate``, give one threshold."""
    pictures = make_pictures(40, seed=2)
    (tmp_path / "drive").mkdir()
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / "drive" / f"{index:03d}.png"), picture)
    monitor = ood.calibrate(
        pictures, tmp_path / "python", bundle=tiny_bundle, target_rate=0.1, rate_hz=4, block_s=2, device="cpu"
    )
    command = [
        "calibrate",
        tmp_path / "drive",
        "--out",
        tmp_path / "command",
        "--bundle",
        tiny_bundle,
        "--device",
        "cpu",
    ]
    command += ["--target-rate", "0.1", "--rate", "4", "--block", "2", "--sensitivity-minutes", "0"]
    with pytest.raises(SystemExit) as end:
        main([str(part) for part in command])
    assert not end.value.code
    assert monitor.threshold == pytest.approx(ood.load_bundle(tmp_path / "command", device="cpu").threshold, rel=1e-6)
    assert monitor.predict(pictures[0]).threshold == monitor.threshold
    again = ood.calibrate(
        tmp_path / "drive", tmp_path / "path", bundle=tiny_bundle, target_rate=0.1, rate_hz=4, block_s=2, device="cpu"
    )
    assert again.threshold == pytest.approx(monitor.threshold, rel=1e-6)


def test_calibration_data_that_cannot_do_are_refused(tiny_bundle, make_pictures, tmp_path):
    """Too little time for a target an hour, two targets, and nothing at all: one sentence each, and no bundle."""
    pictures, options = make_pictures(20, seed=2), {"bundle": tiny_bundle, "device": "cpu"}
    with pytest.raises(CalibrationError, match="cannot support a target of 5 false alarms an hour"):
        ood.calibrate(pictures, tmp_path / "b", target_per_hour=5, rate_hz=10, block_s=0.5, **options)
    with pytest.raises(ConfigError, match="both given"):
        ood.calibrate(pictures, tmp_path / "b", target_per_hour=5, target_rate=0.1, **options)
    with pytest.raises(ConfigError, match="nothing to calibrate on"):
        ood.calibrate([], tmp_path / "b", **options)
    assert not (tmp_path / "b").exists()


def test_detectors_fit_and_score():
    """A detector of the registry on rows of one's own: the far row scores higher."""
    rows = np.random.default_rng(0).normal(size=(200, 4))
    detector = ood.detectors.MahalanobisDetector().fit(rows)
    near, far = detector.score([[0.0] * 4, [9.0] * 4])
    assert far > near
