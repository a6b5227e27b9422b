"""From a trained network and clean frames to a bundle, with its false alarms checked on frames it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch

from ...bundle import save_bundle
from ...core.detectors import DEFAULT_DETECTORS, detector_spec
from ...core.threshold import wilson_interval
from ...monitor import FramePass, LatentSettings
from ...vision.deeplabv3p import DeepLabV3Plus
from ...vision.mc_dropout import draw_mask_bank, run_time_dropblock
from ...vision.preprocess import PreprocessSpec
from ..calibration import collect_features, fit_detectors, summarise
from .sources import CleanFrames


class ProgressFactory(Protocol):
    """Makes a progress display for a number of steps."""

    def __call__(self, title: str, total: int | None) -> AbstractContextManager[Any]:
        """A context whose value is told the number of steps done."""


def draw_bank(network: DeepLabV3Plus, spec: PreprocessSpec, latents: LatentSettings) -> torch.Tensor:
    """The mask bank for a network at an input size, with the DropBlock that the network was trained with.

    A network without random layer gets the reference's run-time masks (``run_time_dropblock``).
    """
    device = next(network.parameters()).device
    with torch.inference_mode():
        # The seam's size follows from the input size; ask the network rather than compute it.
        rows, columns = network.eval().encode(torch.zeros(1, 3, spec.height, spec.width, device=device)).high.shape[2:]
    block, prob = run_time_dropblock(network.settings.dropblock_size, network.settings.dropblock_prob, rows, columns)
    return draw_mask_bank(latents.mc_samples, rows, columns, block_size=block, drop_prob=prob, seed=latents.mask_seed)


def make_bundle(
    out: Path,
    network: DeepLabV3Plus,
    spec: PreprocessSpec,
    latents: LatentSettings,
    class_names: tuple[str, ...],
    calibration: CleanFrames,
    check: CleanFrames,
    *,
    detector: str,
    target_rate: float,
    allow_small: bool,
    provenance: Mapping[str, Any],
    device: torch.device | str,
    progress: ProgressFactory,
) -> tuple[str, dict[str, dict[str, float]]]:
    """Calibrate, check, save.

    Returns:
        identity of the bundle, and for each detector the frames of ``check`` above its threshold with the 95 % interval
        of their share (Wilson).

    Raises:
        CalibrationError: fewer than two sequences to calibrate on, or too few frames for ``target_rate``.
    """
    frame_pass = FramePass(network, spec, draw_bank(network.to(device), spec, latents), device, masks=latents.masks)
    with progress("Calibrating on unseen sequences", calibration.count) as update:
        table = collect_features(calibration.read(), frame_pass, progress=update)
    detectors, thresholds = fit_detectors(
        table,
        calibration.blocks,
        names=DEFAULT_DETECTORS,
        head=frame_pass.head,
        target_rate=target_rate,
        allow_small=allow_small,
    )
    with progress("Checking on further sequences", check.count) as update:
        test = collect_features(check.read(), frame_pass, progress=update)
    rates: dict[str, dict[str, float]] = {}
    for name, fitted in detectors.items():
        above = int((fitted.score(test.features.of(detector_spec(name).feature)) > thresholds[name].value).sum())
        low, high = wilson_interval(above, check.count)
        rates[name] = {"above": above, "frames": check.count, "low": low, "high": high}
    facts = {
        **provenance,
        "calibration": {**summarise(table), "blocks": len(set(calibration.blocks.tolist()))},
        "check_on_unseen_sequences": rates,
    }
    return save_bundle(out, frame_pass, latents, detectors, thresholds, detector, class_names, facts), rates
