"""WoodScape and its soiling part: pictures, labels, sequences and errors."""

from __future__ import annotations

import json
import pickle
import struct
import zlib

import cv2
import numpy as np
import pytest

from ls_ood_monitor.core.classes import CLASS_COLOURS, CLASS_NAMES
from ls_ood_monitor.datasets.cityscapes import open_cityscapes
from ls_ood_monitor.datasets.woodscape import open_woodscape, open_woodscape_soiling
from ls_ood_monitor.errors import ConfigError, DataError

GT = "semantic_annotations/gtLabels"


def test_pairs_come_back_exactly(woodscape, street_pictures):
    """Each picture with its own class ids, in the order of the indices."""
    data = open_woodscape(woodscape)
    assert len(data) == len(street_pictures)
    for (image, labels), picture in zip(data, street_pictures, strict=True):
        np.testing.assert_array_equal(image, picture.image)
        np.testing.assert_array_equal(labels, picture.labels)
        assert image.dtype == labels.dtype == np.uint8
    assert data.classes.names == CLASS_NAMES
    np.testing.assert_array_equal(data.classes.colours, CLASS_COLOURS)


def test_nothing_is_read_before_it_is_asked_for(woodscape):
    """A damaged file raises only when its own sample is read."""
    (woodscape / "rgb_images" / "00040_RV.png").write_bytes(b"")
    data = open_woodscape(woodscape)
    data[0]
    with pytest.raises(DataError, match=r"cannot read picture .*00040_RV\.png"):
        data[1]
    with pytest.raises(IndexError):
        data[8]


def test_reading_processes_get_the_same_folder(woodscape, soiling, cityscapes):
    """A pickled copy of every data set with labels reads what the original reads."""
    for data in (open_woodscape(woodscape), open_woodscape_soiling(soiling), open_cityscapes(cityscapes)):
        copy = pickle.loads(pickle.dumps(data))
        assert len(copy) == len(data)
        for own, other in zip(data[0], copy[0], strict=True):
            np.testing.assert_array_equal(own, other)


def test_blocks_of_indices_are_the_sequences(woodscape):
    """The sequence of a picture is its block of indices, for all cameras."""
    sequences = open_woodscape(woodscape).sequences
    assert list(sequences.values()) == ["00000-00099"] * 3 + ["00100-00199"] * 2 + ["00200-00299"] * 3
    assert set(open_woodscape(woodscape, block=1000).sequences.values()) == {"00000-00999"}
    with pytest.raises(ConfigError, match="block is 0"):
        open_woodscape(woodscape, block=0)


def test_named_sequences_replace_the_blocks(woodscape):
    """A split.json in the root names the sequence of each picture, and must name all of them."""
    names = open_woodscape(woodscape).names
    listed = {name: f"drive-{number % 3}" for number, name in enumerate(names)}
    (woodscape / "split.json").write_text(json.dumps({"sequences": listed}))
    assert open_woodscape(woodscape).sequences == listed
    del listed[names[3]]
    (woodscape / "split.json").write_text(json.dumps({"sequences": listed}))
    with pytest.raises(DataError, match=rf"names no sequence for picture {names[3]}"):
        open_woodscape(woodscape)


def test_a_part_of_the_pictures(woodscape, street_pictures):
    """``only`` keeps the order of the folder, and refuses names it does not have."""
    data = open_woodscape(woodscape)
    part = data.only([data.names[5], data.names[2]])
    assert part.names == (data.names[2], data.names[5])
    np.testing.assert_array_equal(part[1][1], street_pictures[5].labels)
    with pytest.raises(DataError, match=r"no picture rgb_images/x\.png \(and 1 more\)"):
        data.only(["rgb_images/x.png", "rgb_images/y.png"])


def test_ignored_pixels_pass(woodscape, street_pictures):
    """Label 255 is kept."""
    labels = street_pictures[0].labels.copy()
    labels[:5] = 255
    cv2.imwrite(str(woodscape / GT / "00000_FV.png"), labels)
    np.testing.assert_array_equal(open_woodscape(woodscape)[0][1], labels)


def test_missing_folders(tmp_path, woodscape):
    """A missing or empty folder is named in the error."""
    with pytest.raises(DataError, match=r"no folder .*nowhere; it should hold the data set WoodScape"):
        open_woodscape(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        open_woodscape(tmp_path / "file")
    for path in (woodscape / GT).iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"gtLabels holds no \*\.png"):
        open_woodscape(woodscape)
    (woodscape / GT).rmdir()
    with pytest.raises(DataError, match=r"no folder .*gtLabels"):
        open_woodscape(woodscape)
    (woodscape / "rgb_images").rename(woodscape / "images")
    with pytest.raises(DataError, match=r"no folder .*rgb_images"):
        open_woodscape(woodscape)


def test_lone_pictures_and_labels(woodscape, caplog):
    """Pictures without label are left out with a warning; the error for a label without picture names it."""
    for number in (0, 40):
        (woodscape / GT / f"{number:05d}_{'FV' if number == 0 else 'RV'}.png").unlink()
    assert len(open_woodscape(woodscape)) == 6
    assert "2 of 8 pictures have no label and are left out, such as 00000_FV.png" in caplog.text
    for name in ("00000_FV.png", "00040_RV.png", "00080_MVL.png"):
        (woodscape / "rgb_images" / name).unlink()
    with pytest.raises(DataError, match=r"label .*00080_MVL\.png has no picture in"):
        open_woodscape(woodscape)


def test_names_without_an_index(woodscape):
    """A name without index is refused."""
    for folder in ("rgb_images", GT):
        (woodscape / folder / "00000_FV.png").rename(woodscape / folder / "garage.png")
    with pytest.raises(DataError, match=r"garage\.png is not named as in WoodScape"):
        open_woodscape(woodscape)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda labels: np.where(labels == labels[50, 60], 17, labels).astype(np.uint8),
            r"value 17; allowed are 0 to 9",
        ),
        (lambda labels: labels[:-2], "128x94 but picture .* is 128x96"),
        (lambda labels: np.dstack([labels] * 3), "has 3 channels; a PNG with one channel of class ids"),
        (lambda labels: labels.astype(np.uint16), "is uint16; class ids of 8 bits"),
    ],
)
def test_labels_that_do_not_fit(woodscape, street_pictures, change, words):
    """A label with an unknown value, another size, colours or 16 bits is refused with file and rule."""
    path = woodscape / GT / "00000_FV.png"
    cv2.imwrite(str(path), change(street_pictures[0].labels))
    with pytest.raises(DataError, match=words) as caught:
        open_woodscape(woodscape)[0]
    assert str(path) in str(caught.value)


def test_damaged_files(woodscape):
    """A truncated picture, a truncated label and a text file are refused."""
    for folder, kind in ((GT, "label"), ("rgb_images", "picture")):
        path = woodscape / folder / "00000_FV.png"
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(DataError, match=rf"cannot read {kind} .*00000_FV\.png"):
            open_woodscape(woodscape)[0]
    (woodscape / "rgb_images" / "00000_FV.png").write_text("no picture")
    with pytest.raises(DataError, match="it is not a picture"):
        open_woodscape(woodscape).image(0)
    data = open_woodscape(woodscape)
    (woodscape / GT / "00000_FV.png").unlink()
    with pytest.raises(DataError, match=r"cannot read label .*No such file"):
        data.labels(0)


def test_a_palette_is_not_ids(woodscape):
    """A label with a palette, which OpenCV would turn into colours, is refused."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 128, 96, 8, 3, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress((b"\0" + b"\1" * 128) * 96))
    picture = b"\x89PNG\r\n\x1a\n" + header + chunk(b"PLTE", bytes(range(30))) + rows + chunk(b"IEND", b"")
    (woodscape / GT / "00000_FV.png").write_bytes(picture)
    with pytest.raises(DataError, match=r"label .*00000_FV\.png has a palette"):
        open_woodscape(woodscape)[0]


def test_soiling(soiling, street_pictures):
    """Both parts are read, with the part in names and sequences."""
    data = open_woodscape_soiling(soiling)
    assert len(data) == 6
    assert data.classes.names == ("clear", "transparent", "semi_transparent", "opaque")
    np.testing.assert_array_equal(data[4][1], street_pictures[4].labels % 4)
    assert data.names[0] == "train/rgbImages/0000_FV.png"
    assert set(data.sequences.values()) == {"train/00000-00099", "test/00000-00099"}
    assert len(open_woodscape_soiling(soiling, parts=("test",), block=1)) == 2


def test_soiling_that_does_not_fit(soiling, street_pictures):
    """An unknown part, a missing part and ids of the other task are refused."""
    with pytest.raises(ConfigError, match="part is 'valid'"):
        open_woodscape_soiling(soiling, parts=("valid",))
    cv2.imwrite(str(soiling / "test" / "gtLabels" / "0000_FV.png"), np.full((96, 128), 6, np.uint8))
    with pytest.raises(DataError, match=r"value 6; allowed are 0 to 3"):
        open_woodscape_soiling(soiling)[4]
    (soiling / "test").rename(soiling / "later")
    with pytest.raises(DataError, match=r"no folder .*test"):
        open_woodscape_soiling(soiling)


@pytest.mark.parametrize(
    "images", ["rgb_images_v1.0", "rgb_images/rgb_images", "data/rgb_images", "rgb_images_v1.0/rgb_images"]
)
@pytest.mark.parametrize("annotations", ["semantic_annotations", "semantic_annotations/semantic_annotations"])
def test_copies_in_other_folders(woodscape, street_pictures, images, annotations):
    """Version numbers in names, and archives unpacked one folder too deep, give the same pairs."""
    for old, new in (("rgb_images", images), ("semantic_annotations", annotations)):
        (woodscape / old).rename(woodscape / "moved")
        (woodscape / new).parent.mkdir(parents=True, exist_ok=True)
        (woodscape / "moved").rename(woodscape / new)
    image, labels = open_woodscape(woodscape)[3]
    np.testing.assert_array_equal(image, street_pictures[3].image)
    np.testing.assert_array_equal(labels, street_pictures[3].labels)


def test_jpeg_copies_and_capital_suffixes(woodscape, street_pictures):
    """Pictures saved again as JPEG, or named .PNG, find their labels; label files may be .PNG as well."""
    for path in list((woodscape / "rgb_images").iterdir())[:4]:
        cv2.imwrite(str(path.with_suffix(".jpg")), cv2.imread(str(path)))
        path.unlink()
    for path in list((woodscape / GT).iterdir()):
        path.rename(path.with_suffix(".PNG"))
    data = open_woodscape(woodscape)
    for number, (image, labels) in enumerate(data):
        assert image.shape == (*labels.shape, 3)
        np.testing.assert_array_equal(labels, street_pictures[number].labels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_of_few_bits_are_indices(woodscape, bits):
    """A grey PNG of 1, 2 or 4 bits gives the stored numbers, not their share of 255; bytes after its end do not matter."""
    values = np.random.default_rng(bits).integers(0, min(10, 1 << bits), (96, 128), dtype=np.uint8)
    packed = np.packbits(np.unpackbits(values[..., None], axis=2)[..., 8 - bits :].reshape(96, -1), axis=1)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 128, 96, bits, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed)))
    path = woodscape / GT / "00000_FV.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b"") + bytes(100))
    np.testing.assert_array_equal(open_woodscape(woodscape).labels(0), values)


def test_labels_of_one_class_are_doubted(woodscape, caplog):
    """A data set whose labels all hold one value is opened with a warning; the real one has none."""
    open_woodscape(woodscape)
    assert not caplog.text
    for path in (woodscape / GT).iterdir():
        cv2.imwrite(str(path), np.zeros((96, 128), np.uint8))
    open_woodscape(woodscape)
    assert "all hold the value 0 alone" in caplog.text
