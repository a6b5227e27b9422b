"""Bags as real vehicles leave them: cut off, unclosed, with missing or surplus files, of ROS 1, of old versions."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from rosbags import rosbag1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ls_ood_monitor.errors import DataError
from ls_ood_monitor.recordings.bags import FrameBagWriter, bag_info, iter_arrivals, iter_frames, iter_raw
from ls_ood_monitor.recordings.recording import open_recording

START = 1_700_000_000_000_000_000
COUNT = 100
PICTURES = np.random.default_rng(0).integers(0, 256, (COUNT, 24, 32, 3), dtype=np.uint8)


def stamp_of(index: int) -> int:
    """Stamp of a picture, at 10 Hz."""
    return START + index * 100_000_000


@pytest.fixture(params=["sqlite3", "mcap"])
def bag(request, tmp_path) -> Path:
    """100 pictures of one camera."""
    with FrameBagWriter(tmp_path / "bag", storage=request.param) as writer:
        for index, picture in enumerate(PICTURES):
            writer.write("front", picture, stamp_of(index))
    return tmp_path / "bag"


def storage_of(bag: Path) -> Path:
    """The storage file of a bag."""
    return next(entry for entry in bag.iterdir() if entry.suffix in (".mcap", ".db3"))


def number_of(arrival) -> int:
    """Number of the arrival's picture."""
    return (arrival.received_ns - START) // 100_000_000


def whole_pictures(arrivals) -> list[int]:
    """Numbers of the pictures, each of which must equal what was written."""
    numbers = []
    for arrival in arrivals:
        number = number_of(arrival)
        if arrival.image is not None:
            np.testing.assert_array_equal(arrival.image, PICTURES[number])
        numbers.append(number)
    return numbers


@pytest.mark.parametrize("has_metadata", [True, False], ids=["metadata", "unclosed"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, -1])
def test_of_a_bag_that_is_cut_the_beginning_is_read(bag, share, has_metadata):
    """All messages before the cut are read exactly and in order; metadata.yaml shows how many are lost."""
    path = storage_of(bag)
    whole = path.read_bytes()
    path.write_bytes(whole[: share if share < 0 else int(len(whole) * share)])
    if not has_metadata:
        (bag / "metadata.yaml").unlink()
    recording = open_recording(bag)
    numbers = whole_pictures(recording.read())
    assert numbers == list(range(len(numbers)))
    assert (1.0 if share < 0 else share) * COUNT - 10 <= len(numbers) <= COUNT
    if has_metadata:
        assert recording.images == COUNT
    else:
        assert "no metadata.yaml (probably not closed)" in recording.damage
    if share > 0:
        assert f"{path.name} " in recording.damage
        with pytest.raises(DataError, match=r"truncated or damaged|no metadata"):  # without recover no part is read
            list(iter_frames(bag))


@pytest.mark.parametrize("size", [0, 4, 8, 100])
def test_of_a_bag_that_is_cut_in_its_magic_nothing_can_be_read(bag, size):
    """The error is one line that states what to do."""
    path = storage_of(bag)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"no message of it can be read: .*\. Copy it again\.") as error:
        open_recording(bag)
    assert "\n" not in str(error.value)
    (bag / "metadata.yaml").unlink()
    with pytest.raises(DataError, match="no message of it can be read"):
        open_recording(bag)


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_chunks_of_every_compression_are_salvaged(tmp_path, compression, share):
    """An mcap file is read up to the cut, also within a compressed chunk."""
    path = tmp_path / "unclosed.mcap"
    path.write_bytes(chunked_mcap(compression))
    numbers = whole_pictures(open_recording(path).read())
    assert numbers == list(range(COUNT))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    recording = open_recording(path)
    numbers = whole_pictures(recording.read())
    assert numbers == list(range(len(numbers)))
    # lz4 and zstd hand out their blocks whole.
    assert share * COUNT - 20 <= len(numbers) <= share * COUNT + 1
    assert "has no end" in recording.damage


def chunked_mcap(compression: str | None) -> bytes:
    """An mcap file with chunks of 16 pictures and without an index, written by hand from the format's description."""
    import struct
    import sys
    import zlib

    store = get_typestore(Stores.ROS2_HUMBLE)
    image = "sensor_msgs/msg/Image"
    header = store.types["std_msgs/msg/Header"]
    time = store.types["builtin_interfaces/msg/Time"]

    def record(code: int, content: bytes) -> bytes:
        return struct.pack("<BQ", code, len(content)) + content

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode()

    def pack(data: bytes) -> bytes:
        if compression == "lz4":
            from lz4.frame import compress

            return compress(data)
        if compression == "zstd":
            if sys.version_info >= (3, 14):
                from compression import zstd
            else:
                from backports import zstd
            return zstd.compress(data)
        return data

    out = b"\x89MCAP0\r\n" + record(1, text("ros2") + text("test"))
    schema = record(3, struct.pack("<H", 1) + text(image) + text("ros2msg") + text(""))
    channel = record(4, struct.pack("<HH", 1, 1) + text("/front/image") + text("cdr") + struct.pack("<I", 0))
    for first in range(0, COUNT, 16):
        inner = schema + channel
        for index in range(first, min(first + 16, COUNT)):
            stamp = stamp_of(index)
            message = store.types[image](
                header(time(stamp // 10**9, stamp % 10**9), ""), 24, 32, "bgr8", 0, 96, PICTURES[index].reshape(-1)
            )
            data = bytes(store.serialize_cdr(message, image))
            inner += record(5, struct.pack("<HIQQ", 1, index, stamp, stamp) + data)
        packed = pack(inner)
        last = min(first + 16, COUNT) - 1
        head = struct.pack("<QQQI", stamp_of(first), stamp_of(last), len(inner), zlib.crc32(inner))
        out += record(6, head + text(compression or "") + struct.pack("<Q", len(packed)) + packed)
    return out


def test_a_hole_is_passed(bag):
    """With zeros over a fifth of the file, messages before and behind are read, and metadata.yaml shows the loss."""
    path = storage_of(bag)
    data = bytearray(path.read_bytes())
    begin, size = int(len(data) * 0.4), len(data) // 5
    data[begin : begin + size] = bytes(size)
    path.write_bytes(data)
    recording = open_recording(bag)
    arrivals = list(recording.read())
    # Those on its edges have lost a part, which neither format notices.
    numbers = whole_pictures(arrival for arrival in arrivals if not 35 <= number_of(arrival) < 65)
    assert numbers[:35] == list(range(35))
    if path.suffix == ".db3":  # an mcap file of one chunk ends at its hole
        assert numbers[35:] == list(range(65, COUNT))
    assert len(arrivals) < recording.images == COUNT


def test_a_hole_of_thousands_of_rows_is_passed(tmp_path):
    """With zeros over 3000 of 6000 messages of a sqlite3 bag, those before and behind are read."""
    with FrameBagWriter(tmp_path / "bag") as writer:
        for index in range(6000):
            writer.write("front", PICTURES[index % COUNT], stamp_of(index))
    path = storage_of(tmp_path / "bag")
    data = bytearray(path.read_bytes())
    begin, size = len(data) // 4, len(data) // 2
    data[begin : begin + size] = bytes(size)
    path.write_bytes(data)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    recording = open_recording(tmp_path / "bag")
    numbers = [number_of(arrival) for arrival in recording.read()]
    assert numbers == sorted(set(numbers))
    assert numbers[:1300] == list(range(1300))
    assert numbers[-1300:] == list(range(4700, 6000))
    assert len(numbers) < 3300
    assert "is cut off or damaged" in recording.damage


def split_bag(folder: Path) -> Path:
    """A bag of two files, as a recorder with a limit of size writes it."""
    for part in (0, 1):
        with FrameBagWriter(folder / f"part_{part}", storage="mcap") as writer:
            for index in range(50 * part, 50 * part + 50):
                writer.write("front", PICTURES[index], stamp_of(index))
    bag = folder / "split"
    bag.mkdir()
    for part in (0, 1):
        shutil.copy(storage_of(folder / f"part_{part}"), bag / f"split_{part}.mcap")
    content = yaml.safe_load((folder / "part_0" / "metadata.yaml").read_text())
    about = content["rosbag2_bagfile_information"]
    about["relative_file_paths"] = ["split_0.mcap", "split_1.mcap"]
    about["duration"]["nanoseconds"] = stamp_of(COUNT - 1) - START
    about["message_count"] = about["topics_with_message_count"][0]["message_count"] = COUNT
    about["files"] = [
        {
            "path": f"split_{part}.mcap",
            "starting_time": {"nanoseconds_since_epoch": stamp_of(50 * part)},
            "duration": {"nanoseconds": stamp_of(49) - START},
            "message_count": 50,
        }
        for part in (0, 1)
    ]
    (bag / "metadata.yaml").write_text(yaml.safe_dump(content))
    return bag


def test_a_folder_with_a_file_missing_or_too_many(tmp_path):
    """A missing file is named and the others are read; a file that metadata.yaml does not list is named and not read."""
    bag = split_bag(tmp_path)
    whole = open_recording(bag)
    assert (whole.damage, whole_pictures(whole.read())) == ("", list(range(COUNT)))
    shutil.copy(bag / "split_0.mcap", bag / "split_2.mcap")
    surplus = open_recording(bag)
    assert "split_2.mcap is not named in its metadata.yaml, and not read" in surplus.damage
    assert whole_pictures(surplus.read()) == list(range(COUNT))
    (bag / "split_2.mcap").unlink()
    (bag / "split_0.mcap").unlink()
    missing = open_recording(bag)
    assert "it lacks split_0.mcap" in missing.damage
    assert whole_pictures(missing.read()) == list(range(50, COUNT))
    assert missing.images == COUNT
    with pytest.raises(DataError, match=r"split is truncated or damaged"):
        bag_info(bag)


def test_files_are_read_in_the_order_of_their_numbers(tmp_path):
    """Without metadata, split_10 comes after split_2."""
    bag = split_bag(tmp_path)
    (bag / "metadata.yaml").unlink()
    (bag / "split_1.mcap").rename(bag / "split_10.mcap")
    (bag / "split_0.mcap").rename(bag / "split_2.mcap")
    assert whole_pictures(open_recording(bag).read()) == list(range(COUNT))


@pytest.mark.parametrize("version", range(4, 10))
def test_metadata_of_every_version_since_foxy(tmp_path, version):
    """Metadata of every version gives the same pictures and no damage."""
    with FrameBagWriter(tmp_path / "bag") as writer:
        for index in range(10):
            writer.write("front", PICTURES[index], stamp_of(index))
    path = tmp_path / "bag" / "metadata.yaml"
    content = yaml.safe_load(path.read_text())
    about = content["rosbag2_bagfile_information"]
    about["version"] = version
    topic = about["topics_with_message_count"][0]["topic_metadata"]
    if version < 9:  # profiles were one string, later a list
        topic["offered_qos_profiles"] = ""
    if version < 8:
        del about["ros_distro"], topic["type_description_hash"]
    if version < 6:
        about.pop("custom_data", None)
    if version < 5:
        del about["files"]
    path.write_text(yaml.safe_dump(content))
    recording = open_recording(tmp_path / "bag")
    assert (recording.damage, recording.images) == ("", 10)
    assert whole_pictures(recording.read()) == list(range(10))


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_a_bag_packed_by_the_recorder(tmp_path, mode):
    """A bag with files or messages compressed by ros2 bag is read if it is whole; if it is cut, the error states what to do."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    path = tmp_path / "bag"
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        type_name = "sensor_msgs/msg/CompressedImage"
        connection = writer.add_connection("/front/image/compressed", type_name, typestore=store)
        for index in range(10):
            writer.write(connection, stamp_of(index), store.serialize_cdr(jpeg_message(store, index), type_name))
    assert len(list(open_recording(path).read())) == 10
    packed = next(entry for entry in path.iterdir() if entry.name != "metadata.yaml")
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    with pytest.raises(DataError, match=r"[Cc]opy it again"):
        list(open_recording(path).read())


def jpeg_message(store, index: int, **header):
    """A compressed picture."""
    _, data = cv2.imencode(".jpg", PICTURES[index])
    stamp = store.types["builtin_interfaces/msg/Time"](stamp_of(index) // 10**9, stamp_of(index) % 10**9)
    return store.types["sensor_msgs/msg/CompressedImage"](
        store.types["std_msgs/msg/Header"](**header, stamp=stamp, frame_id="front"), "jpeg", data.reshape(-1)
    )


@pytest.fixture
def ros1_bag(tmp_path) -> Path:
    """One camera raw, one compressed, and a topic of a type that ROS 2 does not have."""
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    path = tmp_path / "drive.bag"
    with rosbag1.Writer(path) as writer:
        raw = writer.add_connection("/front/image", "sensor_msgs/msg/Image", typestore=store)
        packed = writer.add_connection("/left/image/compressed", "sensor_msgs/msg/CompressedImage", typestore=store)
        time = writer.add_connection("/tick", "std_msgs/msg/Time", typestore=store)
        for index in range(20):
            stamp = types["builtin_interfaces/msg/Time"](stamp_of(index) // 10**9, stamp_of(index) % 10**9)
            header = types["std_msgs/msg/Header"](seq=index, stamp=stamp, frame_id="front")
            image = types["sensor_msgs/msg/Image"](header, 24, 32, "bgr8", 0, 96, PICTURES[index].reshape(-1))
            writer.write(raw, stamp_of(index), store.serialize_ros1(image, "sensor_msgs/msg/Image"))
            message = jpeg_message(store, index, seq=index)
            writer.write(packed, stamp_of(index), store.serialize_ros1(message, "sensor_msgs/msg/CompressedImage"))
            tick = types["std_msgs/msg/Time"](stamp)
            writer.write(time, stamp_of(index), store.serialize_ros1(tick, "std_msgs/msg/Time"))
    return path


def test_a_bag_of_ros_1(ros1_bag):
    """Pictures, stamps and cameras come back as written; raw messages are those of ROS 2."""
    info = bag_info(ros1_bag)
    assert info.cameras == {"/front/image": "front", "/left/image/compressed": "left"}
    assert info.duration_s == pytest.approx(1.9)
    arrivals = list(iter_arrivals(ros1_bag))
    assert [arrival.error for arrival in arrivals if arrival.error] == []
    front = [arrival for arrival in arrivals if arrival.camera == "front"]
    assert whole_pictures(front) == list(range(20))
    assert [arrival.stamp_ns for arrival in front] == [stamp_of(index) for index in range(20)]
    assert len(arrivals) == 40
    part = list(iter_frames(ros1_bag, {"/front/image": "nose"}, start_s=0.5, end_s=1.0))
    assert [frame.camera for frame in part] == ["nose"] * 5
    store = get_typestore(Stores.ROS2_KILTED)
    first = next(message for message in iter_raw(ros1_bag) if message.topic == "/front/image")
    image = store.deserialize_cdr(first.data, first.type_name)
    np.testing.assert_array_equal(image.data.reshape(24, 32, 3), PICTURES[0])
    assert image.header.frame_id == "front"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_damaged_bag_of_ros_1_is_a_sentence(ros1_bag, share):
    """Where whole bags are needed, the error names the tool that repairs the bag."""
    whole = ros1_bag.read_bytes()
    ros1_bag.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=re.escape(f"run 'rosbag reindex {ros1_bag}'")) as error:
        list(iter_frames(ros1_bag))
    assert not set("\n[]{}") & set(str(error.value))
    assert "('" not in str(error.value)  # a sentence, not the repr of an error
    assert "Error" not in str(error.value)


@pytest.mark.parametrize("compression", ["NONE", "BZ2", "LZ4"])
@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_of_a_ros_1_bag_without_its_index_the_beginning_is_read(tmp_path, compression, share):
    """A bag that was not closed has chunks and no index: its images are read up to the cut, and the damage says so."""
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    writer = rosbag1.Writer(tmp_path / "whole.bag")
    if compression != "NONE":
        writer.set_compression(rosbag1.Writer.CompressionFormat[compression])
    writer.chunk_threshold = 20_000  # several chunks
    with writer:
        raw = writer.add_connection("/front/image", "sensor_msgs/msg/Image", typestore=store)
        for index in range(COUNT):
            stamp = types["builtin_interfaces/msg/Time"](stamp_of(index) // 10**9, stamp_of(index) % 10**9)
            header = types["std_msgs/msg/Header"](seq=index, stamp=stamp, frame_id="front")
            image = types["sensor_msgs/msg/Image"](header, 24, 32, "bgr8", 0, 96, PICTURES[index].reshape(-1))
            writer.write(raw, stamp_of(index), store.serialize_ros1(image, "sensor_msgs/msg/Image"))
    whole = (tmp_path / "whole.bag").read_bytes()
    index_at = int.from_bytes(whole[whole.index(b"index_pos=") + 10 :][:8], "little")
    unclosed = whole[: int(index_at * share)].replace(
        b"index_pos=" + index_at.to_bytes(8, "little"), b"index_pos=" + bytes(8), 1
    )
    path = tmp_path / "drive.bag.active"
    path.write_bytes(unclosed)
    recording = open_recording(path)
    numbers = whole_pictures(recording.read())
    assert numbers == list(range(len(numbers)))
    assert share * COUNT - 25 <= len(numbers) <= COUNT
    assert len(numbers) == COUNT or share < 1.0
    assert "drive.bag.active has no" in recording.damage


def test_no_camera_topic_lists_what_there_is(tmp_path):
    """Without a camera topic, the error for a ROS 1 bag lists its topics."""
    store = get_typestore(Stores.ROS1_NOETIC)
    with rosbag1.Writer(tmp_path / "talk.bag") as writer:
        talk = writer.add_connection("/talk", "std_msgs/msg/String", typestore=store)
        message = store.types["std_msgs/msg/String"]("hello")
        writer.write(talk, START, store.serialize_ros1(message, "std_msgs/msg/String"))
    with pytest.raises(DataError, match=r"talk.bag has no camera topic.*it holds /talk"):
        open_recording(tmp_path / "talk.bag")


def pictures_or_sentence(bag: Path) -> bool:
    """Whether reading gives pictures, or a DataError of one line."""
    try:
        return len(list(open_recording(bag).read())) <= COUNT
    except DataError as error:
        return "\n" not in str(error)


def test_random_damage_never_raises_anything_else(bag):
    """Random damage gives pictures or a DataError, never another error."""
    path = storage_of(bag)
    whole = path.read_bytes()
    random = np.random.default_rng(1)
    for _ in range(25):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 8):
            data[place] = random.integers(0, 256)
        begin = int(random.integers(0, len(data)))
        data[begin : begin + int(random.integers(0, 3000))] = random.bytes(int(random.integers(0, 3000)))
        path.write_bytes(data)
        assert pictures_or_sentence(bag)
