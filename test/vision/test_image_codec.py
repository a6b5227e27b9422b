"""Image messages to BGR: pixels by hand and by OpenCV, and a sentence for everything malformed."""

from __future__ import annotations

import importlib.util
import struct
import sys
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ls_ood_monitor.errors import ImageError
from ls_ood_monitor.vision.image_codec import ENCODINGS, decode_compressed, decode_image

RANDOM = np.random.default_rng(0)
BGR = RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def raw(rows: np.ndarray, encoding: str, width: int = 8, padding: int = 0, big_endian: int = 0) -> SimpleNamespace:
    """An image message of rows of bytes (H, row)."""
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    return SimpleNamespace(
        height=rows.shape[0],
        width=width,
        step=rows.shape[1],
        encoding=encoding,
        is_bigendian=big_endian,
        data=rows.tobytes(),
    )


def rows_of(pixels: np.ndarray) -> np.ndarray:
    """(H, W, ...) of any type -> bytes (H, row)."""
    return np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("bgr8", BGR),
        ("8UC3", BGR),
        ("rgb8", BGR[:, :, ::-1]),
        ("bgra8", np.dstack([BGR, BGR[:, :, :1]])),
        ("8UC4", np.dstack([BGR, BGR[:, :, :1]])),
        ("rgba8", np.dstack([BGR[:, :, ::-1], BGR[:, :, :1]])),
    ],
)
def test_colour_encodings(encoding, pixels, padding):
    """Channel orders and alpha are sorted out by hand-made arrays; padding is ignored."""
    np.testing.assert_array_equal(decode_image(raw(rows_of(pixels), encoding, padding=padding)), BGR)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey(encoding):
    """Grey becomes three equal channels."""
    result = decode_image(raw(rows_of(BGR[:, :, 0]), encoding, padding=3))
    np.testing.assert_array_equal(result, np.repeat(BGR[:, :, :1], 3, axis=2))


@pytest.mark.parametrize(("order", "flag"), [("<u2", 0), (">u2", 1)])
def test_sixteen_bit_grey_keeps_its_high_byte_in_both_byte_orders(order, flag):
    """mono16 is scaled by 1/256, whichever end comes first."""
    values = RANDOM.integers(0, 65536, (6, 8))
    result = decode_image(raw(rows_of(values.astype(order)), "mono16", padding=2, big_endian=flag))
    np.testing.assert_array_equal(result[:, :, 0], values // 256)


@pytest.mark.parametrize(
    ("pattern", "top", "bottom"),
    [("rggb", "RG", "GB"), ("bggr", "BG", "GR"), ("gbrg", "GB", "RG"), ("grbg", "GR", "BG")],
)
def test_bayer_patterns(pattern, top, bottom):
    """A field of one colour, mosaicked by the pattern's name, comes back as that colour."""
    colour = {"B": 40, "G": 120, "R": 200}
    mosaic = np.zeros((6, 8), np.uint8)
    for row, letters in enumerate((top, bottom)):
        for column, letter in enumerate(letters):
            mosaic[row::2, column::2] = colour[letter]
    result = decode_image(raw(mosaic, f"bayer_{pattern}8"))
    assert result[2, 4].tolist() == [40, 120, 200]


@pytest.mark.parametrize(
    ("encoding", "luma_first"), [("yuv422", False), ("uyvy", False), ("yuv422_yuy2", True), ("yuyv", True)]
)
def test_yuv_pairs(encoding, luma_first):
    """Neutral chroma gives the grey of the luma, in either order of the bytes (BT.601, 16 = black)."""
    luma = np.tile(np.array([16, 235], np.uint8), (6, 4))
    neutral = np.full_like(luma, 128)
    pair = (luma, neutral) if luma_first else (neutral, luma)
    result = decode_image(raw(np.stack(pair, axis=2).reshape(6, 16), encoding))
    assert np.abs(result[:, ::2].astype(int)).max() <= 2
    assert np.abs(result[:, 1::2].astype(int) - 255).max() <= 2


def changed(**changes) -> SimpleNamespace:
    """A good bgr8 message with some fields changed."""
    message = raw(rows_of(BGR), "bgr8")
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"height": 0}, "8x0"),
        ({"width": 0}, "0x6"),
        ({"width": 20000}, "20000x6"),
        ({"step": 23}, "need 24"),
        ({"step": 0}, "step is 0"),
        ({"data": b""}, "0 bytes"),
        ({"data": bytes(143)}, "143 bytes"),
        ({"data": bytes(145)}, "145 bytes"),
        ({"encoding": ""}, "not known"),
        ({"encoding": "bgr16"}, "not known"),
        ({"encoding": "32FC1", "step": 32, "data": np.full(48, np.nan, np.float32).tobytes()}, "floats"),
        ({"encoding": "64FC3"}, "floats"),
        ({"encoding": "yuv422", "width": 7}, "even"),
    ],
)
def test_malformed_images_are_refused(changes, words):
    """The sentence names the value and the rule."""
    with pytest.raises(ImageError, match=words):
        decode_image(changed(**changes))


def test_every_encoding_survives_random_sizes():
    """Random sizes, paddings and bytes give a BGR picture of that size; only odd widths of paired pixels are refused."""
    for name, encoding in ENCODINGS.items():
        for _ in range(20):
            height, width, padding = (int(value) for value in RANDOM.integers(1, 9, 3))
            rows = RANDOM.integers(0, 256, (height, width * encoding.bytes_per_pixel), dtype=np.uint8)
            message = raw(rows, name, width, padding)
            if encoding.bytes_per_pixel == 2 and not encoding.wide and width % 2:
                with pytest.raises(ImageError, match="even"):
                    decode_image(message)
            else:
                assert decode_image(message).shape == (height, width, 3)


def compressed(data: bytes) -> SimpleNamespace:
    """A compressed image message."""
    return SimpleNamespace(format="jpeg", data=data)


JPEG = cv2.imencode(".jpg", cv2.resize(BGR, (64, 48)))[1].tobytes()
PNG = cv2.imencode(".png", BGR)[1].tobytes()


def test_good_compressed_images():
    """PNG comes back exactly, JPEG as OpenCV reads it."""
    np.testing.assert_array_equal(decode_compressed(compressed(PNG)), BGR)
    expected = cv2.imdecode(np.frombuffer(JPEG, np.uint8), 1)
    np.testing.assert_array_equal(decode_compressed(compressed(JPEG)), expected)
    # Cameras may pad their buffers with zeros.
    np.testing.assert_array_equal(decode_compressed(compressed(JPEG + bytes(500))), expected)


def huge_png() -> bytes:
    """A small PNG whose header promises 60000 x 60000 pixels."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return PNG[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + PNG[33:]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"GIF89a", "neither JPEG nor PNG"),
        (JPEG[: len(JPEG) // 2], "truncated"),
        (JPEG[: len(JPEG) // 2] + JPEG[-2:], "damaged"),
        (JPEG[:20], "without a size"),
        (b"\xff\xd8" + bytes(40), "without a size"),
        (PNG[: len(PNG) // 2], "truncated"),
        (huge_png(), "60000x60000"),
    ],
)
def test_malformed_compressed_images_are_refused(data, words):
    """Truncation is noticed although OpenCV would fill with grey; a bomb is noticed before it is decoded."""
    with pytest.raises(ImageError, match=words):
        decode_compressed(compressed(data))


SHARP = cv2.imencode(".jpg", RANDOM.integers(0, 256, (96, 128, 3), dtype=np.uint8))[1].tobytes()
MIDDLE = len(SHARP) // 2


@pytest.mark.parametrize(
    "data",
    [
        SHARP[:MIDDLE] + bytes(512) + SHARP[MIDDLE + 512 :],
        SHARP[:MIDDLE] + bytes([0xFF]) * 512 + SHARP[MIDDLE + 512 :],
        SHARP[:MIDDLE] + SHARP[MIDDLE + 512 :],
        SHARP[:MIDDLE] + b"\xff\xd9",
    ],
)
def test_damage_inside_a_jpeg_is_refused(data):
    """A zeroed, overwritten or lost block and an early end marker: OpenCV makes a picture of them, and nobody should."""
    pytest.importorskip("simplejpeg")
    assert cv2.imdecode(np.frombuffer(data, np.uint8), 1) is not None
    with pytest.raises(ImageError, match="damaged"):
        decode_compressed(compressed(data))


@pytest.fixture
def lenient_codec(monkeypatch):
    """The module as it is imported where simplejpeg is not installed."""
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    spec = importlib.util.find_spec("ls_ood_monitor.vision.image_codec")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("sampling", [0x411111, 0x221111, 0x211111, 0x111111])
def test_both_jpeg_decoders_give_equal_pixels(lenient_codec, sampling, progressive):
    """With and without simplejpeg a good JPEG is the same picture, whatever its chroma sampling; grey as well."""
    pytest.importorskip("simplejpeg")
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
    for picture in (cv2.resize(BGR, (65, 47)), cv2.resize(BGR[:, :, 0], (65, 47))):
        message = compressed(cv2.imencode(".jpg", picture, options)[1].tobytes())
        np.testing.assert_array_equal(lenient_codec.decode_compressed(message), decode_compressed(message))


def test_a_jpeg_turned_by_its_exif_tag_is_turned():
    """Pictures of a data set keep the orientation that OpenCV gives them."""
    tag = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tag
    turned = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + JPEG[2:]
    assert decode_compressed(compressed(turned)).shape == (64, 48, 3)


def test_without_simplejpeg_the_log_says_once_what_is_not_detected(lenient_codec, caplog):
    """A machine without the strict decoder works, refuses a grey end, and does not hide the difference."""
    for _ in range(3):
        assert lenient_codec.decode_compressed(compressed(JPEG)).shape == (48, 64, 3)
    with pytest.raises(ImageError, match="flat grey"):
        lenient_codec.decode_compressed(compressed(JPEG[: len(JPEG) // 2] + JPEG[-2:]))
    assert [record.message for record in caplog.records if "not detected" in record.message] == [
        "simplejpeg is not installed: OpenCV decodes JPEG, and damage inside a picture is not detected"
    ]


def test_random_damage_never_crashes():
    """A thousand damaged JPEGs give a picture or an ImageError."""
    refused = 0
    for _ in range(1000):
        data = bytearray(JPEG)
        for position in RANDOM.integers(0, len(data), 8):
            data[position] = int(RANDOM.integers(0, 256))
        try:
            assert decode_compressed(compressed(bytes(data))).ndim == 3
        except ImageError:
            refused += 1
    assert refused > 0
