"""The network of an evaluation: it runs ahead of the replay, on several pictures at a time, and its scores are kept on disk.

After an interruption no picture is judged again. All else of an evaluation (reading, checks, alarm, supervisor) is cheap and
is repeated from the start, so the outcome equals that of an evaluation that was never interrupted. Scores are taken from the
file as long as each picture is the one that they belong to.

Sums over several threads round differently from those of one, by up to a millionth of a score. So one thread judges each
picture, and several threads judge several pictures: the figures do not depend on the number of cores.
"""

from __future__ import annotations

import fcntl
import json
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.types import Frame
from ..errors import DataError
from ..monitor import OodMonitor
from ..recordings.bags import ImageArrival
from ..workers.threads import one_thread_each
from .replay import TimedVerdict, judge_timed

#: Pictures that wait beside those that are being judged, so that no thread waits for reading and decoding.
_READY = 2


@dataclass(frozen=True)
class _Prefetched:
    """A picture that the network is at, or whose scores are known."""

    identity: list[Any]  # tells the picture from others
    known: dict[str, Any] | None  # its line in the file, without the identity; None where there is none
    work: Future[TimedVerdict] | None  # the network's; None where the scores are known


class CachedScorer:
    """A monitor that works ahead, keeps each score in a file, and takes known scores from there; a context manager.

    Within it torch, OpenCV and the linear algebra of this process take one thread a picture, of which ``threads`` are judged
    at a time. The file is made where it is missing. Scores of another ``key`` are forgotten, those of another command, another
    ``run``, unless ``resume`` is set.

    Raises:
        DataError: another process is writing the file.
    """

    def __init__(self, monitor: OodMonitor, path: Path, key: str, run: str, resume: bool, threads: int = 1) -> None:
        self._monitor, self._threads = monitor, threads
        self._stack = ExitStack()
        self._current: _Prefetched | None = None
        self._file = self._stack.enter_context(path.open("r+b" if path.exists() else "w+b"))
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._stack.close()
            raise DataError(
                f"another evaluation is writing into {path.parent.parent}; wait for it, or end it. A worker of a cluster that "
                "lost its scheduler works on until it is done or ended; then the same command with --resume goes on."
            ) from error
        except OSError:
            pass  # a file system without locks
        first = _parsed(self._file.readline())
        self._next: Any = None
        if isinstance(first, list) and first[:1] == [key] and (resume or first[1:] == [run]):
            self._next = self._read_line()
        else:
            self._forget(0)
            self._write([key, run])

    def __enter__(self) -> CachedScorer:
        self._stack.enter_context(one_thread_each())
        self._pool = self._stack.enter_context(ThreadPoolExecutor(self._threads))
        self._stack.callback(self._pool.shutdown, wait=True, cancel_futures=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def prefetch(self, arrivals: Iterable[ImageArrival]) -> Iterator[ImageArrival]:
        """The same arrivals; while the caller has one, the network works on those behind it."""
        waiting: deque[tuple[ImageArrival, _Prefetched | None]] = deque()
        broken: DataError | None = None
        try:
            for number, arrival in enumerate(arrivals):
                waiting.append((arrival, self._begin(number, arrival)))
                if len(waiting) > self._threads + _READY:
                    ready, self._current = waiting.popleft()
                    yield ready
        except DataError as error:  # what was read before it is judged first
            broken = error
        for arrival, self._current in waiting:
            yield arrival
        if broken is not None:
            raise broken

    def judge(self, frame: Frame) -> TimedVerdict:
        """Verdict on the arrival that ``prefetch`` gave last; without its anomaly map where its scores were known."""
        current = self._current
        if current is not None and current.known is not None:
            detector, threshold = self._monitor.detector, self._monitor.threshold
            return TimedVerdict(frame, threshold=threshold, detector=detector, is_recalled=True, **current.known)
        if current is None or current.work is None:
            return judge_timed(self._monitor, frame)
        verdict = current.work.result()
        kept = {"score": verdict.score, "scores": dict(verdict.scores), "latency_ms": verdict.latency_ms}
        self._write([*current.identity, kept])
        return verdict

    def with_map(self, verdict: TimedVerdict) -> TimedVerdict:
        """The verdict with its anomaly map, for which the network judges a frame again whose scores were known."""
        return judge_timed(self._monitor, verdict.frame) if verdict.is_recalled else verdict

    def _begin(self, number: int, arrival: ImageArrival) -> _Prefetched | None:
        if arrival.image is None or (self._next is not None and self._next[0] > number):
            return None  # it was not judged the first time
        frame = Frame(arrival.image, arrival.stamp_ns, arrival.camera)
        identity = [number, frame.camera, frame.stamp_ns, zlib.crc32(np.ascontiguousarray(frame.image).data)]
        if self._next is not None:
            if self._next[:-1] == identity:
                known = self._next[-1]
                self._next = self._read_line()
                return _Prefetched(identity, known, None)
            self._forget(self._position)  # another picture: from here on all is new
        return _Prefetched(identity, None, self._pool.submit(judge_timed, self._monitor, frame))

    def _read_line(self) -> Any:
        """The next line; None after its end, or a line that the interruption cut: from there on all is new."""
        self._position = self._file.tell()
        line = _parsed(self._file.readline())
        if isinstance(line, list) and len(line) == 5 and isinstance(line[0], int) and isinstance(line[-1], dict):
            return line
        self._forget(self._position)
        return None

    def _forget(self, position: int) -> None:
        self._next = None
        self._file.seek(position)
        self._file.truncate()

    def _write(self, content: list[Any]) -> None:
        """A line at once: what the operating system has, the end of this process does not lose."""
        self._file.write(json.dumps(content).encode() + b"\n")
        self._file.flush()


def _parsed(line: bytes) -> Any:
    """Content of a line; None where it is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None
