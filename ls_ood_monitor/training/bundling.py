"""From a trained network and clean drives to a bundle, with its false alarms checked on drives it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..calibration.calibrated_bundle import CalibratedBundle, ProgressFactory, write_calibrated_bundle
from ..calibration.settings import CalibrationSettings
from ..core.detectors import DEFAULT_DETECTORS
from ..monitor import FramePass, LatentSettings
from ..recordings.drive_source import DriveSource
from ..vision.deeplabv3p import DeepLabV3Plus
from ..vision.mc_dropout import draw_mask_bank, run_time_dropblock
from ..vision.preprocess import PreprocessSpec


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
    calibration: Sequence[DriveSource],
    check: Sequence[DriveSource],
    settings: CalibrationSettings,
    *,
    detector: str,
    provenance: Mapping[str, Any],
    device: torch.device | str,
    progress: ProgressFactory,
    with_table: bool = True,
) -> CalibratedBundle:
    """Draw the mask bank, calibrate with whole drives held out, check on further drives, save.

    Raises:
        CalibrationError: fewer than two drives to calibrate on, or too few frames for the target.
    """
    return write_calibrated_bundle(
        out,
        FramePass(network, spec, draw_bank(network.to(device), spec, latents), device, masks=latents.masks),
        latents,
        class_names,
        calibration,
        settings,
        detector=detector,
        names=DEFAULT_DETECTORS,
        provenance=provenance,
        progress=progress,
        check=check,
        with_table=with_table,
    )
