"""Runs an adopted network in ONNX Runtime: its file, unchanged, and the monitor's own nodes appended to it.

A file of the ONNX format is a protobuf message, and messages are merged by joining their bytes. So the original stays as it is,
byte by byte, and a vehicle needs no package that edits graphs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.entropy import latent_entropies
from ..core.grid import GRID
from ..engines import DecoderOutput, FeatureRows
from ..engines.onnx_engine import open_session, run_session
from ..errors import ConfigError, MonitorError
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
        appended_nodes: empty = the network alone, which gives no features.
        settings: of the network.
        spec: size and normalisation.
        device: runs the network.
        threads: CPU threads of ONNX Runtime; 0 = as many as torch uses.

    Raises:
        ConfigError: ONNX Runtime cannot run on this device.
        MonitorError: ONNX Runtime cannot use the graph.
    """

    name = "onnx"
    precision = "native"  # that of the file
    reentrant = True

    def __init__(
        self,
        graph: bytes,
        appended_nodes: bytes,
        settings: AdoptedSettings,
        spec: PreprocessSpec,
        device: torch.device,
        threads: int = 0,
    ) -> None:
        self._settings, self._spec = settings, spec
        self._session = open_session(graph + appended_nodes, device, threads, reproducible=True)
        self._outputs = tuple(output.name for output in self._session.get_outputs())
        self.preferred_batch_size = (4 if device.type == "cpu" else sys.maxsize) if settings.input.batch else 1

    def begin(self, pixels: NDArray[np.uint8], features: Sequence[str] = ()) -> AdoptedRun:
        """Run BGR uint8 pictures (N, height, width, 3). ``features`` are those that ``encoder_rows`` and the decoder give."""
        values = network_input(pixels, self._settings.input, self._spec)
        batches = [values] if self._settings.input.batch else [values[i : i + 1] for i in range(len(values))]
        runs = [run_session(self._session, self._outputs, {self._settings.input.name: batch}) for batch in batches]
        return AdoptedRun(runs, len(pixels), self._settings, self._spec, features)


class AdoptedRun:
    """One run of an adopted network; see ``EnginePass``."""

    def __init__(
        self,
        runs: Sequence[Mapping[str, Any]],
        pictures: int,
        settings: AdoptedSettings,
        spec: PreprocessSpec,
        features: Sequence[str],
    ) -> None:
        self._runs, self._pictures, self._settings, self._spec = runs, pictures, settings, spec
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
        if not self._settings.output.class_source:
            return np.zeros((self._pictures, *size), np.uint8)
        if self._settings.output.class_ids:
            ids = self._given_ids.astype(np.uint8)
            if ids.shape[1:] == size:
                return ids
            return np.stack([resize_labels(plane, self._spec.width, self._spec.height) for plane in ids])
        scores = self._given_scores if self._given_scores.shape[2:] == size else upsample(self._given_scores, size)
        return scores.argmax(dim=1).to(torch.uint8).numpy()

    def require_classes(self, classes: int) -> None:
        """Raise ``ConfigError`` if an output is no class map, or has other classes than ``classes`` names."""
        output = self._settings.output
        if output.scores and (found := self._given_scores.shape[1]) != classes:
            raise ConfigError(
                f"output.scores ({output.scores}) has {found} classes in {output.scores_layout}, but there are {classes} class "
                "names; give one name for each class, and check scores_layout."
            )
        if not output.class_ids:
            return
        ids = self._given_ids
        wrong = ids[(ids < 0) | (ids >= classes) | (ids != np.rint(ids))]
        if wrong.size:
            raise ConfigError(
                f"output.class_ids ({output.class_ids}) has the value {wrong[0]:g}, but there are {classes} class names; ids "
                f"must be whole numbers from 0 to {classes - 1}. Give one name for each class, or name another output."
            )

    def difference_from(self, other: AdoptedRun) -> str:
        """How the outputs that both runs of the same pictures have differ, in any bit; empty if they are equal."""
        if share := float((self.class_ids() != other.class_ids()).mean()):
            return f"classes in {share:.2g} of the pixels"
        for own, others in zip(self._runs, other._runs, strict=True):
            for name in own.keys() & others.keys():
                if not _equal(own[name], others[name]):
                    return f"values of its output {name}"
        return ""

    def _output(self, name: str) -> NDArray[Any]:
        """An output of all pictures, (N, ...). One run's array is not copied."""
        pictures = self._pictures // len(self._runs)
        parts = [np.asarray(run[name]) for run in self._runs]
        parts = [part if part.ndim and len(part) == pictures else part[None] for part in parts]
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if len(joined) != self._pictures:
            raise MonitorError(
                f"output {name} has the shape {parts[0].shape} for {pictures} pictures; set batch: false in the settings."
            )
        return joined

    def _confidence(self) -> NDArray[np.uint8] | None:
        if not self._settings.output.scores:
            return None
        largest = self._logits.softmax(dim=1).amax(dim=1).nan_to_num(0.0)
        return (largest * 255.0).round().to(torch.uint8).numpy()

    @cached_property
    def _given_ids(self) -> NDArray[Any]:
        """(N, h, w), as the network gives them; axes of size 1 are left out."""
        name = self._settings.output.class_ids
        values = self._output(name)
        sizes = [size for size in values.shape[1:] if size != 1]
        if len(sizes) != 2:
            raise ConfigError(
                f"output.class_ids ({name}) has the shape {values.shape}, which is no class map: (N, H, W), (N, 1, H, W), "
                "(N, H, W, 1) or (H, W) is needed. If it has a value for each class, name it under scores."
            )
        return values.reshape(len(values), *sizes)

    @cached_property
    def _given_scores(self) -> Tensor:
        """(N, classes, h, w), as the network gives them; of one channel, those of the two classes."""
        output = self._settings.output
        values = torch.from_numpy(np.ascontiguousarray(self._output(output.scores), np.float32))
        if values.dim() == 3:  # (N, h, w)
            values = values[:, None]
        elif output.scores_layout == "NHWC" and values.dim() == 4:
            values = values.permute(0, 3, 1, 2)
        if values.dim() != 4:
            raise ConfigError(
                f"output.scores ({output.scores}) has the shape {tuple(values.shape)}, which is no map of scores: "
                "(N, classes, H, W), (N, H, W, classes) or (N, H, W) is needed."
            )
        if values.shape[1] > 1:
            return values
        return torch.cat([1.0 - values if output.are_probabilities else torch.zeros_like(values), values], dim=1)

    @cached_property
    def _logits(self) -> Tensor:
        """(N, classes, h, w)."""
        scores = self._given_scores
        return scores.clamp(min=1e-12).log() if self._settings.output.are_probabilities else scores

    def _of_scores(self, name: str) -> Values:
        return _OF_SCORES[name](self._logits).mean(dim=(1, 2))[:, None].double().numpy()

    def _row(self, name: str) -> Values:
        if name == "entropies":
            samples = self._output(LATENTS)
            if self._latent_tap.layout == "NCHW":
                samples = samples.transpose(0, 2, 1)
            return latent_entropies(samples)
        if name == "latent_means":
            return self._pooled(LATENT_TAP, self._latent_tap)[:, -1, -1].astype(np.float64)
        taps = [self._pooled(f"{TAP}{index}", tap) for index, tap in enumerate(self._settings.taps)]
        if name == "stage_means":
            return np.concatenate([tap[:, -1, -1] for tap in taps], axis=1).astype(np.float64)
        cells = [tap[:, :-1, :-1].reshape(len(tap), -1, tap.shape[-1]) for tap in taps]
        chosen = [values[..., cell_channels(values.shape[-1]).numpy()] for values in cells]
        return np.concatenate(chosen, axis=2).astype(np.float64)

    @property
    def _latent_tap(self) -> TapSettings:
        if self._settings.latents is None:  # no feature that is available needs it
            raise ConfigError("this network was adopted without latents.")
        return self._settings.latents

    def _pooled(self, output: str, tap: TapSettings) -> NDArray[np.float32]:
        """(N, *POOLED, C): means of the cells, and in the last row and column the mean of the whole map."""
        values = self._output(output)
        if tap.layout == "NCHW":
            values = values.transpose(0, 2, 3, 1)
        return np.asarray(values, np.float32).reshape(len(values), *POOLED, tap.channels)


def _equal(one: Any, other: Any) -> bool:
    """Bit by bit, but any NaN equals any other; sequences and maps of a classifier count by their text."""
    if not (isinstance(one, np.ndarray) and isinstance(other, np.ndarray)):
        return repr(one) == repr(other)
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


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
    mean, std = (np.array(channels[order], np.float32) * np.float32(255.0) for channels in (spec.mean, spec.std))
    normalised = values.astype(np.float32)
    # Along the longest axis: numpy takes a hundred times as long for three values in a row.
    planes = normalised if nchw else normalised.reshape(len(values), spec.height, -1)
    planes -= mean[:, None, None] if nchw else np.tile(mean, spec.width)
    planes /= std[:, None, None] if nchw else np.tile(std, spec.width)
    return normalised.astype(settings.type, copy=False)
