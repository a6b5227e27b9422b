"""ls-ood top over DDS: what the real nodes say, and that they are silent when they are."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rich.console import Console
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ls_ood_monitor.cli.top import board
from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Decision, FallbackMode
from ls_ood_monitor.ros.conversions import decision_message, image_message, ns_to_stamp
from ls_ood_monitor.ros.live_status import LiveStatus
from ls_ood_monitor.ros.processes import wait_until


def top(*arguments) -> subprocess.CompletedProcess[str]:
    """Run it as a process of its own, as a script would."""
    command = [sys.executable, "-m", "ls_ood_monitor.cli.main", "top", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def mode_of(status: LiveStatus) -> FallbackMode | None:
    """Mode of the last decision."""
    decision = status.view().decision
    return decision.mode if decision else None


def shown(status: LiveStatus, width: int = 80) -> str:
    """The board as a terminal of 80 columns shows it."""
    console = Console(width=width, file=io.StringIO())
    console.print(board(status.view()))
    return console.file.getvalue()


class PictureSource:
    """Ten pictures a second of one camera, stamped with the present."""

    def __init__(self, node, camera: str) -> None:
        self._random = np.random.default_rng(0)
        self._publisher = node.create_publisher(Image, f"/{camera}/image", 10)
        node.create_timer(0.1, self._send)

    def _send(self) -> None:
        coarse = self._random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
        self._publisher.publish(image_message(picture, Header(stamp=ns_to_stamp(time.time_ns())), "bgr8"))


def test_the_clip_recorder_is_no_camera(spin):
    """Its status among those of the cameras adds no camera."""
    status, node = spin(LiveStatus()), spin(Node("perception"))
    publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
    wait_until(publisher.get_subscription_count, "the subscription")
    entries = [DiagnosticStatus(name=f"perception_node: {name}", hardware_id=name) for name in ("evidence", "front")]
    publisher.publish(DiagnosticArray(status=entries))
    wait_until(lambda: status.view().cameras, "the diagnostics")
    assert [camera.camera for camera in status.view().cameras] == ["front"]


def test_a_decision_names_its_cause(spin):
    """Of a latched stop, what holds now and the alarm behind it."""
    status, node = spin(LiveStatus()), spin(Node("supervisor"))
    publisher = node.create_publisher(DiagnosticArray, "/supervisor_node/state", 10)
    wait_until(publisher.get_subscription_count, "the subscription")
    latched = Cause(CauseKind.LATCHED, underlying=Cause(CauseKind.SUDDEN, "front", 3.0, 1.0))
    stop = Decision(FallbackMode.STOP, latched, 0)
    publisher.publish(decision_message(stop, [], 0, ns_to_stamp(1), "supervisor_node"))
    wait_until(lambda: status.view().decision, "the decision")
    decision = status.view().decision
    assert (decision.cause, decision.because, decision.because_camera) == ("latched", "sudden", "front")


def test_before_the_nodes_are_there_it_waits_and_says_so(tmp_path):
    """Exit 1, both nodes named, and a machine-readable nothing."""
    done = top("--once", "--seconds", 0.5, "--json", tmp_path / "top.json")
    assert done.returncode == 1, done.stderr
    assert "waiting for supervisor_node" in done.stdout
    assert "waiting for perception_node" in done.stdout
    content = json.loads((tmp_path / "top.json").read_text())
    assert content["decision"] == {
        "mode": None,
        "reason": "",
        "cause": None,
        "because": None,
        "stop": None,
        "age_s": None,
    }
    assert content["cameras"] == {}


def test_running_nodes_are_shown_and_their_silence_is(spin, start, tiny_bundle, tmp_path):
    """Decision, alarm, score, rate, delay and bundle of both real nodes; once perception is killed, how long it is silent."""
    status = spin(LiveStatus())
    start("supervisor_node", ("ood_alarm:=/perception_node/ood_alarm",), cameras=["front"])
    perception = start("perception_node", cameras=["front"], bundle_path=str(tiny_bundle), autostart=True, device="cpu")
    wait_until(lambda: mode_of(status) is FallbackMode.STOP, "the supervisor")
    assert "waiting for" in shown(status)
    PictureSource(status, "front")
    wait_until(
        lambda: any(camera.image_rate_hz > 0 and camera.delay_ms > 0 for camera in status.view().cameras),
        "a judged camera",
        60,
    )
    done = top("--once", "--seconds", 30, "--json", tmp_path / "top.json")
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / "top.json").read_text())
    front = content["cameras"]["front"]
    assert content["perception"]["detector"] == "multistage"
    assert content["decision"]["mode"] in ("NOMINAL", "SLOW", "STOP")
    assert content["decision"]["stop"] == (content["decision"]["mode"] == "STOP")
    assert front["alarm"] in ("CLEAR", "PENDING", "RAISED")
    assert front["score"] > 0
    assert front["threshold"] > 0
    assert front["image_rate_hz"] > 1
    assert 0 < front["delay_ms"] < 60_000
    assert front["cause"] in {kind.value for kind in CauseKind}
    assert content["decision"]["cause"] in {kind.value for kind in CauseKind}
    assert front["demand"] in ("NOMINAL", "SLOW", "STOP")
    assert "front" in done.stdout
    assert content["perception"]["bundle_sha256"][:12] in done.stdout.replace("\n", "")
    assert any(ratio is not None and ratio > 0 for ratio in status.view().cameras[0].trend)
    perception.signal(signal.SIGKILL)
    wait_until(lambda: "camera front: no alarm for" in shown(status), "the silence of the alarm")
    wait_until(lambda: "perception_node: silent for" in shown(status), "the silence of perception")
    assert mode_of(status) is FallbackMode.STOP


def test_for_some_seconds_it_watches_and_the_last_table_stays(start):
    """Without a terminal the table is printed once, at the end; an option that makes no sense is a sentence."""
    start("supervisor_node", cameras=["front", "left"])
    done = top("--seconds", 6)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("camera left: waiting for its first alarm") == 1
    assert "STOP (stop true, never_heard)  camera front: no alarm message has arrived yet" in done.stdout.replace(
        "\n", " "
    )
    done = top("--seconds", 0)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--seconds is 0" in done.stderr
