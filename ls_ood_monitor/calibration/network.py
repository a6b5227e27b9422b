"""The network of a calibration: a pass at hand, or the bundle that another process loads it from; and its work in batches."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..bundle import OpenedBundle, open_bundle
from ..core.types import Frame
from ..errors import BundleError, CalibrationError
from ..features import FrameFeatures
from ..frame_pass import FramePass
from ..workers.threads import one_thread_each

#: Frames per pass of the network.
BATCH = 8
_BATCHES_AT_ONCE = 8


class NetworkSource(Protocol):
    """Gives the pass that computes the features."""

    @property
    def facts(self) -> list[Any]:
        """Plain values that decide the features."""
        ...

    def open(self) -> FramePass:
        """The pass; loaded once a process."""
        ...


@dataclass(frozen=True)
class LoadedNetwork:
    """A pass that this process holds; no other one can have it."""

    frame_pass: FramePass

    @property
    def facts(self) -> list[Any]:
        """Nothing that outlives the process."""
        return [id(self.frame_pass)]

    def open(self) -> FramePass:
        """The pass."""
        return self.frame_pass


@dataclass(frozen=True)
class BundleNetwork:
    """The network of a bundle, for this process and others.

    Attributes:
        bundle: folder, an absolute path; None = the embedded bundle.
        bundle_id: SHA-256 that the bundle must have, hex.
        device: ``auto``, ``cpu``, ``cuda``.
        engine: as in ``engines.ENGINES``.
        precision: as in ``engines.PRECISIONS``.
        features: features to compute.
    """

    bundle: Path | None
    bundle_id: str
    device: str
    engine: str
    precision: str
    features: tuple[str, ...]

    @property
    def facts(self) -> list[Any]:
        """The bundle's identity, features and engine; not where it lies."""
        return [self.bundle_id, self.device, self.engine, self.precision, self.features]

    def opened(self) -> OpenedBundle:
        """The bundle. Raises ``BundleError`` if it is another one."""
        return _opened(self.bundle, self.bundle_id, self.device, self.engine, self.precision)

    def open(self) -> FramePass:
        """The pass for the features."""
        return _pass_of(self)


@lru_cache(maxsize=1)
def _opened(bundle: Path | None, bundle_id: str, device: str, engine: str, precision: str) -> OpenedBundle:
    # One thread: there is a batch for each.
    opened = open_bundle(bundle, device=device, engine=engine, precision=precision, threads=1)
    found = opened.manifest.bundle_id
    if found != bundle_id:
        raise BundleError(
            f"the bundle {bundle or 'of the package'} on {platform.node()} is {found[:12]}, but "
            f"{bundle_id[:12]} was asked for; give every worker the same files."
        )
    return opened


@lru_cache(maxsize=1)
def _pass_of(network: BundleNetwork) -> FramePass:
    return network.opened().frame_pass.with_features(network.features)


class BatchedNetwork:
    """Computes the features of frames in batches, several batches at a time on a CPU; a context manager.

    Batches do not depend on the number of threads, so features do not.

    Args:
        frame_pass: network.
        threads: batches at a time on a CPU.
        on_features: called with the numbers and the features of each batch, in order, within ``add`` and ``finish``.
        batch: frames per pass.
    """

    def __init__(
        self,
        frame_pass: FramePass,
        threads: int,
        on_features: Callable[[list[int], FrameFeatures], None],
        batch: int = BATCH,
    ) -> None:
        self._frame_pass, self._on_features, self._batch = frame_pass, on_features, batch
        is_parallel = frame_pass.device.type == "cpu" and frame_pass.engine.reentrant and frame_pass.masks == "fixed"
        self._threads = max(1, min(threads, _BATCHES_AT_ONCE)) if is_parallel else 1
        self._numbers: list[int] = []
        self._frames: list[Frame] = []
        self._running: deque[tuple[list[int], list[Frame], Future[FrameFeatures]]] = deque()
        self._stack = ExitStack()

    def __enter__(self) -> BatchedNetwork:
        if self._frame_pass.device.type == "cpu":
            self._stack.enter_context(one_thread_each())
        self._pool = self._stack.enter_context(ThreadPoolExecutor(self._threads))
        self._stack.callback(self._pool.shutdown, wait=True, cancel_futures=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, number: int, frame: Frame) -> None:
        """Take a frame."""
        self._numbers.append(number)
        self._frames.append(frame)
        if len(self._frames) == self._batch:
            self._submit()

    def finish(self) -> None:
        """Compute what is left."""
        if self._frames:
            self._submit()
        while self._running:
            self._collect()

    def _submit(self) -> None:
        numbers, frames = self._numbers, self._frames
        self._numbers, self._frames = [], []
        future = self._pool.submit(self._frame_pass.features_of, [frame.image for frame in frames])
        self._running.append((numbers, frames, future))
        while len(self._running) > self._threads:
            self._collect()

    def _collect(self) -> None:
        numbers, frames, future = self._running.popleft()
        features = future.result()
        require_finite(features, frames, numbers[0])
        self._on_features(numbers, features)


def require_finite(features: FrameFeatures, frames: list[Frame], first: int = 0) -> None:
    """Refuse features that are not finite.

    Args:
        features: of the frames.
        frames: N frames.
        first: number of the first frame, for the message.

    Raises:
        CalibrationError: with the feature and the first such frame.
    """
    for name, values in features.rows.items():
        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if bad.any():
            index = int(bad.argmax())
            frame = frames[index]
            raise CalibrationError(
                f"{name} of frame {first + index} ({frame.camera}, stamp {frame.stamp_ns} ns) are not finite; "
                "the network's weights are damaged or its input is."
            )
