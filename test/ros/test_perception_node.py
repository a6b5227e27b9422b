"""perception_node as a process: image in, segmentation and alarm out, and every bad input is not OK."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float64, Header

from ls_ood_monitor.bundle import verify_bundle
from ls_ood_monitor.core.types import AlarmState, FallbackMode
from ls_ood_monitor.errors import DataError
from ls_ood_monitor.ros.conversions import image_message, ns_to_stamp, values_of
from ls_ood_monitor.ros.observer import HeardAlarm, MonitorObserver
from ls_ood_monitor.ros.processes import wait_until
from ls_ood_monitor.vision.image_codec import decode_image
from ls_ood_monitor.wording import sentence

REMAP = ("ood_alarm:=/perception_node/ood_alarm",)
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class Camera:
    """Publishes pictures of one camera, each different and each stamped a tenth of a second after the last."""

    def __init__(self, node, name: str = "front", kind=Image, topic: str = "image", size=(48, 64)) -> None:
        self.size = size
        self.publisher = node.create_publisher(kind, f"/{name}/{topic}", 10)
        self.random = np.random.default_rng(0)
        self.stamp_ns = 1_000_000_000

    def header(self) -> Header:
        """The next stamp."""
        self.stamp_ns += 100_000_000
        return Header(stamp=ns_to_stamp(self.stamp_ns), frame_id="lens")

    def picture(self, size=None) -> np.ndarray:
        """Blocks like those the tiny bundle was calibrated on; (height, width), the camera's own unless given."""
        height, width = size or self.size
        coarse = self.random.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        return np.kron(coarse, np.ones((8, 8, 1), np.uint8))

    def message(self, size=None) -> Image:
        """A good raw image."""
        return image_message(self.picture(size), self.header(), "bgr8")

    def send(self, message) -> None:
        """Publish it."""
        self.publisher.publish(message)


def answer_to(observer: MonitorObserver, camera: Camera, message) -> HeardAlarm:
    """Publish one image and wait for the alarm that carries its stamp."""
    before = len(observer.alarms())
    stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
    camera.send(message)

    def answers() -> list[HeardAlarm]:
        return [
            heard for heard in observer.alarms(before) if heard.alarm.stamp_ns == stamp and heard.alarm.fault != "stale"
        ]

    wait_until(answers, f"the alarm of the image stamped {stamp}")
    return answers()[0]


@pytest.fixture
def running(spin, start, tiny_bundle) -> Callable:
    """Start perception on the tiny bundle and return observer and camera, once it subscribes."""

    def run(kind=Image, topic: str = "image", size=(48, 64), **parameters):
        observer = spin(MonitorObserver())
        camera = Camera(observer, kind=kind, topic=topic, size=size)
        process = start(
            "perception_node",
            **{
                "cameras": ["front"],
                "bundle_path": str(tiny_bundle),
                "autostart": True,
                "device": "cpu",
                "image_timeout_s": 30.0,
                **parameters,
            },
        )
        wait_until(
            lambda: camera.publisher.get_subscription_count() or process.poll() is not None,
            "the node's subscription",
            60,
        )
        assert process.poll() is None, process.output()
        wait_until(lambda: observer.count_publishers("/perception_node/ood_alarm"), "the alarm topic")
        first_answer(observer, camera, kind)
        return observer, camera, process

    return run


def first_answer(observer: MonitorObserver, camera: Camera, kind) -> None:
    """Send good frames until both directions are matched: discovery may lose the first."""

    def sent_and_heard() -> bool:
        camera.send(camera.message() if kind is Image else jpeg(camera))
        time.sleep(0.2)
        return any(heard.alarm.fault != "stale" for heard in observer.alarms())

    wait_until(sent_and_heard, "the first alarm")


def test_the_anomaly_map_is_published_and_its_strangest_cell_named(running):
    """With a detector that says where, a subscriber gets a grey map with the image's header and size."""
    observer, camera, _ = running(detector="spatial")
    maps = []
    observer.create_subscription(Image, "/perception_node/front/anomaly_map", maps.append, 1)
    wait_until(lambda: observer.count_publishers("/perception_node/front/anomaly_map"), "the map's topic")

    def sent_and_seen() -> bool:
        camera.send(camera.message())
        time.sleep(0.2)
        return bool(maps)

    wait_until(sent_and_seen, "a map")
    assert (maps[0].encoding, maps[0].height, maps[0].width) == ("mono8", 48, 64)
    values = observer.alarms()[-1].values
    row, column = map(int, values["anomaly_cell"].split(","))
    assert 0 <= row < 6
    assert 0 <= column < 8
    assert float(values["anomaly_cell_score"]) == float(values["anomaly_cell_score"])


def jpeg(camera: Camera) -> CompressedImage:
    """A good JPEG image."""
    _, data = cv2.imencode(".jpg", camera.picture())
    return CompressedImage(header=camera.header(), format="jpeg", data=data.tobytes())


def test_image_in_segmentation_alarm_and_stop_out(running, spin, start, tiny_bundle):
    """One image gives a mask with its header, an alarm with all its values, a score; a raised alarm stops the vehicle."""
    observer, camera, process = running(size=(96, 128))
    masks, scores, health = [], [], []
    observer.create_subscription(Image, "/perception_node/front/segmentation", masks.append, NEWEST)
    observer.create_subscription(Float64, "/perception_node/front/ood_score", scores.append, 10)
    observer.create_subscription(DiagnosticArray, "/diagnostics", health.append, 10)
    raw = []
    observer.create_subscription(DiagnosticArray, "/perception_node/ood_alarm", raw.append, 10)
    wait_until(lambda: observer.count_publishers("/perception_node/front/segmentation"), "the segmentation topic")

    def seen() -> bool:
        camera.send(camera.message())
        time.sleep(0.2)
        return bool(masks and scores and raw)

    wait_until(seen, "mask, score and alarm")
    assert masks[-1].encoding == "mono8"
    assert (masks[-1].height, masks[-1].width) == (96, 128)
    assert masks[-1].header.frame_id == "lens"
    assert decode_image(masks[-1]).max() < 10
    values = values_of(raw[-1].status[0])
    assert values["bundle_sha256"] == verify_bundle(tiny_bundle).bundle_id
    assert values["camera"] == "front"
    assert {"ood_score", "threshold", "state", "latency_ms", "detector", "score.larem", "score.mahalanobis"} <= set(
        values
    )
    wait_until(lambda: len(health) >= 2, "diagnostics once a second")
    assert {entry.name for entry in health[-1].status} == {"perception_node: monitor", "perception_node: front"}

    start("supervisor_node", REMAP, cameras=["front"], alarm_timeout_s=5.0)

    def stopped_by_ood() -> bool:
        noise = camera.random.integers(0, 256, (96, 128, 3), dtype=np.uint8)
        camera.send(image_message(noise, camera.header(), "bgr8"))
        time.sleep(0.1)
        return any(heard.mode is FallbackMode.STOP and heard.because == "sudden" for heard in observer.decisions())

    wait_until(stopped_by_ood, "STOP because of white noise")
    process.signal(signal.SIGKILL)
    # By liveliness, not by the alarm's silence.
    wait_until(lambda: observer.decisions()[-1].because == "sender_lost", "STOP because perception was killed")
    wait_until(lambda: observer.stops()[-1].stop, "the stop command")


def spoil_size(message):
    message.width = 0


def spoil_step(message):
    message.step = 10


def spoil_short(message):
    message.data = message.data[:-5]


def spoil_long(message):
    message.data = message.data + message.data[:7]


def spoil_encoding(message):
    message.encoding = "hologram8"


def spoil_float(message):
    message.encoding, message.step = "32FC1", 4 * message.width
    message.data = np.full(message.height * message.width, np.nan, np.float32).tobytes()


def spoil_stamp_zero(message):
    message.header.stamp = ns_to_stamp(0)


def spoil_stamp_back(message):
    message.header.stamp = ns_to_stamp(500_000_000)


def spoil_black(message):
    message.data = bytes(len(message.data))


def test_bad_images_are_not_ok_and_the_next_good_one_works(running):
    """Every malformed image gets an alarm that says why and is not clear; the node lives and judges the next one."""
    observer, camera, process = running()
    spoiled = [
        (spoil_size, "0x48"),
        (spoil_step, "step is 10"),
        (spoil_short, "bytes"),
        (spoil_long, "bytes"),
        (spoil_encoding, "hologram8"),
        (spoil_float, "floats"),
        (spoil_stamp_zero, "stamp is 0"),
        (spoil_stamp_back, "went back"),
        (spoil_black, "of the picture is black"),
    ]
    for spoil, words in spoiled:
        bad = camera.message()
        spoil(bad)
        heard = answer_to(observer, camera, bad)
        assert heard.alarm.state is not AlarmState.CLEAR, spoil.__name__
        assert heard.alarm.is_fault, spoil.__name__
        assert words in sentence(heard.alarm.cause), f"{spoil.__name__}: {sentence(heard.alarm.cause)}"
        good = answer_to(observer, camera, camera.message())
        assert not good.alarm.is_fault, f"after {spoil.__name__}: {sentence(good.alarm.cause)}"
        assert np.isfinite(good.alarm.score)
    assert process.poll() is None


def test_repeated_frames_and_a_new_resolution_are_not_ok(running):
    """The same stamp, the same picture for half a second, and another size are reported for as long as they last."""
    observer, camera, _ = running()
    message = camera.message()
    assert not answer_to(observer, camera, message).alarm.is_fault
    assert "repeated" in sentence(answer_to(observer, camera, message).alarm.cause)
    for _ in range(5):  # of 0.1 s each
        message.header = camera.header()
    assert "frozen" in sentence(answer_to(observer, camera, message).alarm.cause)
    for _ in range(2):
        heard = answer_to(observer, camera, camera.message((96, 128)))
        assert "size is 128x96, the stream began with 64x48" in sentence(heard.alarm.cause)
    assert not answer_to(observer, camera, camera.message()).alarm.is_fault


def test_big_endian_and_padded_images_are_read(running):
    """A big-endian mono16 image and one with padded rows are judged, not refused."""
    observer, camera, _ = running()
    grey = camera.random.integers(0, 65536, (48, 64), dtype=np.uint16)
    wide = Image(header=camera.header(), height=48, width=64, encoding="mono16", is_bigendian=1, step=128)
    wide.data = grey.astype(">u2").tobytes()
    assert not answer_to(observer, camera, wide).alarm.is_fault
    padded = camera.message()
    rows = np.frombuffer(padded.data, np.uint8).reshape(48, 192)
    padded.step, padded.data = 200, np.pad(rows, ((0, 0), (0, 8))).tobytes()
    assert not answer_to(observer, camera, padded).alarm.is_fault


def test_corrupt_jpegs_are_not_ok(running):
    """Empty, truncated and foreign data on the compressed topic are refused; a good JPEG then works."""
    observer, camera, _ = running(CompressedImage, "image/compressed", transport="compressed")
    for spoil, words in ((b"", "empty"), (None, "truncated"), (b"not a picture at all", "neither JPEG nor PNG")):
        bad = jpeg(camera)
        bad.data = bytes(bad.data)[: len(bad.data) // 2] if spoil is None else spoil
        heard = answer_to(observer, camera, bad)
        assert heard.alarm.is_fault
        assert words in sentence(heard.alarm.cause)
        assert not answer_to(observer, camera, jpeg(camera)).alarm.is_fault


def test_large_best_effort_images_arrive(running):
    """1280x966 raw images, 3.7 MB, reach a best-effort subscriber: the shipped Fast DDS profile is in use."""
    observer, camera, _ = running(size=(960, 1280))
    for _ in range(5):
        assert not answer_to(observer, camera, camera.message()).alarm.is_fault


def test_a_silent_camera_is_reported(running):
    """Without images the alarm is raised with the reason, again and again, not silent."""
    observer, _, _ = running(image_timeout_s=0.5)
    wait_until(lambda: sum(heard.alarm.fault == "stale" for heard in observer.alarms()) >= 3, "reports of silence")
    silent = [heard.alarm for heard in observer.alarms() if heard.alarm.fault == "stale"]
    assert all(alarm.state is AlarmState.RAISED and alarm.is_fault for alarm in silent)
    assert all(sentence(alarm.cause).startswith("camera front: no image for") for alarm in silent)


def test_lifecycle_by_service(spin, start, tiny_bundle):
    """Unconfigured: alarms say so. Configured and activated by service: frames are judged. Deactivated: alarms say so."""
    observer = spin(MonitorObserver())
    camera = Camera(observer)
    start("perception_node", cameras=["front"], bundle_path=str(tiny_bundle), device="cpu")
    client = observer.create_client(ChangeState, "/perception_node/change_state")
    wait_until(client.service_is_ready, "the lifecycle service", 60)

    def change(transition: int, achieved: Callable[[], object]) -> None:
        ask_until(client, transition, achieved)

    def last_reason() -> str:
        return sentence(observer.alarms()[-1].alarm.cause) if observer.alarms() else ""

    wait_until(lambda: "not configured" in last_reason(), "an alarm that says not configured")
    change(Transition.TRANSITION_CONFIGURE, lambda: "not active" in last_reason())
    change(Transition.TRANSITION_ACTIVATE, camera.publisher.get_subscription_count)
    first_answer(observer, camera, Image)
    assert not answer_to(observer, camera, camera.message()).alarm.is_fault
    change(Transition.TRANSITION_DEACTIVATE, lambda: "not active" in last_reason())
    assert observer.alarms()[-1].alarm.state is AlarmState.RAISED
    change(Transition.TRANSITION_ACTIVATE, camera.publisher.get_subscription_count)
    change(Transition.TRANSITION_DEACTIVATE, lambda: "not active" in last_reason())
    change(Transition.TRANSITION_CLEANUP, lambda: "not configured" in last_reason())


def ask_until(client, transition: int, achieved: Callable[[], object]) -> None:
    """Ask for a transition until its effect shows: DDS may lose the first answer of a service just discovered."""
    for _ in range(6):
        client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        with contextlib.suppress(DataError):
            wait_until(achieved, f"the effect of transition {transition}", 10.0)
            return
    pytest.fail(f"transition {transition} had no effect")


def test_a_damaged_bundle_is_not_ok_with_the_reason(spin, start, tiny_bundle, tmp_path):
    """An altered bundle is refused at configure: the node lives, every alarm and /diagnostics say why."""
    import shutil

    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_bundle, damaged)
    data = bytearray((damaged / "network.safetensors").read_bytes())
    data[-1] ^= 1
    (damaged / "network.safetensors").write_bytes(bytes(data))
    observer = spin(MonitorObserver())
    health = []
    observer.create_subscription(DiagnosticArray, "/diagnostics", health.append, 10)
    start("perception_node", cameras=["front"], bundle_path=str(damaged))
    client = observer.create_client(ChangeState, "/perception_node/change_state")
    wait_until(client.service_is_ready, "the lifecycle service", 60)
    ask_until(
        client,
        Transition.TRANSITION_CONFIGURE,
        lambda: observer.alarms() and "SHA-256" in sentence(observer.alarms()[-1].alarm.cause),
    )
    assert observer.alarms()[-1].alarm.state is AlarmState.RAISED
    wait_until(lambda: health and health[-1].status[0].level == DiagnosticStatus.ERROR, "ERROR on /diagnostics")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"overlay_alpha": 3.0}, "overlay_alpha must be a number"),
        ({"transport": "pigeon"}, "'pigeon'"),
        ({"cameras": []}, "cameras is empty"),
        ({"triger_consecutive_frames": 1}, "did you mean trigger_consecutive_frames?"),
        ({"trigger_consecutive_frames": -1}, "trigger_consecutive_frames must be a whole number"),
        ({"autostart": True, "detector": "oracle"}, "detector is 'oracle'"),
        ({"autostart": True, "device": "cuda:99"}, "cuda:99"),
    ],
)
def test_settings_that_cannot_be_used_are_a_sentence(start, parameters, words):
    """A parameter that no later try would cure ends the node with exit code 2 and one sentence."""
    process = start("perception_node", **parameters)
    assert process.wait(60.0) == 2
    assert words in process.output()
    assert "Traceback" not in process.output()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"bundle_path": "/nowhere"}, "no bundle folder"),
        ({"evidence_dir": "/nowhere"}, "evidence_dir is '/nowhere', which is not a folder"),
    ],
)
def test_a_missing_folder_is_told_by_a_living_node(spin, start, parameters, words):
    """Told to start by itself without its bundle or its disk, the node stays and every alarm says why: no guessing."""
    observer = spin(MonitorObserver())
    process = start("perception_node", cameras=["front"], autostart=True, **parameters)
    wait_until(lambda: sum(words in sentence(heard.alarm.cause) for heard in observer.alarms()) >= 3, "alarms", 60)
    assert observer.alarms()[-1].alarm.state is AlarmState.RAISED
    assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_while_active(running, number):
    """SIGINT and SIGTERM end the node with exit code 0, its inference thread included."""
    _, _, process = running()
    process.signal(number)
    assert process.wait(20.0) == 0
    assert "Traceback" not in process.output()


def test_silence_is_reported_while_simulated_time_stands_still(spin, start):
    """With use_sim_time and no clock at all the alarms still say that perception cannot judge."""
    observer = spin(MonitorObserver())
    start("perception_node", cameras=["front"], use_sim_time=True)
    wait_until(lambda: len(observer.alarms()) >= 3, "alarms without a clock")
    assert all("not configured" in sentence(heard.alarm.cause) for heard in observer.alarms())


def test_no_clock_is_a_fault_and_the_vehicle_stops(spin, start, tiny_bundle):
    """With use_sim_time and nobody on /clock, pictures of unknown age are faults: the supervisor is never NOMINAL."""
    observer = spin(MonitorObserver())
    camera = Camera(observer)
    camera.stamp_ns = time.time_ns() - 5 * 10**9  # images that are 5 s old
    start("supervisor_node", REMAP, cameras=["front"])
    shared = {"cameras": ["front"], "bundle_path": str(tiny_bundle), "autostart": True, "device": "cpu"}
    start("perception_node", **shared, use_sim_time=True)
    wait_until(camera.publisher.get_subscription_count, "the node's subscription", 60)
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline and sum(h.alarm.fault == "no_clock" for h in observer.alarms()) < 20:
        camera.send(camera.message())
        time.sleep(0.05)
    judged = [heard.alarm for heard in observer.alarms() if heard.alarm.stamp_ns > 0]
    assert len(judged) >= 20
    assert {alarm.fault for alarm in judged} == {"no_clock"}
    assert "use_sim_time" in sentence(judged[-1].cause)
    decisions = observer.decisions()
    assert decisions
    assert all(decision.mode is not FallbackMode.NOMINAL for decision in decisions)
    assert decisions[-1].mode is FallbackMode.STOP


def test_the_reason_names_the_topic_as_remapped(spin, start, tiny_bundle):
    """A silent camera is reported with the topic that the node listens to, not with its default name."""
    observer = spin(MonitorObserver())
    shared = {"cameras": ["front"], "bundle_path": str(tiny_bundle), "autostart": True, "device": "cpu"}
    start("perception_node", ("front/image:=/car/nose/rgb",), **shared, image_timeout_s=0.3)
    wait_until(lambda: any(heard.alarm.fault == "stale" for heard in observer.alarms()), "a silent camera", 60)
    reasons = [sentence(heard.alarm.cause) for heard in observer.alarms() if heard.alarm.fault == "stale"]
    assert all("on /car/nose/rgb" in reason for reason in reasons)


def test_two_drivers_on_one_camera_are_a_warning(running, spin):
    """A second publisher of a camera's images shows in /diagnostics, at least as a warning."""
    observer, camera, _ = running()
    found = []
    observer.create_subscription(DiagnosticArray, "/diagnostics", lambda message: found.extend(message.status), 10)

    def newest():
        return next((entry for entry in reversed(found) if entry.name.endswith(": front")), None)

    wait_until(newest, "diagnostics of the camera")
    assert "nodes publish" not in newest().message
    Camera(observer)
    wait_until(lambda: "2 nodes publish its images" in newest().message, "the warning")
    assert newest().level >= DiagnosticStatus.WARN
