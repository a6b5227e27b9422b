"""perception_node around a network that fails: the node is real, in this process; only the monitor is made up."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from support.made_up_monitor import MadeUpMonitor

from ls_ood_monitor.config import AlarmSettings, HealthSettings
from ls_ood_monitor.core.alarm import LastingLevels
from ls_ood_monitor.core.pipeline import PerceptionPipeline
from ls_ood_monitor.core.types import AlarmState, FrameResult
from ls_ood_monitor.errors import BundleError, ConfigError, DataError
from ls_ood_monitor.ros import camera_outputs, perception_node
from ls_ood_monitor.ros.alarm_output import AlarmOutput
from ls_ood_monitor.ros.camera_outputs import CameraOutputs
from ls_ood_monitor.ros.conversions import image_message, ns_to_stamp, stamp_to_ns
from ls_ood_monitor.ros.image_conversion import image_reader
from ls_ood_monitor.ros.inference import Inference
from ls_ood_monitor.ros.observer import HeardAlarm, MonitorObserver
from ls_ood_monitor.ros.processes import wait_until
from ls_ood_monitor.ros.worker import Arrival
from ls_ood_monitor.wording import sentence

CAMERAS = ("front", "left")


@pytest.fixture
def monitor(monkeypatch) -> MadeUpMonitor:
    """The monitor that the node's bundle seems to hold."""
    made_up = MadeUpMonitor()
    monkeypatch.setattr(perception_node, "load_bundle", lambda path, **options: made_up)
    return made_up


@pytest.fixture
def node(ros):
    """Make the node; it is destroyed after the test even if it was never spun."""
    nodes = []

    def make(**values) -> perception_node.PerceptionNode:
        values = {"cameras": list(CAMERAS), "autostart": True, "image_timeout_s": 30.0, **values}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        nodes.append(perception_node.PerceptionNode(parameter_overrides=overrides))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


@pytest.fixture
def ask(node, monitor, spin):
    """Run the node beside an observer; returns a function that sends an image and gives the alarm of it."""
    running = node()
    running.start()
    observer = spin(MonitorObserver())
    publishers = {name: observer.create_publisher(Image, f"/{name}/image", 10) for name in CAMERAS}
    random = np.random.default_rng(0)
    sent = [10**9]
    spin(running)

    def ask(camera: str = "front", spoil=lambda message: None, within_s: float = 15.0) -> HeardAlarm:
        sent[0] += 10**8
        message = image_message(
            random.integers(0, 256, (48, 64, 3), dtype=np.uint8), Header(stamp=ns_to_stamp(sent[0])), "bgr8"
        )
        spoil(message)
        stamp_ns = stamp_to_ns(message.header.stamp)
        before = len(observer.alarms())
        publishers[camera].publish(message)

        def answers() -> list[HeardAlarm]:
            return [heard for heard in observer.alarms(before) if heard.alarm.stamp_ns == stamp_ns]

        wait_until(answers, "the alarm of the image", within_s)
        return answers()[0]

    wait_until(
        lambda: all(publisher.get_subscription_count() for publisher in publishers.values()), "the subscriptions"
    )
    wait_until(lambda: observer.count_publishers("/perception_node/ood_alarm"), "the alarm topic")
    ask.observer = observer
    return ask


def out_of_memory(_results):
    raise RuntimeError("CUDA out of memory")


def spoil_size(message) -> None:
    message.height = 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (out_of_memory, "inference failed: RuntimeError('CUDA out of memory')"),
        (lambda results: [], "inference failed"),
        (lambda results: None, "inference failed"),
        (lambda results: [with_score(result, float("nan")) for result in results], "not a finite comparison"),
        (lambda results: [with_score(result, float("inf")) for result in results], "not a finite comparison"),
        (lambda results: [with_score(result, "high") for result in results], "inference failed"),
    ],
)
def test_a_failing_network_is_not_ok_and_the_next_frame_works(ask, monitor, answer, words):
    """An exception, a missing result or a score that is no number: an alarm with the reason, and then life goes on."""
    assert ask().alarm.state is AlarmState.CLEAR
    monitor.answer = answer
    heard = ask()
    assert heard.alarm.is_fault
    assert heard.alarm.state is not AlarmState.CLEAR
    assert words in sentence(heard.alarm.cause)
    monitor.answer = lambda results: results
    heard = ask()
    assert not heard.alarm.is_fault
    assert heard.alarm.state is AlarmState.CLEAR


def with_score(result: FrameResult, score) -> FrameResult:
    """The same result with another score."""
    return replace(result, score=score, scores={})


def test_cameras_are_judged_apart(ask, monitor):
    """While one camera's images are broken and its alarm rises, the other stays clear."""
    for _ in range(3):
        broken = ask("front", spoil_size)
        assert broken.alarm.camera == "front"
        assert ask("left").alarm.state is AlarmState.CLEAR
    assert broken.alarm.state is AlarmState.RAISED


@pytest.mark.parametrize(("parameter", "max_batch"), [(0, 4), (1, 1), (2, 2), (64, 5)])
def test_the_batch_is_the_engine_s_unless_a_parameter_says_otherwise(node, monitor, parameter, max_batch):
    """The made-up engine prefers four; no batch is larger than the number of cameras."""
    running = node(cameras=[f"camera{number}" for number in range(5)], max_batch=parameter)
    running.start()
    assert running.max_batch == max_batch


@pytest.mark.parametrize(("max_batch", "sizes"), [(4, [4, 1]), (1, [1] * 5), (2, [2, 2, 1]), (5, [5])])
def test_no_batch_is_larger_than_the_limit(node, monitor, max_batch, sizes):
    """Every camera has one alarm, whatever the size of a batch."""
    seen = []
    monitor.answer = lambda results: seen.append(len(results)) or results
    cameras = [f"camera{number}" for number in range(5)]
    running = node(cameras=cameras)
    pipeline = PerceptionPipeline(cameras, AlarmSettings(), LastingLevels(), HealthSettings(), 1.0)
    pipeline.start(time.monotonic_ns())
    outputs = {camera: CameraOutputs(running, camera, 0.5) for camera in cameras}
    alarms = AlarmOutput(running)
    readers = {camera: image_reader("raw") for camera in cameras}
    inference = Inference(running, monitor, pipeline, outputs, alarms, readers, max_batch)
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    message = image_message(picture, Header(stamp=ns_to_stamp(10**9)), "bgr8")
    now_ns = time.monotonic_ns()
    inference.handle([Arrival(camera, message, now_ns, now_ns) for camera in cameras])
    assert seen == sizes
    assert {alarms.reports[camera].alarm.state for camera in cameras} == {AlarmState.CLEAR}


def stamp_now(message) -> None:
    message.header.stamp = ns_to_stamp(time.time_ns())


def test_the_age_of_a_frame_is_told_when_its_stamp_allows(ask):
    """A frame stamped now tells its age at the alarm, no less than its latency; one of 1970 tells none."""
    assert "age_ms" not in ask().values
    values = ask(spoil=stamp_now).values
    assert float(values["latency_ms"]) <= float(values["age_ms"]) < 60_000.0


def test_pictures_for_people_are_made_only_while_somebody_looks(ask, monkeypatch):
    """The overlay is drawn from the first subscription to the last; the segmentation comes always."""
    drawn, pictures, masks = [], [], []
    original = camera_outputs.draw_overlay
    monkeypatch.setattr(camera_outputs, "draw_overlay", lambda *args: (drawn.append(1), original(*args))[1])
    masks_in = ask.observer.create_subscription(Image, "/perception_node/front/segmentation", masks.append, 10)
    wait_until(lambda: masks_in and ask().alarm and masks, "a mask")
    assert drawn == []
    looking = [
        ask.observer.create_subscription(Image, f"/perception_node/front/{what}", pictures.append, 10)
        for what in ("overlay", "confidence")
    ]
    wait_until(
        lambda: ask().alarm and {picture.encoding for picture in pictures} == {"bgr8", "mono8"},
        "overlay and confidence",
    )
    assert drawn
    for subscription in looking:
        ask.observer.destroy_subscription(subscription)

    def quiet() -> bool:
        before = len(drawn)
        ask()
        ask()
        return len(drawn) == before

    wait_until(quiet, "the end of drawing")


def test_a_picture_that_fails_costs_only_the_picture(ask, monkeypatch):
    """When drawing fails the alarms go on."""
    monkeypatch.setattr(camera_outputs, "draw_overlay", out_of_memory)
    ask.observer.create_subscription(Image, "/perception_node/front/overlay", lambda message: None, 10)
    for _ in range(5):
        assert ask().alarm.state is AlarmState.CLEAR


def test_a_failing_activation_is_logged_and_refused(node, monitor, monkeypatch, capfd):
    """What a transition raises is swallowed by rclpy: the log must hold it, and the node says that it cannot work."""
    monkeypatch.setattr(perception_node, "NewestFrameWorker", out_of_memory)
    failing = node()
    failing.start()
    assert "transition failed; see the log" in failing.problem
    assert "CUDA out of memory" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (BundleError("the bundle is altered."), False),
        (RuntimeError("driver fault"), False),
        (ConfigError("no such device."), True),
    ],
)
def test_a_failing_start_is_refused_with_the_reason(node, monitor, error, ends):
    """What may be cured leaves the node unconfigured, saying why, and the next try works; a wrong setting ends it."""

    def fail(_cameras) -> None:
        raise error

    monitor.warm_up = fail
    failing = node()
    with pytest.raises(ConfigError, match="no") if ends else contextlib.nullcontext():
        failing.start()
    assert str(error.args[0]) in failing.problem
    monitor.warm_up = lambda cameras: None
    failing.start()
    assert failing.problem == ""


def test_a_change_without_effect_is_refused_in_words(node, monitor):
    """What is read at configure can be changed before it and not after; autostart never; foreign parameters always."""
    running = node()

    def change(name, value):
        return running.set_parameters([Parameter(name, value=value)])[0]

    assert change("image_timeout_s", 20.0).successful
    assert "read at start only" in change("autostart", False).reason
    assert "engine is 'foo'" in change("engine", "foo").reason
    assert running.get_parameter("engine").value == "auto"
    running.start()
    answer = change("image_timeout_s", 2.0)
    assert not answer.successful
    assert "image_timeout_s is read at configure" in answer.reason
    assert running.get_parameter("image_timeout_s").value == 20.0
    assert change("use_sim_time", False).successful


def test_a_frame_from_the_future_costs_only_itself(ask):
    """A stamp an hour ahead is not clear, and the next good frame is."""

    def spoil(message) -> None:
        message.header.stamp = ns_to_stamp(time.time_ns() + 3600 * 10**9)

    assert ask().alarm.state is AlarmState.CLEAR
    heard = ask(spoil=spoil)
    assert "ahead of the clock" in sentence(heard.alarm.cause)
    assert heard.alarm.state is AlarmState.PENDING
    assert ask().alarm.state is AlarmState.CLEAR


def spoil_nanoseconds(message) -> None:
    message.header.stamp.nanosec = 1_360_000_000


def test_a_stamp_that_is_none_costs_only_its_frame(ask):
    """Nanoseconds beyond a second are refused, and do not make the next frame look like one from the past."""
    assert ask().alarm.state is AlarmState.CLEAR
    heard = ask(spoil=spoil_nanoseconds)
    assert "1360000000 nanoseconds" in sentence(heard.alarm.cause)
    assert heard.alarm.is_fault
    assert ask().alarm.state is AlarmState.CLEAR


def test_a_hung_network_is_not_ok_in_the_alarm_and_in_diagnostics(node, monitor, spin):
    """A batch that never ends is told with its cause, for every camera; when it ends the node judges again."""
    release = threading.Event()
    running = node(image_timeout_s=0.5)
    running.start()
    observer = spin(MonitorObserver())
    diagnosed = []
    observer.create_subscription(DiagnosticArray, "/diagnostics", lambda message: diagnosed.extend(message.status), 10)
    publisher = observer.create_publisher(Image, "/front/image", 10)
    spin(running)
    wait_until(publisher.get_subscription_count, "the subscription")
    monitor.answer = lambda results: (release.wait(30.0), results)[1]
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    publisher.publish(image_message(picture, Header(stamp=ns_to_stamp(10**9)), "bgr8"))
    words = "the network has been at one batch for"
    wait_until(
        lambda: (
            {heard.alarm.camera for heard in observer.alarms() if words in sentence(heard.alarm.cause)} == set(CAMERAS)
        ),
        "the alarms of a hung network",
    )
    assert all(heard.alarm.is_fault for heard in observer.alarms() if words in sentence(heard.alarm.cause))
    wait_until(lambda: any(words in status.message for status in diagnosed), "the diagnosis")
    assert next(status for status in diagnosed if words in status.message).level == DiagnosticStatus.ERROR
    release.set()
    wait_until(lambda: not running.problem, "the end of the batch")


def test_the_worker_outlives_whatever_happens(ask, monkeypatch):
    """Even if not so much as a fault can be published, the next good frame is judged."""
    publish, calls = AlarmOutput.publish, []

    def fails_once(self, alarm, *about):
        calls.append(alarm)
        if len(calls) == 1:
            raise AssertionError("a field out of range")
        publish(self, alarm, *about)

    monkeypatch.setattr(AlarmOutput, "publish", fails_once)
    with pytest.raises(DataError, match="in vain"):
        ask(within_s=1.0)
    assert ask().alarm.state is AlarmState.CLEAR


def test_the_class_table_comes_with_configure_and_goes_with_cleanup(node, monitor, spin):
    """Asked for, the names are there from configure to cleanup; not asked for, never."""
    topic = "/perception_node/class_table"
    running, observer = node(class_table=True, autostart=False), spin(MonitorObserver())
    running.trigger_configure()
    wait_until(lambda: observer.count_publishers(topic), "the class table")
    running.trigger_cleanup()
    wait_until(lambda: not observer.count_publishers(topic), "the end of the class table")
    running.set_parameters([Parameter("class_table", value=False)])
    running.trigger_configure()
    wait_until(lambda: observer.count_publishers("/perception_node/front/segmentation"), "the other outputs")
    assert not observer.count_publishers(topic)


def test_the_bundle_is_exchanged_in_service_only_for_one_that_fits(node, monitor):
    """Deactivate, clean up, change, configure: refused by a wrong identity, one cut too short, or another camera's."""
    running = node(bundle_sha256="0" * 12, require_calibrated_cameras=True)
    running.start()
    assert running.problem == ""
    running.trigger_deactivate()
    running.trigger_cleanup()
    for identity, words in (("0" * 11 + "1", "asks for 000000000001"), ("0" * 11, "at least 12 digits")):
        assert running.set_parameters([Parameter("bundle_sha256", value=identity)])[0].successful
        running.trigger_configure()
        assert words in running.problem
        running.trigger_activate()  # not configured: nothing to activate
        assert words in running.problem
    assert running.set_parameters([Parameter("bundle_sha256", value="0" * 64)])[0].successful
    monitor.cameras = ("periscope", "front")
    running.trigger_configure()
    assert "calibrated on periscope, front, not on left" in running.problem
    monitor.cameras = CAMERAS
    running.trigger_configure()
    running.trigger_activate()
    assert running.problem == ""
