"""Our own network, DeepLabv3+ with Monte-Carlo dropout, in a frame pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_tensors

from ..core.detectors import DEFAULT_DETECTORS, Detector, Head, detector_spec, required_features
from ..engines import EnginePass, make_engine
from ..features import ENCODER_FEATURES, FEATURES, MC_FEATURES, check_features
from ..frame_pass import FramePass, StoredNetwork
from ..vision.deeplabv3p import DeepLabV3Plus
from ..vision.mc_dropout import FreshMasks, averaging_weights, inference_dropblock
from ..vision.preprocess import PreprocessSpec

WEIGHTS = "network.safetensors"
#: Exported graph -> file; a bundle has both or none.
GRAPHS = {"encoder": "encoder.onnx", "decoder": "decoder.onnx"}
MASK_BANK = "mask_bank"


class DeepLabPass(FramePass):
    """Runs our DeepLabv3+.

    Args:
        network: trained network; put into eval mode here.
        preprocess_spec: size and normalisation.
        mask_bank: (M, h, w) keep-masks for this input size (``draw_mask_bank``).
        device: resolved torch device.
        features: names of the features to compute (``features.FEATURES``).
        masks: ``fixed`` uses the bank for every frame. ``fresh`` draws as many masks for each frame, with the DropBlock
            settings of the network's training.
        fresh_seed: makes fresh masks repeatable; None = other masks in every run.
        engine: one of ``engines.ENGINES``.
        precision: one of ``engines.PRECISIONS``.
        graphs: exported graphs, if there are any.
        threads: CPU threads of ONNX Runtime; 0 = as many as torch uses.
        scores: detectors that the engine scores on the device.

    Raises:
        ConfigError: an unknown feature, or an engine that cannot run here.
    """

    def __init__(
        self,
        network: DeepLabV3Plus,
        preprocess_spec: PreprocessSpec,
        mask_bank: torch.Tensor,
        device: torch.device | str = "cpu",
        features: Iterable[str] = required_features(DEFAULT_DETECTORS),
        *,
        masks: str = "fixed",
        fresh_seed: int | None = None,
        engine: str = "eager",
        precision: str = "fp32",
        graphs: Mapping[str, bytes] | None = None,
        threads: int = 0,
        scores: Mapping[str, Detector] | None = None,
    ) -> None:
        target = torch.device(device)
        self.network = network.to(target).eval()
        self.mask_bank = mask_bank
        self.masks = masks
        self.graphs = dict(graphs or {})
        names = check_features(features)
        #: (M, h*w) averaging weights of the fixed bank, on the device.
        self.averaging = averaging_weights(mask_bank).to(target)
        self._fresh_seed = fresh_seed
        draws = masks == "fresh" and not MC_FEATURES.isdisjoint(names)
        self._fresh = _fresh_masks(network, mask_bank, fresh_seed) if draws else None
        self._engine = make_engine(
            engine,
            self.network,
            preprocess_spec,
            names,
            target,
            precision=precision,
            graphs=graphs,
            threads=threads,
            scores=scores,
        )
        super().__init__(target, preprocess_spec, names, self._engine)

    @property
    def available(self) -> frozenset[str]:
        """All of them."""
        return frozenset(FEATURES)

    @property
    def classes(self) -> int:
        """Number of classes of the segmentation."""
        return self.network.settings.classes

    def with_features(self, features: Iterable[str], scores: Mapping[str, Detector] | None = None) -> DeepLabPass:
        """The same pass for other features. Exported graphs compute their own features only: eager torch replaces them."""
        names = tuple(features)
        graphs = self.graphs if names == self.features else None
        engine = "eager" if self.engine.name == "onnx" and graphs is None else self.engine.name
        return DeepLabPass(
            self.network,
            self.preprocess_spec,
            self.mask_bank,
            self.device,
            names,
            masks=self.masks,
            fresh_seed=self._fresh_seed,
            engine=engine,
            precision=self.engine.precision,
            graphs=graphs,
            scores=scores,
        )

    def with_scores(self, detectors: Mapping[str, Detector]) -> DeepLabPass:
        """The same pass for these detectors. Torch on a GPU scores the portable ones there; their features stay on the GPU.

        Copied to the host, a wide latent would take the host milliseconds to score. Exported graphs contain no scores:
        the host scores their features.
        """
        if self.device.type != "cuda" or self.engine.name == "onnx":
            return self
        portable = {
            name: detector
            for name, detector in detectors.items()
            if detector.portable and detector_spec(name).feature in ENCODER_FEATURES
        }
        return self.with_features(required_features(name for name in detectors if name not in portable), portable)

    @property
    def head(self) -> Head:
        """The network's last layer, for detectors that need it."""
        weight, bias = self.network.head()
        return Head(weight.to("cpu", torch.float64).numpy(), bias.to("cpu", torch.float64).numpy())

    def _start(self, pixels: NDArray[np.uint8], *, decode: bool) -> EnginePass:
        averaging = self.averaging if self._fresh is None else self._fresh.weights(len(pixels)).to(self.device)
        return self._engine.begin(pixels, averaging, decode=decode)

    def without_monitor(self) -> Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.uint8]]:
        """The same engine without features."""
        plain = self.with_features(())
        return lambda images: plain.begin(images).class_ids

    def stored(self) -> StoredNetwork:
        """Settings, weights, exported graphs and the mask bank."""
        graphs = {file: self.graphs[graph] for graph, file in GRAPHS.items() if graph in self.graphs}
        return StoredNetwork(
            asdict(self.network.settings),
            {WEIGHTS: packed_weights(self.network), **graphs},
            {MASK_BANK: self.mask_bank.cpu().numpy()},
        )


def packed_weights(network: DeepLabV3Plus) -> bytes:
    """Content of ``network.safetensors``."""
    state: dict[str, Any] = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    return save_tensors(state)


def _fresh_masks(network: DeepLabV3Plus, mask_bank: torch.Tensor, seed: int | None) -> FreshMasks:
    """Fresh masks of the bank's number and size."""
    count, rows, columns = mask_bank.shape
    settings = network.settings
    block, prob = inference_dropblock(settings.dropblock_size, settings.dropblock_prob, rows, columns)
    return FreshMasks(count, rows, columns, block_size=block, drop_prob=prob, seed=seed)
