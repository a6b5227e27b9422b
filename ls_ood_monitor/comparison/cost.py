"""Measures the time that detectors add to the network's pass, picture by picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter_ns
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.detectors import Detector, detector_spec
from ..features import NetworkPass, compute_features
from ..frame_pass import FramePass
from ..networks.deeplab_pass import DeepLabPass
from ..vision.mc_dropout import averaging_weights
from ..vision.preprocess import preprocess

#: Feature -> its rows, and the time it takes beside the pass, ms.
_TimedFeature = Callable[[str], tuple[NDArray[np.float64], float]]
#: Picture -> time of the network's pass, ms, and the function that times features.
_Times = Callable[[NDArray[np.uint8]], tuple[float, _TimedFeature]]


@torch.inference_mode()
def measure_cost(
    frame_pass: FramePass, detectors: Mapping[str, Detector], pictures: Sequence[NDArray[np.uint8]]
) -> dict[str, Any]:
    """Measure the network's pass (encoder and decoder), each feature and each score, one picture at a time.

    Pictures are BGR uint8 (H, W, 3) at the network's size. The first one warms up and is not counted, unless it is the
    only one. Returns plain values; times are medians over the pictures, in milliseconds.
    """
    device = frame_pass.device
    timed = _deeplab_times(frame_pass) if isinstance(frame_pass, DeepLabPass) else _adopted_times(frame_pass)
    features = tuple(dict.fromkeys(detector_spec(name).feature for name in detectors))
    passes: list[float] = []
    feature_ms: dict[str, list[float]] = {name: [] for name in features}
    score_ms: dict[str, list[float]] = {name: [] for name in detectors}
    for picture in pictures:
        pass_ms, timed_feature = timed(picture)
        passes.append(pass_ms)
        for feature in features:
            rows, milliseconds = timed_feature(feature)
            feature_ms[feature].append(milliseconds)
            for name, detector in detectors.items():
                if detector_spec(name).feature == feature:
                    start = _now(device)
                    detector.score(rows)
                    score_ms[name].append(_now(device) - start)
    plain = _median(passes)
    medians = {name: _median(values) for name, values in feature_ms.items()}
    costs = {name: (_median(values), medians[detector_spec(name).feature]) for name, values in score_ms.items()}
    return {
        "frames": max(1, len(pictures) - 1),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "pass_ms": plain,
        "feature_ms": medians,
        "detectors": {
            name: {"score_ms": score, "feature_ms": feature, "share_of_pass": (score + feature) / plain}
            for name, (score, feature) in costs.items()
        },
    }


def _deeplab_times(frame_pass: DeepLabPass) -> _Times:
    """Encoder and decoder of eager torch, then each feature of their tensors."""
    device, averaging = frame_pass.device, averaging_weights(frame_pass.mask_bank).to(frame_pass.device)

    def timed(picture: NDArray[np.uint8]) -> tuple[float, _TimedFeature]:
        tensor = preprocess([picture], frame_pass.preprocess_spec, device)
        start = _now(device)
        run = NetworkPass(frame_pass.network, frame_pass.network.encode(tensor), averaging)
        _ = run.logits
        pass_ms = _now(device) - start

        def feature(name: str) -> tuple[NDArray[np.float64], float]:
            start = _now(device)
            rows = compute_features(run, (name,)).of(name)
            return rows, _now(device) - start

        return pass_ms, feature

    return timed


def _adopted_times(frame_pass: FramePass) -> _Times:
    """The network without taps, then what a pass with taps and a feature takes more. Noise can make that less than 0."""
    plain = frame_pass.without_monitor()

    def timed(picture: NDArray[np.uint8]) -> tuple[float, _TimedFeature]:
        start = perf_counter_ns()
        _ = plain([picture])
        pass_ms = (perf_counter_ns() - start) * 1e-6

        def feature(name: str) -> tuple[NDArray[np.float64], float]:
            start = perf_counter_ns()
            rows = frame_pass.with_features((name,)).features_of([picture]).of(name)
            return rows, (perf_counter_ns() - start) * 1e-6 - pass_ms

        return pass_ms, feature

    return timed


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter_ns() * 1e-6


def _median(values: Sequence[float]) -> float:
    return float(np.median(values[1:] or values))
