"""Bags with image messages that ROS does not define, video among them, and with depth."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from ls_ood_monitor.config import DecodingSettings
from ls_ood_monitor.errors import ConfigError, DataError
from ls_ood_monitor.recordings.bag_notes import bag_notes
from ls_ood_monitor.recordings.bags import bag_info, camera_of, iter_arrivals
from ls_ood_monitor.recordings.drive_source import open_drives
from ls_ood_monitor.recordings.recording import open_recording

START = 1_700_000_000_000_000_000
STORE = get_typestore(Stores.ROS2_HUMBLE)
VIDEO, PACKET, PICTURE = (
    "foxglove_msgs/msg/CompressedVideo",
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
    "foxglove_msgs/msg/CompressedImage",
)
FOXGLOVE = "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n"
FFMPEG = (
    "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\nbool is_bigendian\n"
    "uint8[] data\n"
)
for name, definition in ((VIDEO, FOXGLOVE), (PICTURE, FOXGLOVE), (PACKET, FFMPEG)):
    STORE.register(get_types_from_msg(definition, name))
PICTURES = [np.full((48, 64, 3), 40 + 15 * index, np.uint8) for index in range(12)]


def message(type_name: str, index: int, data: bytes, label: str) -> object:
    """An image message of any compressed type, taken 1 s after it is received in the bag."""
    types, stamp_ns = STORE.types, START + index * 100_000_000 + 10**9
    stamp = types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
    header = types["std_msgs/msg/Header"](stamp, "front")
    content = np.frombuffer(data, np.uint8)
    if type_name == PACKET:
        return types[type_name](header, 64, 48, label, index, 0, False, content)
    if type_name.startswith("foxglove"):
        return types[type_name](stamp, "front", content, label)
    return types[type_name](header, label, content)


def write_bag(path: Path, storage: StoragePlugin, topics: dict[str, tuple[str, list[bytes], str]]) -> Path:
    """A bag of topic -> type, data of the messages, and their format."""
    with Writer(path, version=9, storage_plugin=storage) as writer:
        for topic, (type_name, contents, label) in topics.items():
            connection = writer.add_connection(topic, type_name, typestore=STORE)
            for index, data in enumerate(contents):
                raw = STORE.serialize_cdr(message(type_name, index, data, label), type_name)
                writer.write(connection, START + index * 100_000_000, raw)
    return path


def h264() -> list[bytes]:
    av = pytest.importorskip("av")
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 64, 48, "yuv420p", Fraction(1, 10)
    context.framerate, context.gop_size = 10, 4
    context.options = {"tune": "zerolatency", "bf": "0", "sc_threshold": "0"}
    return [
        bytes(packet)
        for picture in PICTURES
        for packet in context.encode(av.VideoFrame.from_ndarray(picture, format="bgr24"))
    ]


@pytest.mark.parametrize("storage", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
@pytest.mark.parametrize(
    ("topic", "type_name", "label"),
    [
        ("/front/video", VIDEO, "h264"),
        ("/front/image/ffmpeg", PACKET, "libx264"),
        ("/front/image/compressed", "sensor_msgs/msg/CompressedImage", "h264"),
    ],
)
def test_video_in_a_bag_is_a_camera(tmp_path, storage, topic, type_name, label):
    """Each packet is a picture of the camera, with the stamp of its message."""
    bag = write_bag(tmp_path / "bag", storage, {topic: (type_name, h264(), label)})
    assert bag_info(bag).cameras == {topic: "front"}
    arrivals = list(iter_arrivals(bag))
    assert [arrival.error for arrival in arrivals] == [""] * 12
    for index, arrival in enumerate(arrivals):
        assert arrival.stamp_ns == START + index * 100_000_000 + 10**9
        np.testing.assert_allclose(arrival.image, PICTURES[index], atol=6)


def test_a_part_of_a_video_begins_with_a_key_picture(tmp_path):
    """Read from its middle, and with a lost packet, a video costs the pictures to the next key picture, with the reason."""
    bag = write_bag(tmp_path / "bag", StoragePlugin.MCAP, {"/front/video": (VIDEO, h264(), "h264")})
    usable = [arrival.image is not None for arrival in iter_arrivals(bag, start_s=0.25)]
    assert usable == [False, *[True] * 8]
    packets = h264()
    packets[5] = b""
    bag = write_bag(tmp_path / "damaged", StoragePlugin.MCAP, {"/front/video": (VIDEO, packets, "h264")})
    arrivals = list(iter_arrivals(bag))
    assert [arrival.image is not None for arrival in arrivals] == [True] * 5 + [False] * 3 + [True] * 4
    assert "video packet is empty" in arrivals[5].error


def test_video_beside_pictures_of_the_same_camera_is_left_out(tmp_path):
    """A recorder of all topics keeps every transport of a camera; the images of ROS are taken."""
    pictures = [cv2.imencode(".png", picture)[1].tobytes() for picture in PICTURES]
    image, video = "/front/image/compressed", "/front/image/ffmpeg"
    topics = {image: ("sensor_msgs/msg/CompressedImage", pictures, "png"), video: (PACKET, pictures, "libx264")}
    bag = write_bag(tmp_path / "bag", StoragePlugin.MCAP, topics)
    assert bag_info(bag).cameras == {image: "front"}
    assert {arrival.topic for arrival in iter_arrivals(bag)} == {image}
    assert {arrival.topic for arrival in iter_arrivals(bag, {video: "front"})} == {video}


def test_pictures_of_foxglove(tmp_path):
    """Foxglove's compressed image is read like that of ROS."""
    data = [cv2.imencode(".png", picture)[1].tobytes() for picture in PICTURES]
    bag = write_bag(tmp_path / "bag", StoragePlugin.MCAP, {"/front/image": (PICTURE, data, "png")})
    for arrival, picture in zip(iter_arrivals(bag), PICTURES, strict=True):
        np.testing.assert_array_equal(arrival.image, picture)


@pytest.mark.parametrize(
    ("topic", "depth"),
    [
        ("/camera/depth/image_rect_raw", True),
        ("/camera/aligned_depth_to_color/image_raw", True),
        ("/zed/zed_node/depth/depth_registered", True),
        ("/stereo/disparity", True),
        ("/camera/depth/image_rect_raw/compressedDepth", True),
        ("/camera/color/image_raw", False),
        ("/depth_camera/color/image_raw", False),
    ],
)
def test_depth_is_no_camera(tmp_path, topic, depth):
    """Topics of distances are left out with a hint; a camera beside them is found, and they can still be chosen."""
    data = [cv2.imencode(".png", picture)[1].tobytes() for picture in PICTURES[:3]]
    compressed = "sensor_msgs/msg/CompressedImage"
    bag = write_bag(
        tmp_path / "bag",
        StoragePlugin.MCAP,
        {topic: (compressed, data, "png"), "/front/image/compressed": (compressed, data, "png")},
    )
    cameras = {arrival.camera for arrival in iter_arrivals(bag)}
    assert cameras == ({"front"} if depth else {"front", camera_of(topic)})
    notes = " ".join(bag_notes(bag_info(bag)))
    assert (f"{topic}: left out as images of distances" in notes) is depth
    assert {arrival.camera for arrival in iter_arrivals(bag, {topic: "chosen"})} == {"chosen"}
    alone = write_bag(tmp_path / "alone", StoragePlugin.MCAP, {topic: (compressed, data, "png")})
    if depth:
        with pytest.raises(DataError, match=f"distances.*give --topic {topic}="):
            list(iter_arrivals(alone))


def test_twelve_bits_are_scaled_alike_over_a_recording(tmp_path):
    """A dark picture after a bright one is scaled as that one is, not by its own values."""
    types, values = STORE.types, (4000, 300, 4000, 300)
    path = tmp_path / "bag"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        image = "sensor_msgs/msg/Image"
        connection = writer.add_connection("/front/image", image, typestore=STORE)
        for index, value in enumerate(values):
            pixels = np.full((6, 8), value, "<u2").view(np.uint8).reshape(-1)
            header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](index + 1, 0), "front")
            raw = STORE.serialize_cdr(types[image](header, 6, 8, "mono16", 0, 16, pixels), image)
            writer.write(connection, START + index, raw)
    assert [int(arrival.image[0, 0, 0]) for arrival in iter_arrivals(path)] == [250, 18, 250, 18]


def test_a_camera_whose_jpegs_need_it_is_read_with_the_option(tmp_path):
    """Extra bytes before the end of each JPEG: unreadable as they are, and pictures where the option accepts them."""
    jpegs = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in PICTURES[:3]]
    spoiled = [data[:-2] + b"\x12\x34\x56\x78\x9a" * 8 + data[-2:] for data in jpegs]
    topic = {"/front/image/compressed": ("sensor_msgs/msg/CompressedImage", spoiled, "jpeg")}
    bag = write_bag(tmp_path / "bag", StoragePlugin.MCAP, topic)
    assert all(arrival.image is None for arrival in iter_arrivals(bag))
    accepting = DecodingSettings(accept_jpeg_warnings=True)
    for read in (
        iter_arrivals(bag, decoding=accepting),
        open_drives([bag], decoding=accepting)[0].read_arrivals(),
        open_recording(bag, decoding=accepting).read(),
    ):
        assert all(arrival.image is not None for arrival in read)
    with pytest.raises(ConfigError, match="image_bits is 7"):
        DecodingSettings(image_bits=7)
