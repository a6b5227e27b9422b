"""Keeps the last seconds in memory and writes a clip around every alarm.

The node's threads only hand over references. A disk that is slow, full or gone costs clips, and never delays an alarm.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node

from ... import __version__
from ...config import EvidenceSettings, PerceptionNodeSettings
from ...core.clips import Clip, ClipBuffer
from ...core.types import Alarm, FrameResult, Verdict
from ...monitor import OodMonitor
from ..camera_outputs import CameraOutputs
from ..conversions import status
from ..worker import Arrival
from .clip_folder import ClipFolder
from .clip_selection import ClipSelection
from .clip_store import ClipStore
from .clip_writer import ClipWriter
from .items import CameraTopics, Item, RecordedNode


class ClipRecorder:
    """Records the clips of one perception node. Every method but ``close`` returns at once.

    ``log`` takes a sentence, and whether it is a warning. A write that takes longer than ``stuck_s`` is reported.
    """

    def __init__(
        self,
        settings: EvidenceSettings,
        node: RecordedNode,
        clock_ns: Callable[[], int],
        dropped: Callable[[str], int],
        log: Callable[[str, bool], None],
        *,
        open_clip: Callable[[Path, Clip, RecordedNode], ClipFolder] = ClipFolder,
        stuck_s: float = 2.0,
    ) -> None:
        self._log = log
        self._buffer: ClipBuffer[Item] = ClipBuffer(settings)
        self._ready = threading.Condition()
        self._selection = ClipSelection(self._buffer, node, settings.evidence_before_s, clock_ns, dropped)
        self._store = ClipStore(Path(settings.evidence_dir), round(settings.evidence_max_mb * 1e6), log)
        self._writer = ClipWriter(
            self._buffer, self._ready, self._store, lambda path, clip: open_clip(path, clip, node), stuck_s, log
        )

    @classmethod
    def for_node(
        cls,
        node: Node,
        settings: PerceptionNodeSettings,
        parameters: Mapping[str, object],
        monitor: OodMonitor,
        outputs: Mapping[str, CameraOutputs],
        alarm_topic: str,
        source: str,
        dropped: Callable[[str], int],
    ) -> ClipRecorder:
        """Start to record the clips of a perception node.

        In a clip a camera's images have the topic ``/<camera>/image``, also where the vehicle remapped it: an evaluation
        reads the camera's name from it.
        """
        image_type, suffix = ("Image", "") if settings.transport == "raw" else ("CompressedImage", "/compressed")
        cameras = {
            name: CameraTopics(
                f"/{name}/image{suffix}",
                f"sensor_msgs/msg/{image_type}",
                camera.score.topic_name,
                camera.overlay.topic_name,
                camera.anomaly_map.topic_name,
            )
            for name, camera in outputs.items()
        }
        node_name = node.get_fully_qualified_name()
        facts = {
            "node": node_name,
            "source": source,
            "version": __version__,
            "bundle_sha256": monitor.bundle_id,
            "detector": monitor.detector,
            "threshold": monitor.threshold,
            "parameters": {"/**/perception_node": {"ros__parameters": dict(parameters)}},
        }

        def log(sentence: str, is_warning: bool) -> None:
            if not node.context.ok():  # the node was shut down while the last clip was finished
                return
            if is_warning:
                node.get_logger().warning(sentence)
            else:
                node.get_logger().info(sentence)

        return cls(
            settings,
            RecordedNode(facts, cameras, alarm_topic, f"{node_name}/configuration", settings.overlay_alpha),
            lambda: int(node.get_clock().now().nanoseconds),
            dropped,
            log,
        )

    def on_alarm(
        self, alarm: Alarm, message: DiagnosticArray, arrival: Arrival | None = None, verdict: Verdict | None = None
    ) -> None:
        """Take in a published alarm, with its image and verdict where there are any. Never raises.

        ``on_result`` must follow where there is a verdict.
        """
        with self._guarded():
            self._selection.add_alarm(alarm, message, arrival, verdict)

    def on_result(self, camera: str, result: FrameResult | None) -> None:
        """Take in the segmentation of the frame of the camera's last alarm; None = there is none. Never raises."""
        with self._guarded():
            self._selection.add_result(camera, result)

    def status(self, node_name: str) -> DiagnosticStatus:
        """Status for /diagnostics: WARN while a clip that is due could not be written."""
        buffer, store, writer = self._buffer, self._store, self._writer
        problem = writer.problem
        return status(
            DiagnosticStatus.WARN if problem else DiagnosticStatus.OK,
            f"{node_name}: evidence",
            "evidence",
            problem or f"clips of alarms go to {store.folder}",
            {
                "written": writer.written,
                "failed": writer.failed,
                "skipped": buffer.skipped,
                "lost": buffer.lost,
                "memory_mb": round(buffer.size / 1e6, 1),
                "disk_mb": round(store.bytes / 1e6, 1),
                "clips": store.clips,
            },
        )

    def close(self, timeout_s: float = 3.0) -> bool:
        """End the present clip and the writing thread; False where the disk did not allow it in time."""
        with self._ready:
            self._buffer.cut(time.monotonic_ns())
        return self._writer.close(timeout_s)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            with self._ready:
                yield
                if self._buffer.waiting:
                    self._ready.notify()
        except Exception:  # a defect here must not look like a fault of the camera
            self._log(f"evidence was not kept: {traceback.format_exc()}", True)
