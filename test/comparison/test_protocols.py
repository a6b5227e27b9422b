"""The protocols on small folders: which pictures calibrate, and which test."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ls_ood_monitor.comparison.protocols import larex_protocol, recordings_protocol, street_protocol
from ls_ood_monitor.errors import ConfigError, DataError
from ls_ood_monitor.recordings.bags import FrameBagWriter
from ls_ood_monitor.street.shots import CALIBRATION_DRIVES, TEST_DRIVES


def save(path: Path, value: int, labels: bool = False) -> None:
    """One small picture, or label map, of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((24, 32) if labels else (24, 32, 3), value, np.uint8))


def folder(path: Path, count: int) -> Path:
    """A drive as a folder of pictures."""
    for index in range(count):
        save(path / f"{index}.png", 10 + index)
    return path


def units_of(pictures) -> list[str]:
    """Unit of each picture."""
    return [picture.unit for picture in pictures.read()]


def test_street_tests_on_drives_that_were_not_calibrated_on():
    """Calibration and test drives come from separate ranges, and every picture is counted."""
    protocol = street_protocol(calibration_drives=3, drives=2, per_drive=2, kinds=("fog",), severities=(1,))
    calibration, test = units_of(protocol.calibration), units_of(protocol.control)
    assert set(calibration) == {str(drive) for drive in CALIBRATION_DRIVES[:3]}
    assert set(test) == {str(drive) for drive in TEST_DRIVES[:2]}
    assert (len(calibration), len(test)) == (protocol.calibration.count, protocol.control.count) == (24, 16)
    with pytest.raises(ConfigError, match="number of drives is 1"):
        street_protocol(drives=1)


def test_recordings_are_cut_into_blocks_of_time(tmp_path):
    """Folders are cut by their rate, bags by their stamps; a test with few drives resamples blocks and notes it."""
    with FrameBagWriter(tmp_path / "bag") as writer:
        for second in range(4):
            writer.write("front", np.full((24, 32, 3), second, np.uint8), (5 + second) * 1_000_000_000)
    protocol = recordings_protocol(
        [folder(tmp_path / "a", 8), tmp_path / "bag"],
        [folder(tmp_path / "c", 5)],
        [folder(tmp_path / "night", 2)],
        kinds=("fog",),
        severities=(2,),
        rate_hz=1.0,
        block_s=2.0,
        every=2,
    )
    a, bag, c = (f"{tmp_path.name}/{name}" for name in ("a", "bag", "c"))
    assert units_of(protocol.calibration) == [*(f"{a}/{block}" for block in range(4)), f"{bag}/0", f"{bag}/1"]
    assert protocol.calibration.count is None  # a bag is not counted before it is read
    assert protocol.control.count == 3
    assert {picture.drive for picture in protocol.control.read()} == {c}  # dirt stays where it is from block to block
    assert units_of(protocol.control) == [f"{c}/{block}" for block in range(3)]
    assert [pictures.name for pictures in protocol.recorded] == ["night"]
    assert any("too few" in note for note in protocol.notes)


def test_enough_recordings_are_resampled_as_whole_drives(tmp_path):
    """With five test drives, drives are the units."""
    drives = [folder(tmp_path / str(number), 3) for number in range(6)]
    protocol = recordings_protocol(drives[:1], drives[1:])
    assert protocol.unit == "drive"
    assert len(set(units_of(protocol.control))) == 5


def test_a_folder_of_drives_is_its_drives(tmp_path):
    """Each sub-folder is a drive, and a video is a drive."""
    for number in range(5):
        folder(tmp_path / "week" / str(number), 2)
    video = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (32, 24))
    for value in range(12):
        video.write(np.full((24, 32, 3), value, np.uint8))
    video.release()
    protocol = recordings_protocol([tmp_path / "clip.avi"], [tmp_path / "week"], rate_hz=10.0, block_s=0.5)
    assert protocol.unit == "drive"
    assert len(set(units_of(protocol.control))) == 5
    clip = f"{tmp_path.name}/clip.avi"
    assert units_of(protocol.calibration) == [f"{clip}/0"] * 5 + [f"{clip}/1"] * 5 + [f"{clip}/2"] * 2


def test_recorded_sets_of_one_folder_name_are_told_apart(tmp_path):
    """Recorded sets of one folder name get their parent folder's name; the name of a condition is refused."""
    clean, test, one, two = (folder(tmp_path / name, 3) for name in ("a", "b", "x/bag", "y/bag"))
    protocol = recordings_protocol([clean], [test], [one, two])
    assert [pictures.name for pictures in protocol.recorded] == ["x/bag", "y/bag"]
    with pytest.raises(ConfigError, match="--ood control has a name"):
        recordings_protocol([clean], [test], [folder(tmp_path / "control", 3)])


def test_a_recording_has_one_use(tmp_path):
    """Calibrating and testing on one drive, or naming none, is refused."""
    drive = folder(tmp_path / "a", 2)
    with pytest.raises(ConfigError, match="one use"):
        recordings_protocol([drive], [drive])
    with pytest.raises(ConfigError, match="needs --clean"):
        recordings_protocol([], [drive])
    with pytest.raises(DataError, match="there is no"):
        recordings_protocol([drive], [tmp_path / "nowhere"])


def test_larex_splits_woodscape_by_sequence(larex_trees):
    """Training sequences calibrate, validation and test sequences are the control, and the other sets are OoD."""
    protocol = larex_protocol(*larex_trees)
    calibration, control = set(units_of(protocol.calibration)), set(units_of(protocol.control))
    assert not calibration & control
    assert len(calibration | control) == 10
    assert [(part.name, sorted(set(units_of(part)))) for part in protocol.recorded] == [
        ("cityscapes", ["aachen", "lindau"]),
        ("soiling", ["test/00000-00099", "train/00000-00099"]),
    ]
    assert [entry.label for entry in protocol.conditions if entry.role == "ood"] == ["mud_3", "fog_3", "sun_flare_3"]


def test_larex_can_be_made_small(larex_trees):
    """A limit uses that many pictures of each set, and a set that is not given is left out."""
    protocol = larex_protocol(larex_trees[0], limit=2)
    assert (protocol.calibration.count, len(units_of(protocol.calibration)), protocol.recorded) == (2, 2, ())
    with pytest.raises(ConfigError, match="--limit"):
        larex_protocol(larex_trees[0], limit=1)
