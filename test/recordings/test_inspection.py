"""What inspection reports of bags, folders and videos, against how they were made."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ls_ood_monitor.errors import DataError
from ls_ood_monitor.recordings.image_statistics import bits_of
from ls_ood_monitor.recordings.inspection import RecordingReport, inspect_recording

IMAGE = "sensor_msgs/msg/Image"
STORE = get_typestore(Stores.ROS2_HUMBLE)
START, PERIOD = 1_700_000_000_000_000_000, 100_000_000
RANDOM = np.random.default_rng(0)


def noise() -> np.ndarray:
    """A picture that passes the checks."""
    return RANDOM.integers(20, 230, (24, 32, 3), dtype=np.uint8)


def write_bag(path: Path, topics: dict[str, list[tuple[int, int, str, np.ndarray]]], **options) -> Path:
    """A bag of (reception, stamp, frame, BGR picture) by topic."""
    types = STORE.types
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, messages in topics.items():
            connection = writer.add_connection(topic, IMAGE, typestore=STORE, **options)
            for received_ns, stamp_ns, frame, picture in messages:
                stamp = types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
                header = types["std_msgs/msg/Header"](stamp, frame)
                message = types[IMAGE](header, *picture.shape[:2], "bgr8", 0, picture.shape[1] * 3, picture.reshape(-1))
                writer.write(connection, received_ns, STORE.serialize_cdr(message, IMAGE))
    return path


def regular(count: int, late_s: float = 0.02, frame: str = "lens") -> list[tuple[int, int, str, np.ndarray]]:
    """Images at 10 Hz, received a little after their stamp."""
    times = [START + index * PERIOD for index in range(count)]
    return [(time_ns, time_ns - round(late_s * 1e9), frame, noise()) for time_ns in times]


def inspect(path: Path, every: bool = False) -> RecordingReport:
    """The report of one recording."""
    (report,) = inspect_recording(path, every, lambda done: None)
    return report


def test_a_good_bag(tmp_path):
    """Counts, size, rate, age and the camera are those of the bag, and nothing is found."""
    report = inspect(write_bag(tmp_path / "bag", {"/front/image": regular(30)}))
    assert report.findings == report.notes == ()
    assert (report.kind, report.options) == ("ROS 2 bag (mcap, 1 file)", "")
    assert report.duration_s == pytest.approx(2.9)
    (topic,) = report.topics
    assert (topic.topic, topic.type_name, topic.camera) == ("/front/image", IMAGE, "front")
    assert topic.promised == topic.read == topic.images.checked == 30
    images = topic.images
    assert (images.layouts, images.bits, images.sizes, images.frame_ids) == (("bgr8",), 8, ("32x24",), ("lens",))
    assert images.rate_hz == pytest.approx(10.0)
    assert images.age_s == pytest.approx(0.02)


def test_faults_gaps_and_stamps(tmp_path):
    """Black, saturated, frozen and repeated frames, a gap and a stamp that goes back are found and counted."""
    messages = regular(60)
    black, white = np.zeros((24, 32, 3), np.uint8), np.full((24, 32, 3), 255, np.uint8)
    for index, picture in ((0, black), (1, black), (10, white), *((index, messages[20][3]) for index in range(21, 26))):
        messages[index] = (*messages[index][:3], picture)
    messages[30] = (messages[30][0], messages[30][1] - 10**9, *messages[30][2:])
    messages = [(time + (3 * 10**9 if index >= 40 else 0), *rest) for index, (time, *rest) in enumerate(messages)]
    report = inspect(write_bag(tmp_path / "bag", {"/front/image": messages}), every=True)
    images = report.topics[0].images
    assert {kind: images.faults[kind] for kind in ("black", "saturated", "frozen")} == {
        "black": 2,
        "saturated": 1,
        "frozen": 1,
    }
    assert images.stamps_back == 1
    assert (images.gaps, images.longest_gap_s) == (1, pytest.approx(3.1))
    assert images.longest_gap_at_s == pytest.approx(3.9)
    assert any("fail the vehicle's checks" in finding and "2 black" in finding for finding in report.findings)
    assert any("the longest 3.1 s at 3.9 s" in note for note in report.notes)


def test_a_sample_is_enough_by_default_and_all_are_counted(tmp_path):
    """Of 1000 images about 200 pictures are checked, in pairs, so that repeated pictures show; a note says so."""
    messages = regular(1000)
    frozen = [(*message[:3], messages[index // 2][3]) for index, message in enumerate(messages)]
    report = inspect(write_bag(tmp_path / "bag", {"/front/image": frozen}))
    images = report.topics[0].images
    assert images.read == report.topics[0].promised == 1000
    assert 150 <= images.checked <= 250
    assert images.repeated >= 0.4 * images.checked
    assert images.faults == {}
    assert any("checked pictures equal the one before" in note for note in report.notes)
    assert inspect(tmp_path / "bag", every=True).topics[0].images.checked == 1000


def test_two_drivers_depth_and_silence(tmp_path):
    """Two frames on one topic are a finding; depth and an empty topic are left out of the options."""
    mixed = sorted([*regular(10, frame="a"), *regular(10, late_s=0.05, frame="b")], key=lambda message: message[0])
    topics = {"/front/image": mixed, "/camera/depth/image_raw": regular(4), "/left/image": []}
    report = inspect(write_bag(tmp_path / "bag", topics))
    assert any("probably two drivers" in finding for finding in report.findings)
    assert report.options == "--topic /front/image=front"
    assert any("/left/image holds no message" in note for note in report.notes)
    assert any("/camera/depth/image_raw" in note for note in report.notes)


def test_several_publishers_are_a_finding(tmp_path):
    """What the recorder saw of two publishers of one camera is something wrong."""
    keep, volatile, none = QosHistory.KEEP_LAST, QosDurability.VOLATILE, QosTime(0, 0)
    reliability, liveliness = QosReliability.RELIABLE, QosLiveliness.AUTOMATIC
    profile = Qos(keep, 10, reliability, volatile, none, none, liveliness, none, False)
    bag = write_bag(tmp_path / "bag", {"/front/image": regular(4)}, offered_qos_profiles=[profile, profile])
    report = inspect(bag)
    assert report.topics[0].writers == 2
    assert any("2 nodes published /front/image" in finding for finding in report.findings)
    assert not any("published" in note for note in report.notes)


def test_stamps_of_another_clock_and_clock_steps(tmp_path):
    """Stamps since boot are noted; a step of the recorder's clock is a finding with its size."""
    foreign = [(time, 10**9 + index * PERIOD, *rest) for index, (time, _, *rest) in enumerate(regular(20))]
    report = inspect(write_bag(tmp_path / "foreign", {"/front/image": foreign}))
    assert report.topics[0].images.has_foreign_clock
    assert any("another clock" in note for note in report.notes)
    stepped = [(time + (3600 * 10**9 if index >= 10 else 0), *rest) for index, (time, *rest) in enumerate(regular(20))]
    report = inspect(write_bag(tmp_path / "stepped", {"/front/image": stepped}))
    assert report.clock_steps == (pytest.approx(3600.1),)
    assert any("clock steps by 3600.1 s forward" in finding for finding in report.findings)
    assert report.duration_s == pytest.approx(1.9)


def test_lost_messages_are_counted(tmp_path):
    """Of a bag that is cut, what metadata.yaml promises and what is read stand beside each other."""
    bag = write_bag(tmp_path / "bag", {"/front/image": regular(200)})
    storage = bag / "bag.mcap"
    storage.write_bytes(storage.read_bytes()[:200_000])
    report = inspect(bag)
    (topic,) = report.topics
    assert topic.promised == 200
    assert 0 < topic.read < 200
    assert any(f"{200 - topic.read} of the 200 messages" in finding for finding in report.findings)


def test_pictures_and_videos(tmp_path):
    """Each drive of a folder has a report; of a long video the first pictures are read unless all are wanted."""
    for drive in ("one", "two"):
        (tmp_path / "pictures" / drive).mkdir(parents=True)
        for index in range(5):
            cv2.imwrite(str(tmp_path / "pictures" / drive / f"{index}.png"), noise())
    (tmp_path / "pictures" / "two" / "3.png").write_bytes(b"no picture")
    one, two = inspect_recording(tmp_path / "pictures", False, lambda done: None)
    assert (one.findings, one.topics[0].read, one.topics[0].promised) == ((), 5, 5)
    assert two.topics[0].images.faults == {"unreadable": 1}
    video = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    for _ in range(230):
        video.write(np.kron(RANDOM.integers(20, 230, (6, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)))
    video.release()
    report = inspect(tmp_path / "clip.avi")
    assert report.topics[0].read == 200
    assert any("--all" in note for note in report.notes)
    assert inspect(tmp_path / "clip.avi", every=True).topics[0].read == 230


def test_what_is_no_recording_is_a_sentence(tmp_path):
    """A missing path and a folder without pictures are refused."""
    with pytest.raises(DataError, match="there is no"):
        inspect(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        inspect(tmp_path / "empty")


@pytest.mark.parametrize(
    ("layout", "bits"),
    [
        ("bgr8", 8), ("mono16", 16), ("16UC1", 16), ("32FC1", 32), ("bayer_rggb16", 16), ("jpeg", 8), ("nv12", 8),
        ("bgr8; jpeg compressed bgr8", 8), ("16UC1; png compressed", 16), ("yuv422_yuy2", 8), ("png", 0),
    ],
)  # fmt: skip
def test_bits_of_an_encoding(layout, bits):
    """Bits of a channel by the names that ROS and image_transport use."""
    assert bits_of(layout) == bits
