"""An adopted network in a frame pass: the file that a vehicle already runs, tapped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..config import from_mapping
from ..core.detectors import Head
from ..engines import EnginePass
from ..engines.verification import check_pictures
from ..errors import BundleError, ConfigError
from ..frame_pass import FramePass, StoredNetwork
from ..vision.preprocess import PreprocessSpec
from .adopted_engine import AdoptedEngine, available_features
from .adopted_settings import AdoptedSettings, InputSettings, LatentTap, OutputSettings, TapSettings

#: Files of a bundle: the network as it was adopted, and the nodes to append.
GRAPH, APPENDED_NODES = "network.onnx", "taps.onnx"
KIND = "adopted"


class AdoptedPass(FramePass):
    """Runs an adopted network.

    Args:
        graph: content of the network's file.
        appended_nodes: a graph fragment (``adoption/appended_nodes.py``).
        settings: of the network.
        preprocess_spec: size and normalisation.
        classes: number of classes of the segmentation.
        device: resolved torch device.
        features: names of the features to compute; None = all that the taps give.
        threads: CPU threads of ONNX Runtime; 0 = as many as torch uses.

    Raises:
        BundleError: the appended nodes change an output of the network.
        ConfigError: a feature that this network cannot give, a device that ONNX Runtime cannot use, an output that is no class
            map, or another number of classes.
        MonitorError: ONNX Runtime cannot use or run the file.
    """

    def __init__(
        self,
        graph: bytes,
        appended_nodes: bytes,
        settings: AdoptedSettings,
        preprocess_spec: PreprocessSpec,
        classes: int,
        device: torch.device | str = "cpu",
        features: Iterable[str] | None = None,
        *,
        threads: int = 0,
    ) -> None:
        self._graph, self._appended_nodes, self._threads = graph, appended_nodes, threads
        self.settings, self._classes = settings, classes
        target = torch.device(device)
        self._engine = AdoptedEngine(graph, appended_nodes, settings, preprocess_spec, target, threads)
        names = sorted(self.available) if features is None else features
        super().__init__(target, preprocess_spec, names, self._engine)
        self._require_same_outputs()

    @property
    def available(self) -> frozenset[str]:
        """Means of the taps; with a latent tap those of the latents, with scores those of the logits."""
        return available_features(self.settings)

    @property
    def head(self) -> Head:
        """Without channels: the last layer of a graph is not known, and no detector that reads it can be chosen."""
        return Head(np.empty((self._classes, 0)), np.zeros(self._classes))

    @property
    def classes(self) -> int:
        """Number of classes of the segmentation."""
        return self._classes

    def with_features(self, features: Iterable[str]) -> AdoptedPass:
        """The same pass for other features, in the same session."""
        other = copy(self)
        FramePass.__init__(other, self.device, self.preprocess_spec, features, self.engine)
        return other

    def _start(self, pixels: NDArray[np.uint8], *, decode: bool) -> EnginePass:
        return self._engine.begin(pixels, self.features)

    def without_monitor(self) -> Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.uint8]]:
        """The file as it was adopted, without taps, in a session of its own."""
        plain = self._untapped()
        return lambda images: plain.begin(self._resized(images)).class_ids()

    def _untapped(self) -> AdoptedEngine:
        return AdoptedEngine(self._graph, b"", self.settings, self.preprocess_spec, self.device, self._threads)

    def _require_same_outputs(self) -> None:
        """Compare classes and outputs with those of the untouched file, on two synthetic test pictures."""
        pictures = check_pictures(self.preprocess_spec)
        monitored = self._engine.begin(pictures)
        monitored.require_classes(self._classes)
        if difference := monitored.difference_from(self._untapped().begin(pictures)):
            raise BundleError(
                f"with these taps the network gives other {difference}: ONNX Runtime fuses two layers, and a tap between them "
                "changes their rounding. Choose taps that end a block, in a quantised network outputs of DequantizeLinear "
                "('ls-ood adopt' proposes such)."
            )

    def stored(self) -> StoredNetwork:
        """Settings, the untouched file, and the nodes to append."""
        return StoredNetwork(
            {"kind": KIND, **asdict(self.settings)}, {GRAPH: self._graph, APPENDED_NODES: self._appended_nodes}, {}
        )


def settings_of(entry: Mapping[str, Any]) -> AdoptedSettings:
    """Read what ``AdoptedPass.stored`` wrote. Raises ``ConfigError`` for an unknown setting or a value out of range."""
    try:
        return AdoptedSettings(
            from_mapping(InputSettings, entry["input"]),
            from_mapping(OutputSettings, entry["output"]),
            tuple(from_mapping(TapSettings, tap) for tap in entry["taps"]),
            None if entry.get("latents") is None else from_mapping(LatentTap, entry["latents"]),
            str(entry.get("file", "")),
        )
    except (KeyError, TypeError) as error:
        raise ConfigError(f"the network's settings are incomplete ({error!r}).") from error
