"""Image messages to BGR: pixels by hand and by OpenCV, and a sentence for everything malformed."""

from __future__ import annotations

import importlib.util
import re
import struct
import sys
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ls_ood_monitor.errors import ImageError
from ls_ood_monitor.vision import image_codec
from ls_ood_monitor.vision.bit_depth import BitDepth
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
        ({"encoding": "bgr12"}, "not known"),
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
    """Random sizes, paddings and bytes give a BGR picture of that size; only odd sides of paired pixels are refused."""
    for name, encoding in ENCODINGS.items():
        for _ in range(20):
            height, width, padding = (int(value) for value in RANDOM.integers(1, 9, 3))
            lines = height * 3 // 2 if encoding.planes else height
            rows = RANDOM.integers(0, 256, (lines, width * encoding.bytes_per_pixel), dtype=np.uint8)
            message = raw(rows, name, width, padding)
            message.height = height
            if (encoding.even and width % 2) or (encoding.planes and height % 2):
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
    if image_codec.simplejpeg is None:
        pytest.skip("simplejpeg is not installed")
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


@pytest.mark.parametrize(("bits", "scale"), [(10, 4), (12, 16), (14, 64), (16, 256)])
@pytest.mark.parametrize(("encoding", "shape"), [("mono16", (6, 8)), ("rgb16", (6, 8, 3)), ("16UC3", (6, 8, 3))])
def test_pixels_of_fewer_than_sixteen_bits(bits, scale, encoding, shape):
    """The largest value of a picture says how many bits are used; it becomes nearly 255, and black stays black."""
    values = np.random.default_rng(bits).integers(0, 1 << bits, shape).astype("<u2")
    values.reshape(-1)[:2] = 0, (1 << bits) - 1
    result = decode_image(raw(rows_of(values), encoding))
    expected = values // scale if values.ndim == 3 else np.dstack([values // scale] * 3)
    np.testing.assert_array_equal(result, expected[..., ::-1] if encoding == "rgb16" else expected)


def test_the_bits_of_a_camera_never_fall(caplog):
    """A dark picture after a bright one keeps its brightness; the log says the scale once; stated bits are kept to."""
    dark, bright = np.full((6, 8), 200, "<u2"), np.full((6, 8), 4000, "<u2")
    depth = BitDepth("/front/image")
    values = [int(decode_image(raw(rows_of(each), "mono16"), depth)[0, 0, 0]) for each in (dark, bright, dark, bright)]
    assert values == [50, 250, 12, 250]
    assert caplog.text.count("/front/image: the pixels of 16 bits use 12 so far; they are scaled by 1/16") == 1
    stated = BitDepth("/front/image", bits=12)
    assert int(decode_image(raw(rows_of(dark), "mono16"), stated)[0, 0, 0]) == 12
    with pytest.raises(ImageError, match="4096, which needs more than the stated 12 bits"):
        decode_image(raw(rows_of(np.full((6, 8), 4096, "<u2")), "mono16"), stated)


def test_png_of_twelve_bits():
    """A PNG of 16 bits with 12 in use is as bright as the same picture of 8 bits."""
    wide = BGR.astype(np.uint16) * 16
    wide[0, 0] = 4095
    result = decode_compressed(compressed(cv2.imencode(".png", wide)[1].tobytes()))
    np.testing.assert_array_equal(result.reshape(-1, 3)[1:], BGR.reshape(-1, 3)[1:])


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_of_sixteen_bits(pattern):
    """A mosaic of 16 bits gives what the same mosaic of 8 bits gives."""
    mosaic = RANDOM.integers(0, 255, (6, 8), dtype=np.uint8)
    mosaic[0, 0] = 255
    wide = decode_image(raw(rows_of(mosaic.astype("<u2") * 256), f"bayer_{pattern}16"))
    np.testing.assert_array_equal(wide, decode_image(raw(mosaic, f"bayer_{pattern}8")))


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_planes_of_brightness_and_colour(encoding, padding):
    """Planes made by OpenCV's own conversion to I420 come back as the picture, but for the loss of colour resolution."""
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:] = (40, 120, 200)
    planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    u, v = planes[64:80], planes[80:96]
    colour = np.stack([u, v] if encoding == "nv12" else [v, u], axis=1).reshape(4, 8)
    message = raw(np.vstack([planes[:64].reshape(8, 8), colour]), encoding, padding=padding)
    message.height = 8
    assert np.abs(decode_image(message).astype(int) - (40, 120, 200)).max() <= 3
    message.data = message.data[:-1]
    with pytest.raises(ImageError, match="12 rows of"):
        decode_image(message)


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".tiff", ".avif"])
def test_other_picture_formats(suffix):
    """WebP, BMP, TIFF and AVIF are read as OpenCV reads them, and a cut one is refused."""
    picture = cv2.resize(BGR, (64, 48), interpolation=cv2.INTER_NEAREST)
    try:
        data = cv2.imencode(suffix, picture)[1].tobytes()
    except cv2.error:
        pytest.skip(f"this OpenCV writes no {suffix}")
    np.testing.assert_array_equal(decode_compressed(compressed(data)), cv2.imdecode(np.frombuffer(data, np.uint8), 1))
    with pytest.raises(ImageError, match=r"bytes (that OpenCV|without a readable header)"):
        decode_compressed(compressed(data[: len(data) // 2]))


def test_a_chunk_longer_than_its_png_is_refused_at_once():
    """The length of a PNG's chunk may promise gigabytes; they are neither allocated nor looked for."""
    length = PNG.index(b"IDAT") - 4
    with pytest.raises(ImageError, match="truncated"):
        decode_compressed(compressed(PNG[:length] + b"\x7f\xff\xff\xff" + PNG[length + 4 :]))


@pytest.mark.parametrize("tail", [b"\xff" * 40, bytes(300), b"SEFH" + bytes(range(200)), JPEG])
def test_what_follows_the_end_is_ignored(tail):
    """Padding and a phone's trailer after the end of a JPEG or PNG change nothing; a picture cut before its end is refused."""
    for data in (JPEG, PNG):
        np.testing.assert_array_equal(decode_compressed(compressed(data + tail)), decode_compressed(compressed(data)))
    with pytest.raises(ImageError, match="truncated"):
        decode_compressed(compressed(PNG[:-30] + b"SEFH" + bytes(range(200))))


def jpeg_with_restarts(extra: bytes, every: bool) -> bytes:
    """A JPEG whose parts, all or the first alone, have some bytes too many at their end."""
    picture = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_RST_INTERVAL, 4])[1].tobytes()
    scan = data.index(b"\xff\xda")
    return data[:scan] + re.sub(rb"(\xff[\xd0-\xd7])", extra + rb"\1", data[scan:], count=0 if every else 1)


def test_extra_bytes_of_a_webcam_before_restart_markers():
    """The same bytes too many before every marker are a habit and removed; before one alone they are damage."""
    pytest.importorskip("simplejpeg")
    clean = decode_compressed(compressed(jpeg_with_restarts(b"", True)))
    np.testing.assert_array_equal(decode_compressed(compressed(jpeg_with_restarts(b"\0\0", True))), clean)
    once = compressed(jpeg_with_restarts(b"\0\0", False))
    with pytest.raises(ImageError, match=r"extraneous bytes .* set accept_jpeg_warnings"):
        decode_compressed(once)
    np.testing.assert_array_equal(decode_compressed(once, strict=False), clean)


@pytest.mark.parametrize(
    ("label", "words"),
    [("16UC1; compressedDepth png", "depth image"), ("h264", "packet of a video"), ("draco", "neither JPEG nor PNG")],
)
def test_compressed_data_that_are_no_picture(label, words):
    """Depth and video in a compressed image get a sentence of their own."""
    with pytest.raises(ImageError, match=words):
        decode_compressed(SimpleNamespace(format=label, data=b"\0\0\0\1\x67"))
