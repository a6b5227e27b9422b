"""supervisor_node's further outputs: the gated velocity, the speed limit for Nav2, /diagnostics, and who else speaks."""

from __future__ import annotations

import importlib.util
import threading
import time
from dataclasses import dataclass, field
from math import nan

import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Twist, TwistStamped
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Bool, Header

from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.ros.conversions import alarm_message, stamp_to_ns, values_of
from ls_ood_monitor.ros.processes import wait_until
from ls_ood_monitor.ros.speed_limit_output import SpeedLimitOutput
from ls_ood_monitor.ros.supervisor_node import SupervisorNode

REMAP = ("ood_alarm:=/perception_node/ood_alarm",)


class Vehicle(Node):
    """Stands around the supervisor: a camera's alarms and a planner's commands go in, what comes out is kept."""

    def __init__(self, kind=Twist) -> None:
        super().__init__("vehicle")
        self._lock = threading.Lock()
        self._kind, self._stamp = kind, 1
        self._heard: dict[str, list] = {"cmd_vel_out": [], "state": [], "diagnostics": []}
        self.alarms = self.create_publisher(DiagnosticArray, "/perception_node/ood_alarm", 10)
        self.commands = self.create_publisher(kind, "/cmd_vel_in", 10)
        self.create_subscription(kind, "/cmd_vel_out", self._keeper("cmd_vel_out"), 100)
        self.create_subscription(DiagnosticArray, "/supervisor_node/state", self._keeper("state"), 100)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._keeper("diagnostics"), 100)

    def _keeper(self, name: str):
        def keep(message) -> None:
            with self._lock:
                self._heard[name].append(message)

        return keep

    def heard(self, name: str, since: int = 0) -> list:
        """Messages of one topic, from index ``since`` on."""
        with self._lock:
            return self._heard[name][since:]

    def speeds(self, since: int = 0) -> list[float]:
        """Forward speeds that were let through."""
        messages = self.heard("cmd_vel_out", since)
        return [(message.twist if self._kind is TwistStamped else message).linear.x for message in messages]

    def alarm(self, state: AlarmState = AlarmState.CLEAR) -> None:
        """Publish one alarm of the front camera."""
        self._stamp += 1
        score = 1.0 if state is AlarmState.CLEAR else 9.0
        kind = CauseKind.IN_DISTRIBUTION if score <= 5.0 else CauseKind.SUDDEN
        cause = Cause(kind, "front", score, 5.0)
        alarm = Alarm("front", self._stamp, state, score, 5.0, cause)
        self.alarms.publish(alarm_message(alarm, {}, "test"))

    def command(self, speed: float = 1.0, frame_id: str = "base") -> None:
        """Publish one velocity command, stamped at 7 s."""
        message = self._kind()
        if self._kind is TwistStamped:
            message.header = Header(stamp=Time(sec=7), frame_id=frame_id)
        (message.twist if self._kind is TwistStamped else message).linear.x = speed
        self.commands.publish(message)

    def matched(self) -> bool:
        """Whether the supervisor is there, in both directions."""
        return all(publisher.get_subscription_count() for publisher in (self.alarms, self.commands)) and all(
            self.count_publishers(topic) for topic in ("/cmd_vel_out", "/supervisor_node/state")
        )


@pytest.fixture
def supervisor(ros):
    """Make the real node in this process; it is destroyed after the test even if it was never spun."""
    nodes = []

    def make(**values) -> SupervisorNode:
        overrides = [Parameter(name, value=value) for name, value in {"cameras": ["front"], **values}.items()]
        remap = ["--ros-args", "-r", REMAP[0]]
        nodes.append(SupervisorNode(parameter_overrides=overrides, cli_args=remap))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


@pytest.fixture
def gated(spin, supervisor):
    """A vehicle around a supervisor with a gate; without its heartbeat unless it is asked for."""

    def make(kind: str = "twist", ticks: bool = False, **values) -> Vehicle:
        node = supervisor(gate_cmd_vel=kind, **values)
        if not ticks:
            min(
                node.timers, key=lambda timer: timer.timer_period_ns
            ).cancel()  # what happens now happens because of a message
        vehicle = spin(Vehicle(TwistStamped if kind == "twist_stamped" else Twist))
        spin(node)
        wait_until(vehicle.matched, "the supervisor's topics")
        return vehicle

    return make


def pass_one(vehicle: Vehicle, speed: float = 1.0) -> None:
    """Clear the camera and send commands until one comes through: a first message may be lost in discovery."""

    def sent_and_passed() -> bool:
        vehicle.alarm()
        vehicle.command(speed)
        time.sleep(0.05)
        return speed in vehicle.speeds()

    wait_until(sent_and_passed, "a command let through")


def next_speed(vehicle: Vehicle, act) -> float:
    """What comes out first after an act."""
    time.sleep(0.2)
    before = len(vehicle.speeds())
    act()
    wait_until(lambda: vehicle.speeds(before), "an answer of the gate")
    return vehicle.speeds(before)[0]


def test_a_command_passes_at_once_by_the_decision_of_that_moment(gated):
    """Without any tick: NOMINAL passes, SLOW scales, and the first command after the alarm fell silent is zero."""
    vehicle = gated(gate_slow_scale=0.25, alarm_timeout_s=0.5, gate_timeout_s=5.0)
    pass_one(vehicle)

    def slow() -> None:
        vehicle.alarm(AlarmState.PENDING)
        time.sleep(0.1)
        vehicle.command(2.0)

    assert next_speed(vehicle, slow) == 0.5

    def fall_silent() -> None:
        time.sleep(0.7)
        vehicle.command(2.0)

    assert next_speed(vehicle, fall_silent) == 0.0


def test_a_new_stop_is_zero_at_once(gated):
    """Without any tick or command: the alarm itself brings the zero."""
    vehicle = gated(alarm_timeout_s=5.0, gate_timeout_s=5.0)
    pass_one(vehicle)
    assert next_speed(vehicle, lambda: vehicle.alarm(AlarmState.RAISED)) == 0.0


def test_zero_is_published_for_as_long_as_nothing_may_pass(gated):
    """Before the first command, in STOP and after the planner fell silent, zeros come with every tick."""
    vehicle = gated(ticks=True, publish_rate_hz=50.0, gate_timeout_s=0.3, alarm_timeout_s=5.0)
    wait_until(lambda: len(vehicle.speeds()) >= 10, "ten zeros before the first command")
    assert set(vehicle.speeds()) == {0.0}
    pass_one(vehicle)
    last = len(vehicle.speeds()) - vehicle.speeds()[::-1].index(1.0)
    wait_until(lambda: len(vehicle.speeds(last)) >= 10, "ten zeros after the planner fell silent")
    assert set(vehicle.speeds(last)) == {0.0}
    wait_until(lambda: gate_status(vehicle.heard("state")[-1]).message.startswith("no velocity command for"), "why")
    vehicle.alarm(AlarmState.RAISED)
    wait_until(lambda: "STOP" in gate_status(vehicle.heard("state")[-1]).message, "STOP at the gate")
    before = len(vehicle.speeds())
    vehicle.command(3.0)
    wait_until(lambda: len(vehicle.speeds(before)) >= 10, "ten zeros in STOP")
    assert set(vehicle.speeds(before)) == {0.0}


def gate_status(state: DiagnosticArray) -> DiagnosticStatus:
    """The gate's own status, last of the state."""
    return state.status[-1]


def test_a_command_that_is_no_number_is_zero_with_the_reason(gated):
    """NaN from a planner stops the vehicle, and the state says which number it was."""
    vehicle = gated(alarm_timeout_s=5.0, ticks=True)
    pass_one(vehicle)
    assert next_speed(vehicle, lambda: vehicle.command(nan)) == 0.0

    def is_reported() -> bool:
        vehicle.command(nan)
        time.sleep(0.1)
        status = gate_status(vehicle.heard("state")[-1])
        return "linear.x is nan" in status.message and status.level == DiagnosticStatus.WARN

    wait_until(is_reported, "the reason in the state")


def test_a_stamped_zero_has_the_frame_of_the_command_and_a_stamp_of_its_own(gated):
    """What passes keeps its header; a zero of the gate's own is stamped now, or a base might call it old."""
    vehicle = gated("twist_stamped", alarm_timeout_s=5.0, gate_timeout_s=5.0)
    pass_one(vehicle)
    passed = vehicle.heard("cmd_vel_out")[-1]
    assert (passed.header.stamp.sec, passed.header.frame_id) == (7, "base")
    assert next_speed(vehicle, lambda: vehicle.alarm(AlarmState.RAISED)) == 0.0
    zero = vehicle.heard("cmd_vel_out")[-1]
    assert zero.header.frame_id == "base"
    assert abs(stamp_to_ns(zero.header.stamp) - time.time_ns()) < 10 * 10**9


def test_its_topics_can_be_remapped(spin, start):
    """As a process, between a planner's topic and a base's, zero comes out before anything went in."""
    start(
        "supervisor_node", (*REMAP, "cmd_vel_in:=/planner/cmd_vel", "cmd_vel_out:=/base/cmd_vel"), gate_cmd_vel="twist"
    )
    base, heard = spin(Node("base")), []
    base.create_subscription(Twist, "/base/cmd_vel", heard.append, 10)
    wait_until(lambda: len(heard) >= 5, "five zeros at the base")
    assert all(message == Twist() for message in heard)
    assert base.count_subscribers("/planner/cmd_vel") == 1


def test_without_the_parameter_there_is_no_gate(spin, supervisor):
    """By default the supervisor has nothing to do with velocities."""
    vehicle = spin(Vehicle())
    spin(supervisor())
    wait_until(lambda: vehicle.heard("state"), "the state")
    assert vehicle.commands.get_subscription_count() == 0
    assert vehicle.count_publishers("/cmd_vel_out") == 0
    assert len(vehicle.heard("state")[-1].status) == 2


def test_a_gate_of_another_kind_is_a_sentence(start):
    """A message type that the gate does not know ends the node with exit code 2."""
    process = start("supervisor_node", gate_cmd_vel="ackermann")
    assert process.wait(30.0) == 2
    assert "gate_cmd_vel is 'ackermann'; it must be one of '', 'twist', 'twist_stamped'." in process.output()
    assert "Traceback" not in process.output()


def test_diagnostics_say_what_the_state_says(spin, supervisor):
    """Once a second, under names that REP 107 asks for and with a hardware id: decision, cameras, gate."""
    vehicle = spin(Vehicle())
    spin(supervisor(cameras=["front", "left"], gate_cmd_vel="twist"))
    wait_until(lambda: len(vehicle.heard("diagnostics")) >= 3, "three diagnoses")
    names = [status.name for status in vehicle.heard("diagnostics")[-1].status]
    assert names == [f"supervisor_node: {what}" for what in ("decision", "front", "left", "cmd_vel gate")]
    assert names == [status.name for status in vehicle.heard("state")[-1].status]
    assert all(status.hardware_id for status in vehicle.heard("diagnostics")[-1].status)
    first, last = (stamp_to_ns(vehicle.heard("diagnostics")[index].header.stamp) for index in (0, 2))
    assert 1.5 < (last - first) / 1e9 < 4.0
    assert values_of(vehicle.heard("diagnostics")[-1].status[0])["mode"] == "STOP"


@pytest.mark.parametrize(
    ("topic", "kind", "words"),
    [
        ("/perception_node/ood_alarm", DiagnosticArray, "2 nodes publish the alarm; only one may"),
        ("/supervisor_node/stop", Bool, "2 nodes publish /supervisor_node/stop; only this one may"),
        ("/supervisor_node/state", DiagnosticArray, "2 nodes publish /supervisor_node/state; only this one may"),
        ("/cmd_vel_out", Twist, "2 nodes publish /cmd_vel_out; only this one may"),
    ],
)
def test_a_second_voice_is_told(spin, supervisor, capfd, topic, kind, words):
    """Whoever else publishes the alarm or one of the outputs is in the state, as WARN or worse, and in the log, once."""
    vehicle = spin(Vehicle())
    spin(supervisor(gate_cmd_vel="twist"))
    wait_until(lambda: vehicle.heard("state"), "the state")
    assert words not in vehicle.heard("state")[-1].status[0].message
    second = vehicle.create_publisher(kind, topic, 10)
    wait_until(lambda: words in vehicle.heard("state")[-1].status[0].message, "the note")
    assert vehicle.heard("state")[-1].status[0].level >= DiagnosticStatus.WARN
    vehicle.destroy_publisher(second)
    wait_until(lambda: words not in vehicle.heard("state")[-1].status[0].message, "the end of the note")
    assert capfd.readouterr().err.count(words) == 1


@dataclass
class MadeUpSpeedLimit:
    """The fields of nav2_msgs/SpeedLimit, which does not come from pip.

    rclpy publishes only generated types: what reaches ``publish`` is tested, not the way from there over DDS.
    """

    header: Header = field(default_factory=Header)
    percentage: bool = False
    speed_limit: float = 0.0


def test_the_speed_limit_follows_the_decision():
    """Said at every change; repeated while it limits; lifted once, so that others may limit, too."""
    sent: list[MadeUpSpeedLimit] = []
    output = SpeedLimitOutput(sent.append, MadeUpSpeedLimit, 30.0)
    output.repeat(Time(sec=1))
    assert sent == []
    for mode in (FallbackMode.STOP, FallbackMode.STOP, FallbackMode.NOMINAL, FallbackMode.NOMINAL):
        output.update(mode, Time(sec=2))
    output.repeat(Time(sec=3))
    assert [message.speed_limit for message in sent] == [30.0, 0.0]
    output.update(FallbackMode.SLOW, Time(sec=4))
    output.update(FallbackMode.STOP, Time(sec=5))
    output.repeat(Time(sec=6))
    assert [(message.header.stamp.sec, message.speed_limit) for message in sent[2:]] == [(4, 30.0), (6, 30.0)]
    assert all(message.percentage for message in sent)  # 0.0 means no limit to Nav2, so STOP keeps the limit of SLOW


@pytest.mark.skipif(importlib.util.find_spec("nav2_msgs") is not None, reason="nav2_msgs is installed")
def test_a_speed_limit_without_nav2_is_a_sentence(start):
    """Where nav2_msgs is not installed the parameter ends the node with exit code 2 and what to install."""
    process = start("supervisor_node", nav2_speed_limit=True)
    assert process.wait(30.0) == 2
    assert "nav2_msgs is not installed; install it with your ROS distribution" in process.output()
    assert "Traceback" not in process.output()


def test_a_speed_limit_reaches_nav2s_topic(spin, supervisor):
    """With Nav2's own messages, over DDS (skipped where they are not installed): STOP limits from the first tick."""
    kind = pytest.importorskip("nav2_msgs.msg", reason="nav2_msgs comes with a ROS distribution").SpeedLimit
    vehicle, heard = spin(Vehicle()), []
    vehicle.create_subscription(kind, "/speed_limit", heard.append, 10)
    spin(supervisor(nav2_speed_limit=True, slow_speed_percent=40.0))
    wait_until(lambda: heard, "a speed limit")
    assert (heard[-1].percentage, heard[-1].speed_limit) == (True, 40.0)
