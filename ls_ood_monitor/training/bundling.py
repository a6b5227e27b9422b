"""Calibrate a trained network on clean drives, check its false alarms on unseen drives, and write a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..calibration.calibrated_bundle import CalibratedBundle, ProgressFactory, write_calibrated_bundle
from ..calibration.settings import CalibrationSettings
from ..core.detectors import DEFAULT_DETECTORS
from ..frame_pass import FramePass, LatentSettings
from ..recordings.drive_source import DriveSource
from ..vision.deeplabv3p import DeepLabV3Plus
from ..vision.mc_dropout import draw_mask_bank, inference_dropblock
from ..vision.preprocess import PreprocessSpec


def _draw_bank(network: DeepLabV3Plus, spec: PreprocessSpec, latents: LatentSettings) -> torch.Tensor:
    """Draw the masks of a network at an input size, with the DropBlock settings of its training.

    A network without random layers gets the reference's run-time masks (``inference_dropblock``).
    """
    device = next(network.parameters()).device
    with torch.inference_mode():
        # The network knows the size of its feature map.
        rows, columns = network.eval().encode(torch.zeros(1, 3, spec.height, spec.width, device=device)).high.shape[2:]
    block, prob = inference_dropblock(network.settings.dropblock_size, network.settings.dropblock_prob, rows, columns)
    return draw_mask_bank(latents.mc_samples, rows, columns, block_size=block, drop_prob=prob, seed=latents.mask_seed)


def make_bundle(
    out: Path,
    network: DeepLabV3Plus,
    spec: PreprocessSpec,
    latents: LatentSettings,
    class_names: tuple[str, ...],
    calibration: Sequence[DriveSource],
    check: Sequence[DriveSource],
    settings: CalibrationSettings,
    *,
    detector: str,
    provenance: Mapping[str, Any],
    device: torch.device | str,
    progress: ProgressFactory,
    table_kind: str = "thin",
) -> CalibratedBundle:
    """Draw the masks, calibrate with whole drives held out, check on further drives, and save.

    Raises:
        CalibrationError: fewer than two calibration drives, or too few frames for the target.
    """
    return write_calibrated_bundle(
        out,
        FramePass(network, spec, _draw_bank(network.to(device), spec, latents), device, masks=latents.masks),
        latents,
        class_names,
        calibration,
        settings,
        detector=detector,
        names=DEFAULT_DETECTORS,
        provenance=provenance,
        progress=progress,
        check=check,
        table_kind=table_kind,
    )
