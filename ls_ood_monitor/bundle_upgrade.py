"""Bundles of format 1, which version 0.1 wrote, under the names of format 2. Only names differ, no value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from safetensors.numpy import load, save

from .core.detectors import RENAMED_DETECTORS
from .errors import BundleError

T = TypeVar("T")

_ARRAYS = {
    "multitap.mean": "multistage.mean",
    "multitap.precision": "multistage.precision",
    "spatial.usual": "spatial.clean_median",
    "feature.taps": "feature.stage_means",
}
_THRESHOLD = {"usual": "clean_median"}
_RULE_SETTINGS = ("rule", "window_frames", "cusum_limit")


def upgrade_manifest(content: Mapping[str, Any]) -> dict[str, Any]:
    """Content of a manifest of format 1 under the new names; ``format_version`` and ``files`` stay those on disk."""
    thresholds = {
        RENAMED_DETECTORS.get(name, name): _renamed(values, _THRESHOLD)
        for name, values in content["thresholds"].items()
    }
    provenance = {
        key: _renamed(value, RENAMED_DETECTORS) if key.startswith("check_on_unseen_") else value
        for key, value in content["provenance"].items()
    }
    if "detectors" in provenance.get("calibration", {}):
        calibration = provenance["calibration"]
        provenance["calibration"] = {**calibration, "detectors": _renamed(calibration["detectors"], RENAMED_DETECTORS)}
    detector = RENAMED_DETECTORS.get(content["detector"], content["detector"])
    return {**content, "detector": detector, "thresholds": thresholds, "provenance": provenance}


def upgrade_alarm(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the alarm without the choice of a rule that bundles before version 0.3 hold.

    Raises:
        BundleError: a rule that is gone; its threshold fits no other.
    """
    rule = values.get("rule", "consecutive")
    if rule != "consecutive":
        raise BundleError(f"its alarm rule is {rule!r}, which the lasting path has replaced")
    if "lasting_time_constant_s" in values:
        raise BundleError("its lasting alarm is a mean over seconds, which a median has replaced")
    return {name: value for name, value in values.items() if name not in _RULE_SETTINGS}


def upgrade_arrays(data: bytes) -> bytes:
    """Content of ``monitor.safetensors`` or ``calibration.safetensors`` of format 1 under the new names."""
    return save(_renamed(load(data), _ARRAYS))


def _renamed(values: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    return {names.get(key, key): value for key, value in values.items()}
