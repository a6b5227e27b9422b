"""supervisor_node as a process: STOP unless every camera is fresh and clear."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time

import pytest

rclpy = pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray
from std_srvs.srv import Trigger

from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.errors import DataError
from ls_ood_monitor.ros.conversions import alarm_message
from ls_ood_monitor.ros.observer import MonitorObserver
from ls_ood_monitor.ros.processes import wait_until

REMAP = ("ood_alarm:=/perception_node/ood_alarm",)


class FakeCamera:
    """Publishes alarms of one camera at 20 Hz from the spinning node's timer: the input, not the node, is made up."""

    def __init__(self, node, camera: str) -> None:
        self.state: AlarmState | None = AlarmState.CLEAR
        self._camera, self._stamp = camera, 1
        self._publisher = node.create_publisher(DiagnosticArray, "/perception_node/ood_alarm", 10)
        node.create_timer(0.05, self._send)

    def _send(self) -> None:
        if self.state is None:
            return
        self._stamp += 1
        score = 1.0 if self.state is AlarmState.CLEAR else 9.0
        kind = CauseKind.IN_DISTRIBUTION if score <= 5.0 else CauseKind.SUDDEN
        cause = Cause(kind, self._camera, score, 5.0)
        alarm = Alarm(self._camera, self._stamp, self.state, score, 5.0, cause)
        self._publisher.publish(alarm_message(alarm, {}, "test"))


def test_stop_before_the_first_message_and_periodically(spin, start):
    """Without any alarm the command is STOP from the first tick, again and again, with the cause."""
    observer = spin(MonitorObserver())
    start("supervisor_node", REMAP, cameras=["front"])
    wait_until(lambda: len(observer.stops()) >= 20, "20 stop messages")
    assert all(heard.stop for heard in observer.stops())
    assert observer.decisions()[-1].because == "never_heard"


def test_alarm_silence_and_recovery(spin, start):
    """Clear lets go, PENDING slows, RAISED stops, silence stops, and fresh clear alarms let go again."""
    observer = spin(MonitorObserver())
    front, left = FakeCamera(observer, "front"), FakeCamera(observer, "left")
    start("supervisor_node", REMAP, cameras=["front", "left"])

    def mode() -> FallbackMode | None:
        decisions = observer.decisions()
        return decisions[-1].mode if decisions else None

    wait_until(lambda: mode() is FallbackMode.NOMINAL, "NOMINAL with both cameras clear")
    wait_until(lambda: observer.stops() and not observer.stops()[-1].stop, "the stop command let go")
    left.state = AlarmState.PENDING
    wait_until(lambda: mode() is FallbackMode.SLOW, "SLOW while one camera is pending")
    left.state = AlarmState.RAISED
    wait_until(lambda: mode() is FallbackMode.STOP, "STOP when one camera's alarm is raised")
    assert observer.decisions()[-1].because_camera == "left"
    left.state = AlarmState.CLEAR
    wait_until(lambda: mode() is FallbackMode.NOMINAL, "NOMINAL after the alarm")
    front.state = None
    wait_until(lambda: mode() is FallbackMode.STOP, "STOP when one camera falls silent")
    assert (observer.decisions()[-1].because, observer.decisions()[-1].because_camera) == ("silent", "front")
    front.state = AlarmState.CLEAR
    wait_until(lambda: mode() is FallbackMode.NOMINAL, "NOMINAL after silence")


def test_unknown_camera_and_malformed_alarm_stop(spin, start):
    """An alarm from a camera nobody configured, or one that cannot be read, stops with the reason."""
    observer = spin(MonitorObserver())
    FakeCamera(observer, "front")
    unknown = FakeCamera(observer, "periscope")
    unknown.state = None
    broken = observer.create_publisher(DiagnosticArray, "/perception_node/ood_alarm", 10)
    start("supervisor_node", REMAP, cameras=["front"])
    wait_until(lambda: observer.decisions() and observer.decisions()[-1].mode is FallbackMode.NOMINAL, "NOMINAL")
    unknown.state = AlarmState.CLEAR
    wait_until(lambda: observer.decisions()[-1].because_camera == "periscope", "STOP naming the unknown camera")
    assert observer.decisions()[-1].because == "unknown_camera"
    assert observer.decisions()[-1].mode is FallbackMode.STOP
    unknown.state = None
    wait_until(lambda: observer.decisions()[-1].mode is FallbackMode.NOMINAL, "NOMINAL again")
    before = len(observer.decisions())
    broken.publish(DiagnosticArray())
    wait_until(
        lambda: any(heard.mode is FallbackMode.STOP for heard in observer.decisions(before)), "STOP on an empty alarm"
    )


def test_latched_stop_needs_the_reset_service(spin, start):
    """With stop_requires_reset STOP outlives its cause; reset is refused while the cause lasts."""
    observer = spin(MonitorObserver())
    front = FakeCamera(observer, "front")
    start("supervisor_node", REMAP, cameras=["front"], stop_requires_reset=True)
    client = observer.create_client(Trigger, "/supervisor_node/reset")
    wait_until(client.service_is_ready, "the reset service")

    def reset() -> Trigger.Response:
        for _ in range(6):  # DDS may lose the first answer of a service just discovered; asking again changes nothing
            future = client.call_async(Trigger.Request())
            with contextlib.suppress(DataError):
                wait_until(future.done, "an answer of the reset service", 5.0)
                return future.result()
        return pytest.fail("the reset service does not answer")

    wait_until(
        lambda: observer.decisions() and observer.decisions()[-1].mode is FallbackMode.NOMINAL, "NOMINAL at first"
    )
    front.state = AlarmState.RAISED
    wait_until(lambda: observer.decisions()[-1].mode is FallbackMode.STOP, "STOP")
    answer = reset()
    assert answer.success is False
    assert "persists" in answer.message
    front.state = AlarmState.CLEAR
    wait_until(lambda: observer.decisions()[-1].cause == "latched", "STOP held after its cause")
    assert observer.decisions()[-1].mode is FallbackMode.STOP
    assert reset().success is True
    wait_until(lambda: observer.decisions()[-1].mode is FallbackMode.NOMINAL, "NOMINAL after the reset")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"publish_rate_hz": 1.0}, "publish_rate_hz must be a number"),
        ({"alarm_timeout_s": -1.0}, "alarm_timeout_s must be"),
        ({"publish_rate_hz": "fast"}, "publish_rate_hz must be a number"),
        ({"cameras": ["front left"]}, "front left"),
        ({"cameras": []}, "cameras is empty"),
        ({"alarm_timout_s": 0.2}, "parameter alarm_timout_s is not known; did you mean alarm_timeout_s?"),
    ],
)
def test_a_parameter_out_of_range_is_a_sentence(start, parameters, words):
    """A setting that cannot be used ends the node with exit code 2 and one sentence, no traceback."""
    process = start("supervisor_node", **parameters)
    assert process.wait(30.0) == 2
    assert words in process.output()
    assert "Traceback" not in process.output()


@pytest.mark.parametrize("executable", ["supervisor_node", "perception_node"])
def test_a_domain_that_dds_does_not_have_is_a_sentence(start, executable):
    """ROS_DOMAIN_ID beyond 232 ends either node with exit code 2 and the range, no traceback."""
    process = start(executable, environment={"ROS_DOMAIN_ID": "999"})
    assert process.wait(60.0) == 2
    assert "ROS_DOMAIN_ID is '999'; it must be a whole number from 0 to 232." in process.output()
    assert "Traceback" not in process.output()


def test_arguments_that_ros_cannot_read_are_a_sentence(start):
    """A remapping rule or a parameter file that cannot be read ends the node with exit code 2, no traceback."""
    process = start("supervisor_node", ("nonsense",))
    assert process.wait(30.0) == 2
    assert "Couldn't parse remap rule" in process.output()
    assert "Traceback" not in process.output()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_its_last_word_is_stop(spin, start, number):
    """A supervisor that is ended in NOMINAL commands STOP, names the reason, and exits with 0."""
    observer = spin(MonitorObserver())
    FakeCamera(observer, "front")
    process = start("supervisor_node", REMAP, cameras=["front"])
    wait_until(lambda: observer.stops() and not observer.stops()[-1].stop, "NOMINAL")
    process.signal(number)
    assert process.wait(15.0) == 0
    wait_until(lambda: observer.decisions()[-1].because == "supervisor_ends", "the last decision")
    assert observer.stops()[-1].stop
    assert "Traceback" not in process.output()


def test_ctrl_c_while_libraries_load_is_quiet():
    """The executables end with 130, or 0, and print no traceback."""
    for name in ("perception_node", "supervisor_node"):
        code = f"from ls_ood_monitor.ros.executables import {name}; print('begun', flush=True); {name}()"
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60.0)
        assert process.returncode in (0, 130)
        assert "Traceback" not in errors


def test_it_starts_with_the_modules_of_humble():
    """Humble has no rclpy.event_handler; its events are in rclpy.qos_event."""
    code = """
import sys, types, rclpy.executors, rclpy.lifecycle
import rclpy.event_handler as events
older = types.ModuleType("rclpy.qos_event")
older.SubscriptionEventCallbacks = events.SubscriptionEventCallbacks
sys.modules.update({"rclpy.qos_event": older, "rclpy.event_handler": None})
import ls_ood_monitor.ros.perception_node, ls_ood_monitor.ros.supervisor_node
print("imported")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "imported\n", done.stderr


def test_it_goes_on_while_simulated_time_stands_still(spin, start):
    """With use_sim_time and no clock at all the stop command keeps coming."""
    observer = spin(MonitorObserver())
    start("supervisor_node", REMAP, cameras=["front"], use_sim_time=True)
    wait_until(lambda: len(observer.stops()) >= 10, "ten stop messages without a clock")
    assert all(heard.stop for heard in observer.stops())


def test_it_starts_without_torch():
    """The safety path imports neither torch nor OpenCV."""
    code = "import sys, ls_ood_monitor.ros.supervisor_node; print(sorted({'torch', 'cv2', 'torchvision'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
