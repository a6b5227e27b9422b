"""Keeps the last seconds in memory and writes a clip around every alarm, from a thread of its own.

Whoever raises an alarm only hands over references: a disk that is slow, full or gone costs clips, never an alarm.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from std_msgs.msg import Float64

from ...config import EvidenceSettings
from ...core.clips import Clip, ClipBuffer, Entry
from ...core.types import Alarm, AlarmState, FrameResult, Verdict
from ...errors import DataError, MonitorError
from ..conversions import status
from ..raw_bag import load_types
from ..worker import Arrival
from .clip_folder import ClipFolder
from .clip_store import ClipStore
from .items import AlarmSnapshot, CameraTopics, RecordedImage, RecordedMessage

#: A clock that steps by so much was set anew, or a recording looped: what lies before belongs to another time.
_BACK_NS, _AHEAD_NS = 100_000_000, 60_000_000_000
#: How often the folder is looked at while there is nothing to write.
_LOOK_S = 1.0
_STUCK_S = 2.0
_MAX_REST_S = 0.1
#: Held by the thread that writes into a folder: the recorder of an earlier activation may still be at its last write, on a
#: disk that stands still.
_WRITERS: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


class ClipRecorder:
    """Records the clips of one perception node. All of its methods return at once, but ``close``.

    Args:
        settings: with ``evidence_dir``.
        facts: what the node runs on, for the clips; ``parameters`` are in the form of a ROS parameter file.
        topics: of each camera.
        alarm_topic: of the alarm.
        configuration_topic: that carries the facts.
        alpha: opacity of the overlay.
        clock_ns: the node's clock, by which messages are stamped.
        dropped: frames of a camera for which there was no time, so far.
        log: takes a sentence, and whether it is a warning.
    """

    def __init__(
        self,
        settings: EvidenceSettings,
        facts: Mapping[str, Any],
        topics: Mapping[str, CameraTopics],
        alarm_topic: str,
        configuration_topic: str,
        alpha: float,
        clock_ns: Callable[[], int],
        dropped: Callable[[str], int],
        log: Callable[[str, bool], None],
    ) -> None:
        self._facts, self._topics, self._alpha = facts, topics, alpha
        self._alarm_topic, self._configuration_topic = alarm_topic, configuration_topic
        self._clock_ns, self._dropped, self._log = clock_ns, dropped, log
        self._writer = _WRITERS[Path(settings.evidence_dir).absolute()]  # without asking the disk
        self._store = ClipStore(Path(settings.evidence_dir), round(settings.evidence_max_mb * 1e6), log)
        self._buffer: ClipBuffer[RecordedMessage | AlarmSnapshot] = ClipBuffer(settings)
        self._states: dict[str, AlarmState] = {}
        self._raised: dict[str, AlarmSnapshot] = {}  # by camera, until its picture is there
        self._before_ns = round(settings.evidence_before_s * 1e9)
        self._image_ns: int | None = None  # steady, of the last image
        self._last_ns: int | None = None
        self._open: ClipFolder | None = None
        self._written = self._failed = 0
        self._problem = self._failure = ""
        self._busy_since: float | None = None
        self._is_closing = False
        self._ready = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)
        self._thread.start()

    def told(
        self, alarm: Alarm, message: DiagnosticArray, arrival: Arrival | None = None, judgement: Verdict | None = None
    ) -> None:
        """An alarm was published, about this image and on this judgement where there are any. Never raises.

        Where there is a judgement ``shown`` must follow.
        """
        with self._guarded():
            self._keep(alarm, message, arrival, judgement)

    def shown(self, camera: str, result: FrameResult | None) -> None:
        """The segmentation behind the last alarm of a camera is there; None = there will be none. Never raises."""
        with self._guarded():
            moment = self._raised.pop(camera, None)
            if moment is not None:
                self._mark(replace(moment, result=result))

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            with self._ready:
                yield
                if self._buffer.waiting:
                    self._ready.notify()
        except Exception:  # a defect here must not pass for a fault of the camera
            self._log(f"evidence was not kept: {traceback.format_exc()}", True)

    def status(self, node_name: str) -> DiagnosticStatus:
        """For /diagnostics: WARN while a clip that is due could not be written."""
        stuck_s = self._stuck_s()
        stuck = f"the disk has been at one write for {stuck_s:.0f} s" if stuck_s > _STUCK_S else ""
        buffer, store = self._buffer, self._store
        problem = stuck or self._problem or self._failure or store.problem
        return status(
            DiagnosticStatus.WARN if problem else DiagnosticStatus.OK,
            f"{node_name}: evidence",
            "evidence",
            problem or f"clips of alarms go to {store.folder}",
            {
                "written": self._written,
                "failed": self._failed,
                "skipped": buffer.skipped,
                "lost": buffer.lost,
                "memory_mb": round(buffer.size / 1e6, 1),
                "disk_mb": round(store.bytes / 1e6, 1),
                "clips": store.clips,
            },
        )

    def close(self, timeout_s: float = 3.0) -> bool:
        """End the present clip and the thread; False when the disk did not let it in time."""
        with self._ready:
            self._buffer.cut(time.monotonic_ns())
            self._is_closing = True
            self._ready.notify()
        self._thread.join(timeout_s)
        if self._stuck_s() > _STUCK_S:
            with self._ready:
                self._buffer.forget()
        return not self._thread.is_alive()

    def _stuck_s(self) -> float:
        """Seconds that the thread has been at one write, or waiting for the recorder before to end its own."""
        busy_since = self._busy_since
        return time.monotonic() - busy_since if busy_since is not None else 0.0

    # Keeping, in the threads of the node

    def _keep(self, alarm: Alarm, message: DiagnosticArray, arrival: Arrival | None, judgement: Verdict | None) -> None:
        at_ns, now_ns = time.monotonic_ns(), self._clock_ns()
        if self._last_ns is not None and not -_BACK_NS < now_ns - self._last_ns < _AHEAD_NS:
            self._buffer.cut(at_ns)
            self._image_ns = None
        self._last_ns = now_ns
        if arrival is not None:
            topics = self._topics[alarm.camera]
            received_ns = arrival.received_ns if 0 <= now_ns - arrival.received_ns < _AHEAD_NS else now_ns
            dropped = self._dropped(alarm.camera)
            self._add(
                at_ns,
                RecordedImage(topics.image, topics.image_type, received_ns, arrival.message, alarm.camera, dropped),
            )
            self._image_ns = at_ns
        self._add(at_ns, RecordedMessage(self._alarm_topic, "diagnostic_msgs/msg/DiagnosticArray", now_ns, message))
        if judgement is not None:
            score = Float64(data=judgement.score)
            self._add(at_ns, RecordedMessage(self._topics[alarm.camera].score, "std_msgs/msg/Float64", now_ns, score))
        before, self._states[alarm.camera] = self._states.get(alarm.camera), alarm.state
        is_raised = alarm.state is AlarmState.RAISED and before is not AlarmState.RAISED
        # Without an image there is nothing to see: a node that was never sent one, a silence longer than a clip.
        if is_raised and self._image_ns is not None and at_ns - self._image_ns <= self._before_ns:
            moment = AlarmSnapshot(alarm, now_ns, arrival.message if arrival is not None else None, None)
            if judgement is None:
                self._mark(moment)
            else:  # its picture is still to come
                self._raised[alarm.camera] = moment

    def _mark(self, moment: AlarmSnapshot) -> None:
        at_ns = time.monotonic_ns()
        self._add(at_ns, moment)
        self._buffer.alarm(at_ns, moment.alarm.camera, moment.alarm.is_fault)

    def _add(self, at_ns: int, item: RecordedMessage | AlarmSnapshot) -> None:
        self._buffer.add(at_ns, item.size, item)

    # Writing, in a thread of its own

    def _run(self) -> None:
        load_types()  # tenths of a second of Python, which an alarm must not wait for
        began = time.monotonic()
        while not self._writer.acquire(timeout=_MAX_REST_S):
            self._busy_since = began
            if self._is_closing:
                return
        try:
            self._busy_since = None
            self._serve()
        finally:
            if self._open is not None:  # what the disk took too late for it
                self._open.abort()
            self._writer.release()

    def _serve(self) -> None:
        while True:
            with self._ready:
                task = self._buffer.take(time.monotonic_ns())
                if task is None and not self._is_closing:
                    self._ready.wait(_LOOK_S / 4 if self._buffer.waiting else _LOOK_S)
                    task = self._buffer.take(time.monotonic_ns())
                if task is None and self._is_closing:
                    return
            began = self._busy_since = time.monotonic()
            try:
                if task is not None:
                    self._write(*task)
                elif self._open is None:
                    self._look()
            except Exception as error:  # the thread must live on: the next alarm gets its own chance
                self._fail(task[0] if task is not None else None, error)
            self._busy_since = None
            if (
                task is not None and not self._is_closing
            ):  # half of the time is the network's, seconds before an alarm or not
                time.sleep(min(time.monotonic() - began, _MAX_REST_S))

    def _look(self) -> None:
        """Tell that no clip can be written before one is due."""
        try:
            self._store.check()
        except (MonitorError, OSError) as error:
            self._say_problem(_sentence(error))
        else:
            self._problem = ""

    def _write(self, clip: Clip, entry: Entry[RecordedMessage | AlarmSnapshot] | None) -> None:
        if self._open is None:
            if entry is None:  # all of it was lost
                return
            self._store.look()
            path = self._store.path_for(f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}_{clip.camera}")
            if not self._store.make_room(path, entry.size):
                raise DataError(f"there is no room: {self._store.why_full}.")
            self._open = ClipFolder(path, clip, self._facts, self._topics, self._configuration_topic, self._alpha)
        if entry is None:
            self._finish("cut: the clock jumped, or the node was deactivated" if clip.is_cut else "complete")
            return
        if self._store.make_room(self._open.path, self._open.bytes + entry.size):
            self._open.write(entry)
            return
        self._finish(f"cut: {self._store.why_full}")
        with self._ready:
            self._buffer.abandon(clip)

    def _finish(self, ended: str) -> None:
        folder = self._open
        if folder is None:
            return
        folder.close(ended)
        self._open = None
        self._written += 1
        self._failure = ""
        self._log(f"clip {folder.path} is written ({ended})", False)

    def _fail(self, clip: Clip | None, error: Exception) -> None:
        if not isinstance(error, (MonitorError, OSError)):
            self._log(traceback.format_exc(), True)
        if self._open is not None:
            self._open.abort()
            self._open = None
        if clip is not None:
            self._failed += 1
            with self._ready:
                self._buffer.abandon(clip)
        self._failure = f"the last clip could not be written: {_sentence(error)}"
        self._log(self._failure, True)

    def _say_problem(self, problem: str) -> None:
        if problem != self._problem:
            self._log(f"clips of alarms cannot be written: {problem}", True)
        self._problem = problem


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return str(error) or repr(error)
