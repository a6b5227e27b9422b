"""Cityscapes: ids become the 19 training classes and void, cities are the sequences."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ls_ood_monitor.datasets.cityscapes import open_cityscapes
from ls_ood_monitor.errors import ConfigError, DataError

#: Training name of each id from 0 to 33, written down by id; None has no training class.
NAME_OF_ID = [
    None, None, None, None, None, None, None, "road", "sidewalk", None, None, "building", "wall", "fence", None, None,
    None, "pole", None, "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car",
    "truck", "bus", None, None, "train", "motorcycle", "bicycle",
]  # fmt: skip


def train_ids(root, number=0):
    """Path of the train ids beside the label ids of a picture of aachen."""
    return root / "gtFine" / "train" / "aachen" / f"aachen_{number:06d}_000019_gtFine_labelTrainIds.png"


def test_every_id_becomes_its_class(cityscapes, street_pictures):
    """Each of the 34 ids becomes the class of an independent table, or void, 19."""
    data = open_cityscapes(cityscapes)
    image, labels = data[0]
    np.testing.assert_array_equal(image, street_pictures[0].image)
    assert len(NAME_OF_ID) == 34
    assert [data.classes.names[labels[0, number]] for number in range(34)] == [name or "void" for name in NAME_OF_ID]
    assert len(data.classes) == 20
    assert data.classes.names[19] == "void"
    colours = dict(zip(data.classes.names, data.classes.colours.tolist(), strict=True))
    assert colours["car"] == [0, 0, 142]  # blue: the table is RGB
    assert colours["sidewalk"] == [244, 35, 232]
    assert colours["vegetation"] == [107, 142, 35]
    assert len({tuple(colour) for colour in data.classes.colours.tolist()}) == 20


def test_cities_are_the_sequences(cityscapes):
    """The default is train and val where they exist; other parts can be chosen."""
    data = open_cityscapes(cityscapes)
    assert [sample.sequence for sample in data.samples] == ["aachen", "aachen", "bochum", "lindau"]
    assert len(open_cityscapes(cityscapes, parts=("val",))) == 1
    (cityscapes / "leftImg8bit" / "val").rename(cityscapes / "val")
    assert len(open_cityscapes(cityscapes)) == 3


def test_train_ids_are_preferred(cityscapes):
    """A labelTrainIds file replaces the labelIds file of its picture; 255 becomes void."""
    values = np.full((96, 128), 255, np.uint8)
    values[:, :19] = np.arange(19)
    cv2.imwrite(str(train_ids(cityscapes)), values)
    data = open_cityscapes(cityscapes)
    assert data[0][1][0, :20].tolist() == list(range(20))
    assert data[1][1][0, 7] == 0  # the neighbour has ids alone: 7 is road
    for path in (cityscapes / "gtFine").rglob("*labelIds.png"):
        cv2.imwrite(str(path).replace("labelIds", "labelTrainIds"), values)
        path.unlink()
    assert open_cityscapes(cityscapes)[3][1].max() == 19


def test_values_outside_the_table(cityscapes):
    """Id 34 and train id 19 are refused; an id of -1, stored as 255, is void."""
    path = cityscapes / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_labelIds.png"
    values = np.full((96, 128), 255, np.uint8)
    cv2.imwrite(str(path), values)
    assert set(np.unique(open_cityscapes(cityscapes)[0][1])) == {19}
    values[3, 3] = 34
    cv2.imwrite(str(path), values)
    with pytest.raises(DataError, match=r"labelIds\.png holds the value 34; allowed are 0 to 33"):
        open_cityscapes(cityscapes)[0]
    values[3, 3] = 19
    cv2.imwrite(str(train_ids(cityscapes)), values)
    with pytest.raises(DataError, match=r"labelTrainIds\.png holds the value 19; allowed are 0 to 18"):
        open_cityscapes(cityscapes)[0]


def test_faults_are_sentences(tmp_path, cityscapes):
    """A missing root, folder or part, an unpaired picture and an unknown part are refused."""
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        open_cityscapes(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="part is 'valid'"):
        open_cityscapes(cityscapes, parts=("valid",))
    with pytest.raises(DataError, match=r"no folder .*leftImg8bit/test"):
        open_cityscapes(cityscapes, parts=("test",))
    next((cityscapes / "gtFine" / "train" / "bochum").iterdir()).unlink()
    with pytest.raises(DataError, match=r"picture .*bochum_000002_000019_leftImg8bit\.png has no label in"):
        open_cityscapes(cityscapes)
    (cityscapes / "gtFine" / "train").rename(cityscapes / "train")
    with pytest.raises(DataError, match=r"no folder .*gtFine/train"):
        open_cityscapes(cityscapes)
    for part in ("train", "val"):
        (cityscapes / "leftImg8bit" / part).rename(cityscapes / f"{part}-pictures")
    with pytest.raises(DataError, match="neither train nor val"):
        open_cityscapes(cityscapes)
    (cityscapes / "gtFine").rename(cityscapes / "gtCoarse")
    with pytest.raises(DataError, match=r"no folder .*gtFine"):
        open_cityscapes(cityscapes)


def test_train_ids_under_the_name_of_ids_are_doubted(cityscapes, caplog):
    """A warning says that road would become void, and how to rename the files; real ids give none."""
    open_cityscapes(cityscapes)
    assert not caplog.text
    values = np.tile(np.arange(128, dtype=np.uint8) % 19, (96, 1))
    values[0, 0] = 255
    for path in (cityscapes / "gtFine").rglob("*_labelIds.png"):
        cv2.imwrite(str(path), values)
    open_cityscapes(cityscapes)
    assert "hold no id above 18, so they are probably train ids, and road would become void" in caplog.text
    assert "rename them to end in _gtFine_labelTrainIds.png" in caplog.text


def test_pictures_as_jpeg(cityscapes):
    """Pictures saved again as JPEG find their labels."""
    for path in list((cityscapes / "leftImg8bit").rglob("*.png")):
        cv2.imwrite(str(path.with_suffix(".jpg")), cv2.imread(str(path)))
        path.unlink()
    image, labels = open_cityscapes(cityscapes)[0]
    assert image.shape == (*labels.shape, 3)


@pytest.mark.parametrize("deeper", ["{0}/{0}", "{0}_trainvaltest/{0}"])
def test_archives_in_folders_of_their_own(cityscapes, deeper):
    """Pictures and labels that were unpacked one folder too deep are found."""
    for name in ("leftImg8bit", "gtFine"):
        (cityscapes / name).rename(cityscapes / "moved")
        (cityscapes / deeper.format(name)).parent.mkdir()
        (cityscapes / "moved").rename(cityscapes / deeper.format(name))
    assert len(open_cityscapes(cityscapes)) == 4


def test_what_cannot_be_labels_is_refused_with_the_cure(cityscapes):
    """The folder of the pictures alone, and labels in colours alone, get a sentence that says what to give."""
    with pytest.raises(DataError, match=rf"is a part of Cityscapes; give the folder .*, {cityscapes}\."):
        open_cityscapes(cityscapes / "leftImg8bit")
    for path in list((cityscapes / "gtFine").rglob("*.png")):
        path.rename(str(path).replace("labelIds", "color"))
    with pytest.raises(DataError, match=r"only coloured labels .*; unpack the labelIds of gtFine_trainvaltest"):
        open_cityscapes(cityscapes)
