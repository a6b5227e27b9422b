"""Packets of a video to pictures: in their order, from a key picture on, and never a guessed one."""

from __future__ import annotations

import sys
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from ls_ood_monitor.errors import ImageError
from ls_ood_monitor.vision.image_decoder import ImageDecoder
from ls_ood_monitor.vision.video_stream import VideoStream

av = pytest.importorskip("av")

LEVELS = [(17 * index) % 200 for index in range(30)]  # grey of the pictures: neighbours differ widely
KEY = 10  # pictures from one key picture to the next


def encode(encoder: str, options: dict[str, str]) -> list[bytes]:
    """One packet for each picture of ``LEVELS``, with noise that no packet can do without."""
    context = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = 64, 48, "yuv420p"
    context.time_base, context.framerate, context.gop_size, context.options = Fraction(1, 10), 10, KEY, options
    noise = np.random.default_rng(0)
    packets = []
    for index, level in enumerate(LEVELS):
        picture = (level + noise.integers(0, 40, (48, 64, 3))).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts = index
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets + [bytes(packet) for packet in context.encode(None)]


ENCODERS = {
    "h264": ("libx264", {"tune": "zerolatency", "bf": "0", "sc_threshold": "0"}),
    "hevc": ("libx265", {"tune": "zerolatency", "x265-params": "log-level=none:bframes=0:scenecut=0"}),
    "vp9": ("libvpx-vp9", {"lag-in-frames": "0", "crf": "20", "b": "0"}),
}


def levels_of(codec: str, packets: list[bytes]) -> tuple[list[float | None], list[str]]:
    """Mean grey of each packet's picture, None where there is none, and the sentences."""
    stream, levels, sentences = VideoStream(codec), [], []
    for packet in packets:
        try:
            levels.append(float(stream.decode(packet).mean()))
        except ImageError as error:
            levels.append(None)
            sentences.append(str(error))
    return levels, sentences


@pytest.mark.parametrize("codec", ENCODERS)
def test_each_packet_gives_its_picture(codec):
    """The pictures are those that were encoded, one for each packet, at once."""
    levels, sentences = levels_of(codec, encode(*ENCODERS[codec]))
    assert not sentences
    np.testing.assert_allclose(levels, np.array(LEVELS) + 19.5, atol=4)


@pytest.mark.parametrize("codec", ENCODERS)
def test_nothing_comes_before_a_key_picture(codec):
    """A reader that joins in the middle gets sentences until the next key picture, then every picture."""
    levels, sentences = levels_of(codec, encode(*ENCODERS[codec])[KEY // 2 :])
    assert levels[: KEY // 2] == [None] * (KEY // 2)
    np.testing.assert_allclose(levels[KEY // 2 :], np.array(LEVELS[KEY:]) + 19.5, atol=4)
    assert len(sentences) == KEY // 2


@pytest.mark.parametrize(
    ("codec", "fault"),
    # FFmpeg cannot tell the damaged bits of HEVC from others.
    [
        ("h264", "missing"),
        ("h264", "empty"),
        ("h264", "cut"),
        ("h264", "zeroed"),
        ("hevc", "missing"),
        ("hevc", "empty"),
    ],
)
def test_a_fault_costs_the_pictures_to_the_next_key_picture(codec, fault):
    """After a missing or damaged packet no picture is guessed; the next key picture ends it."""
    packets: list[bytes] = encode(*ENCODERS[codec])
    middle = KEY + 3
    half = len(packets[middle]) // 2
    if fault == "missing":
        del packets[middle]
    else:
        packets[middle] = {"empty": b"", "cut": packets[middle][:half], "zeroed": packets[middle][:half] + bytes(half)}[
            fault
        ]
    levels, sentences = levels_of(codec, packets)
    lost = [index for index, level in enumerate(levels) if level is None]
    first_key = 2 * KEY - (fault == "missing")
    assert lost == list(range(middle, first_key))
    assert sentences
    np.testing.assert_allclose(levels[:middle], np.array(LEVELS[:middle]) + 19.5, atol=4)
    np.testing.assert_allclose(levels[first_key:], np.array(LEVELS[2 * KEY :]) + 19.5, atol=4)


def test_pictures_in_another_order_are_refused():
    """B-frames have no message of their own: a sentence says how to record."""
    levels, sentences = levels_of("h264", encode("libx264", {"bf": "2", "b-adapt": "0"}))
    assert any("B-frames" in sentence for sentence in sentences)
    assert all(level is None or abs(level - LEVELS[index] - 19.5) < 4 for index, level in enumerate(levels))


def test_any_message_with_video():
    """A compressed image, Foxglove's message and a packet of ffmpeg_image_transport carry the same packets."""
    packet = encode(*ENCODERS["h264"])[0]
    for message in (
        SimpleNamespace(format="h264", data=packet),
        SimpleNamespace(format="bgr8; h264", data=packet),
        SimpleNamespace(encoding="libx264;yuv420p", data=packet),
    ):
        assert ImageDecoder().decode(message).shape == (48, 64, 3)
    with pytest.raises(ImageError, match="encoding 'mystery', which is not read"):
        ImageDecoder().decode(SimpleNamespace(encoding="mystery", data=packet))


def test_without_pyav_the_sentence_says_how_to_install_it(monkeypatch):
    """PyAV is needed for video alone."""
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImageError, match=r"pip install 'ls_ood_monitor\[video\]'"):
        VideoStream("h264")
