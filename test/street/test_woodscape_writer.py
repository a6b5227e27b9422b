"""The street as a data set in WoodScape's layout."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from ls_ood_monitor.core.classes import CLASS_COLOURS
from ls_ood_monitor.datasets import open_dataset
from ls_ood_monitor.datasets.split import PARTS, read_split, split_of
from ls_ood_monitor.errors import DataError
from ls_ood_monitor.street.shots import Shot
from ls_ood_monitor.street.woodscape_writer import write_woodscape


def test_the_reader_reads_what_was_written(tmp_path, street_pictures):
    """The reader returns equal pictures and labels, with the camera in the name and the drive as sequence."""
    root = tmp_path / "street"
    sequences = write_woodscape(root, iter(street_pictures))
    data = open_dataset("woodscape", root)
    for (image, labels), picture in zip(data, street_pictures, strict=True):
        np.testing.assert_array_equal(image, picture.image)
        np.testing.assert_array_equal(labels, picture.labels)
    assert [name.split("/")[1] for name in data.names[:4]] == [
        "00000_FV.png", "00001_RV.png", "00002_MVL.png", "00003_MVR.png",
    ]  # fmt: skip
    assert list(data.sequences.values()) == ["drive-1"] * 4 + ["drive-2"] * 4
    assert data.sequences == sequences == json.loads((root / "split.json").read_text())["sequences"]


def test_coloured_labels_are_not_ids(tmp_path, street_pictures):
    """The folder rgbLabels shows each class in its colour, and the reader refuses it as ids."""
    root = tmp_path / "street"
    write_woodscape(root, street_pictures[:1])
    annotations = root / "semantic_annotations"
    painted = cv2.imread(str(annotations / "rgbLabels" / "00000_FV.png"))[..., ::-1]
    np.testing.assert_array_equal(painted, CLASS_COLOURS[street_pictures[0].labels])
    (annotations / "gtLabels").rename(annotations / "ids")
    (annotations / "rgbLabels").rename(annotations / "gtLabels")
    with pytest.raises(DataError, match=r"00000_FV\.png has 3 channels.*instead of the coloured labels"):
        open_dataset("woodscape", root)[0]


def test_nothing_is_overwritten(tmp_path, street_pictures):
    """A non-empty folder, a file, an unwritable place and an unknown camera are refused."""
    (tmp_path / "kept.txt").write_text("kept")
    with pytest.raises(DataError, match="exists already and is not an empty folder"):
        write_woodscape(tmp_path, street_pictures)
    with pytest.raises(DataError, match="exists already"):
        write_woodscape(tmp_path / "kept.txt", street_pictures)
    with pytest.raises(DataError, match="cannot write the data set"):
        write_woodscape(tmp_path / "kept.txt" / "street", street_pictures)
    roof = replace(street_pictures[0], shot=Shot(1, "roof", 0.0))
    with pytest.raises(DataError, match="camera 'roof' has no code"):
        write_woodscape(tmp_path / "roof", [roof])


def test_three_drives_and_more_come_split(tmp_path, street_pictures):
    """Three drives or more are split by drive, and training uses this split for any seed."""
    pictures = [
        replace(picture, shot=replace(picture.shot, drive=drive))
        for drive in (1, 2, 3, 4)
        for picture in street_pictures[:2]
    ]
    write_woodscape(tmp_path / "street", pictures)
    split = read_split(tmp_path / "street" / "split.json")
    drives = [{split.sequences[name] for name in split.parts[part]} for part in PARTS]
    assert all(drives)
    assert sorted(drive for part in drives for drive in part) == ["drive-1", "drive-2", "drive-3", "drive-4"]
    assert sum(len(names) for names in split.parts.values()) == 8
    assert split_of(tmp_path / "street", split.sequences, seed=99) == split


def test_an_interrupted_data_set_still_names_its_drives(tmp_path, street_pictures):
    """An interrupted data set still names the drive of each picture."""

    def until_the_fault():
        yield from street_pictures[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_woodscape(tmp_path / "street", until_the_fault())
    assert set(open_dataset("woodscape", tmp_path / "street").sequences.values()) == {"drive-1", "drive-2"}
