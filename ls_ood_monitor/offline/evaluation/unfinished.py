"""The network's scores of an evaluation that is not finished yet, on disk: an interruption costs no time of the network.

All else of an evaluation (reading, checks, alarm, supervisor) is cheap and is done again from the start, so that the
outcome is that of an evaluation which was never interrupted. Scores are taken from the file as long as each picture is
the one they were given to.
"""

from __future__ import annotations

import fcntl
import json
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.types import Frame, FrameResult
from ...errors import DataError
from ...monitor import OodMonitor
from .replay import timed


class RememberedNetwork:
    """A monitor that writes down each score, and first looks whether it is known already; a context manager.

    Args:
        monitor: that judges what is not known.
        path: of the file; made where it is missing.
        key: scores of another key are forgotten.
        run: names this command.
        resume: scores of another command are not forgotten.

    Raises:
        DataError: another process is writing the file.
    """

    def __init__(self, monitor: OodMonitor, path: Path, key: str, run: str, resume: bool) -> None:
        self._monitor = monitor
        self._file = path.open("r+b" if path.exists() else "w+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise DataError(f"another evaluation is writing into {path.parent.parent}; wait for it.") from error
        first = _parsed(self._file.readline())
        self._recalls = isinstance(first, list) and first[:1] == [key] and (resume or first[1:] == [run])
        if not self._recalls:
            self._file.seek(0)
            self._file.truncate()
            self._write([key, run])

    def __enter__(self) -> RememberedNetwork:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def judge(self, frame: Frame) -> tuple[FrameResult, float]:
        """The frame's result, and the network's time for it in ms."""
        mark = [frame.camera, frame.stamp_ns, zlib.crc32(np.ascontiguousarray(frame.image).data)]
        if self._recalls:
            position = self._file.tell()
            known = _parsed(self._file.readline())
            if isinstance(known, list) and known[:-1] == mark:
                return RecalledResult(self._monitor, frame, known[-1]), known[-1]["latency_ms"]
            # Its end, a line that the interruption cut, or another picture: from here on all is new.
            self._recalls = False
            self._file.seek(position)
            self._file.truncate()
        result, latency_ms = timed(self._monitor, frame)
        self._write([*mark, {"score": result.score, "scores": dict(result.scores), "latency_ms": latency_ms}])
        return result, latency_ms

    def _write(self, content: list[Any]) -> None:
        """A line at once: what the operating system has, the end of this process does not lose."""
        self._file.write(json.dumps(content).encode() + b"\n")
        self._file.flush()


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
