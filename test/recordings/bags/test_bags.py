"""Bags: what is written can be read back, and damage gives a clear error."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ls_ood_monitor.errors import ConfigError, DataError, ImageError
from ls_ood_monitor.recordings.bags import (
    IMAGE,
    FrameBagWriter,
    bag_info,
    camera_of,
    iter_arrivals,
    iter_frames,
    iter_raw,
)

START = 1_700_000_000_000_000_000
PICTURES = np.random.default_rng(0).integers(0, 256, (10, 24, 32, 3), dtype=np.uint8)


def write_images(path: Path, images: list[tuple[str, int, object]]) -> None:
    """A bag of (topic, time of reception, Image message)."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topics = dict.fromkeys(topic for topic, _, _ in images)
        connections = {topic: writer.add_connection(topic, IMAGE, typestore=store) for topic in topics}
        for topic, stamp_ns, message in images:
            writer.write(connections[topic], stamp_ns, store.serialize_cdr(message, IMAGE))


def image_message(picture: np.ndarray, encoding: str = "bgr8"):
    """An Image message, taken 1 s after the epoch."""
    types = get_typestore(Stores.ROS2_HUMBLE).types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](1, 0), "")
    height, width = picture.shape[:2]
    return types[IMAGE](header, height, width, encoding, 0, picture.nbytes // height, picture.reshape(-1))


@pytest.fixture(params=["sqlite3", "mcap"])
def bag(request, tmp_path) -> Path:
    """Two cameras, ten frames each, 10 Hz; the left one compressed."""
    path = tmp_path / "bag"
    with FrameBagWriter(path, storage=request.param) as writer:
        for index, picture in enumerate(PICTURES):
            stamp = START + index * 100_000_000
            writer.write("front", picture, stamp)
            writer.write("left", picture, stamp + 1, compressed=True)
    return path


def test_frames_come_back(bag):
    """Stamps and cameras are exact, raw pixels too; JPEG ones have their size."""
    frames = list(iter_frames(bag))
    front = [frame for frame in frames if frame.camera == "front"]
    assert [frame.stamp_ns for frame in front] == [START + index * 100_000_000 for index in range(10)]
    np.testing.assert_array_equal(np.stack([frame.image for frame in front]), PICTURES)
    assert [frame.image.shape for frame in frames if frame.camera == "left"] == [(24, 32, 3)] * 10
    assert [frame.stamp_ns for frame in frames] == sorted(frame.stamp_ns for frame in frames)


def test_a_part_of_a_bag(bag):
    """start_s counts from the first message, end_s is exclusive, topics choose and rename."""
    frames = list(iter_frames(bag, {"/front/image": "nose"}, start_s=0.2, end_s=0.5))
    assert {frame.camera for frame in frames} == {"nose"}
    assert [(frame.stamp_ns - START) // 100_000_000 for frame in frames] == [2, 3, 4]


@pytest.mark.parametrize("topic", ["overlay", "segmentation", "confidence", "anomaly_map"])
def test_what_perception_draws_is_no_camera(tmp_path, topic):
    """Image topics that perception draws are not cameras, unless they are chosen by name."""
    drawn = f"/perception_node/front/{topic}"
    images = [("/front/image", START, image_message(PICTURES[0])), (drawn, START, image_message(PICTURES[1]))]
    write_images(tmp_path / "bag", images)
    assert bag_info(tmp_path / "bag").cameras == {"/front/image": "front"}
    assert [frame.camera for frame in iter_frames(tmp_path / "bag")] == ["front"]
    assert [frame.camera for frame in iter_frames(tmp_path / "bag", {drawn: "drawn"})] == ["drawn"]


def test_info_and_raw_messages(bag):
    """The summary counts topics; raw messages are all of them in order, as recorded."""
    info = bag_info(bag)
    assert info.cameras == {"/front/image": "front", "/left/image/compressed": "left"}
    assert info.duration_s == pytest.approx(0.9, abs=1e-6)
    raw = list(iter_raw(bag))
    assert len(raw) == 20
    assert {message.type_name for message in raw} == {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"}
    types = get_typestore(Stores.ROS2_KILTED)
    assert types.deserialize_cdr(raw[0].data, raw[0].type_name).width == 32


def test_camera_names_come_from_topics():
    """A camera is named by the topic component before ``image``."""
    assert camera_of("/front/image") == "front"
    assert camera_of("/car/left/image/compressed") == "left"
    assert camera_of("/image") == "image"


def test_a_bag_of_another_kind_of_message(tmp_path):
    """Without a camera topic the error lists the topics that there are."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection("/talk", "std_msgs/msg/String", typestore=types)
        writer.write(
            connection, 1, types.serialize_cdr(types.types["std_msgs/msg/String"]("hi"), "std_msgs/msg/String")
        )
    with pytest.raises(DataError, match=r"no camera topic.*it holds /talk"):
        list(iter_frames(tmp_path / "bag"))
    with pytest.raises(DataError, match=r"/talk .* is std_msgs"):
        list(iter_frames(tmp_path / "bag", {"/talk": "front"}))


def test_topics_that_do_not_fit(bag):
    """The error names an absent topic, and two topics for one camera."""
    with pytest.raises(DataError, match="no topic /roof/image; its image topics are /front/image"):
        list(iter_frames(bag, {"/roof/image": "roof"}))
    with pytest.raises(DataError, match="both mean camera 'x'"):
        list(iter_frames(bag, {"/front/image": "x", "/left/image/compressed": "x"}))


def test_missing_and_foreign_paths(tmp_path, bag):
    """A wrong path, a folder that is not a bag, and a lost metadata file each have an error of their own."""
    with pytest.raises(DataError, match="does not exist"):
        bag_info(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="it is not a bag"):
        bag_info(tmp_path / "empty")
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(DataError, match="is not a bag"):
        bag_info(tmp_path / "text.txt")
    (bag / "metadata.yaml").unlink()
    with pytest.raises(DataError, match="reindex"):
        bag_info(bag)


def test_a_truncated_bag_is_refused(bag, tmp_path):
    """Half a storage file raises a DataError that names the bag."""
    storage = next(entry for entry in bag.iterdir() if entry.suffix in (".mcap", ".db3"))
    storage.write_bytes(storage.read_bytes()[: storage.stat().st_size // 2])
    with pytest.raises(DataError, match="truncated or damaged"):
        list(iter_frames(bag))
    (bag / "metadata.yaml").write_text("{")
    with pytest.raises(DataError, match="truncated or damaged") as error:
        bag_info(bag)
    assert "\n" not in str(error.value)


def test_unusable_pictures_raise_or_are_reported(tmp_path):
    """iter_frames raises for a malformed image; iter_arrivals reports the error and goes on."""
    path = tmp_path / "bag"
    messages = [
        image_message(PICTURES[0]),
        image_message(np.zeros((5, 5), np.uint8), "hologram8"),
        image_message(PICTURES[1]),
    ]
    write_images(path, [("/front/image", START + index, message) for index, message in enumerate(messages)])
    with pytest.raises(ImageError, match="hologram8"):
        list(iter_frames(path))
    arrivals = list(iter_arrivals(path))
    assert [arrival.received_ns for arrival in arrivals] == [START, START + 1, START + 2]
    assert [arrival.image is None for arrival in arrivals] == [False, True, False]
    unusable = arrivals[1]
    assert (unusable.camera, unusable.topic, unusable.stamp_ns) == ("front", "/front/image", 10**9)
    assert unusable.encoding == "hologram8"
    assert "hologram8" in unusable.error
    assert not arrivals[0].error


def test_writing_refuses_what_it_cannot_write(tmp_path):
    """Writing refuses an unknown storage, an existing folder, and arrays that are not pictures."""
    with pytest.raises(ConfigError, match="papyrus"):
        FrameBagWriter(tmp_path / "a", storage="papyrus")
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="Cannot write bag"), FrameBagWriter(tmp_path / "b"):
        pass
    with FrameBagWriter(tmp_path / "c") as writer, pytest.raises(DataError, match="BGR uint8"):
        writer.write("front", np.zeros((4, 4), np.uint8), 1)
    shutil.rmtree(tmp_path / "c")


def test_a_folder_may_be_named_like_a_ros_1_bag(bag, tmp_path):
    """A ROS 2 bag whose folder ends in .bag is read as ROS 2."""
    bag.rename(tmp_path / "monday.bag")
    assert len(list(iter_frames(tmp_path / "monday.bag"))) == 20


def test_what_is_written_can_be_read_on_humble(bag):
    """Humble reads the QoS of a topic as one string; the lists of metadata version 9 it does not read."""
    content = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert content["version"] <= 8
    for topic in content["topics_with_message_count"]:
        assert isinstance(topic["topic_metadata"]["offered_qos_profiles"], str)
