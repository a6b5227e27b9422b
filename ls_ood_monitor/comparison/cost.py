"""Measures the time that detectors add to the network's pass, picture by picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter_ns
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.detectors import Detector, detector_spec
from ..features import NetworkPass, compute_features
from ..frame_pass import FramePass
from ..vision.mc_dropout import averaging_weights
from ..vision.preprocess import preprocess


@torch.inference_mode()
def measure_cost(
    frame_pass: FramePass, detectors: Mapping[str, Detector], pictures: Sequence[NDArray[np.uint8]]
) -> dict[str, Any]:
    """Measure the network's pass (encoder and decoder), each feature and each score, one picture at a time.

    Pictures are BGR uint8 (H, W, 3) at the network's size. The first one warms up and is not counted, unless it is the
    only one. Returns plain values; times are medians over the pictures, in milliseconds.
    """
    device = frame_pass.device
    averaging = averaging_weights(frame_pass.mask_bank).to(device)
    features = tuple(dict.fromkeys(detector_spec(name).feature for name in detectors))
    passes: list[float] = []
    feature_ms: dict[str, list[float]] = {name: [] for name in features}
    score_ms: dict[str, list[float]] = {name: [] for name in detectors}
    for picture in pictures:
        tensor = preprocess([picture], frame_pass.preprocess_spec, device)
        start = _now(device)
        run = NetworkPass(frame_pass.network, frame_pass.network.encode(tensor), averaging)
        _ = run.logits
        passes.append(_now(device) - start)
        for feature in features:
            start = _now(device)
            rows = compute_features(run, (feature,)).of(feature)
            feature_ms[feature].append(_now(device) - start)
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


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter_ns() * 1e-6


def _median(values: Sequence[float]) -> float:
    return float(np.median(values[1:] or values))
