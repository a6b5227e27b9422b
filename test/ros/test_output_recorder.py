"""Recording what the nodes publish: whole, with its types and reliability, stamped by the clock that was asked for."""

from __future__ import annotations

import resource
import threading
import time
from contextlib import suppress

import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, Empty, Float64, Header

from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState
from ls_ood_monitor.errors import DataError
from ls_ood_monitor.recordings.bags import bag_info, iter_raw
from ls_ood_monitor.ros.conversions import alarm_message, ns_to_stamp, stamp_to_ns, status
from ls_ood_monitor.ros.output_recorder import OutputRecorder
from ls_ood_monitor.ros.processes import wait_until

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def record(ros, tmp_path):
    """Start a recorder in a thread of its own; called again it ends and finishes the recording."""
    started = []

    def run(pictures=(), clock_ns=lambda ago_ns: time.time_ns() - ago_ns) -> OutputRecorder:
        recorder = OutputRecorder(tmp_path / "out", pictures, clock_ns, {"/player/state"})
        executor = SingleThreadedExecutor()
        executor.add_node(recorder)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        started.append((recorder, executor, thread))
        return recorder

    def end() -> None:
        recorder, executor, thread = started.pop()
        executor.shutdown()
        thread.join(5.0)
        recorder.destroy_node()
        recorder.close()

    run.end = end
    yield run
    if started:
        end()


def test_every_output_is_recorded_and_nothing_else(spin, record, tmp_path):
    """Alarm, score, state, stop and diagnostics of any name, the pictures asked for; not what the player sends itself."""
    node = spin(Node("vehicle"))
    topics = {
        "/car/perception_node/ood_alarm": (DiagnosticArray, RELIABLE),
        "/car/perception_node/front/ood_score": (Float64, RELIABLE),
        "/car/perception_node/front/overlay": (Image, BEST_EFFORT),
        "/car/perception_node/front/segmentation": (Image, RELIABLE),
        "/car/supervisor_node/state": (DiagnosticArray, RELIABLE),
        "/car/supervisor_node/stop": (Bool, RELIABLE),
        "/diagnostics": (DiagnosticArray, RELIABLE),
        "/player/state": (DiagnosticArray, RELIABLE),
        "/arm/state": (Bool, RELIABLE),
    }
    publishers = {topic: node.create_publisher(kind, topic, qos) for topic, (kind, qos) in topics.items()}
    times = iter(range(10**9, 10**12))
    recorder = record(("overlay",), lambda ago_ns: next(times))
    unwanted = {"/player/state", "/arm/state", "/car/perception_node/front/segmentation"}
    wanted = [topic for topic in topics if topic not in unwanted]
    wait_until(lambda: all(publishers[topic].get_subscription_count() for topic in wanted), "the subscriptions")
    wait_until(recorder.is_ready, "a state of rest")
    early = DiagnosticArray(header=Header(stamp=ns_to_stamp(1)))
    publishers["/diagnostics"].publish(early)  # before it begins
    time.sleep(0.3)
    recorder.begin()
    alarm = DiagnosticArray(header=Header(stamp=ns_to_stamp(7), frame_id="lens"))
    for topic in topics:
        publishers[topic].publish(alarm if topics[topic][0] is DiagnosticArray else topics[topic][0]())
    wait_until(lambda: len(recorder.counts.messages) == len(wanted), "one message of each")
    record.end()
    assert {entry.topic: entry.messages for entry in bag_info(tmp_path / "out").topics} == dict.fromkeys(wanted, 1)
    messages = {message.topic: message for message in iter_raw(tmp_path / "out")}
    assert deserialize_message(messages["/car/perception_node/ood_alarm"].data, DiagnosticArray) == alarm
    heard = deserialize_message(messages["/diagnostics"].data, DiagnosticArray)
    assert stamp_to_ns(heard.header.stamp) == 7
    assert sorted(message.stamp_ns - 10**9 for message in messages.values()) == list(
        range(1, len(wanted) + 1)
    )  # one was early
    with Reader(tmp_path / "out") as reader:
        offered = {entry.topic: entry.ext.offered_qos_profiles[0].reliability.name for entry in reader.connections}
    assert offered["/car/perception_node/front/overlay"] == "BEST_EFFORT"
    assert offered["/car/supervisor_node/stop"] == "RELIABLE"


def test_a_topic_that_appears_later_is_recorded(spin, record, tmp_path):
    """A node that was started after the recorder is found."""
    recorder = record()
    recorder.begin()
    assert not recorder.is_ready()  # no alarm was found
    publisher = spin(Node("late")).create_publisher(Bool, "/late/stop", RELIABLE)
    wait_until(publisher.get_subscription_count, "the subscription")
    publisher.publish(Bool(data=True))
    wait_until(lambda: recorder.counts.messages["/late/stop"] == 1, "the message")
    record.end()
    assert [message.topic for message in iter_raw(tmp_path / "out")] == ["/late/stop"]


def test_what_waits_for_a_busy_process_has_the_time_of_its_arrival(spin, record, tmp_path):
    """Fifty scores come while the recorder is held up for two seconds: none is lost, and each is stamped as it came."""
    held_up = []

    def clock_ns(ago_ns: int) -> int:
        arrived_ns = time.time_ns() - ago_ns
        if not held_up:
            held_up.append(time.sleep(2.0))
        return arrived_ns

    recorder = record((), clock_ns)
    recorder.begin()
    publisher = spin(Node("score")).create_publisher(Float64, "/p/front/ood_score", RELIABLE)
    wait_until(publisher.get_subscription_count, "the subscription")
    begin_ns = time.time_ns()
    for _ in range(50):
        publisher.publish(Float64(data=float(time.time_ns() - begin_ns)))
        time.sleep(0.02)
    wait_until(lambda: recorder.counts.messages["/p/front/ood_score"] == 50, "all scores")
    record.end()
    late_s = [
        (message.stamp_ns - begin_ns - deserialize_message(message.data, Float64).data) / 1e9
        for message in iter_raw(tmp_path / "out")
    ]
    assert len(late_s) == 50
    assert max(late_s) < 0.7


def test_it_is_ready_once_the_alarms_node_knows_of_every_subscription(spin, record):
    """A beat of the alarm's sign of life answers for what was found before it; a topic found later asks anew."""
    node = spin(Node("p"))
    node.create_publisher(DiagnosticArray, "/p/ood_alarm", RELIABLE)
    alive = node.create_publisher(Empty, "/p/ood_alarm/alive", RELIABLE)
    recorder = record()
    wait_until(alive.get_subscription_count, "the probe")
    time.sleep(0.5)
    assert not recorder.is_ready()
    alive.publish(Empty())
    wait_until(recorder.is_ready, "the answer", 2.5)
    score = node.create_publisher(Float64, "/p/front/ood_score", RELIABLE)
    wait_until(lambda: not recorder.is_ready(), "the question", 5.0)

    def answered() -> bool:
        alive.publish(Empty())
        return recorder.is_ready()

    wait_until(answered, "the next answer", 2.0)
    assert score.get_subscription_count() == 1


def test_a_recording_that_was_never_begun_is_removed(record, tmp_path):
    """What failed before its start can be tried again with the same command."""
    record()
    assert (tmp_path / "out").exists()
    record.end()
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_an_error_and_what_was_written_stays(spin, record, tmp_path):
    """The first failure is a sentence; the file is closed as it is."""
    recorder = record(("overlay",))
    recorder.begin()
    publisher = spin(Node("big")).create_publisher(Image, "/big/overlay", RELIABLE)
    wait_until(publisher.get_subscription_count, "the subscription")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))

    def failed() -> bool:
        publisher.publish(Image(data=bytes(300_000)))
        with suppress(DataError):
            recorder.check()
            return False
        return True

    try:
        wait_until(failed, "the failure")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    with pytest.raises(DataError, match="ended early: File too large"):
        record.end()
    assert (tmp_path / "out").exists()


def test_recorded_outputs_are_counted(spin, record):
    """Scores, pictures and the images that perception reports; what it dropped before the recording does not count."""
    recorder = record(("overlay",))
    node = spin(Node("p"))
    alarms = node.create_publisher(DiagnosticArray, "/p/ood_alarm", RELIABLE)
    diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", RELIABLE)
    score = node.create_publisher(Float64, "/p/front/ood_score", RELIABLE)
    overlay = node.create_publisher(Image, "/p/front/overlay", RELIABLE)
    publishers = (alarms, diagnostics, score, overlay)
    wait_until(lambda: all(publisher.get_subscription_count() for publisher in publishers), "the subscriptions")

    def report_dropped(count: int) -> None:
        facts = {"frames": 10 + count, "dropped": count}
        diagnostics.publish(DiagnosticArray(status=[status(b"\x00", "p: front", "front", "clear", facts)]))

    cameras, played = {"/front/image": "front"}, {"/front/image": 6}
    report_dropped(7)  # of an earlier drive
    wait_until(lambda: recorder.counts.images(cameras, played), "the count before")
    recorder.begin()
    alarm = Alarm("front", 5, AlarmState.CLEAR, 0.5, 1.0, Cause(CauseKind.IN_DISTRIBUTION, "front", 0.5, 1.0))
    for _ in range(2):
        alarms.publish(alarm_message(alarm, {"detector": "spatial"}, "p"))
        score.publish(Float64(data=3.0))
    overlay.publish(Image())
    report_dropped(9)
    report_dropped(10)
    wait_until(lambda: recorder.counts.messages.total() == 7, "all messages")
    accounts = recorder.counts.images(cameras, played)
    assert accounts == {"front": {"played": 6, "judged": 2, "faults": 0, "dropped": 3, "lost": 1}}
    assert recorder.counts.scores() == {"/p/front/ood_score": {"alarms": 2, "scores": 2}}
    assert recorder.counts.pictures() == {"/p/front/overlay": {"pictures": 1, "scores": 2}}
