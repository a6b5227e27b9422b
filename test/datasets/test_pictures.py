"""Any folder of pictures: order, sequences, formats, and its frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ls_ood_monitor.datasets import DATASETS, LabelledFolder, open_dataset
from ls_ood_monitor.datasets.pictures import iter_frames, open_pictures
from ls_ood_monitor.errors import ConfigError, DataError


@pytest.fixture
def album(tmp_path, street_pictures):
    """Two sub-folders and a picture in the root, in all formats, among other files."""
    root = tmp_path / "album"
    names = ("tunnel/10.png", "tunnel/9.PNG", "car_wash/a2.jpg", "car_wash/a10.jpeg", "night.bmp", ".cache/x.png")
    for picture, name in zip(street_pictures, names, strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), picture.image)
    (root / "tunnel" / "notes.txt").write_text("no picture")
    (root / "tunnel" / "._9.png").write_bytes(b"\0")
    return root


def test_natural_order_and_sequences(album, street_pictures):
    """Sub-folders are sequences, 9 comes before 10, every format is read, hidden files are left out."""
    folder = open_pictures(album)
    assert folder.names == ("night.bmp", "car_wash/a2.jpg", "car_wash/a10.jpeg", "tunnel/9.PNG", "tunnel/10.png")
    assert list(folder.sequences.values()) == [".", "car_wash", "car_wash", "tunnel", "tunnel"]
    assert all(sample.label is None for sample in folder.samples)
    np.testing.assert_array_equal(folder.image(0), street_pictures[4].image)
    np.testing.assert_array_equal(folder.image(4), street_pictures[0].image)
    assert folder.image(1).shape == street_pictures[2].image.shape
    assert folder.only(["tunnel/10.png"]).names == ("tunnel/10.png",)


def test_frames(album):
    """Stamps count up at the rate, and each sequence begins one hour later."""
    frames = list(iter_frames(open_pictures(album), camera="roof", rate_hz=5.0))
    assert {frame.camera for frame in frames} == {"roof"}
    hour, period = 3_600 * 10**9, 200_000_000
    assert list(np.diff([frame.stamp_ns for frame in frames])) == [hour, period, hour, period]
    assert frames[0].stamp_ns == hour
    assert all(frame.image.dtype == np.uint8 and frame.image.ndim == 3 for frame in frames)
    with pytest.raises(ConfigError, match="rate is 0"):
        iter_frames(open_pictures(album), rate_hz=0.0)


def test_frames_of_a_labelled_set(woodscape):
    """A data set with labels is a folder of pictures too."""
    assert len(list(iter_frames(open_dataset("woodscape", woodscape)))) == 8


def test_faults_are_sentences(tmp_path, album):
    """A missing folder, an empty folder and a truncated JPEG are refused."""
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        open_pictures(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no picture; \.png, \.jpg, \.jpeg, \.bmp"):
        open_pictures(tmp_path / "empty")
    path = album / "car_wash" / "a2.jpg"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"cannot read picture .*a2\.jpg.*truncated"):
        open_pictures(album).image(1)


def test_names_of_data_sets(woodscape, soiling, cityscapes, album):
    """Each name opens its layout, all but images have labels, and another name is refused."""
    roots = {"woodscape": woodscape, "woodscape-soiling": soiling, "cityscapes": cityscapes, "images": album}
    assert roots.keys() == DATASETS.keys()
    lengths = {name: len(open_dataset(name, str(root))) for name, root in roots.items()}
    assert lengths == {"woodscape": 8, "woodscape-soiling": 6, "cityscapes": 4, "images": 5}
    labelled = {name for name, root in roots.items() if isinstance(open_dataset(name, root), LabelledFolder)}
    assert labelled == {"woodscape", "woodscape-soiling", "cityscapes"}
    with pytest.raises(ConfigError, match="data set is 'kitti'; it must be one of woodscape"):
        open_dataset("kitti", album)
