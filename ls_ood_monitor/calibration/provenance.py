"""What a bundle records about its calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from .calibrate import DetectorCalibration
from .feature_table import FeatureTable, blocks_of_time, clean_video, summarise
from .settings import CalibrationSettings


def provenance_of(
    table: FeatureTable, settings: CalibrationSettings, fitted: Mapping[str, DetectorCalibration]
) -> dict[str, Any]:
    """Describe the data, settings and results of a calibration, for a bundle's provenance. Plain values for JSON."""
    target: dict[str, Any] = (
        {"rate": settings.target_rate} if settings.target_per_hour is None else {"per_hour": settings.target_per_hour}
    )
    return {
        **summarise(table),
        "blocks": len(np.unique(blocks_of_time(table, settings.block_s))),
        "block_s": settings.block_s,
        "hours": clean_video(table).hours,
        "target": target,
        "hold_out": settings.hold_out,
        "alarm": asdict(settings.alarm),
        "allow_small": settings.allow_small,
        "detectors": {name: result.facts() for name, result in fitted.items()},
    }
