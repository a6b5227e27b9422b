"""Whole bags as recorders, other tools and people leave them: read by what their files hold, or explained."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from rosbags import rosbag1
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from support.bag_fuzzing import run as damage_and_read

from ls_ood_monitor.errors import DataError
from ls_ood_monitor.recordings.bags import FrameBagWriter, bag_info, count_images, iter_arrivals, iter_raw
from ls_ood_monitor.recordings.recording import open_recording

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
START, PERIOD = 1_700_000_000_000_000_000, 100_000_000
PICTURES = np.random.default_rng(0).integers(0, 256, (30, 24, 32, 3), dtype=np.uint8)
STORE = get_typestore(Stores.ROS2_HUMBLE)


def raw_message(index: int, stamp_ns: int) -> bytes:
    """A serialised Image with the picture of this number."""
    header = STORE.types["std_msgs/msg/Header"](
        STORE.types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9), "lens"
    )
    message = STORE.types[IMAGE](header, 24, 32, "bgr8", 0, 96, PICTURES[index].reshape(-1))
    return bytes(STORE.serialize_cdr(message, IMAGE))


def write_bag(path: Path, topics: dict[str, list[tuple[int, bytes]]], storage: str = "sqlite3", **options) -> Path:
    """A bag of Image messages, topic -> (reception, data), written in the order of the lists."""
    plugin = StoragePlugin.SQLITE3 if storage == "sqlite3" else StoragePlugin.MCAP
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        for topic, messages in topics.items():
            connection = writer.add_connection(topic, IMAGE, typestore=STORE, **options)
            for received_ns, data in messages:
                writer.write(connection, received_ns, data)
    return path


def images(times: list[int]) -> list[tuple[int, bytes]]:
    """An image received, and stamped, at each time."""
    return [(time_ns, raw_message(index, time_ns)) for index, time_ns in enumerate(times)]


def regular(count: int, first_ns: int = START) -> list[int]:
    """Times at 10 Hz."""
    return [first_ns + index * PERIOD for index in range(count)]


def content(path: Path) -> dict[str, bytes]:
    """The files of a folder, without sqlite's index of a -wal file."""
    return {file.name: file.read_bytes() for file in path.iterdir() if not file.name.endswith("-shm")}


@pytest.fixture
def crashed(tmp_path) -> Path:
    """A sqlite3 bag whose recorder crashed: 12 messages in the file, 18 in its -wal file, no metadata.yaml."""
    source = write_bag(tmp_path / "source", {"/front/image": images(regular(12))})
    working = tmp_path / "working.db3"
    shutil.copy(source / "source.db3", working)
    database = sqlite3.connect(working)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    for index in range(12, 30):
        row = (START + index * PERIOD, raw_message(index, START + index * PERIOD))
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (1, ?, ?)", row)
        database.commit()
    folder = tmp_path / "crashed"
    folder.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{working}{suffix}", folder / f"bag_0.db3{suffix}")
    database.close()
    return folder


def test_messages_in_a_wal_file_are_read(crashed):
    """All 30 messages of a crashed recorder are read, its files stay as they are, and the recording stays the same one."""
    before = content(crashed)
    recording = open_recording(crashed)
    assert recording.images == len(list(recording.read())) == 30
    assert "no metadata.yaml" in recording.damage
    assert len(list(iter_arrivals(crashed / "bag_0.db3"))) == 30
    assert content(crashed) == before
    assert open_recording(crashed).identity == recording.identity


def test_a_wal_file_that_was_not_copied_is_named(crashed):
    """Without the -wal file 12 messages are left, and the damage says where the others may be."""
    (crashed / "bag_0.db3-wal").unlink()
    recording = open_recording(crashed)
    assert len(list(recording.read())) == 12
    assert "bag_0.db3-wal, which may hold its newest messages" in recording.damage


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_wal_file_in_a_folder_that_cannot_be_written_is_told(crashed):
    """Where sqlite cannot make its index, the 12 messages of the file are read, and the damage names the rest and the cure."""
    crashed.chmod(0o555)
    recording = open_recording(crashed)
    assert len(list(recording.read())) == 12
    assert "bag_0.db3-wal holds the newest messages, and cannot be read here" in recording.damage
    with pytest.raises(DataError, match="copy the folder to a place that can be written"):
        list(iter_arrivals(crashed / "bag_0.db3"))
    crashed.chmod(0o755)


@pytest.mark.parametrize("name", ["a#1", "a?b", "a%20b", "drive?mode=rwc", "50%"])
@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_path_is_taken_as_typed(tmp_path, name, storage):
    """The bag of this very name is read, not a neighbour's, and no file appears."""
    for neighbour in ("a", "a b", "drive"):
        write_bag(tmp_path / neighbour, {"/wrong/image": images(regular(2))}, storage)
    write_bag(tmp_path / "plain", {"/front/image": images(regular(5))}, storage).rename(tmp_path / name)
    folders = sorted(path.name for path in tmp_path.rglob("*"))
    assert [arrival.camera for arrival in iter_arrivals(tmp_path / name)] == ["front"] * 5
    assert sorted(path.name for path in tmp_path.rglob("*")) == folders


def edit_metadata(bag: Path, **entries) -> dict:
    """Change entries of metadata.yaml; returns its content."""
    path = bag / "metadata.yaml"
    document = yaml.safe_load(path.read_text())
    document["rosbag2_bagfile_information"].update(entries)
    path.write_text(yaml.safe_dump(document))
    return document["rosbag2_bagfile_information"]


def profile(reliability: QosReliability) -> Qos:
    """QoS of a publisher."""
    none = QosTime(0, 0)
    keep, volatile = QosHistory.KEEP_LAST, QosDurability.VOLATILE
    return Qos(keep, 10, reliability, volatile, none, none, QosLiveliness.AUTOMATIC, none, False)


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_an_edited_qos_hides_no_camera(tmp_path, storage):
    """Messages are matched by topic and type: a QoS edited in metadata.yaml changes nothing."""
    options = {"offered_qos_profiles": [profile(QosReliability.BEST_EFFORT)]}
    topics = {"/front/image": images(regular(6)), "/left/image": images(regular(6))}
    bag = write_bag(tmp_path / "bag", topics, storage, **options)
    edited = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    edited["topics_with_message_count"][1]["topic_metadata"]["offered_qos_profiles"] = ""
    edit_metadata(bag, **edited)
    assert sorted(arrival.camera for arrival in iter_arrivals(bag)) == ["front"] * 6 + ["left"] * 6
    assert count_images(bag) == 12
    assert not open_recording(bag).damage


def test_an_unknown_storage_is_read_by_its_files(tmp_path):
    """With storage_identifier empty, as some versions of reindex write it, the storage is known by the file's name."""
    bag = write_bag(tmp_path / "bag", {"/front/image": images(regular(4))})
    edit_metadata(bag, storage_identifier="")
    assert len(list(iter_arrivals(bag))) == 4


def test_several_publishers_of_a_camera_are_noted(tmp_path):
    """The recorder notes the QoS of each publisher: two of them on one topic is a note."""
    both = [profile(QosReliability.BEST_EFFORT), profile(QosReliability.RELIABLE)]
    for storage in ("sqlite3", "mcap"):
        bag = write_bag(tmp_path / storage, {"/front/image": images(regular(4))}, storage, offered_qos_profiles=both)
        assert bag_info(bag).topics[0].writers == 2
        assert any("2 nodes published /front/image" in note for note in open_recording(bag).notes)


# Clock steps


STEPPED = {
    "an hour forward": [*regular(6, START - 3_600_000_000_000), *regular(10)],
    "from 1970": [*regular(6, 60_000_000_000), *regular(10)],
    "back": [*regular(10, START + 5_000_000_000), *regular(10, START)],
}


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("kind", STEPPED)
def test_a_clock_step_is_cut_out(tmp_path, storage, kind):
    """Images come in the order of recording, time goes on 0.1 s after a step, and the duration does not hold it."""
    times = STEPPED[kind]
    bag = write_bag(tmp_path / "bag", {"/front/image": images(times)}, storage)
    recording = open_recording(bag)
    arrivals = list(recording.read())
    expected = [times[0] + index * PERIOD for index in range(len(times))]
    assert [arrival.received_ns for arrival in arrivals] == expected
    assert [arrival.stamp_ns for arrival in arrivals] == expected
    assert all((arrival.image == PICTURES[index]).all() for index, arrival in enumerate(arrivals))
    assert recording.duration_s == pytest.approx((len(times) - 1) / 10)
    assert any("clock steps by" in note for note in recording.notes)
    part = [arrival.received_ns for arrival in iter_arrivals(bag, start_s=0.5, end_s=0.8)]
    assert part == expected[5:8]
    raw = [message.stamp_ns for message in iter_raw(bag)]
    assert raw == expected  # playing does not wait for hours


def test_stamps_of_a_clock_that_did_not_step_stay(tmp_path):
    """Only the recorder's clock steps; the camera's own goes on, and its stamps are not changed."""
    own = regular(16, 5_000_000_000)
    received = STEPPED["an hour forward"]
    messages = [(time_ns, raw_message(index, own[index])) for index, time_ns in enumerate(received)]
    bag = write_bag(tmp_path / "bag", {"/front/image": messages})
    assert [arrival.stamp_ns for arrival in iter_arrivals(bag)] == own


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_what_is_no_step_is_left_alone(tmp_path, storage):
    """A camera that is silent while others send, and files written topic by topic, have no clock step."""
    silent = [*regular(5), *regular(5, START + 120 * 10**9)]
    others = regular(13, START)
    steady = [START + index * 10 * 10**9 for index in range(len(others))]
    bag = write_bag(tmp_path / "bag", {"/front/image": images(silent), "/left/image": images(steady)}, storage)
    info = bag_info(bag)
    assert info.steps == ()
    assert info.duration_s == pytest.approx(120.4)
    received = [arrival.received_ns for arrival in iter_arrivals(bag)]
    assert received == sorted(received)


# Files of other writers


def text(value: str) -> bytes:
    """A string of the MCAP format."""
    return struct.pack("<I", len(value)) + value.encode()


def mcap(channels: list[tuple[str, str, str, str, bytes]], profile: str = "ros2", count: int = 5) -> bytes:
    """An MCAP file without chunks and index, by hand: channels of (topic, type, schema and message encoding, data)."""

    def record(code: int, body: bytes) -> bytes:
        return struct.pack("<BQ", code, len(body)) + body

    out = b"\x89MCAP0\r\n" + record(1, text(profile) + text("by hand"))
    for key, (topic, type_name, schema_encoding, encoding, _) in enumerate(channels, 1):
        schema = key if type_name else 0
        if schema:
            out += record(3, struct.pack("<H", key) + text(type_name) + text(schema_encoding) + text("x"))
        out += record(4, struct.pack("<HH", key, schema) + text(topic) + text(encoding) + struct.pack("<I", 0))
    for index in range(count):
        for key, channel in enumerate(channels, 1):
            stamp_ns = START + index * PERIOD
            out += record(5, struct.pack("<HIQQ", key, index, stamp_ns, stamp_ns) + channel[4])
    out += record(15, struct.pack("<I", 0)) + record(2, struct.pack("<QQI", 0, 0, 0))
    return out + b"\x89MCAP0\r\n"


@pytest.mark.parametrize(
    "channel",
    [
        ("/fix", "foxglove.LocationFix", "protobuf", "protobuf", b"\x0a\x02\x08\x01"),
        ("/state", "state", "jsonschema", "json", b"{}"),
        ("/raw", "", "", "json", b"{}"),
        ("/fb", "y", "flatbuffer", "flatbuffer", b"abc"),
        ("/odd", "my_pkg/msg/Odd", "ros2msg", "cdr", b"\0\1\0\0abc"),
    ],
    ids=["protobuf", "json", "schemaless", "flatbuffer", "unknown definition"],
)
def test_channels_of_others_beside_a_camera_are_nobodys_trouble(tmp_path, channel):
    """The camera is read whole; the other channel is listed with its encoding, and gives no raw message unless it is CDR."""
    path = tmp_path / "drive.mcap"
    path.write_bytes(mcap([("/front/image", IMAGE, "ros2msg", "cdr", raw_message(0, START)), channel]))
    assert len(list(iter_arrivals(path))) == 5
    shown = {entry.topic: entry.shown_type for entry in bag_info(path).topics}
    assert channel[1] in shown[channel[0]]
    is_cdr = channel[3] == "cdr"
    assert is_cdr or channel[3] in shown[channel[0]]
    assert sum(message.topic == channel[0] for message in iter_raw(path)) == (5 if is_cdr else 0)


def test_an_mcap_file_of_ros_1_is_read(tmp_path):
    """Messages of the ROS 1 profile are converted; a type that ROS 2 does not have is listed, and left out."""
    ok, jpeg = cv2.imencode(".jpg", PICTURES[0])
    assert ok
    head = struct.pack("<III", 7, START // 10**9, 250_000_000) + text("lens")
    data = head + text("jpeg") + struct.pack("<I", len(jpeg)) + jpeg.tobytes()
    camera = ("/front/image/compressed", "sensor_msgs/CompressedImage", "ros1msg", "ros1", data)
    path = tmp_path / "drive.mcap"
    path.write_bytes(mcap([camera, ("/own", "my_pkg/Own", "ros1msg", "ros1", b"1234")], profile="ros1"))
    arrivals = list(iter_arrivals(path))
    assert len(arrivals) == 5
    assert arrivals[0].stamp_ns == START + 250_000_000
    np.testing.assert_array_equal(arrivals[0].image, cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
    assert {entry.topic: entry.shown_type for entry in bag_info(path).topics}["/own"] == "my_pkg/msg/Own (ros1)"


def test_foxglove_s_compressed_image_is_a_camera(tmp_path):
    """Its timestamp, frame and JPEG are those of the message, written by hand after its definition."""
    ok, jpeg = cv2.imencode(".jpg", PICTURES[3])
    assert ok
    body = struct.pack("<iI", START // 10**9, 5) + struct.pack("<I", 5) + b"lens\0" + b"\0" * 3
    body += struct.pack("<I", len(jpeg)) + jpeg.tobytes()
    body += b"\0" * (-len(body) % 4) + struct.pack("<I", 5) + b"jpeg\0"
    path = tmp_path / "drive.mcap"
    channel = ("/front/image", "foxglove_msgs/msg/CompressedImage", "ros2msg", "cdr", b"\0\1\0\0" + body)
    path.write_bytes(mcap([channel]))
    arrivals = list(iter_arrivals(path))
    assert [arrival.error for arrival in arrivals] == [""] * 5
    assert (arrivals[0].camera, arrivals[0].stamp_ns, arrivals[0].frame_id) == ("front", START + 5, "lens")
    np.testing.assert_array_equal(arrivals[0].image, cv2.imdecode(jpeg, cv2.IMREAD_COLOR))


def test_foxglove_s_image_in_protobuf_is_a_camera(tmp_path):
    """Its timestamp, frame and JPEG are those of the message, written by hand after the encoding; a cut one is unreadable."""
    ok, jpeg = cv2.imencode(".jpg", PICTURES[4])
    assert ok

    def varint(value: int) -> bytes:
        return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)

    def sized(number: int, data: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(data)) + data

    stamp = b"\x08" + varint(START // 10**9) + b"\x10" + varint(7)
    message = sized(1, stamp) + sized(2, jpeg.tobytes()) + sized(3, b"jpeg") + sized(4, b"lens")
    path = tmp_path / "drive.mcap"
    path.write_bytes(mcap([("/front/image", "foxglove.CompressedImage", "protobuf", "protobuf", message)]))
    arrivals = list(iter_arrivals(path))
    assert [arrival.error for arrival in arrivals] == [""] * 5
    assert (arrivals[0].camera, arrivals[0].stamp_ns, arrivals[0].frame_id) == ("front", START + 7, "lens")
    np.testing.assert_array_equal(arrivals[0].image, cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
    path.write_bytes(mcap([("/front/image", "foxglove.CompressedImage", "protobuf", "protobuf", message[:50])]))
    assert [arrival.image for arrival in iter_arrivals(path)] == [None] * 5


def test_a_topic_of_two_types_shows_both(tmp_path):
    """The images of a topic are read though other messages come on it, too; an error about it names both types."""
    other = ("/front/image", "std_msgs/msg/Empty", "ros2msg", "cdr", b"\0\1\0\0\0")
    path = tmp_path / "drive.mcap"
    path.write_bytes(mcap([("/front/image", IMAGE, "ros2msg", "cdr", raw_message(0, START)), other]))
    assert len(list(iter_arrivals(path))) == count_images(path) == open_recording(path).images == 5
    path.write_bytes(mcap([("/talk", "std_msgs/msg/String", "ros2msg", "cdr", b""), ("/talk", "x", "y", "json", b"")]))
    with pytest.raises(DataError, match=r"/talk .* is std_msgs/msg/String and x \(json\)"):
        list(iter_arrivals(path, {"/talk": "front"}))


# Packed and unfinished files


def packed(path: Path) -> Path:
    """Pack a file with zstd, and remove it."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    target = path.with_name(f"{path.name}.zstd")
    target.write_bytes(zstd.compress(path.read_bytes()))
    path.unlink()
    return target


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_packed_files_without_metadata_are_read(tmp_path, storage):
    """A folder of packed storage files is read, and so is one of its files; a cut one is a sentence."""
    bag = write_bag(tmp_path / "bag", {"/front/image": images(regular(8))}, storage)
    file = packed(next(entry for entry in bag.iterdir() if entry.suffix != ".yaml"))
    (bag / "metadata.yaml").unlink()
    assert len(list(open_recording(bag).read())) == 8
    assert len(list(open_recording(file).read())) == len(list(iter_arrivals(file))) == 8
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=r"cut off or damaged.*opy it again"):
        open_recording(file)


def test_a_whole_ros_1_bag_may_be_named_active(tmp_path):
    """A whole bag named .bag.active is read like any other."""
    store = get_typestore(Stores.ROS1_NOETIC)
    with rosbag1.Writer(tmp_path / "drive.bag") as writer:
        connection = writer.add_connection("/front/image", IMAGE, typestore=store)
        for index, time_ns in enumerate(regular(6)):
            stamp = store.types["builtin_interfaces/msg/Time"](time_ns // 10**9, time_ns % 10**9)
            header = store.types["std_msgs/msg/Header"](seq=index, stamp=stamp, frame_id="lens")
            message = store.types[IMAGE](header, 24, 32, "bgr8", 0, 96, PICTURES[index].reshape(-1))
            writer.write(connection, time_ns, store.serialize_ros1(message, IMAGE))
    active = (tmp_path / "drive.bag").rename(tmp_path / "drive.bag.active")
    assert len(list(open_recording(active).read())) == 6


# Which topics are cameras


@pytest.mark.parametrize(
    "depth",
    [
        "/camera/depth/image_rect_raw",
        "/camera/aligned_depth_to_color/image_raw",
        "/zed/depth/depth_registered",
        "/disparity",
    ],
)
def test_images_of_distances_are_no_cameras(tmp_path, depth):
    """Depth topics are left out by default with a hint, and taken when they are chosen."""
    topics = {"/camera/color/image_raw": images(regular(4)), depth: images(regular(4))}
    bag = write_bag(tmp_path / "bag", topics)
    recording = open_recording(bag)
    assert recording.cameras == ("color",)
    assert any(depth in note and f"--topic {depth}=" in note for note in recording.notes)
    assert {arrival.camera for arrival in iter_arrivals(bag, {depth: "depth"})} == {"depth"}


def test_a_topic_without_messages_is_hinted_at(tmp_path):
    """A recorded image topic that holds no message is named, with the options that leave it out."""
    bag = write_bag(tmp_path / "bag", {"/front/image": images(regular(4)), "/camera/infra1/image_rect_raw": []})
    (note,) = open_recording(bag).notes
    assert "/camera/infra1/image_rect_raw holds no message" in note
    assert "--topic /front/image=front" in note


def test_one_cut_jpeg_costs_one_picture(tmp_path):
    """The others are read, and the cut one is counted with its reason."""
    with FrameBagWriter(tmp_path / "bag") as writer:
        for index, time_ns in enumerate(regular(5)):
            writer.write("front", PICTURES[index], time_ns, compressed=True)
    database = sqlite3.connect(tmp_path / "bag" / "bag.db3")
    (data,) = database.execute("SELECT data FROM messages WHERE id = 3").fetchone()
    cut = bytearray(data)
    cut[len(cut) // 2 :] = bytes(len(cut) - len(cut) // 2)
    database.execute("UPDATE messages SET data = ? WHERE id = 3", (bytes(cut),))
    database.commit()
    database.close()
    arrivals = list(open_recording(tmp_path / "bag").read())
    assert [arrival.image is None for arrival in arrivals] == [False, False, True, False, False]
    assert arrivals[2].error


def test_damage_is_never_a_crash_nor_a_silent_loss(tmp_path):
    """Mutated files of every storage give images or a sentence within 10 s, and what is lost is stated."""
    outcomes = damage_and_read(300, seed=11, folder=tmp_path)
    assert outcomes.total() == 300
    assert not any(name.endswith("SILENT") for name in outcomes)
