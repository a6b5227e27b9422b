"""Times one frame by each engine: the plain pass, the monitored frame, and the frame up to its alarm.

Every time starts with the picture at the network's size on the host and ends with results on the host. The *pass* is the
segmentation without a monitor, by the same engine: the vehicle needs it anyway. *To the alarm* ends when the alarm could be
published.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.alarm import AlarmFilter
from ..core.detectors import DEFAULT_DETECTORS
from ..core.types import Frame
from ..engines import ENGINES, PRECISIONS
from ..engines.verification import check_pictures
from ..errors import ConfigError, MonitorError
from ..frame_pass import FramePass
from ..monitor import OodMonitor
from ..vision.preprocess import normalise
from .random_network import RandomNetwork
from .timing import Timing, interleaved, ratio

#: Detectors of the monitored frame: one of each kind, then all default detectors.
MONITORED = {"larem": ("larem",), "spatial": ("spatial",), "all four": DEFAULT_DETECTORS}
PASS, ALARM = "pass", "to the alarm"
#: Called with network, pictures, mask bank, and a function entropies -> scores. Returns name -> a whole monitored frame.
Contenders = Callable[
    [torch.nn.Module, torch.Tensor, torch.Tensor, Callable[[NDArray[np.float64]], NDArray[np.float64]]],
    Mapping[str, Callable[[], object]],
]


@dataclass(frozen=True)
class EngineChoice:
    """An engine and its precision, written ``eager`` or ``compile:bf16``."""

    engine: str
    precision: str = "fp32"

    @staticmethod
    def parse(text: str) -> EngineChoice:
        """Parse the written form. Raises ``ConfigError`` for an unknown engine or precision."""
        engine, _, precision = text.strip().partition(":")
        choice = EngineChoice(engine, precision or "fp32")
        known = [name for name in ENGINES if name != "auto"]  # it would hide which engine was measured
        if choice.engine not in known or choice.precision not in PRECISIONS:
            raise ConfigError(
                f"{text!r} is no engine; it must be one of {', '.join(known)}, with {', '.join(PRECISIONS)} behind a colon."
            )
        return choice

    def __str__(self) -> str:
        return self.engine if self.precision == "fp32" else f"{self.engine}:{self.precision}"


def frame_work(
    subject: RandomNetwork,
    engines: Sequence[EngineChoice],
    batch: int = 1,
    monitored: Mapping[str, tuple[str, ...]] = MONITORED,
) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """Make the pieces of work to time.

    Args:
        subject: network to time.
        engines: engines to time it by.
        batch: pictures per frame, one of each camera.
        monitored: name -> detectors of a monitored frame; the last one is also timed up to its alarm.

    Returns:
        ``"<engine>, <name>"`` -> work; and engine -> reason, for engines that cannot run here.
    """
    work: dict[str, Callable[[], object]] = {}
    missing: dict[str, str] = {}
    for choice in engines:
        try:
            plain = subject.frame_pass(choice.engine, choice.precision, ())
            monitors = {
                name: subject.monitor(choice.engine, choice.precision, names) for name, names in monitored.items()
            }
        except MonitorError as error:
            missing[str(choice)] = str(error)
            continue
        images = [subject.picture] * batch
        work[f"{choice}, {PASS}"] = _pass(plain, images)
        for name, monitor in monitors.items():
            work[f"{choice}, {name}"] = _monitored(monitor, images, decode=True)
        work[f"{choice}, {ALARM}"] = _monitored(list(monitors.values())[-1], images, decode=False)
    return work, missing


def bundle_work(monitor: OodMonitor, batch: int = 1) -> dict[str, Callable[[], object]]:
    """Make the pieces of work to time of a bundle's own network: alone, monitored, and up to the alarm.

    The picture has the network's size; its content does not matter for the time.
    """
    picture = check_pictures(monitor.frame_pass.preprocess_spec)[0]
    images = [picture] * batch
    plain = monitor.frame_pass.without_monitor()
    name = monitor.engine_label
    return {
        f"{name}, {PASS}": lambda: plain(images),
        f"{name}, {monitor.detector}": _monitored(monitor, images, decode=True),
        f"{name}, {ALARM}": _monitored(monitor, images, decode=False),
    }


def plain_torch(subject: RandomNetwork) -> Callable[[], object]:
    """Make the pass in torch without any optimisation: default memory layout, no graph, float32."""
    network = copy.deepcopy(subject.network)
    pixels = torch.from_numpy(subject.picture[None].copy())

    @torch.inference_mode()
    def run() -> object:
        features = network.encode(normalise(pixels.to(subject.device), subject.spec))
        logits = network.decode(features.low, features.high, (subject.height, subject.width))
        return logits.argmax(dim=1).to(torch.uint8).cpu().numpy()

    return run


def peer_work(subject: RandomNetwork, contenders: Contenders) -> dict[str, Callable[[], object]]:
    """Make the frames of other implementations, on the same network. Their picture is already normalised and on the device.

    They get the conditions of our eager engine: on a CPU the fastest memory layout, on a GPU float32 with cuDNN's choice of
    algorithms.
    """
    network = copy.deepcopy(subject.network)
    if subject.device.type == "cpu":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    pixels = torch.from_numpy(subject.picture[None].copy()).to(subject.device)
    pictures = normalise(pixels, subject.spec)
    work = dict(contenders(network, pictures, subject.bank, subject.detectors["larem"].score))
    in_float32 = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
    return {name: in_float32(run) for name, run in work.items()} if subject.device.type == "cuda" else work


def measure_frames(
    work: Mapping[str, Callable[[], object]], repeats: int, base: str, done: Callable[[int], None] | None = None
) -> list[dict[str, Any]]:
    """Time the work in turns. A row per piece: its time, and its ratio to ``base`` and to its own engine's pass."""
    times = interleaved(work, repeats, done)
    own = {name: f"{name.rpartition(', ')[0]}, {PASS}" for name in work}
    return [
        {
            "name": name,
            "ms": vars(Timing.of(times[name])),
            "of_base": vars(ratio(times, name, base)),
            "of_own_pass": vars(ratio(times, name, own[name])) if own[name] in times else None,
        }
        for name in work
    ]


def _pass(frame_pass: FramePass, images: list[NDArray[np.uint8]]) -> Callable[[], object]:
    def run() -> object:
        begun = frame_pass.begin(images)
        return begun.class_ids, begun.confidence

    return run


def _monitored(monitor: OodMonitor, images: list[NDArray[np.uint8]], *, decode: bool) -> Callable[[], object]:
    """The monitored frame; without ``decode`` up to its alarm."""
    alarm = AlarmFilter(monitor.alarm, "front")
    frames = [Frame(image, 1, "front") for image in images]

    def run() -> object:
        begun = monitor.begin(frames, decode=decode)
        alarms = [alarm.update(1, verdict.score, verdict.threshold) for verdict in begun.verdicts]
        return (alarms, begun.network.class_ids, begun.network.confidence) if decode else alarms

    return run
