"""The way of images through the network, in the worker's thread: read, judge, publish alarms, then pictures."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node

from ..core.causes import Cause, CauseKind
from ..core.pipeline import Clock, Outcome, PerceptionPipeline
from ..core.types import Frame, FrameResult, Verdict
from ..errors import ImageError
from ..monitor import MonitorPass, OodMonitor
from ..wording import sentence
from .alarm_output import AlarmOutput, ReadImage
from .camera_outputs import CameraOutputs
from .conversions import stamp_to_ns
from .image_conversion import compressed_to_bgr, image_to_bgr
from .worker import Arrival


@dataclass(frozen=True)
class PublishedBatch:
    """A batch whose alarms are out, and whose pictures are not.

    Attributes:
        run: its pass through the network.
        outcomes: of the frames that were judged, in the order of the pass.
        wanted: whether somebody wants the segmentation of each.
    """

    run: MonitorPass
    outcomes: list[Outcome[ReadImage, Verdict]]
    wanted: list[bool]


class _StoppingError(Exception):
    """The node was told to end while it judged: nobody listens any more."""


class Inference:
    """Judges the newest images of all cameras.

    Args:
        node: perception.
        monitor: with its bundle.
        pipeline: of all cameras.
        outputs: by camera.
        alarms: that every alarm goes to.
        transport: ``raw`` or ``compressed``.
        max_batch: images that are judged together at most.
    """

    def __init__(
        self,
        node: Node,
        monitor: OodMonitor,
        pipeline: PerceptionPipeline,
        outputs: Mapping[str, CameraOutputs],
        alarms: AlarmOutput,
        transport: str,
        max_batch: int,
    ) -> None:
        self._node, self._monitor, self._pipeline = node, monitor, pipeline
        self._outputs, self._alarms, self._max_batch = outputs, alarms, max_batch
        self._convert: Callable[[Any], Any] = image_to_bgr if transport == "raw" else compressed_to_bgr
        self._clock = Clock(time.monotonic_ns, lambda: int(node.get_clock().now().nanoseconds))

    def handle(self, arrivals: Sequence[Arrival]) -> None:
        """Judge one image of each camera at most. Never raises: the worker's thread must live on."""
        try:
            self._judge(arrivals)
        except _StoppingError:
            pass
        except Exception:  # not even a fault could be published; the supervisor stops on the silence
            self._log_defect()

    def _judge(self, arrivals: Sequence[Arrival]) -> None:
        # Batch by batch, reading included: an alarm waits for the images of its own batch alone.
        # Nor does the last alarm wait for the first one's pictures, where an engine keeps several passes.
        waiting: list[PublishedBatch] = []
        for first in range(0, len(arrivals), self._max_batch):
            batch = self._publish_alarms(arrivals[first : first + self._max_batch])
            if batch is not None:
                waiting.append(batch)
            if not self._monitor.reentrant:
                self._publish_pictures(waiting)
        self._publish_pictures(waiting)

    def _publish_alarms(self, arrivals: Sequence[Arrival]) -> PublishedBatch | None:
        """Judge one batch: every alarm leaves before the decoder has run, and before the first picture is drawn."""
        passes: list[MonitorPass] = []
        wanted: list[bool] = []

        def network(frames: Sequence[Frame]) -> Sequence[Verdict] | Cause:
            try:
                wanted.extend(self._is_wanted(frame.camera) for frame in frames)
                run = self._monitor.begin(frames, decode=any(wanted))
                verdicts = run.verdicts
                scores = [float(verdict.score) for verdict in verdicts]  # what is no number must be a fault here
                if len(scores) != len(frames):
                    raise ValueError(f"{len(scores)} verdicts for {len(frames)} frames")
                passes.append(run)
                return verdicts
            except Exception as error:  # out of memory, a lost GPU: the next frame gets its own chance
                if not self._node.context.ok():
                    raise _StoppingError from error
                self._log_defect()
                return Cause(CauseKind.INFERENCE, detail=repr(error))

        judged: list[Outcome[ReadImage, Verdict]] = []
        for outcome in self._pipeline.judge(map(self._read, arrivals), network, self._clock):
            if outcome.verdict is None:
                self._alarms.publish(outcome.alarm, {}, outcome.image)
                self._warn(outcome)
            else:
                self._publish_verdict(outcome, outcome.verdict, passes[-1].network_ms)
                judged.append(outcome)
        return PublishedBatch(passes[-1], judged, wanted) if judged else None

    def _read(self, arrival: Arrival) -> ReadImage:
        """The image of a message, or why it cannot be read."""
        began_ns = time.monotonic_ns()
        header = arrival.message.header
        frame, fault = None, None
        try:
            if not 0 <= header.stamp.nanosec < 1_000_000_000:
                raise ImageError(
                    f"stamp has {header.stamp.nanosec} nanoseconds; the driver must keep them below a second"
                )
            frame = Frame(self._convert(arrival.message), stamp_to_ns(header.stamp), arrival.camera)
        except ImageError as error:
            fault = Cause(CauseKind.UNREADABLE, detail=str(error))
        except Exception as error:  # a defect must read as not OK, with its traceback in the log
            self._log_defect()
            fault = Cause(CauseKind.UNREADABLE, detail=f"reading the image failed: {error!r}")
        return ReadImage(
            arrival.camera,
            stamp_to_ns(header.stamp),
            arrival.arrived_ns,
            frame,
            getattr(arrival.message, "encoding", ""),
            fault,
            arrival=arrival,
            decode_ms=(time.monotonic_ns() - began_ns) / 1e6,
        )

    def _publish_verdict(self, outcome: Outcome[ReadImage, Verdict], verdict: Verdict, network_ms: float) -> None:
        alarm, image = outcome.alarm, outcome.image
        report = self._alarms.reports.get(alarm.camera)
        others = {f"score.{name}": score for name, score in verdict.scores.items() if name != verdict.detector}
        facts = {
            "detector": verdict.detector,
            **others,
            **_largest_cell(verdict),
            "decode_ms": round(image.decode_ms, 3),
            "network_ms": round(network_ms, 3),
            "send_ms": round(report.send_ms, 3) if report is not None else float("nan"),  # of the alarm before
        }
        began_ns = time.monotonic_ns()
        self._alarms.publish(alarm, facts, image, verdict)
        self._alarms.reports[alarm.camera].send_ms = (time.monotonic_ns() - began_ns) / 1e6
        if alarm.is_fault:
            self._warn(outcome)
        self._outputs[alarm.camera].publish_score(verdict.score)

    def _publish_pictures(self, waiting: list[PublishedBatch]) -> None:
        """The pictures of batches whose alarms are out; each batch is let go when it is done."""
        while waiting:
            batch = waiting.pop(0)
            for index, outcome in enumerate(batch.outcomes):
                if outcome.verdict is None:
                    continue
                result: FrameResult | None = None
                try:
                    result = batch.run.result(index) if batch.wanted[index] else None
                except Exception:  # the scores were right; what is lost is for people
                    self._log_defect()
                try:
                    if (recorder := self._alarms.recorder) is not None:
                        recorder.on_result(outcome.image.camera, result)
                    header = outcome.image.arrival.message.header
                    outputs = self._outputs[outcome.image.camera]
                    outputs.publish_pictures(header, outcome.verdict, result, outcome.alarm)
                except Exception:  # pictures are for people; losing one must not end the thread
                    self._log_defect()

    def _is_wanted(self, camera: str) -> bool:
        """Whether anybody wants what the decoder makes of this camera; else nobody pays for it."""
        return self._alarms.recorder is not None or self._outputs[camera].wants_segmentation()

    def _warn(self, outcome: Outcome[ReadImage, Verdict]) -> None:
        self._node.get_logger().warning(sentence(outcome.alarm.cause), throttle_duration_sec=1.0)

    def _log_defect(self) -> None:
        if self._node.context.ok():
            self._node.get_logger().error(traceback.format_exc())


def _largest_cell(verdict: Verdict) -> dict[str, object]:
    """Row, column and score of the largest cell of the anomaly map, for the alarm's values."""
    if verdict.anomaly_map is None or not np.isfinite(verdict.anomaly_map).all():
        return {}
    row, column = np.unravel_index(int(verdict.anomaly_map.argmax()), verdict.anomaly_map.shape)
    score = float(verdict.anomaly_map[row, column])
    return {"anomaly_cell": f"{row},{column}", "anomaly_cell_score": round(score, 3)}
