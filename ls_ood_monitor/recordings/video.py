"""Reading videos as frames of one camera; a video that was cut off is refused with the missing share."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from ..core.types import Frame
from ..errors import DataError, ImageError
from ..vision.video_stream import decode_strictly, make_strict
from .video_size import promised_bytes

# Silences the ffmpeg inside OpenCV, which reads this once, when the first video is opened.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

VIDEO_SUFFIXES = (
    *(".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".3gp"),
    *(".h264", ".264", ".h265", ".265", ".hevc"),  # streams without a container have no times: they need a rate
)
_START_NS = 3_600_000_000_000  # one hour: a stamp of 0 would mean that there is none
_MIN_STEP_NS = 1_000  # between frames that a file gives equal times
_CHECKED_FRAMES = 30  # at the start of a video, to find out whether its stated rate is that of its pictures


def video_length_s(path: Path, rate_hz: float | None = None) -> tuple[int, float]:
    """Return the number of frames and the seconds to the last one, as the file states them.

    Both are 0 if the file does not state them, or if its frame rate varies: the stated number may then be an estimate. They
    may be wrong by some frames; only reading shows.

    Raises:
        DataError: OpenCV cannot read the video, or it has no frame rate.
    """
    with _open_video(path, rate_hz) as (video, rate):
        count = _stated_count(video)
        if not count or (rate_hz is None and not _rate_holds(video, rate)):
            return 0, 0.0
    return count, (count - 1) / rate


def video_frames(path: Path, rate_hz: float | None = None) -> Iterator[Frame]:
    """Yield the frames of a video, as those of a camera ``front``, with the times of the file, counted from its first frame.

    ``rate_hz`` replaces the times of the file. Where it is None, a rate that varies is kept.

    Raises:
        DataError: OpenCV cannot read the video, it has neither times nor a frame rate, or it was cut off.
    """
    with _open_video(path, rate_hz) as (video, rate):
        count, first_ms, last_ns = 0, 0.0, 0
        while (read := video.read())[0]:
            if rate_hz is None:
                shown_ms = video.get(cv2.CAP_PROP_POS_MSEC)
                first_ms = shown_ms if count == 0 else first_ms
                if count == 1 and shown_ms <= first_ms:
                    raise DataError(f"the video {path} does not say when its pictures were taken; give --rate.")
                stamp_ns = max(last_ns + _MIN_STEP_NS, _START_NS + round((shown_ms - first_ms) * 1e6))
            else:
                stamp_ns = _START_NS + round(count * 1e9 / rate)
            yield Frame(np.asarray(read[1], dtype=np.uint8), stamp_ns, "front")
            count, last_ns = count + 1, stamp_ns
        stated = _stated_count(video)
    # Bytes and pictures must both be missing: the stated number of pictures may be an estimate, and a cut may have removed
    # nothing but an index.
    missing = _missing(path)
    if not missing and (damaged := damaged_packets(path, path.stat().st_mtime_ns)):
        logging.getLogger(__name__).warning(
            "%s: %d of its packets are damaged; the pictures shown for them and after them may be guessed by the decoder",
            path,
            damaged,
        )
    if missing and not 0 < stated <= count + max(2, count // 50):
        raise DataError(f"{missing}, and {count}{f' of {stated}' if stated else ''} images can be read. Copy it again.")


@lru_cache(maxsize=256)
def damaged_packets(path: Path, _modified_ns: int = 0) -> int | None:
    """Number of packets of a video in which FFmpeg meets damage, which OpenCV conceals; None without PyAV.

    Decodes the whole video. ``_modified_ns`` tells one content of the file from another.
    """
    try:
        import av
    except ImportError:
        return None
    count = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            make_strict(stream.codec_context)
            for packet in container.demux(stream):
                try:
                    decode_strictly(packet.decode, stream.codec_context.name, bytes(packet))
                except ImageError:
                    count += 1
    except (OSError, ValueError, IndexError):  # not a file of PyAV's FFmpeg
        return None
    return count


def _stated_count(video: cv2.VideoCapture) -> int:
    """Number of frames that the file states; 0 if it does not."""
    count = video.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if np.isfinite(count) and 1.0 <= count < 1e9 else 0


def _rate_holds(video: cv2.VideoCapture, rate: float) -> bool:
    """Whether the first frames come at this rate, by their times."""
    times_ms: list[float] = []
    while len(times_ms) < _CHECKED_FRAMES and video.grab():
        times_ms.append(video.get(cv2.CAP_PROP_POS_MSEC))
    periods = len(times_ms) - 1
    return periods < 1 or abs((times_ms[-1] - times_ms[0]) / periods * rate / 1e3 - 1.0) < 0.1


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
