"""Reading videos as frames of one camera; a video that was cut off is refused with the missing share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from ..core.types import Frame
from ..errors import DataError
from .video_size import promised_bytes

# Silences the ffmpeg inside OpenCV, which reads this once, when the first video is opened.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg")
_START_NS = 3_600_000_000_000  # one hour: a stamp of 0 would mean that there is none


def video_length_s(path: Path, rate_hz: float | None = None) -> tuple[int, float]:
    """Return the number of frames and the seconds to the last one, as the file states them.

    Both are 0 if the file does not state them. They may be wrong by some frames; only reading shows.

    Raises:
        DataError: OpenCV cannot read the video, or it has no frame rate.
    """
    with _open_video(path, rate_hz) as (video, rate):
        count = video.get(cv2.CAP_PROP_FRAME_COUNT)
    if not (np.isfinite(count) and 1.0 <= count < 1e9):
        return 0, 0.0
    return int(count), (int(count) - 1) / rate


def video_frames(path: Path, rate_hz: float | None = None) -> Iterator[Frame]:
    """Yield the frames of a video, as those of a camera ``front``; ``rate_hz`` None = the video's own.

    Raises:
        DataError: OpenCV cannot read the video, it has no frame rate, or it was cut off.
    """
    with _open_video(path, rate_hz) as (video, rate):
        count = 0
        while (read := video.read())[0]:
            yield Frame(np.asarray(read[1], dtype=np.uint8), _START_NS + round(count * 1e9 / rate), "front")
            count += 1
    # Bytes and pictures must both be missing: the stated number of pictures may be an estimate, and a cut may have removed
    # nothing but an index.
    stated, missing = video_length_s(path, 1.0)[0], _missing(path)
    if missing and not 0 < stated <= count + max(2, count // 50):
        raise DataError(f"{missing}, and {count}{f' of {stated}' if stated else ''} images can be read. Copy it again.")


def _missing(path: Path) -> str:
    """How much of a video file is missing, as the beginning of a sentence; empty if nothing is known to be missing."""
    size, promised = path.stat().st_size, promised_bytes(path)
    if promised <= size:
        return ""
    return f"The video {path} is cut off: its file has {size / 1e6:.1f} of {promised / 1e6:.1f} MB"


@contextmanager
def _open_video(path: Path, rate_hz: float | None) -> Iterator[tuple[cv2.VideoCapture, float]]:
    """Open a video. Yields it with its frame rate in Hz."""
    # Errors are raised as sentences here; OpenCV's own lines would only break the progress bar.
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            if missing := _missing(path):
                raise DataError(f"{missing}, and none of its images can be read. Copy it again.")
            raise DataError(f"OpenCV cannot read the video {path}; convert it, or extract its pictures into a folder.")
        rate = video.get(cv2.CAP_PROP_FPS) if rate_hz is None else rate_hz
        if not (np.isfinite(rate) and rate > 0.0):
            raise DataError(f"the video {path} does not say its frame rate; give it with --rate.")
        yield video, rate
    finally:
        video.release()
