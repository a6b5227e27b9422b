"""Playing a recording over real DDS."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ls_ood_monitor.errors import DataError
from ls_ood_monitor.ros.conversions import image_message, ns_to_stamp, stamp_to_ns
from ls_ood_monitor.ros.player import make_publishers, message_class, play, wait_for_subscribers
from ls_ood_monitor.ros.processes import wait_until


def recording(count: int, spacing_s: float = 0.05) -> list[SimpleNamespace]:
    """Serialised images with stamps of their own."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 12, 16, 3), dtype=np.uint8)
    messages = []
    for index, picture in enumerate(pixels):
        header = Header(stamp=ns_to_stamp(1000 + index), frame_id="f")
        data = serialize_message(image_message(picture, header, "bgr8"))
        stamp_ns = 5 + round(index * spacing_s * 1e9)
        messages.append(
            SimpleNamespace(topic="/cam/image", type_name="sensor_msgs/msg/Image", stamp_ns=stamp_ns, data=data)
        )
    return messages


@pytest.fixture
def pair(spin):
    """A publishing node and what a subscriber beside it receives."""
    node, received = spin(Node("player_test")), []
    node.create_subscription(Image, "/cam/image", received.append, 50)
    publishers = make_publishers(node, {"/cam/image": "sensor_msgs/msg/Image"})
    wait_for_subscribers(publishers, 15.0)
    return publishers, received


def test_messages_arrive_as_recorded_and_in_time(pair):
    """Every message arrives with its own stamp and pixels, and the recording's pace is kept."""
    publishers, received = pair
    offsets = []
    started = time.monotonic()
    play(recording(20), publishers, on_message=lambda _message, offset: offsets.append(offset))
    assert time.monotonic() - started >= 0.95
    assert len(offsets) == 20
    assert offsets[-1] == pytest.approx(0.95)
    wait_until(lambda: len(received) == 20, "all messages")
    assert [stamp_to_ns(message.header.stamp) for message in received] == list(range(1000, 1020))


def test_restamping_changes_the_stamp_alone(pair):
    """The header gets the present time; frame and pixels stay."""
    publishers, received = pair
    before = time.time_ns()
    play(recording(3), publishers, restamp=True)
    wait_until(lambda: len(received) == 3, "all messages")
    stamps = [stamp_to_ns(message.header.stamp) for message in received]
    assert all(before <= stamp <= time.time_ns() for stamp in stamps)
    assert received[0].header.frame_id == "f"
    assert serialize_message(received[0])[12:] == recording(1)[0].data[12:]


def test_refusals(spin):
    """No subscriber and an unknown type have their sentence."""
    publishers = make_publishers(spin(Node("lonely")), {"/nobody/image": "sensor_msgs/msg/Image"})
    with pytest.raises(DataError, match="nobody subscribed to /nobody/image"):
        wait_for_subscribers(publishers, 0.1)
    with pytest.raises(DataError, match="exotic_msgs/msg/Thing is not installed"):
        message_class("exotic_msgs/msg/Thing")
