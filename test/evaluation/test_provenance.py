"""Where an evaluation comes from: facts of the recording, and the parameters that were in force."""

from __future__ import annotations

from dataclasses import asdict, replace
from importlib import metadata

import cv2
import numpy as np
import pytest

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.config import AlarmOverrides, AlarmSettings, SupervisorSettings
from ls_ood_monitor.evaluation.provenance import environment, parameters, recording_facts
from ls_ood_monitor.evaluation.timespans import Limits
from ls_ood_monitor.parameter_file import VehicleSettings
from ls_ood_monitor.recordings.recording import open_recording


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_bag_tells_its_format_start_and_size(write_drive, tmp_path, storage):
    """Of the folder, or of a file in it alone."""
    bag = write_drive(tmp_path / "bag", 3, storage=storage)
    facts = recording_facts(open_recording(bag))
    assert asdict(facts) == {
        "path": str(bag),
        "format": f"ROS 2 bag ({storage})",
        "start": "2023-11-14T22:13:20.000Z",
        "size_bytes": sum(file.stat().st_size for file in bag.iterdir()),
        "rate_hz": None,
    }
    file = next(entry for entry in bag.iterdir() if entry.suffix in (".db3", ".mcap"))
    alone = recording_facts(open_recording(file))
    assert alone == replace(facts, path=str(file), size_bytes=file.stat().st_size)


def test_pictures_have_no_clock(tmp_path):
    """Their times are reckoned from a rate, so no start is claimed."""
    cv2.imwrite(str(tmp_path / "001.png"), np.zeros((24, 32, 3), np.uint8))
    facts = recording_facts(open_recording(tmp_path))
    assert (facts.format, facts.start, facts.rate_hz) == ("pictures", None, 10.0)
    assert recording_facts(open_recording(tmp_path, rate_hz=4.0)).rate_hz == 4.0
    assert facts.size_bytes == (tmp_path / "001.png").stat().st_size


def test_the_environment_names_what_judged(tiny_bundle):
    """Machine, and the versions that are installed; a runtime only where it runs the network."""
    facts = environment(load_bundle(tiny_bundle, device="cpu", engine="eager"))
    assert set(facts.versions) == {"Python", "torch", "numpy", "OpenCV", "plotly", "rosbags"}
    assert facts.versions["numpy"] == np.__version__
    assert facts.gpu is None
    assert "cores" in facts.machine
    embedded = environment(load_bundle(device="cpu"))
    assert embedded.versions["ONNX Runtime"] == metadata.version("onnxruntime")


def test_the_parameters_are_those_in_force():
    """The vehicle's override the bundle's; names are those of a parameter file."""
    vehicle = VehicleSettings(
        AlarmOverrides(trigger_consecutive_frames=7), supervisor=SupervisorSettings(min_stop_s=2.0), image_timeout_s=0.5
    )
    shown = parameters(vehicle, AlarmSettings(release_consecutive_frames=9), Limits(0.25, 3.0))
    perception, supervisor = shown["perception_node"], shown["supervisor_node"]
    assert (perception["trigger_consecutive_frames"], perception["release_consecutive_frames"]) == (7, 9)
    assert (perception["image_timeout_s"], perception["max_age_s"]) == (0.5, 1.0)
    assert (supervisor["min_stop_s"], supervisor["publish_rate_hz"]) == (2.0, 20.0)
    assert supervisor["optional_cameras"] == [""]
    assert shown["judgement"] == {"stop_within_s": 0.25, "release_within_s": 3.0}
