"""Runs a network by others in ONNX Runtime: its file as it is, with the monitor's own nodes appended.

A file of the ONNX format is a protobuf message, and messages are merged by joining their bytes. So the original stays as it is,
byte by byte, and a vehicle needs no package that edits graphs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.entropy import latent_entropies
from ..core.grid import GRID
from ..engines import DecoderOutput, FeatureRows
from ..engines.onnx_engine import open_session
from ..errors import ConfigError
from ..features import cell_channels
from ..vision import uncertainty
from ..vision.deeplabv3p import upsample
from ..vision.preprocess import PreprocessSpec, resize_labels
from .adopted_settings import AdoptedSettings, InputSettings, TapSettings

Values = NDArray[np.float64]
#: Outputs of the appended nodes: of tap 0, 1, ..., of the latent's tap, and its Monte-Carlo samples.
TAP, LATENT_TAP, LATENTS = "ls_ood.tap.", "ls_ood.latent_tap", "ls_ood.latents"
#: Rows and columns of a pooled tap: the cells of ``GRID``; the last row and column belong to the mean of the whole map.
POOLED = (GRID[0] + 1, GRID[1] + 1)

_OF_SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "msp": uncertainty.msp,
    "energy": uncertainty.energy,
    "gen": uncertainty.gen,
    "predictive_entropy": uncertainty.predictive_entropy,
}
_OF_LATENTS = frozenset({"entropies", "latent_means"})


def available_features(settings: AdoptedSettings) -> frozenset[str]:
    """Features that a network gives with these settings."""
    names = {"stage_means", "cells"}
    if settings.latents is not None:
        names |= _OF_LATENTS
    if settings.output.scores:
        names |= _OF_SCORES.keys()
    return frozenset(names)


class AdoptedEngine:
    """Runs an adopted network.

    Args:
        graph: the network's file.
        additions: the appended nodes; empty = the network alone, which gives no features.
        settings: of the network.
        spec: size and normalisation.
        device: runs the network.
        threads: CPU threads of ONNX Runtime; 0 = as many as torch uses.

    Raises:
        ConfigError: ONNX Runtime cannot run on this device.
        MonitorError: ONNX Runtime cannot use the graph.
    """

    name = "onnx"
    precision = "fp32"
    reentrant = True

    def __init__(
        self,
        graph: bytes,
        additions: bytes,
        settings: AdoptedSettings,
        spec: PreprocessSpec,
        device: torch.device,
        threads: int = 0,
    ) -> None:
        self._settings, self._spec = settings, spec
        self._session = open_session(graph + additions, device, threads)
        self._outputs = tuple(output.name for output in self._session.get_outputs())
        self.preferred_batch_size = (4 if device.type == "cpu" else sys.maxsize) if settings.input.batch else 1

    def begin(self, pixels: NDArray[np.uint8], features: Sequence[str] = ()) -> AdoptedRun:
        """Run BGR uint8 pictures (N, height, width, 3). ``features`` are those that ``encoder_rows`` and the decoder give."""
        values = network_input(pixels, self._settings.input, self._spec)
        batches = [values] if self._settings.input.batch else [values[i : i + 1] for i in range(len(values))]
        runs = [self._session.run(self._outputs, {self._settings.input.name: batch}) for batch in batches]
        outputs = {name: np.concatenate(parts) for name, *parts in zip(self._outputs, *runs, strict=True)}
        return AdoptedRun(outputs, self._settings, self._spec, features)


class AdoptedRun:
    """One run of an adopted network; see ``EnginePass``."""

    def __init__(
        self,
        outputs: dict[str, NDArray[Any]],
        settings: AdoptedSettings,
        spec: PreprocessSpec,
        features: Sequence[str],
    ) -> None:
        self._outputs, self._settings, self._spec = outputs, settings, spec
        self._features = features

    def encoder_rows(self) -> FeatureRows:
        """The features that are means or samples of taps."""
        return {name: self._row(name) for name in self._features if name not in _OF_SCORES}

    def decoder_output(self) -> DecoderOutput:
        """The segmentation, and the features of the scores."""
        rows = {name: self._of_scores(name) for name in self._features if name in _OF_SCORES}
        return DecoderOutput(self.class_ids(), self._confidence(), rows)

    def class_ids(self) -> NDArray[np.uint8]:
        """uint8 (N, height, width) at the network's input size."""
        size = self._spec.height, self._spec.width
        if not self._settings.output.decisive:
            return np.zeros((len(next(iter(self._outputs.values()))), *size), np.uint8)
        if name := self._settings.output.class_ids:
            values = self._outputs[name]
            ids = values.reshape(len(values), *values.shape[-2:]).astype(np.uint8)
            if ids.shape[1:] == size:
                return ids
            return np.stack([resize_labels(plane, self._spec.width, self._spec.height) for plane in ids])
        scores = self._given_scores if self._given_scores.shape[2:] == size else upsample(self._given_scores, size)
        return scores.argmax(dim=1).to(torch.uint8).numpy()

    def differs_from(self, other: AdoptedRun) -> float:
        """Share of pixels of another class than in a run of the same pictures; without classes, of other outputs."""
        if self._settings.output.decisive:
            return float((self.class_ids() != other.class_ids()).mean())
        pairs = [(values, self._outputs[name]) for name, values in other._outputs.items()]
        return float(np.mean([not np.allclose(one, two, rtol=1e-3, atol=1e-5, equal_nan=True) for one, two in pairs]))

    def _confidence(self) -> NDArray[np.uint8] | None:
        if not self._settings.output.scores:
            return None
        largest = self._logits.softmax(dim=1).amax(dim=1).nan_to_num(0.0)
        return (largest * 255.0).round().to(torch.uint8).numpy()

    @cached_property
    def _given_scores(self) -> Tensor:
        """(N, classes, h, w), as the network gives them."""
        output = self._settings.output
        values = torch.from_numpy(np.ascontiguousarray(self._outputs[output.scores], np.float32))
        return values.permute(0, 3, 1, 2) if output.scores_layout == "NHWC" else values

    @cached_property
    def _logits(self) -> Tensor:
        """(N, classes, h, w)."""
        scores = self._given_scores
        return scores.clamp(min=1e-12).log() if self._settings.output.are_probabilities else scores

    def _of_scores(self, name: str) -> Values:
        return _OF_SCORES[name](self._logits).mean(dim=(1, 2))[:, None].double().numpy()

    def _row(self, name: str) -> Values:
        if name == "entropies":
            samples = self._outputs[LATENTS]
            if self._latent_tap.layout == "NCHW":
                samples = samples.transpose(0, 2, 1)
            return latent_entropies(samples)
        if name == "latent_means":
            return self._pooled(LATENT_TAP, self._latent_tap)[:, -1, -1].astype(np.float64)
        taps = [self._pooled(f"{TAP}{index}", tap) for index, tap in enumerate(self._settings.taps)]
        if name == "stage_means":
            return np.concatenate([tap[:, -1, -1] for tap in taps], axis=1).astype(np.float64)
        cells = [tap[:, :-1, :-1].reshape(len(tap), -1, tap.shape[-1]) for tap in taps]
        chosen = [own[..., cell_channels(own.shape[-1]).numpy()] for own in cells]
        return np.concatenate(chosen, axis=2).astype(np.float64)

    @property
    def _latent_tap(self) -> TapSettings:
        if self._settings.latents is None:  # no feature that is available needs it
            raise ConfigError("this network was adopted without latents.")
        return self._settings.latents

    def _pooled(self, output: str, tap: TapSettings) -> NDArray[np.float32]:
        """(N, *POOLED, C): means of the cells, and in the last row and column the mean of the whole map."""
        values = self._outputs[output]
        if tap.layout == "NCHW":
            values = values.transpose(0, 2, 3, 1)
        return np.asarray(values, np.float32).reshape(len(values), *POOLED, tap.channels)


def network_input(pixels: NDArray[np.uint8], settings: InputSettings, spec: PreprocessSpec) -> NDArray[Any]:
    """BGR uint8 (N, height, width, 3) -> the network's input, (N, 3, height, width) or (N, height, width, 3).

    Values of uint8 stay as they are; others are normalised, (value / 255 - mean) / std.
    """
    ordered = pixels[..., ::-1] if settings.colour == "rgb" else pixels
    nchw = settings.layout == "NCHW"
    values = np.ascontiguousarray(ordered.transpose(0, 3, 1, 2) if nchw else ordered)
    if settings.type == "uint8":
        return values
    order = slice(None) if settings.colour == "rgb" else slice(None, None, -1)  # mean and std are RGB
    mean, std = (np.array(own[order], np.float32) * np.float32(255.0) for own in (spec.mean, spec.std))
    normalised = values.astype(np.float32)
    # Along the longest axis: numpy takes a hundred times as long for three values in a row.
    planes = normalised if nchw else normalised.reshape(len(values), spec.height, -1)
    planes -= mean[:, None, None] if nchw else np.tile(mean, spec.width)
    planes /= std[:, None, None] if nchw else np.tile(std, spec.width)
    return normalised.astype(settings.type, copy=False)
