"""Mutated pictures, raw messages and video packets through the decoders: a picture or a sentence, and soon.

``python -m support.picture_fuzzing 20000`` (in ``test/``, with the repository on PYTHONPATH) runs as many as wanted. A crash
of a C library ends the process; a decoder that hangs ends it as well, with a traceback.
"""

from __future__ import annotations

import faulthandler
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from ls_ood_monitor.errors import ImageError
from ls_ood_monitor.vision.image_codec import ENCODINGS
from ls_ood_monitor.vision.image_decoder import ImageDecoder

Random = np.random.Generator
#: No picture may take longer.
LIMIT_S = 10.0
_FILES = (".jpg", ".png", ".webp", ".bmp", ".tiff", ".avif")
_PACKETS = 12


@dataclass
class PictureOutcome:
    """What became of the mutated pictures, by kind."""

    pictures: Counter[str] = field(default_factory=Counter)
    sentences: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)  # any other answer
    longest_s: float = 0.0
    longest: str = ""  # its kind and number


def fuzz_pictures(count: int, seed: int = 0) -> PictureOutcome:
    """Decode ``count`` mutated images."""
    random, outcome = np.random.default_rng(seed), PictureOutcome()
    sources = [*_compressed(), *_video(), _raw]
    decoders: dict[str, ImageDecoder] = {}
    for index in range(count):
        kind, message = sources[index % len(sources)](random)
        if kind not in decoders or random.random() < 0.02:
            decoders[kind] = ImageDecoder()  # else it goes on with what the packets before did to it
        faulthandler.dump_traceback_later(2 * LIMIT_S, exit=True)
        began = time.monotonic()
        try:
            image = decoders[kind].decode(message)
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                outcome.faults.append(f"{kind} {index}: {image.dtype} {image.shape}")
            outcome.pictures[kind] += 1
        except ImageError as error:
            if not str(error).endswith("."):
                outcome.faults.append(f"{kind} {index}: no sentence: {error}")
            outcome.sentences[kind] += 1
        except Exception as error:
            outcome.faults.append(f"{kind} {index}: {error!r}")
        took_s = time.monotonic() - began
        if took_s > outcome.longest_s:
            outcome.longest_s, outcome.longest = took_s, f"{kind} {index}"
    faulthandler.cancel_dump_traceback_later()
    return outcome


def _mutated(data: bytes, random: Random) -> bytes:
    """The data with bits flipped, a piece overwritten, removed, repeated or cut off, or with something behind them."""
    content = bytearray(data)
    start, length = int(random.integers(len(content))), int(random.integers(1, 200))
    way = random.integers(7)
    if way == 0:
        for position in random.integers(len(content), size=int(random.integers(1, 20))):
            content[position] ^= 1 << int(random.integers(8))
    elif way == 1:
        content[start : start + length] = random.bytes(min(length, len(content) - start))
    elif way == 2:
        del content[start : start + length]
    elif way == 3:
        content[start:start] = content[start : start + length]
    elif way == 4:
        del content[start:]
    elif way == 5:
        content += random.bytes(length)
    else:  # the header, where the sizes stand
        content[int(random.integers(min(64, len(content))))] = int(random.integers(256))
    return bytes(content)


def _picture(random: Random) -> np.ndarray:
    small = random.integers(0, 256, (8, 10, 3), dtype=np.uint8)
    return cv2.resize(small, (80, 64))


def _compressed() -> Iterator[Callable[[Random], tuple[str, Any]]]:
    """Makers of mutated files, in the formats that this OpenCV writes."""
    random = np.random.default_rng(1)
    for suffix in _FILES:
        try:
            files = [cv2.imencode(suffix, _picture(random))[1].tobytes()]
        except cv2.error:
            continue
        if suffix == ".jpg":
            for option in (cv2.IMWRITE_JPEG_PROGRESSIVE, cv2.IMWRITE_JPEG_RST_INTERVAL):
                files.append(cv2.imencode(suffix, _picture(random), [option, 1])[1].tobytes())
        if suffix in (".png", ".tiff"):
            files.append(cv2.imencode(suffix, _picture(random).astype(np.uint16) * 16)[1].tobytes())

        def make(random: Random, suffix: str = suffix, files: list[bytes] = files) -> tuple[str, Any]:
            data = _mutated(files[int(random.integers(len(files)))], random)
            return suffix, SimpleNamespace(format=suffix, data=data)

        yield make


def _video() -> Iterator[Callable[[Random], tuple[str, Any]]]:
    """Makers of mutated packets; none without PyAV."""
    try:
        import av
    except ImportError:
        return
    for codec, encoder in (("h264", "libx264"), ("hevc", "libx265"), ("vp9", "libvpx-vp9")):
        context = av.CodecContext.create(encoder, "w")
        context.width, context.height, context.pix_fmt, context.time_base = 80, 64, "yuv420p", Fraction(1, 10)
        context.framerate, context.gop_size = 10, 5
        context.options = (
            {"tune": "zerolatency", "x265-params": "log-level=none"} if codec != "vp9" else {"lag-in-frames": "0"}
        )
        random, packets = np.random.default_rng(2), []
        for _ in range(_PACKETS):
            packets += [bytes(p) for p in context.encode(av.VideoFrame.from_ndarray(_picture(random), format="bgr24"))]

        def make(random: Random, codec: str = codec, packets: list[bytes] = packets) -> tuple[str, Any]:
            data = packets[int(random.integers(len(packets)))]
            data = _mutated(data, random) if random.random() < 0.5 else data
            return f"packet of {codec}", SimpleNamespace(format=codec, data=data)

        yield make


def _raw(random: Random) -> tuple[str, Any]:
    """A raw message of a random encoding with some of its fields changed."""
    name = list(ENCODINGS)[int(random.integers(len(ENCODINGS)))]
    width, height = (2 * int(random.integers(1, 40)) for _ in range(2))
    step = width * ENCODINGS[name].bytes_per_pixel + int(random.integers(3))
    message = SimpleNamespace(
        height=height,
        width=width,
        step=step,
        encoding=name,
        is_bigendian=int(random.integers(2)),
        data=random.bytes(step * height * 3 // 2 if ENCODINGS[name].planes else step * height),
    )
    for _ in range(int(random.integers(3))):
        part = ("height", "width", "step", "encoding", "data")[int(random.integers(5))]
        if part == "encoding":
            message.encoding = [*ENCODINGS, "", "32FC1", "\0", "rgb8 "][int(random.integers(len(ENCODINGS) + 4))]
        elif part == "data":
            message.data = _mutated(message.data or b"\0", random)
        else:
            setattr(message, part, int(random.choice([0, 1, 2, 3, 7, 65535, 2**31, 2**32 - 1, width, height])))
    return "raw", message


if __name__ == "__main__":
    result = fuzz_pictures(int(sys.argv[1]))
    print(f"pictures {dict(result.pictures)}\nsentences {dict(result.sentences)}")
    print(f"longest {result.longest_s:.2f} s, {result.longest}")
    print(f"faults {len(result.faults)}", *result.faults[:20], sep="\n")
    sys.exit(bool(result.faults))
