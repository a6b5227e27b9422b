"""The feature table as bytes, so that a later calibration can add a drive without the old recordings."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..errors import BundleError
from ..features import FrameFeatures
from .feature_table import FeatureTable

_FEATURE = "feature."


def pack_table(table: FeatureTable) -> bytes:
    """Pack a table as safetensors: float32 rows ``feature.<name>``, stamps, indices of drives and cameras, and their names."""
    drives, cameras = list(table.drive_names), sorted(set(table.cameras))
    names = {"drives": drives, "cameras": cameras, "assumed_rates_hz": dict(table.assumed_rates_hz)}
    arrays: dict[str, NDArray[Any]] = {
        **{_FEATURE + name: np.ascontiguousarray(rows, np.float32) for name, rows in table.features.rows.items()},
        "stamps_ns": np.ascontiguousarray(table.stamps_ns, np.int64),
        "drive": np.array([drives.index(name) for name in table.drives], np.int32),
        "camera": np.array([cameras.index(name) for name in table.cameras], np.int32),
        "names": np.frombuffer(json.dumps(names).encode(), np.uint8),
    }
    return save(arrays)


def unpack_table(data: bytes) -> FeatureTable:
    """Rebuild a table from ``pack_table``. Raises ``BundleError`` for other or damaged data."""
    try:
        arrays = load(data)
        names = json.loads(arrays["names"].tobytes())
        drives = tuple(str(names["drives"][index]) for index in arrays["drive"])
        cameras = tuple(str(names["cameras"][index]) for index in arrays["camera"])
        rates = {str(name): float(rate) for name, rate in names["assumed_rates_hz"].items()}
        rows = {key.removeprefix(_FEATURE): value for key, value in arrays.items() if key.startswith(_FEATURE)}
        stamps = np.asarray(arrays["stamps_ns"], np.int64)
    except (KeyError, IndexError, TypeError, ValueError, SafetensorError) as error:
        raise BundleError(
            f"the bundle's calibration table cannot be read ({error!r}); calibrate again from all drives."
        ) from error
    lengths = {len(drives), len(cameras), *(len(values) for values in rows.values())}
    if not rows or lengths != {len(stamps)}:
        raise BundleError(
            "the bundle's calibration table has columns of different lengths; calibrate again from all drives."
        )
    return FeatureTable(FrameFeatures(rows), stamps, cameras, drives, rates)
