"""Recordings of scenarios and the shots of many drives."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from ls_ood_monitor.errors import ConfigError, DataError
from ls_ood_monitor.recordings.bags import bag_info, iter_frames
from ls_ood_monitor.recordings.events import Event
from ls_ood_monitor.street import StreetDrive
from ls_ood_monitor.street.scenario import DEMO_SCENARIO, Scenario, record_scenario
from ls_ood_monitor.street.shots import (
    CALIBRATION_DRIVES,
    TEST_DRIVES,
    TRAINING_DRIVES,
    VALIDATION_DRIVES,
    RenderedShot,
    spread_shots,
)


def test_a_recording_follows_its_scenario(tmp_path):
    """Rate, length and cameras follow the scenario; only the frames of an event differ from the clean drive."""
    scenario = Scenario(drive=3, cameras=("front", "left"), duration_s=1.0, rate_hz=4.0,
                        events=(Event("left", 0.5, 0.75, "dark", 5),))  # fmt: skip
    record_scenario(scenario, tmp_path / "bag", tmp_path / "events.yaml")
    frames = list(iter_frames(tmp_path / "bag"))
    assert [frame.camera for frame in frames] == ["front", "left"] * 4
    for frame in frames:
        time_s = (frame.stamp_ns % 1_000_000_000) / 1e9
        clean, _ = StreetDrive(3).render(frame.camera, time_s)
        disturbed = frame.camera == "left" and time_s == 0.5
        assert np.array_equal(frame.image, clean) != disturbed
    events = yaml.safe_load((tmp_path / "events.yaml").read_text())
    assert events == [{"camera": "left", "start_s": 0.5, "end_s": 0.75, "label": "dark", "severity": 5}]
    with pytest.raises(DataError, match="exists already"):
        record_scenario(scenario, tmp_path / "bag", tmp_path / "events.yaml")


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_recording_may_hold_its_labels(storage, tmp_path):
    """Labels have the exact class ids and stamps of their pictures, also during an event, and are no camera."""
    scenario = Scenario(3, ("front", "left"), 0.5, 4.0, (Event("left", 0.0, 0.5, "fog", 5),))
    bag = tmp_path / "bag"
    record_scenario(scenario, bag, tmp_path / "events.yaml", storage=storage, compressed=True, labels=True)
    assert set(bag_info(bag).cameras.values()) == {"front", "left"}
    pictures = list(iter_frames(bag))
    assert len(pictures) == 4
    ids = list(iter_frames(bag, {"/front/labels": "front", "/left/labels": "left"}))
    assert [(frame.camera, frame.stamp_ns) for frame in ids] == [(frame.camera, frame.stamp_ns) for frame in pictures]
    for frame in ids:
        _, labels = StreetDrive(3).render(frame.camera, (frame.stamp_ns % 1_000_000_000) / 1e9)
        np.testing.assert_array_equal(frame.image[..., 0], labels)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cameras": ("roof",)}, "roof"),
        ({"cameras": ()}, "none"),
        ({"cameras": ("front", "front")}, "twice"),
        ({"drive": -1}, "drive is -1"),
        ({"rate_hz": 0.0}, "rate 0.0"),
        ({"duration_s": -1.0}, "duration -1.0"),
        ({"events": (Event("rear", 0, 1, "fog"),)}, "camera 'rear'"),
        ({"events": (Event("front", 0, 1, "locusts"),)}, "'locusts'"),
        ({"events": (Event("front", 0, 1, "fog", 9),)}, "severity 9"),
        ({"events": (Event("front", 3, 2, "fog"),)}, "from 3 to 2"),
        ({"events": (Event("front", 3, 99, "fog"),)}, "fit into"),
    ],
)
def test_invalid_scenarios_are_refused(changes, words):
    """The error names an unknown camera or anomaly, or a time outside the recording."""
    with pytest.raises(ConfigError, match=words):
        Scenario(**changes)


def test_the_demo_shows_an_unseen_drive():
    """The demo's drive is in none of the seed ranges, and these are disjoint."""
    sets = (
        TRAINING_DRIVES,
        VALIDATION_DRIVES,
        CALIBRATION_DRIVES,
        TEST_DRIVES,
    )
    assert not any(DEMO_SCENARIO.drive in drives for drives in sets)
    seeds = [seed for drives in sets for seed in drives]
    assert len(seeds) == len(set(seeds))


def test_shots_spread_over_drives_and_cameras():
    """Every camera sees every moment, no two drives share a stamp, and moments cover the first 20 s evenly."""
    shots = spread_shots(range(2), 3, ("front", "rear"))
    assert len(shots) == 12
    stamps = {RenderedShot(shot, np.zeros(0, np.uint8), np.zeros(0, np.uint8)).frame.stamp_ns for shot in shots}
    assert len(stamps) == 6
    firsts = [shot.time_s for shot in spread_shots(range(100), 1, ("front",))]
    assert np.histogram(firsts, bins=5, range=(0.0, 20.0))[0].min() >= 15  # of 20: any time of a drive, not its start
