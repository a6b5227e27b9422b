"""perception_node: camera images in, segmentation and the OoD alarm out. A lifecycle node.

In, per camera: ``<camera>/image`` or ``<camera>/image/compressed``. Out: ``~/ood_alarm`` every frame and
``~/<camera>/ood_score``; ``~/<camera>/segmentation``, ``confidence``, ``overlay`` and ``anomaly_map`` while subscribed;
``/diagnostics`` once a second; if asked for, the class names on ``~/class_table``, and a clip of every alarm on disk.
A frame that cannot be judged gives an alarm that is not OK with the reason; so does a camera that is silent.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
import uuid
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Empty, Float64, Header
from threadpoolctl import threadpool_limits

from ..bundle import load_bundle
from ..config import AlarmOverrides, HealthSettings, PerceptionNodeSettings
from ..core.camera_watch import alarm_without_frame
from ..core.input_validation import SANE_AGE_NS, Fault, InputFault
from ..core.types import Alarm, Frame, FrameResult, Verdict
from ..engines.device import limit_gpu_memory
from ..errors import ConfigError, ImageError, MonitorError
from ..monitor import MonitorPass, OodMonitor
from ..vision.overlay import draw_overlay, map_picture
from .bundle_fit import check_fit, uncalibrated_cameras
from .camera_channel import CameraChannel
from .class_table import publish_class_table
from .clip_recorder.clip_store import check_evidence
from .conversions import alarm_message, image_message, ns_to_stamp, stamp_to_ns, status
from .heartbeat import heartbeat_publisher
from .image_conversion import compressed_to_bgr, image_to_bgr
from .parameters import check_unknown, declare_settings, read_settings
from .runner import run_node
from .worker import Arrival, NewestFrameWorker

if TYPE_CHECKING:
    from .clip_recorder.recorder import ClipRecorder

_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_PARAMETERS = (PerceptionNodeSettings, AlarmOverrides, HealthSettings)


class ReadFrame(NamedTuple):
    """A picture on its way to the network: its message, what was read of it, and how long that took, ms."""

    arrival: Arrival
    frame: Frame
    decode_ms: float


class PublishedBatch(NamedTuple):
    """A batch whose alarms are out and whose pictures are not: its messages, pass and alarms, and who is looked at."""

    arrivals: list[Arrival]
    run: MonitorPass
    alarms: list[Alarm]
    shown: list[bool]


class PerceptionNode(LifecycleNode):
    """Shell around ``OodMonitor``: it moves messages and turns every failure into an alarm that is not OK."""

    def __init__(self, **options: Any) -> None:
        # First what destroy_node() needs: rclpy calls it on a node whose parameters were refused, too.
        self._problem = "not configured"
        self._setting_refused = False
        self._monitor: OodMonitor | None = None
        self._batch = 1
        self._channels: dict[str, CameraChannel] = {}
        self._inputs: list[Any] = []
        self._class_table: list[Any] = []
        self._worker: NewestFrameWorker | None = None
        self._evidence: ClipRecorder | None = None
        self._received_before: dict[str, int] = {}
        # Host and process for people; a drawn part, because two containers may share both.
        self._source = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        super().__init__("perception_node", **options)
        for settings in _PARAMETERS:
            declare_settings(self, settings)
        check_unknown(self, *_PARAMETERS)
        self._settings = read_settings(self, PerceptionNodeSettings)
        self.add_on_set_parameters_callback(self._refuse_late_change)
        self._diagnosed_ns = time.monotonic_ns()
        self._alarms = self.create_publisher(DiagnosticArray, "~/ood_alarm", _RELIABLE)
        self._heartbeat = heartbeat_publisher(self, self._alarms.topic_name)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", _RELIABLE)
        # A steady clock: both must go on when simulated time stands still, or has not begun.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics_timer = self.create_timer(1.0, self._diagnose, clock=steady)
        self._silence_timer = self.create_timer(0.1, self._watch_silence, clock=steady)

    def start(self) -> None:
        """Configure and activate without a lifecycle manager, if the parameter ``autostart`` asks for it.

        What fails on the way (no bundle, an altered one, no memory) leaves the node alive, and its alarms give the
        reason: the vehicle is told why it stands, and a transition by service can be tried again.

        Raises:
            ConfigError: a parameter that cannot be used, which no later try would cure.
        """
        if not self._settings.autostart:
            return
        if self.trigger_configure() is TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()
        elif self._setting_refused:
            raise ConfigError(self._problem)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and verify the bundle, warm the network up, create the outputs."""
        self._setting_refused = False
        try:
            self._settings = read_settings(self, PerceptionNodeSettings)
            overrides = read_settings(self, AlarmOverrides)
            health = read_settings(self, HealthSettings)
            if self._settings.num_threads:
                torch.set_num_threads(self._settings.num_threads)
                cv2.setNumThreads(self._settings.num_threads)
            # The scores' matrices are small: numpy's threads would only take the cores from torch's, which spin on.
            threadpool_limits(1, user_api="blas")
            limit_gpu_memory(self._settings.device, self._settings.gpu_memory_mb)
            monitor = load_bundle(
                self._settings.bundle_path or None,
                device=self._settings.device,
                detector=self._settings.detector or None,
                engine=self._settings.engine,
                precision=self._settings.precision,
            )
            check_fit(monitor, self._settings)
            if self._settings.evidence_dir:
                check_evidence(Path(self._settings.evidence_dir))
            alarm = overrides.of(monitor.alarm)
            batch = self._settings.max_batch or monitor.preferred_batch_size
            self._batch = min(batch, len(self._settings.cameras))
            monitor.warm_up(self._batch)
            channels = {
                name: CameraChannel(self, name, alarm, monitor.clean_median, health, self._settings.image_timeout_s)
                for name in self._settings.cameras
            }
        except MonitorError as error:
            self._setting_refused = isinstance(error, ConfigError)
            return self._refuse(str(error))
        except Exception as error:  # a GPU without memory, a driver fault: the reason must reach /diagnostics
            self.get_logger().error(traceback.format_exc())
            return self._refuse(f"loading failed: {error!r}")
        strangers = uncalibrated_cameras(monitor, self._settings)
        if strangers:
            self.get_logger().warning(
                f"{strangers}; its thresholds are not of these cameras (require_calibrated_cameras)"
            )
        self._monitor = monitor
        self._channels = channels
        self._class_table = publish_class_table(self, monitor.class_names) if self._settings.class_table else []
        self._problem = "not active"
        self.get_logger().info(
            f"bundle {monitor.bundle_id[:12]}, detector {monitor.detector}, threshold {monitor.threshold:.2f}, "
            f"device {monitor.device}, engine {monitor.engine_label}, cameras {', '.join(self._channels)}"
        )
        if monitor.difference is not None:
            self.get_logger().info(f"against eager torch {monitor.difference}")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe to the cameras."""
        try:
            self._listen()
        except Exception:  # rclpy goes to on_error without a word of why
            self.get_logger().error(traceback.format_exc())
            raise
        self._problem = ""
        self.get_logger().info(f"active, listening to {', '.join(entry.topic_name for entry in self._inputs)}")
        return super().on_activate(state)

    def _listen(self) -> None:
        reliability = {"best_effort": ReliabilityPolicy.BEST_EFFORT, "reliable": ReliabilityPolicy.RELIABLE}
        newest = QoSProfile(
            depth=1, reliability=reliability[self._settings.image_reliability], history=HistoryPolicy.KEEP_LAST
        )
        kind = Image if self._settings.transport == "raw" else CompressedImage
        self._worker = NewestFrameWorker(self._handle)
        for name, channel in self._channels.items():
            channel.start()
            self._inputs.append(self.create_subscription(kind, self._topic(name), self._receiver(channel), newest))
        if self._settings.evidence_dir and self._monitor is not None:
            from .clip_recorder.of_node import record_evidence  # with rosbags, only where it is asked for

            names = [spec.name for settings in _PARAMETERS for spec in fields(settings)]
            parameters = {name: self.get_parameter(name).value for name in names}
            self._evidence = record_evidence(
                self,
                self._settings,
                parameters,
                self._monitor,
                self._channels,
                self._alarms.topic_name,
                self._source,
                self._worker.dropped,
            )

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and let the worker finish."""
        self._halt("not active")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give the network and the outputs back."""
        self._release("not configured")
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The same, for good."""
        self._release("shut down")
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured after an error in a transition."""
        self._release("a lifecycle transition failed; see the log")
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Join the worker before its publishers go away."""
        self._halt("shut down")
        super().destroy_node()

    def _refuse_late_change(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse what would be accepted and have no effect: the parameters are read when the node is configured."""
        own = {spec.name for cls in _PARAMETERS for spec in fields(cls)}
        for name in (parameter.name for parameter in parameters if parameter.name in own):
            if name == "autostart":
                return SetParametersResult(successful=False, reason="autostart is read at start only")
            if self._monitor is not None:
                reason = f"{name} is read at configure; deactivate and clean the node up, change it, configure again"
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _refuse(self, reason: str) -> TransitionCallbackReturn:
        self._problem = reason
        self.get_logger().error(reason)
        return TransitionCallbackReturn.FAILURE

    def _halt(self, problem: str) -> None:
        self._problem = problem
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
        if self._worker is not None and not self._worker.stop():
            self.get_logger().error("the network did not finish its last batch in time")
        self._worker = None
        if self._evidence is not None and not self._evidence.close():
            self.get_logger().error("the disk did not take the last clip in time")
        self._evidence = None

    def _release(self, problem: str) -> None:
        self._halt(problem)
        for channel in self._channels.values():
            for publisher in channel.publishers():
                self.destroy_publisher(publisher)
        for publisher in self._class_table:
            self.destroy_publisher(publisher)
        self._class_table = []
        self._channels = {}
        self._monitor = None

    # Frames

    def _receiver(self, channel: CameraChannel) -> Any:
        def receive(message: Any) -> None:
            arrived_ns = time.monotonic_ns()
            channel.watch.arrivals.arrived(arrived_ns)
            if self._worker is not None:
                self._worker.submit(Arrival(channel.name, message, arrived_ns, self._now_ns()))

        return receive

    def _handle(self, arrivals: Sequence[Arrival]) -> None:
        """Judge the newest frames of all cameras; runs in the worker thread and never raises: the thread must live on."""
        try:
            self._judge(arrivals)
        except Exception:  # not even a fault could be published; the supervisor stops on the silence
            if self.context.ok():
                self.get_logger().error(traceback.format_exc())

    def _judge(self, arrivals: Sequence[Arrival]) -> None:
        # Batch by batch, reading included: an alarm waits for the pictures of its own batch alone.
        # Nor does the last alarm wait for the first one's pictures, where an engine keeps several passes.
        waiting: list[PublishedBatch] = []
        for first in range(0, len(arrivals), self._batch):
            read = [self._read(arrival) for arrival in arrivals[first : first + self._batch]]
            good = [one for one in read if one is not None]
            if good and (judged := self._infer(good)) is not None:
                waiting.append(judged)
            if self._monitor is not None and not self._monitor.reentrant:
                self._show_all(waiting)
        self._show_all(waiting)

    def _read(self, arrival: Arrival) -> ReadFrame | None:
        """The frame of a message, or None where a fault was published instead."""
        channel = self._channels[arrival.camera]
        began_ns = time.monotonic_ns()
        try:
            frame = self._frame_of(arrival)
            decode_ms = (time.monotonic_ns() - began_ns) / 1e6
            encoding = getattr(arrival.message, "encoding", "")
            finding = channel.watch.examine(frame, encoding, arrival.arrived_ns, self._now_ns())
        except ImageError as error:
            finding = InputFault(Fault.UNREADABLE, str(error))
        except Exception as error:  # a defect must read as not OK, with its traceback in the log
            self.get_logger().error(traceback.format_exc())
            finding = InputFault(Fault.UNREADABLE, f"reading the image failed: {error!r}")
        if finding is None:
            return ReadFrame(arrival, frame, decode_ms)
        self._publish_fault(arrival, finding)
        return None

    def _infer(self, good: Sequence[ReadFrame]) -> PublishedBatch | None:
        """One batch: every alarm leaves before the decoder has run, and before the first picture is drawn."""
        if self._monitor is None:
            return None
        try:
            shown = [self._is_looked_at(self._channels[one.arrival.camera]) for one in good]
            run = self._monitor.begin([one.frame for one in good], decode=any(shown))
            alarms = [
                self._publish_alarm(one, judgement, run.network_ms)
                for one, judgement in zip(good, run.verdicts, strict=True)
            ]
            return PublishedBatch([one.arrival for one in good], run, alarms, shown)
        except Exception as error:  # out of memory, a lost GPU: the next frame gets its own chance
            if not self.context.ok():  # told to end while judging; nobody hears us any more
                return None
            self.get_logger().error(traceback.format_exc())
            for one in good:
                self._publish_fault(one.arrival, InputFault(Fault.INFERENCE, f"inference failed: {error!r}"))
            return None

    def _show_all(self, waiting: list[PublishedBatch]) -> None:
        """The pictures of batches whose alarms are out; each is let go when it is shown."""
        while waiting:
            self._show(waiting.pop(0))

    def _show(self, judged: PublishedBatch) -> None:
        for index, (arrival, alarm) in enumerate(zip(judged.arrivals, judged.alarms, strict=True)):
            result: FrameResult | None = None
            try:
                result = judged.run.result(index) if judged.shown[index] else None
            except Exception:  # the scores were right; what is lost is for people
                self._log_defect()
            try:
                if self._evidence is not None:
                    self._evidence.shown(arrival.camera, result)
                self._publish_pictures(arrival, judged.run.verdicts[index], result, alarm)
            except Exception:  # pictures are for people; losing one must not end the thread
                self._log_defect()

    def _log_defect(self) -> None:
        if self.context.ok():
            self.get_logger().error(traceback.format_exc())

    def _is_looked_at(self, channel: CameraChannel) -> bool:
        """Whether anybody wants what the decoder makes of this camera; nobody pays for it else."""
        return self._evidence is not None or channel.shows_classes()

    def _frame_of(self, arrival: Arrival) -> Frame:
        convert = image_to_bgr if self._settings.transport == "raw" else compressed_to_bgr
        stamp = arrival.message.header.stamp
        if not 0 <= stamp.nanosec < 1_000_000_000:
            raise ImageError(f"stamp has {stamp.nanosec} nanoseconds; the driver must keep them below a second")
        return Frame(convert(arrival.message), stamp_to_ns(stamp), arrival.camera)

    def _publish_alarm(self, read: ReadFrame, result: Verdict, network_ms: float) -> Alarm:
        arrival = read.arrival
        channel = self._channels[arrival.camera]
        with channel.lock:
            alarm = channel.watch.judged(result, time.monotonic_ns() - arrival.arrived_ns, self._now_ns())
        if alarm.fault == Fault.LATE.value:
            self.get_logger().warning(alarm.reason, throttle_duration_sec=1.0)
        others = {f"score.{name}": score for name, score in result.scores.items() if name != result.detector}
        facts = {
            "detector": result.detector,
            **others,
            **_strangest_place(result),
            "decode_ms": round(read.decode_ms, 3),
            "network_ms": round(network_ms, 3),
            "send_ms": round(channel.last_send_ms, 3),  # of the alarm before
        }
        began_ns = time.monotonic_ns()
        self._send(channel, alarm, arrival, facts, result)
        channel.last_send_ms = (time.monotonic_ns() - began_ns) / 1e6
        channel.score.publish(Float64(data=result.score))
        return alarm

    def _publish_fault(self, arrival: Arrival, finding: InputFault) -> None:
        channel = self._channels[arrival.camera]
        with channel.lock:
            alarm = channel.watch.fault(stamp_to_ns(arrival.message.header.stamp), finding)
        self._send(channel, alarm, arrival, {})
        self.get_logger().warning(alarm.reason, throttle_duration_sec=1.0)

    def _send(
        self,
        channel: CameraChannel,
        alarm: Alarm,
        arrival: Arrival,
        extra: dict[str, object],
        result: Verdict | None = None,
    ) -> None:
        channel.last_latency_ms = (time.monotonic_ns() - arrival.arrived_ns) / 1e6
        channel.last_alarm = alarm
        facts = {**extra, "latency_ms": round(channel.last_latency_ms, 3), "bundle_sha256": self._bundle_id()}
        age_ns = self._now_ns() - alarm.stamp_ns
        channel.has_foreign_clock = alarm.stamp_ns > 0 and age_ns > SANE_AGE_NS
        if 0 <= age_ns <= SANE_AGE_NS:
            facts["age_ms"] = round(age_ns / 1e6, 3)
        self._tell(alarm, facts, arrival, result)

    def _tell(
        self,
        alarm: Alarm,
        facts: dict[str, object],
        arrival: Arrival | None = None,
        result: Verdict | None = None,
    ) -> None:
        said = replace(alarm, source=self._source, sent_ns=time.monotonic_ns())
        frame_id = arrival.message.header.frame_id if arrival is not None else ""
        message = alarm_message(said, facts, self.get_name(), frame_id)
        self._alarms.publish(message)
        evidence = self._evidence  # the timer and the worker both tell, and halting takes it away
        if evidence is not None:
            evidence.told(said, message, arrival, result)

    def _publish_pictures(self, arrival: Arrival, judgement: Verdict, result: FrameResult | None, alarm: Alarm) -> None:
        channel, header = self._channels[arrival.camera], arrival.message.header
        if judgement.anomaly_map is not None and channel.anomaly_map.get_subscription_count():
            height, width = judgement.frame.image.shape[:2]
            picture = map_picture(judgement.anomaly_map, judgement.threshold, width, height)
            channel.anomaly_map.publish(image_message(picture, header, "mono8"))
        if result is None:
            return
        if channel.segmentation.get_subscription_count():
            channel.segmentation.publish(image_message(result.segmentation, header, "mono8"))
        if channel.confidence.get_subscription_count():
            channel.confidence.publish(image_message(result.confidence, header, "mono8"))
        if channel.overlay.get_subscription_count():
            picture = draw_overlay(result, alarm, self._settings.overlay_alpha)
            channel.overlay.publish(image_message(picture, header, "bgr8"))

    def _topic(self, camera: str) -> str:
        return f"{camera}/image" if self._settings.transport == "raw" else f"{camera}/image/compressed"

    # Silence and diagnostics

    def _now_ns(self) -> int:
        """Time on the clock of the stamps; 0 while simulated time has not begun."""
        return int(self.get_clock().now().nanoseconds)

    def _trouble(self) -> InputFault | None:
        """Why no camera can be judged now; None while the node works."""
        busy_s = self._worker.busy_s() if self._worker is not None else 0.0
        if busy_s > self._settings.image_timeout_s:
            limit_s = self._settings.image_timeout_s
            return InputFault(
                Fault.HUNG, f"the network has been at one batch for {busy_s:.1f} s (limit {limit_s:.2f} s)"
            )
        return InputFault(Fault.NOT_READY, self._problem) if self._problem else None

    def _bundle_id(self) -> str:
        return self._monitor.bundle_id if self._monitor is not None else ""

    def _watch_silence(self) -> None:
        """A camera that sends nothing, or a node that cannot work, is reported as not OK ten times a second."""
        self._heartbeat.publish(Empty())
        problem = self._trouble()
        for name in self._settings.cameras:
            channel = self._channels.get(name)
            if problem is not None or channel is None:
                found = problem or InputFault(Fault.NOT_READY, self._problem)
                finding = InputFault(found.fault, f"perception cannot judge it: {found.reason}")
                if channel is not None:
                    with channel.lock:
                        channel.watch.lose(finding)
            else:
                with channel.lock:
                    silence = channel.watch.silence(time.monotonic_ns(), self._topic(name))
                if silence is None:
                    continue
                finding = silence
            alarm = alarm_without_frame(name, finding)
            self._tell(alarm, {"bundle_sha256": self._bundle_id()})
            if channel is not None:
                channel.last_alarm = alarm

    def _diagnose(self) -> None:
        now_ns = time.monotonic_ns()
        elapsed_s = max(1e-3, (now_ns - self._diagnosed_ns) / 1e9)
        self._diagnosed_ns = now_ns
        node = self.get_name()
        problem = self._trouble()
        strangers = uncalibrated_cameras(self._monitor, self._settings) if self._monitor else ""
        level = DiagnosticStatus.ERROR if problem else DiagnosticStatus.WARN if strangers else DiagnosticStatus.OK
        entries = [
            status(
                level,
                f"{node}: monitor",
                "perception",
                problem.reason if problem else f"running; {strangers}" if strangers else "running",
                {
                    "bundle_sha256": self._bundle_id(),
                    "detector": self._monitor.detector if self._monitor else "",
                    "device": self._monitor.device if self._monitor else "",
                    "engine": self._monitor.engine_label if self._monitor else "",
                },
            )
        ]
        for name, channel in self._channels.items():
            received = channel.watch.arrivals.received
            rate_hz = (received - self._received_before.get(name, 0)) / elapsed_s
            self._received_before[name] = received
            age_s = channel.watch.arrivals.silent_s(now_ns)
            alarm = channel.last_alarm
            if received == 0 or age_s > self._settings.image_timeout_s:
                level, text = DiagnosticStatus.STALE, f"no image for {age_s:.1f} s"
            elif alarm is None:
                level, text = DiagnosticStatus.WARN, "no frame judged yet"
            else:
                level = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR)[alarm.state.severity]
                text = alarm.reason
                if channel.has_foreign_clock:
                    level = max(level, DiagnosticStatus.WARN)
                    text = f"{text}; its stamps are of another clock, so its age is told by arrival alone"
            entries.append(
                status(
                    level,
                    f"{node}: {name}",
                    name,
                    text,
                    {
                        "rate_hz": round(rate_hz, 2),
                        "frames": received,
                        "dropped": self._worker.dropped(name) if self._worker else 0,
                        "age_s": round(age_s, 3),
                        "latency_ms": round(channel.last_latency_ms, 2),
                        "state": alarm.state.value if alarm else "",
                        "fault": alarm.fault if alarm else "",
                    },
                )
            )
        if self._evidence is not None:
            entries.append(self._evidence.status(node))
        self._diagnostics.publish(
            DiagnosticArray(header=Header(stamp=ns_to_stamp(self.get_clock().now().nanoseconds)), status=entries)
        )


def _make() -> PerceptionNode:
    node = PerceptionNode()
    try:
        node.start()
    except MonitorError:
        node.destroy_node()
        raise
    return node


def _strangest_place(result: Verdict) -> dict[str, object]:
    """Row, column and score of the largest cell of the anomaly map, for the alarm's values."""
    if result.anomaly_map is None or not np.isfinite(result.anomaly_map).all():
        return {}
    row, column = np.unravel_index(int(result.anomaly_map.argmax()), result.anomaly_map.shape)
    return {"anomaly_cell": f"{row},{column}", "anomaly_cell_score": round(float(result.anomaly_map[row, column]), 3)}


def main(args: list[str] | None = None) -> None:
    """Entry point of the executable."""
    sys.exit(run_node(_make, args))


if __name__ == "__main__":
    main()
