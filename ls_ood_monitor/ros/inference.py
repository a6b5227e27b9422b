"""Inference in the worker's thread: read images, judge them, publish alarms, then publish pictures."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import Float64

from ..core.causes import Cause, CauseKind
from ..core.pipeline import PerceptionPipeline
from ..core.types import Alarm, Frame, FrameResult, Verdict
from ..errors import ImageError
from ..monitor import MonitorPass, OodMonitor
from ..wording import sentence
from .alarm_output import AlarmOutput
from .camera_outputs import CameraOutputs
from .conversions import stamp_to_ns
from .worker import Arrival


@dataclass(frozen=True)
class CheckedImage:
    """An image that may be judged: its message, its picture, and the time that reading took, ms."""

    arrival: Arrival
    frame: Frame
    decode_ms: float


@dataclass(frozen=True)
class PublishedBatch:
    """A batch whose alarms are published and whose pictures are not yet; all lists are in the order of the pass."""

    run: MonitorPass
    images: list[CheckedImage]
    verdicts: Sequence[Verdict]
    alarms: list[Alarm]
    needs_segmentation: list[bool]


class Inference:
    """Judges the newest images of all cameras, at most ``max_batch`` in one batch; ``outputs`` and ``readers`` are by camera."""

    def __init__(
        self,
        node: Node,
        monitor: OodMonitor,
        pipeline: PerceptionPipeline,
        outputs: Mapping[str, CameraOutputs],
        alarms: AlarmOutput,
        readers: Mapping[str, Callable[[Any], NDArray[np.uint8]]],
        max_batch: int,
    ) -> None:
        self._node, self._monitor, self._pipeline = node, monitor, pipeline
        self._outputs, self._alarms, self._max_batch = outputs, alarms, max_batch
        self._readers = readers

    def handle(self, arrivals: Sequence[Arrival]) -> None:
        """Judge at most one image of each camera. Never raises: the worker's thread must keep running."""
        try:
            self._judge(arrivals)
        except Exception:  # no alarm could be published; the supervisor stops the vehicle on the silence
            self._log_traceback()

    def _judge(self, arrivals: Sequence[Arrival]) -> None:
        # Each batch is read and judged on its own, so an alarm waits only for the images of its batch.
        # If the engine keeps several passes, all alarms are published before the first pictures.
        waiting: list[PublishedBatch] = []
        for first in range(0, len(arrivals), self._max_batch):
            batch = self._publish_alarms(arrivals[first : first + self._max_batch])
            if batch is not None:
                waiting.append(batch)
            if not self._monitor.reentrant:
                self._publish_pictures(waiting)
        self._publish_pictures(waiting)

    def _publish_alarms(self, arrivals: Sequence[Arrival]) -> PublishedBatch | None:
        """Judge one batch and publish its alarms, before its segmentation is read and its pictures are drawn."""
        images: list[CheckedImage] = []
        for arrival in arrivals:
            image = self._read(arrival)
            if isinstance(image, Cause):
                self._publish_fault(arrival, image)
            else:
                images.append(image)
        if not images:
            return None
        try:
            needs_segmentation = [self._needs_segmentation(image.arrival.camera) for image in images]
            run = self._monitor.begin([image.frame for image in images], decode=any(needs_segmentation))
            verdicts = run.verdicts
            scores = [float(verdict.score) for verdict in verdicts]  # raises where a score is no number
            if len(scores) != len(images):
                raise ValueError(f"{len(scores)} verdicts for {len(images)} frames")
        except Exception as error:  # for example no memory, or a lost GPU; the next batch tries again
            if not self._node.context.ok():  # the node was ended while it judged: nobody listens any more
                raise
            self._log_traceback()
            for image in images:
                self._publish_fault(image.arrival, Cause(CauseKind.INFERENCE, detail=repr(error)))
            return None
        alarms = [
            self._publish_verdict(image, verdict, run.network_ms)
            for image, verdict in zip(images, verdicts, strict=True)
        ]
        return PublishedBatch(run, images, verdicts, alarms, needs_segmentation)

    def _read(self, arrival: Arrival) -> CheckedImage | Cause:
        """The image of a message, or why it cannot be judged."""
        began_ns = time.monotonic_ns()
        message, stamp = arrival.message, arrival.message.header.stamp
        try:
            if not 0 <= stamp.nanosec < 1_000_000_000:
                raise ImageError(f"stamp has {stamp.nanosec} nanoseconds; the driver must keep them below a second")
            frame = Frame(self._readers[arrival.camera](message), stamp_to_ns(stamp), arrival.camera)
        except ImageError as error:
            return Cause(CauseKind.UNREADABLE, detail=str(error))
        except Exception as error:  # a defect: the alarm is not OK, and the log has the traceback
            self._log_traceback()
            return Cause(CauseKind.UNREADABLE, detail=f"reading the image failed: {error!r}")
        decode_ms = (time.monotonic_ns() - began_ns) / 1e6
        now_ns = self._now_ns()
        if now_ns <= 0:
            return Cause(CauseKind.NO_CLOCK)
        fault = self._pipeline.check(frame, getattr(message, "encoding", ""), arrival.arrived_ns, now_ns)
        return fault or CheckedImage(arrival, frame, decode_ms)

    def _publish_fault(self, arrival: Arrival, cause: Cause) -> None:
        alarm = self._pipeline.count_fault(arrival.camera, stamp_to_ns(arrival.message.header.stamp), cause)
        self._alarms.publish(alarm, {}, arrival)
        self._warn(alarm)

    def _publish_verdict(self, image: CheckedImage, verdict: Verdict, network_ms: float) -> Alarm:
        camera, held_ns = image.arrival.camera, time.monotonic_ns() - image.arrival.arrived_ns
        alarm = self._pipeline.count(image.frame, verdict, held_ns, self._now_ns())
        others = {f"score.{name}": score for name, score in verdict.scores.items() if name != verdict.detector}
        facts = {
            "detector": verdict.detector,
            **others,
            **_highest_cell(verdict),
            "decode_ms": round(image.decode_ms, 3),
            "network_ms": round(network_ms, 3),
        }
        self._alarms.publish(alarm, facts, image.arrival, verdict)
        if alarm.is_fault:
            self._warn(alarm)
        self._outputs[camera].score.publish(Float64(data=verdict.score))
        return alarm

    def _publish_pictures(self, waiting: list[PublishedBatch]) -> None:
        """Publish the pictures of batches whose alarms are published; each batch is freed when it is done."""
        while waiting:
            batch = waiting.pop(0)
            for index, image in enumerate(batch.images):
                outputs = self._outputs[image.arrival.camera]
                result: FrameResult | None = None
                try:
                    result = batch.run.result(index) if batch.needs_segmentation[index] else None
                except Exception:  # the alarm is published; only the segmentation is lost
                    self._log_traceback()
                try:
                    if (recorder := self._alarms.recorder) is not None:
                        recorder.on_result(image.arrival.camera, result)
                    if result is not None or outputs.anomaly_map.get_subscription_count():
                        header = image.arrival.message.header
                        outputs.publish_pictures(header, batch.verdicts[index], result, batch.alarms[index])
                except Exception:  # the alarm is published; a lost picture must not end the thread
                    self._log_traceback()

    def _needs_segmentation(self, camera: str) -> bool:
        """Whether a subscriber or the clip recorder needs the segmentation of this camera; else the decoder is skipped."""
        if self._alarms.recorder is not None:
            return True
        return any(publisher.get_subscription_count() for publisher in self._outputs[camera].segmented)

    def _now_ns(self) -> int:
        """Time on the clock of the stamps; 0 where it has not begun."""
        return int(self._node.get_clock().now().nanoseconds)

    def _warn(self, alarm: Alarm) -> None:
        self._node.get_logger().warning(sentence(alarm.cause), throttle_duration_sec=1.0)

    def _log_traceback(self) -> None:
        if self._node.context.ok():
            self._node.get_logger().error(traceback.format_exc())


def _highest_cell(verdict: Verdict) -> dict[str, object]:
    """Row, column and score of the highest cell of the anomaly map, for the alarm message."""
    if verdict.anomaly_map is None or not np.isfinite(verdict.anomaly_map).all():
        return {}
    row, column = np.unravel_index(int(verdict.anomaly_map.argmax()), verdict.anomaly_map.shape)
    score = float(verdict.anomaly_map[row, column])
    return {"anomaly_cell": f"{row},{column}", "anomaly_cell_score": round(score, 3)}
