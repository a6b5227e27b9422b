"""The clean frames as bytes, so that a later calibration can add a drive without the old recordings.

A row of features takes 32 KB. By default a table keeps those of few frames, spread evenly over the drives; every other frame
keeps its held-out scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..core.coded_names import CodedNames
from ..errors import BundleError
from ..features import FrameFeatures
from .feature_table import FeatureTable, HeldOutScores

#: What a bundle may keep: few features, those of the whole sample, or no table.
TABLES = ("thin", "all", "none")
#: Largest size of a thin table, bytes a frame.
BYTES_A_FRAME = 1000
MIN_FEATURES = 50
_HEAD_BYTES = 4000  # names of arrays and cameras
_FEATURE, _SCORE = "feature.", "score."


def thin_table(table: FeatureTable, scores: HeldOutScores) -> FeatureTable:
    """Keep the features of so few frames that the table takes at most ``BYTES_A_FRAME`` a frame, but of ``MIN_FEATURES``.

    Args:
        table: clean frames.
        scores: held-out scores of all frames.
    """
    column_bytes = 8 + 4 + 4 + 4 * sum(len(units) for units in scores.values())
    head_bytes = _HEAD_BYTES + sum(len(json.dumps(name)) + 2 for name in table.drives.names)
    row_bytes = 8 + sum(4 * rows[:1].size for rows in table.features.rows.values())
    fitting = ((BYTES_A_FRAME - column_bytes) * len(table) - head_bytes) // row_bytes
    kept = min(len(table.sampled), max(MIN_FEATURES, fitting))
    return _with_features(table, scores, np.linspace(0, len(table.sampled) - 1, kept).round().astype(np.int64))


def whole_table(table: FeatureTable, scores: HeldOutScores) -> FeatureTable:
    """Keep the features of the whole sample, and the held-out scores of the other frames."""
    return _with_features(table, scores, np.arange(len(table.sampled)))


def _with_features(table: FeatureTable, scores: HeldOutScores, kept: NDArray[np.int64]) -> FeatureTable:
    has_all = len(kept) == len(table)
    return FeatureTable(
        FrameFeatures({name: rows[kept] for name, rows in table.features.rows.items()}),
        table.stamps_ns,
        table.cameras,
        table.drives,
        table.assumed_rates_hz,
        None if has_all else table.sampled[kept],
        {} if has_all else scores,
    )


def pack_table(table: FeatureTable) -> bytes:
    """Pack a table as safetensors.

    float32 rows ``feature.<name>`` of the frames in ``sample`` (absent: of all), stamps, indices of drives and cameras, their
    names, and float32 ``score.<detector>.<unit>``.
    """
    drives, cameras = _compact(table.drives), _compact(table.cameras)
    names = {"drives": drives.names, "cameras": cameras.names, "assumed_rates_hz": dict(table.assumed_rates_hz)}
    arrays: dict[str, NDArray[Any]] = {
        **{_FEATURE + name: np.ascontiguousarray(rows, np.float32) for name, rows in table.features.rows.items()},
        "stamps_ns": np.ascontiguousarray(table.stamps_ns, np.int64),
        "drive": drives.codes,
        "camera": cameras.codes,
        "names": np.frombuffer(json.dumps(names).encode(), np.uint8),
    }
    if table.sample is not None:
        arrays["sample"] = np.ascontiguousarray(table.sample, np.int64)
        for name, units in table.scores.items():
            for unit, values in units.items():
                arrays[f"{_SCORE}{name}.{unit}"] = np.ascontiguousarray(values, np.float32)
    return save(arrays)


def unpack_table(data: bytes) -> FeatureTable:
    """Rebuild a table from ``pack_table``. Raises ``BundleError`` for other or damaged data."""
    try:
        arrays = load(data)
        names = json.loads(arrays["names"].tobytes())
        drives = CodedNames(arrays["drive"], list(map(str, names["drives"])))
        cameras = CodedNames(arrays["camera"], list(map(str, names["cameras"])))
        rates = {str(name): float(rate) for name, rate in names["assumed_rates_hz"].items()}
        rows = {key.removeprefix(_FEATURE): value for key, value in arrays.items() if key.startswith(_FEATURE)}
        stamps = np.asarray(arrays["stamps_ns"], np.int64)
        sample = np.asarray(arrays["sample"], np.int64) if "sample" in arrays else None
        scores = _unpack_scores(arrays)
    except (KeyError, IndexError, TypeError, ValueError, SafetensorError) as error:
        raise BundleError(
            f"the bundle's calibration table cannot be read ({error!r}); calibrate again from all drives."
        ) from error
    columns = {len(drives), len(cameras), *(len(values) for units in scores.values() for values in units.values())}
    lengths = {len(values) for values in rows.values()}
    is_whole = columns == {len(stamps)} and lengths == {len(stamps) if sample is None else len(sample)}
    if not rows or not is_whole or (sample is not None and not _ascends_within(sample, len(stamps))):
        raise BundleError(
            "the bundle's calibration table has columns of different lengths; calibrate again from all drives."
        )
    return FeatureTable(FrameFeatures(rows), stamps, cameras, drives, rates, sample, scores)


def _compact(names: Any) -> CodedNames:
    """Codes of the names that have frames, in alphabetical order."""
    present, index = CodedNames.of(names).grouped()
    return CodedNames(index, present)


def _unpack_scores(arrays: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[np.float64]]]:
    scores: dict[str, dict[str, NDArray[np.float64]]] = {}
    for key, values in arrays.items():
        if key.startswith(_SCORE):
            name, unit = key.removeprefix(_SCORE).split(".")
            scores.setdefault(name, {})[unit] = values.astype(np.float64)
    return scores


def _ascends_within(index: NDArray[np.int64], count: int) -> bool:
    return len(index) > 0 and bool(index[0] >= 0 and index[-1] < count and (np.diff(index) > 0).all())
