"""The network's part of the monitor: pictures in; detector features, segmentation and confidence out.

Tensors become arrays here.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from .config import Checked, setting
from .core.detectors import DETECTORS, Detector, Head, detector_spec
from .engines import CELLS, SCORE, DecoderOutput, EngineFacts, EnginePass, FeatureRows
from .errors import ConfigError
from .features import ENCODER_FEATURES, FrameFeatures, check_features
from .vision.preprocess import PreprocessSpec, resize_image

T = TypeVar("T")


@dataclass(frozen=True)
class LatentSettings(Checked):
    """How latents are sampled. Detectors are fitted to these samples, so the bundle stores the settings."""

    mc_samples: int = setting(64, "Monte-Carlo samples M, masks in the bank", low=2, high=4096)
    mask_seed: int = setting(0, "seed of the mask bank", low=0, high=2**31 - 1)
    masks: str = setting(
        "fixed",
        "one bank for all frames, or fresh masks for each frame as in the reference",
        choices=("fixed", "fresh"),
    )


@dataclass(frozen=True)
class StoredNetwork:
    """What a bundle keeps of a network.

    Attributes:
        settings: entry ``network`` of the manifest.
        files: content of the network's files by name.
        arrays: further arrays for ``monitor.safetensors``.
    """

    settings: Mapping[str, Any]
    files: Mapping[str, bytes]
    arrays: Mapping[str, NDArray[Any]]


class FramePass(ABC):
    """Runs a network on batches of pictures. A subclass knows the network (``networks``).

    Attributes:
        device: runs the network.
        preprocess_spec: size and normalisation.
        features: names of the features to compute (``features.FEATURES``).
        engine: runs the network's graphs.
        masks: ``fixed``: one mask bank for every frame; ``fresh``: other masks for each frame.
    """

    masks = "fixed"

    def __init__(
        self, device: torch.device, preprocess_spec: PreprocessSpec, features: Iterable[str], engine: EngineFacts
    ) -> None:
        self.device, self.preprocess_spec, self.engine = device, preprocess_spec, engine
        self.features = check_features(features)
        if missing := set(self.features) - self.available:
            raise ConfigError(f"this network cannot give {', '.join(sorted(missing))}; it gives {self._given()}.")

    @property
    @abstractmethod
    def available(self) -> frozenset[str]:
        """Names of the features that this network can give."""

    @property
    @abstractmethod
    def head(self) -> Head:
        """The network's last layer, for detectors that need it; without channels where it is not known."""

    def require_detectors(self, names: Iterable[str]) -> None:
        """Raise ``ConfigError`` for a detector that reads a feature which this network cannot give."""
        for name in names:
            if (feature := detector_spec(name).feature) not in self.available:
                fitting = [own for own, spec in DETECTORS.items() if spec.feature in self.available]
                raise ConfigError(
                    f"detector {name} reads {feature}, which this network cannot give (it gives {self._given()}); "
                    f"choose among {', '.join(fitting)}."
                )

    def _given(self) -> str:
        return ", ".join(sorted(self.available))

    @property
    @abstractmethod
    def classes(self) -> int:
        """Number of classes of the segmentation."""

    @abstractmethod
    def with_features(self, features: Iterable[str]) -> FramePass:
        """The same pass for other features."""

    def with_scores(self, detectors: Mapping[str, Detector]) -> FramePass:
        """The same pass, which scores those of these detectors that its engine can score; see ``PendingPass.scored``."""
        return self

    @abstractmethod
    def without_monitor(self) -> Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.uint8]]:
        """The network alone, as a vehicle runs it without a monitor: pictures -> class ids (N, height, width)."""

    @abstractmethod
    def stored(self) -> StoredNetwork:
        """What a bundle keeps of this network."""

    @abstractmethod
    def _start(self, pixels: NDArray[np.uint8], *, decode: bool) -> EnginePass:
        """Start the engine on BGR uint8 pixels (N, height, width, 3) at the network's size."""

    def begin(self, images: Sequence[NDArray[np.uint8]], *, decode: bool = True) -> PendingPass:
        """Start the network on N >= 1 BGR uint8 pictures (H, W, 3) of any sizes.

        ``decode``: the segmentation will be read, so a GPU starts the decoder at once.
        """
        pixels = self._resized(images)
        decode = decode or not ENCODER_FEATURES.issuperset(self.features)
        began_ns = time.perf_counter_ns()
        run = self._start(pixels, decode=decode)
        return PendingPass(run, self.features, (time.perf_counter_ns() - began_ns) / 1e6)

    def _resized(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """(N, height, width, 3) at the network's size."""
        # np.stack copies: a picture that already has the network's size may be a message's read-only memory.
        return np.stack([resize_image(image, self.preprocess_spec) for image in images])

    def features_of(self, images: Sequence[NDArray[np.uint8]]) -> FrameFeatures:
        """The features of N pictures, without the segmentation; the decoder runs only if a feature needs it."""
        return self.begin(images, decode=False).features


class PendingPass:
    """One run of the network over N pictures. Read its results before the next run begins.

    Attributes:
        network_ms: time that the engine has taken so far, to begin and to give the results that were read.
    """

    def __init__(self, run: EnginePass, names: Sequence[str], network_ms: float = 0.0) -> None:
        self._run, self._names, self.network_ms = run, names, network_ms

    @cached_property
    def features(self) -> FrameFeatures:
        """Detector inputs; waits for the decoder only if one of them needs it."""
        rows = dict(self._encoder_rows)
        if any(name not in rows for name in self._names):
            rows |= self._decoder_output.rows
        return FrameFeatures({name: rows[name] for name in self._names})

    def scored(self, detector: str) -> tuple[NDArray[np.float64], NDArray[np.float64] | None] | None:
        """Scores (N,) and cell scores (N, 48) that the engine computed; None if it does not score this detector."""
        score = self._encoder_rows.get(f"{SCORE}{detector}")
        return None if score is None else (score, self._encoder_rows.get(f"{CELLS}{detector}"))

    @property
    def class_ids(self) -> NDArray[np.uint8]:
        """uint8 (N, height, width) at the network's input size."""
        return self._decoder_output.class_ids

    @property
    def confidence(self) -> NDArray[np.uint8] | None:
        """uint8 (N, h, w), largest softmax probability times 255, at the logits' own size; None without logits."""
        return self._decoder_output.confidence

    @cached_property
    def _encoder_rows(self) -> FeatureRows:
        return self._timed(self._run.encoder_rows)

    @cached_property
    def _decoder_output(self) -> DecoderOutput:
        return self._timed(self._run.decoder_output)

    def _timed(self, read: Callable[[], T]) -> T:
        began_ns = time.perf_counter_ns()
        try:
            return read()
        finally:
            self.network_ms += (time.perf_counter_ns() - began_ns) / 1e6
