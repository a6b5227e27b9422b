"""perception_node with an adopted network: its own classes are published, and noise raises the alarm and stops the vehicle."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("onnx")

from conftest import random_pictures
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from support.small_networks import saved, segmenter

from ls_ood_monitor.adoption.adopt import adopt_graph, default_detectors
from ls_ood_monitor.adoption.onnx_graph import read_graph
from ls_ood_monitor.adoption.proposal import propose
from ls_ood_monitor.bundle import load_bundle, save_bundle
from ls_ood_monitor.calibration.calibrate import calibrate
from ls_ood_monitor.calibration.collect import collect_features
from ls_ood_monitor.calibration.settings import CalibrationSettings
from ls_ood_monitor.core.types import AlarmState, FallbackMode, Frame
from ls_ood_monitor.frame_pass import LatentSettings
from ls_ood_monitor.ros.conversions import image_message, ns_to_stamp
from ls_ood_monitor.ros.observer import MonitorObserver
from ls_ood_monitor.ros.processes import wait_until
from ls_ood_monitor.vision.image_codec import decode_image

NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """A small ONNX network, calibrated on pictures of coarse blocks."""
    folder = tmp_path_factory.mktemp("adopted")
    proposal, _ = propose(graph := read_graph(saved(folder / "network.onnx", segmenter(output="ids"))))
    frame_pass = adopt_graph(graph, proposal, "network.onnx")
    names = default_detectors(frame_pass)
    frames = [Frame(image, 1 + index * 10**9, "front") for index, image in enumerate(random_pictures(60))]
    table = collect_features(frames, frame_pass)
    fitted = calibrate(table, CalibrationSettings(0.05, block_s=5.0), names=names, head=frame_pass.head)
    save_bundle(
        folder / "bundle",
        frame_pass,
        LatentSettings(),
        {name: result.detector for name, result in fitted.items()},
        {name: result.threshold for name, result in fitted.items()},
        "multistage",
        proposal.class_names,
        {},
    )
    return folder / "bundle"


def test_classes_alarm_and_stop(spin, start, bundle, tmp_path):
    """Published class ids are those of the network; noise raises the alarm, the supervisor stops, and a clip is recorded."""
    observer = spin(MonitorObserver())
    publisher = observer.create_publisher(Image, "/front/image", 10)
    masks: list[Image] = []
    observer.create_subscription(Image, "/perception_node/front/segmentation", masks.append, NEWEST)
    cameras = {"cameras": ["front"]}
    start("supervisor_node", ("ood_alarm:=/perception_node/ood_alarm",), **cameras, alarm_timeout_s=30.0)
    clips = {"evidence_dir": str(tmp_path), "evidence_after_s": 0.5}
    start(
        "perception_node",
        **cameras,
        **clips,
        bundle_path=str(bundle),
        autostart=True,
        device="cpu",
        image_timeout_s=30.0,
    )
    wait_until(publisher.get_subscription_count, "the node's subscription", 60)
    wait_until(lambda: observer.count_publishers("/perception_node/front/segmentation"), "the segmentation topic")
    stamps = iter(range(10**9, 10**11, 10**8))

    def send(picture: np.ndarray) -> None:
        stamp = ns_to_stamp(next(stamps))
        publisher.publish(image_message(picture, Header(stamp=stamp, frame_id="lens"), "bgr8"))
        time.sleep(0.2)

    pictures = itertools.cycle(random_pictures(8))

    def is_segmented() -> bool:
        send(next(pictures))
        return bool(masks) and any(heard.alarm.state is AlarmState.CLEAR for heard in observer.alarms())

    wait_until(is_segmented, "a segmentation and a clear alarm", 60.0)
    monitor = load_bundle(bundle)
    expected = [monitor.process([Frame(picture, 1, "front")])[0].segmentation for picture in random_pictures(8)]
    published = decode_image(masks[-1])[:, :, 0]
    assert any(np.array_equal(published, segmentation) for segmentation in expected)

    def is_nominal() -> bool:
        send(next(pictures))
        return any(heard.mode is FallbackMode.NOMINAL for heard in observer.decisions())

    wait_until(is_nominal, "NOMINAL")
    noise = np.random.default_rng(0)

    def is_stopped() -> bool:
        send(noise.integers(0, 2, (48, 64, 3)).astype(np.uint8) * 255)
        last = observer.decisions()[-1]
        return last.mode is FallbackMode.STOP and last.because == "sudden"

    wait_until(is_stopped, "STOP because of noise")
    assert observer.alarms()[-1].alarm.state is AlarmState.RAISED

    def is_recorded() -> bool:
        send(noise.integers(0, 2, (48, 64, 3)).astype(np.uint8) * 255)
        return any(tmp_path.glob("*/clip.json"))

    wait_until(is_recorded, "a clip of the alarm")
