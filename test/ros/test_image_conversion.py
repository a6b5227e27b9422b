"""Image messages to BGR with and without cv_bridge."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ls_ood_monitor.errors import ImageError
from ls_ood_monitor.ros.conversions import image_message
from ls_ood_monitor.ros.image_conversion import image_reader
from ls_ood_monitor.vision.image_codec import decode_image

CHANNELS = {"bgr8": 3, "rgb8": 3, "mono8": 1, "bgra8": 4, "rgba8": 4}


def padded_message(encoding: str, big_endian: int = 0) -> Image:
    """Random pixels with five bytes of padding a row."""
    rows = np.random.default_rng(0).integers(0, 256, (6, 8 * CHANNELS[encoding] + 5), dtype=np.uint8)
    message = image_message(rows, Header(), encoding)
    message.width, message.is_bigendian = 8, big_endian
    return message


class FailingBridge:
    """Stands where cv_bridge would and fails as it does: with exceptions of several kinds."""

    def imgmsg_to_cv2(self, message, desired_encoding):
        raise KeyError(16)


@pytest.mark.parametrize("big_endian", [0, 1])
@pytest.mark.parametrize("encoding", CHANNELS)
def test_the_real_cv_bridge_gives_equal_pixels(encoding, big_endian):
    """Where a ROS distribution brings cv_bridge, it changes nothing (skipped where it is not installed)."""
    pytest.importorskip("cv_bridge", reason="cv_bridge comes with a ROS distribution, not from pip")
    message = padded_message(encoding, big_endian)
    np.testing.assert_array_equal(image_reader("raw")(message), decode_image(message))


def test_without_cv_bridge_the_own_path_is_taken():
    """No bridge is needed."""
    message = padded_message("rgb8")
    np.testing.assert_array_equal(image_reader("raw", bridge=None)(message), decode_image(message))


def test_a_failing_cv_bridge_is_an_image_error():
    """Whatever cv_bridge raises, the caller sees one kind of error; our checks come first."""
    message = image_message(np.zeros((6, 24), np.uint8), Header(), "bgr8")
    message.width = 8
    with pytest.raises(ImageError, match="cv_bridge cannot convert a bgr8 image"):
        image_reader("raw", FailingBridge())(message)
    message.step = 1
    with pytest.raises(ImageError, match="step is 1"):
        image_reader("raw", FailingBridge())(message)


def test_what_cv_bridge_does_not_do_alike_takes_the_own_path():
    """A 16-bit image, padded rows, and an 8-bit image that calls itself big-endian, never reach cv_bridge."""
    wide = Image(height=2, width=2, encoding="mono16", step=4, data=bytes(range(8)))
    assert image_reader("raw", FailingBridge())(wide).shape == (2, 2, 3)
    odd = padded_message("bgr8", big_endian=1)
    np.testing.assert_array_equal(image_reader("raw", FailingBridge())(odd), decode_image(odd))
    padded = padded_message("bgr8")
    np.testing.assert_array_equal(image_reader("raw", FailingBridge())(padded), decode_image(padded))


def test_the_bits_of_a_camera_are_those_stated_or_seen():
    """A reader keeps the number of bits of its camera from image to image, or keeps to the stated one."""
    bright, dark = (
        image_message(np.full((6, 8), value, np.uint16).view(np.uint8), Header(), "mono16") for value in (4000, 300)
    )
    bright.width = dark.width = 8
    found, stated = image_reader("raw"), image_reader("raw", bits=12)
    assert [int(found(message)[0, 0, 0]) for message in (dark, bright, dark)] == [75, 250, 18]
    assert int(stated(dark)[0, 0, 0]) == 18


def test_video_in_a_compressed_image_is_a_sentence():
    """The node takes pictures only; the sentence says what the message holds and what to publish."""
    message = CompressedImage(format="h264", data=b"\0\0\0\1\x67\x42\0\x1e")
    with pytest.raises(ImageError, match="a packet of a video, which only its stream can decode; publish JPEG"):
        image_reader("compressed")(message)
