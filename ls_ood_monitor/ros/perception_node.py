"""perception_node: camera images in, segmentation and the OoD alarm out. A lifecycle node.

In, per camera: ``<camera>/image`` or ``<camera>/image/compressed``. Out: ``~/ood_alarm`` every frame and
``~/<camera>/ood_score``; ``~/<camera>/segmentation``, ``confidence``, ``overlay`` and ``anomaly_map`` while subscribed;
``/diagnostics`` once a second; if asked for, the class names on ``~/class_table``, and a clip of every alarm on disk.
A frame that cannot be judged gives an alarm that is not OK with the cause; so does a camera that is silent.

This module is the lifecycle. ``inference`` judges images in a thread, ``alarm_output`` and ``camera_outputs`` publish,
``perception_diagnostics`` reports.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import torch
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # where every distribution has it
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from threadpoolctl import threadpool_limits

from ..bundle import load_bundle
from ..config import AlarmOverrides, HealthSettings, PerceptionNodeSettings
from ..core.causes import Cause, CauseKind
from ..core.pipeline import SILENCE_PERIOD_NS, PerceptionPipeline, alarm_without_frame
from ..engines.device import limit_gpu_memory
from ..errors import ConfigError, MonitorError
from ..monitor import OodMonitor
from ..wording import clause
from .alarm_output import AlarmOutput
from .bundle_fit import check_fit, uncalibrated_cameras
from .camera_outputs import CameraOutputs
from .class_table import publish_class_table
from .clip_recorder.clip_store import check_evidence
from .conversions import ns_to_stamp
from .image_conversion import image_reader
from .inference import Inference
from .parameters import check_unknown, declare_settings, read_settings
from .perception_diagnostics import CameraDiagnostics, monitor_status
from .runner import run_node
from .worker import Arrival, NewestFrameWorker

if TYPE_CHECKING:
    from .clip_recorder.recorder import ClipRecorder

_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_RELIABILITY = {"best_effort": ReliabilityPolicy.BEST_EFFORT, "reliable": ReliabilityPolicy.RELIABLE}
_PARAMETERS = (PerceptionNodeSettings, AlarmOverrides, HealthSettings)
_NAMES = [spec.name for cls in _PARAMETERS for spec in fields(cls)]


@dataclass(frozen=True)
class _Resources:
    """What exists from configure to cleanup."""

    monitor: OodMonitor
    pipeline: PerceptionPipeline
    outputs: dict[str, CameraOutputs]  # by camera
    class_table: list[Any]  # publishers of the class names
    max_batch: int  # images in one batch
    uncalibrated: str  # a sentence that names the cameras missing from the calibration; empty if there is none
    diagnostics: CameraDiagnostics


class PerceptionNode(LifecycleNode):
    """Connects the monitor to ROS, and turns every failure into an alarm that is not OK."""

    def __init__(self, **options: Any) -> None:
        # destroy_node() needs these first: rclpy also calls it if a parameter is refused below.
        self._problem = "not configured"
        self._setting_refused = False
        self._resources: _Resources | None = None
        self._image_subscriptions: list[Any] = []
        self._image_publishers: dict[str, int] = {}
        self._worker: NewestFrameWorker | None = None
        self._recorder: ClipRecorder | None = None
        super().__init__("perception_node", **options)
        for settings in _PARAMETERS:
            declare_settings(self, settings)
        check_unknown(self, *_PARAMETERS)
        self._settings = read_settings(self, PerceptionNodeSettings)
        self.add_on_set_parameters_callback(self._refuse_late_change)
        self._alarms = AlarmOutput(self)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", _RELIABLE)
        # A steady clock, because both timers must run while simulated time is paused or has not begun.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics_timer = self.create_timer(1.0, self._publish_diagnostics, clock=steady)
        self._silence_timer = self.create_timer(SILENCE_PERIOD_NS / 1e9, self._report_silence, clock=steady)

    @property
    def problem(self) -> str:
        """Why no camera can be judged now; empty while the node works."""
        cause = self._node_problem()
        return "" if cause is None else clause(cause)

    @property
    def max_batch(self) -> int:
        """Largest number of images in one batch; 0 while the node is not configured."""
        return 0 if self._resources is None else self._resources.max_batch

    def start(self) -> None:
        """Configure and activate without a lifecycle manager, if the parameter ``autostart`` is set.

        If that fails (a missing or altered bundle, no memory), the node stays alive and its alarms name the cause. The
        transition can be tried again by service. Raises ``ConfigError`` for an invalid parameter: trying again would not help.
        """
        if not self._settings.autostart:
            return
        if self.trigger_configure() is TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()
        elif self._setting_refused:
            raise ConfigError(self._problem)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and verify the bundle, warm up the network, create the publishers."""
        self._setting_refused = False
        try:
            self._settings = read_settings(self, PerceptionNodeSettings)
            self._resources = self._configure(self._settings)
        except MonitorError as error:
            self._setting_refused = isinstance(error, ConfigError)
            return self._fail_transition(str(error))
        except Exception as error:  # for example no GPU memory, or a driver fault; /diagnostics must name it
            self.get_logger().error(traceback.format_exc())
            return self._fail_transition(f"loading failed: {error!r}")
        monitor, uncalibrated = self._resources.monitor, self._resources.uncalibrated
        if uncalibrated:
            self.get_logger().warning(
                f"{uncalibrated}; its thresholds are not of these cameras (require_calibrated_cameras)"
            )
        self._alarms.reset(monitor.bundle_id)
        self._problem = "not active"
        self.get_logger().info(
            f"bundle {monitor.bundle_id[:12]}, detector {monitor.detector}, threshold {monitor.threshold:.2f}, "
            f"device {monitor.device}, engine {monitor.engine_label}, "
            f"cameras {', '.join(self._settings.cameras)}"
        )
        if monitor.difference is not None:
            self.get_logger().info(f"against eager torch {monitor.difference}")
        return TransitionCallbackReturn.SUCCESS

    def _configure(self, settings: PerceptionNodeSettings) -> _Resources:
        overrides, health = read_settings(self, AlarmOverrides), read_settings(self, HealthSettings)
        if settings.num_threads:
            torch.set_num_threads(settings.num_threads)
            cv2.setNumThreads(settings.num_threads)
        # The detectors' matrices are small: BLAS threads would only take cores from torch's busy-waiting threads.
        threadpool_limits(1, user_api="blas")
        limit_gpu_memory(settings.device, settings.gpu_memory_mb)
        monitor = load_bundle(
            settings.bundle_path or None,
            device=settings.device,
            detector=settings.detector or None,
            engine=settings.engine,
            precision=settings.precision,
        )
        check_fit(monitor, settings)
        if settings.evidence_dir:
            check_evidence(Path(settings.evidence_dir))
        max_batch = min(settings.max_batch or monitor.preferred_batch_size, len(settings.cameras))
        monitor.warm_up(max_batch)
        pipeline = PerceptionPipeline(
            settings.cameras, overrides.of(monitor.alarm), monitor.lasting_levels, health, settings.image_timeout_s
        )
        # As remapped, so that a reason names the topic that is silent.
        pipeline.topics.update({name: self.resolve_topic_name(self._topic(name)) for name in settings.cameras})
        outputs = {camera: CameraOutputs(self, camera, settings.overlay_alpha) for camera in settings.cameras}
        class_table = publish_class_table(self, monitor.class_names) if settings.class_table else []
        uncalibrated = uncalibrated_cameras(monitor, settings)
        diagnostics = CameraDiagnostics(
            settings.cameras, pipeline, settings.image_timeout_s, self._dropped, time.monotonic_ns()
        )
        return _Resources(monitor, pipeline, outputs, class_table, max_batch, uncalibrated, diagnostics)

    def _dropped(self, camera: str) -> int:
        """Images of a camera that the network had no time for since activation."""
        return self._worker.dropped(camera) if self._worker is not None else 0

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe to the cameras."""
        try:
            self._subscribe()
        except Exception:  # rclpy calls on_error without logging the exception
            self.get_logger().error(traceback.format_exc())
            raise
        self._problem = ""
        self.get_logger().info(
            f"active, listening to {', '.join(subscription.topic_name for subscription in self._image_subscriptions)}"
        )
        return super().on_activate(state)

    def _subscribe(self) -> None:
        settings, resources = self._settings, self._resources
        if resources is None:
            raise RuntimeError("the node was activated before it was configured")
        resources.pipeline.start(time.monotonic_ns())
        inference = Inference(
            self,
            resources.monitor,
            resources.pipeline,
            resources.outputs,
            self._alarms,
            {
                camera: image_reader(
                    settings.transport,
                    camera=camera,
                    bits=settings.image_bits,
                    accept_jpeg_warnings=settings.accept_jpeg_warnings,
                )
                for camera in settings.cameras
            },
            resources.max_batch,
        )
        worker = self._worker = NewestFrameWorker(inference.handle)
        newest = QoSProfile(
            depth=1, reliability=_RELIABILITY[settings.image_reliability], history=HistoryPolicy.KEEP_LAST
        )
        message_type = Image if settings.transport == "raw" else CompressedImage
        for camera in settings.cameras:
            receive = self._receiver(camera, resources.pipeline, worker)
            self._image_subscriptions.append(
                self.create_subscription(message_type, self._topic(camera), receive, newest)
            )
        if settings.evidence_dir:
            from .clip_recorder.recorder import ClipRecorder  # with rosbags, only where it is asked for

            self._recorder = ClipRecorder.for_node(
                self,
                settings,
                {name: self.get_parameter(name).value for name in _NAMES},
                resources.monitor,
                resources.outputs,
                self._alarms.topic_name,
                self._alarms.source,
                worker.dropped,
            )
            self._alarms.record_to(self._recorder)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and let the worker finish."""
        self._stop_inference("not active")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the network and the publishers."""
        self._release_resources("not configured")
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything before the node ends."""
        self._release_resources("shut down")
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything after a failed transition, and return to unconfigured."""
        self._release_resources("a lifecycle transition failed; see the log")
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker before its publishers are destroyed."""
        self._stop_inference("shut down")
        super().destroy_node()

    def _refuse_late_change(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        """Refuse a change that would have no effect, because parameters are read at configure, or that cannot be used then."""
        for name in (parameter.name for parameter in parameters if parameter.name in _NAMES):
            if name == "autostart":
                return SetParametersResult(successful=False, reason="autostart is read at start only")
            if self._resources is not None:
                reason = f"{name} is read at configure; deactivate and clean the node up, change it, configure again"
                return SetParametersResult(successful=False, reason=reason)
        new = {parameter.name: parameter.value for parameter in parameters}
        try:
            for settings in _PARAMETERS:
                read_settings(self, settings, new)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _fail_transition(self, reason: str) -> TransitionCallbackReturn:
        self._problem = reason
        self.get_logger().error(reason)
        return TransitionCallbackReturn.FAILURE

    def _stop_inference(self, problem: str) -> None:
        self._problem = problem
        for subscription in self._image_subscriptions:
            self.destroy_subscription(subscription)
        self._image_subscriptions.clear()
        if self._worker is not None and not self._worker.stop():
            self.get_logger().error("the network did not finish its last batch in time")
        self._worker = None
        if self._recorder is not None:
            if not self._recorder.close():
                self.get_logger().error("the disk did not take the last clip in time")
            self._alarms.record_to(None)
            self._recorder = None

    def _release_resources(self, problem: str) -> None:
        self._stop_inference(problem)
        resources, self._resources = self._resources, None
        self._alarms.reset()
        if resources is None:
            return
        for outputs in resources.outputs.values():
            for publisher in outputs.publishers():
                self.destroy_publisher(publisher)
        for publisher in resources.class_table:
            self.destroy_publisher(publisher)

    # Input

    def _receiver(self, camera: str, pipeline: PerceptionPipeline, worker: NewestFrameWorker) -> Callable[[Any], None]:
        def receive(message: Any) -> None:
            arrived_ns = time.monotonic_ns()
            pipeline.on_arrival(camera, arrived_ns)
            worker.submit(Arrival(camera, message, arrived_ns, int(self.get_clock().now().nanoseconds)))

        return receive

    def _topic(self, camera: str) -> str:
        return f"{camera}/image" if self._settings.transport == "raw" else f"{camera}/image/compressed"

    # Timers

    def _node_problem(self) -> Cause | None:
        """Why no camera can be judged now; None while the node works."""
        busy_s = self._worker.busy_s() if self._worker is not None else 0.0
        limit_s = self._settings.image_timeout_s
        if busy_s > limit_s:
            return Cause(CauseKind.HUNG, value=busy_s, limit=limit_s)
        return Cause(CauseKind.NOT_READY, detail=self._problem) if self._problem else None

    def _report_silence(self) -> None:
        """Publish an alarm for each silent camera, or for all cameras if the node cannot work; ten times a second."""
        self._alarms.beat()
        problem, resources = self._node_problem(), self._resources
        if resources is not None:
            alarms = resources.pipeline.on_tick(time.monotonic_ns(), problem)
        else:
            cause = problem or Cause(CauseKind.NOT_READY, detail=self._problem)
            alarms = [alarm_without_frame(camera, cause) for camera in self._settings.cameras]
        for alarm in alarms:
            self._alarms.publish(alarm, {})

    def _publish_diagnostics(self) -> None:
        node, resources, problem = self.get_name(), self._resources, self.problem
        if resources is None:
            statuses = [monitor_status(node, None, problem, "")]
        else:
            statuses = [monitor_status(node, resources.monitor, problem, resources.uncalibrated)]
            publishers = self._count_image_publishers()
            statuses += resources.diagnostics.statuses(node, self._alarms.reports, publishers, time.monotonic_ns())
        if self._recorder is not None:
            statuses.append(self._recorder.status(node))
        stamp = ns_to_stamp(self.get_clock().now().nanoseconds)
        self._diagnostics.publish(DiagnosticArray(header=Header(stamp=stamp), status=statuses))

    def _count_image_publishers(self) -> dict[str, int]:
        """Publishers of each camera's images; a second one mixes two cameras into one, and is logged."""
        topics = {camera: self.resolve_topic_name(self._topic(camera)) for camera in self._settings.cameras}
        counts = {camera: self.count_publishers(topic) for camera, topic in topics.items()}
        for camera, topic in topics.items():
            if counts[camera] > 1 and self._image_publishers.get(camera, 1) != counts[camera]:
                self.get_logger().warning(f"{counts[camera]} nodes publish {topic}; only one may")
        self._image_publishers = counts
        return counts


def _make_node() -> PerceptionNode:
    node = PerceptionNode()
    try:
        node.start()
    except MonitorError:
        node.destroy_node()
        raise
    return node


def main(args: list[str] | None = None) -> None:
    """Entry point of the executable."""
    sys.exit(run_node(_make_node, args))


if __name__ == "__main__":
    main()
