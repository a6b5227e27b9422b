"""A network with random weights, for timing: the time of a frame depends on shapes only, not on weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..bundle import save_bundle
from ..core.detectors import DEFAULT_DETECTORS, Detector, detector_spec, required_features
from ..core.threshold import Threshold
from ..engines.export import export_graphs
from ..frame_pass import LatentSettings
from ..monitor import OodMonitor
from ..networks.deeplab_pass import DeepLabPass
from ..vision.deeplabv3p import DeepLabV3Plus, NetworkSettings
from ..vision.mc_dropout import averaging_weights, draw_network_masks
from ..vision.preprocess import PreprocessSpec

_CLEAN_FRAMES = 40
_THRESHOLD = Threshold(1.0, 0.01, n=_CLEAN_FRAMES, blocks=1, rank=_CLEAN_FRAMES, method="made up", clean_median=0.5)


@dataclass
class RandomNetwork:
    """A network with random weights for one input size, with its bank of masks and fitted detectors."""

    settings: NetworkSettings
    width: int
    height: int
    masks: int = 64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _graphs: dict[tuple[str, ...], dict[str, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.network = DeepLabV3Plus(self.settings).to(self.device).eval()
        self.spec = PreprocessSpec(self.width, self.height)
        self.bank = draw_network_masks(self.network, self.spec, self.masks, seed=0)
        shape = (self.height, self.width, 3)
        self.picture: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def frame_pass(self, engine: str, precision: str, names: tuple[str, ...]) -> DeepLabPass:
        """The network's part of the monitor. Raises ``ConfigError`` if the engine cannot run here."""
        return DeepLabPass(
            copy.deepcopy(self.network),  # engines change its memory layout
            self.spec,
            self.bank,
            self.device,
            names,
            engine=engine,
            precision=precision,
            graphs=self.graphs(names) if engine == "onnx" else None,
        )

    def graphs(self, features: tuple[str, ...]) -> dict[str, bytes]:
        """Export graphs that compute just these features. Raises ``ConfigError`` if nothing can be exported."""
        if features not in self._graphs:
            averaging = averaging_weights(self.bank).to(self.device)
            encoder, decoder = export_graphs(self.network, self.spec, features, averaging)
            self._graphs[features] = {"encoder": encoder, "decoder": decoder}
        return self._graphs[features]

    @cached_property
    def detectors(self) -> Mapping[str, Detector]:
        """The default detectors, fitted to noise around the features of one picture."""
        random = np.random.default_rng(0)
        features = self.frame_pass("eager", "fp32", required_features(DEFAULT_DETECTORS)).features_of([self.picture])
        fitted = {}
        head = self.frame_pass("eager", "fp32", ()).head
        for name in DEFAULT_DETECTORS:
            spec = detector_spec(name)
            row = features.of(spec.feature)
            noise = random.normal(size=(_CLEAN_FRAMES, *row.shape[1:])) * (np.abs(row).mean() + 1e-6)
            fitted[name] = spec.make(head).fit(row + noise)
        return fitted

    def monitor(self, engine: str, precision: str, detectors: Iterable[str]) -> OodMonitor:
        """Return a monitor with some of the default detectors. The first one raises the alarm."""
        names = tuple(detectors)
        return OodMonitor(
            self.frame_pass(engine, precision, required_features(names)),
            {name: self.detectors[name] for name in names},
            dict.fromkeys(names, _THRESHOLD),
            names[0],
            tuple(str(index) for index in range(self.settings.classes)),
            "0" * 64,
        )

    def write_bundle(self, folder: Path) -> str:
        """Write a bundle without graphs, to time nodes with. Its provenance states that the weights are random."""
        monitor = self.monitor("eager", "fp32", DEFAULT_DETECTORS)
        provenance = {"domain": "random weights, for measuring time alone"}
        return save_bundle(
            folder,
            monitor.frame_pass,
            LatentSettings(mc_samples=self.masks),
            monitor.detectors,
            monitor.thresholds,
            monitor.detector,
            monitor.class_names,
            provenance,
        )
