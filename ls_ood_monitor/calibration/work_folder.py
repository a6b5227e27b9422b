"""What a calibration has finished, on disk: after an interruption only the other drives are read."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from .. import __version__
from ..core.coded_names import CodedNames
from ..errors import DataError
from .clean_reading import FaultCounts
from .drive_passes import DriveCheck, DriveFrames

_SUFFIX = ".drive"
_FACTS = "facts"
Arrays = dict[str, NDArray[Any]]


def work_folder_of(out: Path) -> Path:
    """Where the calibration of a bundle keeps what it has finished: beside the bundle."""
    return out.with_name(f"{out.name}.unfinished")


def key_of(facts: object) -> str:
    """Key of a result: SHA-256, hex, of plain values that decide it and of the package's version."""
    return hashlib.sha256(json.dumps([__version__, facts], sort_keys=True).encode()).hexdigest()


class WorkFolder:
    """Results by key; a context manager. It is removed at the end, or kept if an error leaves finished drives in it.

    Args:
        path: of the folder.
        resume: keep what an earlier calibration has left; else it is removed.

    Raises:
        DataError: another calibration uses the folder, or it cannot be written.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self.path, self._resume = path, resume

    def __enter__(self) -> WorkFolder:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "lock").open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self._lock.close()
                raise DataError(f"another calibration is writing into {self.path}; wait for it, or end it.") from error
            except OSError:
                pass  # a file system without locks
            if not self._resume:
                for file in self.path.glob(f"*{_SUFFIX}"):
                    file.unlink()
        except OSError as error:
            raise _unwritable(self.path, error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._lock.close()
        if kind is None or not self.has_results:
            shutil.rmtree(self.path, ignore_errors=True)

    @property
    def has_results(self) -> bool:
        """Whether it holds a finished drive."""
        return any(self.path.glob(f"*{_SUFFIX}"))

    def get(self, key: str) -> Any:
        """The result of this key; None if there is none, or it is damaged."""
        try:
            return _unpacked(load((self.path / f"{key}{_SUFFIX}").read_bytes()))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: str, result: Any) -> None:
        """Keep a result. Raises ``DataError`` if it cannot be written, on a full disk for example."""
        place = self.path / f"{key}{_SUFFIX}"
        part = place.with_suffix(".part")
        try:
            part.write_bytes(save(_packed(result)))
            os.replace(part, place)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise _unwritable(place, error) from error


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(f"{error.filename or path} cannot be written: {error.strerror or error}.")


def _packed(result: Any) -> Arrays:
    if isinstance(result, DriveFrames):
        facts = {"cameras": result.cameras.names, **_plain(result.counts)}
        return {
            "stamps_ns": result.stamps_ns,
            "camera": result.cameras.codes,
            "usable": result.usable,
            "sample": result.sample,
            **{f"feature.{name}": np.ascontiguousarray(rows) for name, rows in result.features.items()},
            _FACTS: _as_bytes(facts),
        }
    if isinstance(result, DriveCheck):
        rows = {f"check.{name}": np.ascontiguousarray(values) for name, values in result.scores.items()}
        return {**rows, _FACTS: _as_bytes(_plain(result.counts))}
    return {
        f"score.{name}.{unit}": np.ascontiguousarray(values)
        for name, units in result.items()
        for unit, values in units.items()
    }


def _unpacked(arrays: Mapping[str, NDArray[Any]]) -> Any:
    if _FACTS not in arrays:
        scores: dict[str, dict[str, NDArray[np.float64]]] = {}
        for key, values in arrays.items():
            _, name, unit = key.split(".")
            scores.setdefault(name, {})[unit] = np.array(values)
        return scores
    facts = json.loads(arrays[_FACTS].tobytes())
    counts = FaultCounts(facts["images"], facts["left_out"])
    if "stamps_ns" not in arrays:
        return DriveCheck({key.removeprefix("check."): arrays[key] for key in arrays if key != _FACTS}, counts)
    features = {key.removeprefix("feature."): arrays[key] for key in arrays if key.startswith("feature.")}
    cameras = CodedNames(arrays["camera"], facts["cameras"])
    return DriveFrames(arrays["stamps_ns"], cameras, arrays["usable"], arrays["sample"], features, counts)


def _plain(counts: FaultCounts) -> dict[str, Any]:
    return {"images": dict(counts.images), "left_out": {name: dict(kinds) for name, kinds in counts.left_out.items()}}


def _as_bytes(facts: Mapping[str, Any]) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(facts).encode(), np.uint8)
