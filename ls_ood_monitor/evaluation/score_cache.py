"""The network of an evaluation: ahead of the replay, on several pictures at a time, and with its scores kept on disk.

An interruption costs no time of the network. All else of an evaluation (reading, checks, alarm, supervisor) is cheap and
is done again from the start, so that the outcome is that of an evaluation which was never interrupted. Scores are taken
from the file as long as each picture is the one they were given to.

Sums over several threads round otherwise than those of one, by up to a millionth of a score. So each picture is judged by
one thread, and several pictures at a time take several: the figures do not depend on how many cores there are.
"""

from __future__ import annotations

import fcntl
import json
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..core.types import Frame, FrameResult
from ..errors import DataError
from ..monitor import OodMonitor
from ..recordings.bags import ImageArrival
from .replay import timed

#: Pictures that wait beside those that are being judged, so that no thread waits for reading and decoding.
_READY = 2


@dataclass(frozen=True)
class _Begun:
    """A picture that the network has begun with, or whose scores are known.

    Attributes:
        mark: tells the picture from others.
        known: what the file says of it; None = nothing.
        work: the network's; None where none was begun.
    """

    mark: list[Any]
    known: dict[str, Any] | None
    work: Future[tuple[FrameResult, float]] | None


class CachedScorer:
    """A monitor that works ahead, writes down each score, and first looks whether it is known; a context manager.

    Within it torch, OpenCV and the linear algebra of this process take one thread a picture.

    Args:
        monitor: that judges what is not known.
        path: of the file; made where it is missing.
        key: scores of another key are forgotten.
        run: names this command.
        resume: scores of another command are not forgotten.
        threads: pictures to judge at a time.

    Raises:
        DataError: another process is writing the file.
    """

    def __init__(self, monitor: OodMonitor, path: Path, key: str, run: str, resume: bool, threads: int = 1) -> None:
        self._monitor, self._threads = monitor, threads
        self._stack = ExitStack()
        self._current: _Begun | None = None
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
            self._next = self._recall()
        else:
            self._forget(0)
            self._write([key, run])

    def __enter__(self) -> CachedScorer:
        self._stack.enter_context(_one_thread_a_picture())
        self._pool = self._stack.enter_context(ThreadPoolExecutor(self._threads))
        self._stack.callback(self._pool.shutdown, wait=True, cancel_futures=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ahead(self, arrivals: Iterable[ImageArrival]) -> Iterator[ImageArrival]:
        """The same arrivals; while one is looked at, the network is at work on those behind it."""
        waiting: deque[tuple[ImageArrival, _Begun | None]] = deque()
        broken: DataError | None = None
        numbered = enumerate(arrivals)
        while broken is None:
            try:
                number, arrival = next(numbered)
            except StopIteration:
                break
            except DataError as error:  # what was read before it is judged first
                broken = error
                continue
            waiting.append((arrival, self._begin(number, arrival)))
            if len(waiting) > self._threads + _READY:
                arrival, self._current = waiting.popleft()
                yield arrival
        for arrival, begun in waiting:
            self._current = begun
            yield arrival
        if broken is not None:
            raise broken

    def judge(self, frame: Frame) -> tuple[FrameResult, float]:
        """Result for the arrival that ``ahead`` gave last, and the network's time for it in ms."""
        begun = self._current
        if begun is not None and begun.known is not None:
            return RecalledResult(self._monitor, frame, begun.known), begun.known["latency_ms"]
        if begun is None or begun.work is None:
            return timed(self._monitor, frame)
        result, latency_ms = begun.work.result()
        scores = {"score": result.score, "scores": dict(result.scores), "latency_ms": latency_ms}
        self._write([*begun.mark, scores])
        return result, latency_ms

    def _begin(self, number: int, arrival: ImageArrival) -> _Begun | None:
        if arrival.image is None or (self._next is not None and self._next[0] > number):
            return None  # it was not judged the first time
        frame = Frame(arrival.image, arrival.stamp_ns, arrival.camera)
        mark = [number, frame.camera, frame.stamp_ns, zlib.crc32(np.ascontiguousarray(frame.image).data)]
        if self._next is not None:
            if self._next[:-1] == mark:
                known = self._next[-1]
                self._next = self._recall()
                return _Begun(mark, known, None)
            self._forget(self._position)  # another picture: from here on all is new
        return _Begun(mark, None, self._pool.submit(timed, self._monitor, frame))

    def _recall(self) -> Any:
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


@contextmanager
def _one_thread_a_picture() -> Iterator[None]:
    torch_threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv2_threads)


class RecalledResult(FrameResult):
    """A result whose scores are known, and whose pictures the network makes again only for whoever looks at them."""

    def __init__(self, monitor: OodMonitor, frame: Frame, known: dict[str, Any]) -> None:
        fields = {
            "frame": frame,
            "score": known["score"],
            "threshold": monitor.threshold,
            "detector": monitor.detector,
            "scores": known["scores"],
            "_monitor": monitor,
        }
        self.__dict__.update(fields)  # the base is frozen, and its pictures are properties here

    @cached_property
    def _again(self) -> FrameResult:
        monitor: OodMonitor = self.__dict__["_monitor"]
        return monitor.process([self.frame])[0]

    @property
    def segmentation(self) -> NDArray[np.uint8]:  # type: ignore[override]
        """Class ids, as of the first time."""
        return self._again.segmentation

    @property
    def confidence(self) -> NDArray[np.uint8]:  # type: ignore[override]
        """As of the first time."""
        return self._again.confidence

    @property
    def anomaly_map(self) -> NDArray[np.float32] | None:  # type: ignore[override]
        """As of the first time."""
        return self._again.anomaly_map


def _parsed(line: bytes) -> Any:
    """Content of a line; None where it is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None
