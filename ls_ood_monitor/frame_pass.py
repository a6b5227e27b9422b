"""The network's part of the monitor: pictures in; detector features, segmentation and confidence out.

Tensors become arrays here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from .config import Checked, setting
from .core.detectors import (
    DEFAULT_DETECTORS,
    Detector,
    Head,
    detector_spec,
    required_features,
)
from .engines import CELLS, SCORE, DecoderOutput, Engine, EnginePass, FeatureRows, make_engine
from .features import ENCODER_FEATURES, MC_FEATURES, FrameFeatures, check_features
from .vision.deeplabv3p import DeepLabV3Plus
from .vision.mc_dropout import FreshMasks, averaging_weights, inference_dropblock
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


class FramePass:
    """Runs the network on batches of pictures.

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
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.preprocess_spec = preprocess_spec
        self.mask_bank = mask_bank
        self.features = check_features(features)
        self.masks = masks
        self.graphs = dict(graphs or {})
        #: (M, h*w) averaging weights of the fixed bank, on the device.
        self.averaging = averaging_weights(mask_bank).to(self.device)
        self._fresh_seed = fresh_seed
        draws = masks == "fresh" and not MC_FEATURES.isdisjoint(self.features)
        self._fresh = _fresh_masks(network, mask_bank, fresh_seed) if draws else None
        self.engine: Engine = make_engine(
            engine,
            self.network,
            preprocess_spec,
            self.features,
            self.device,
            precision=precision,
            graphs=graphs,
            threads=threads,
            scores=scores,
        )

    def with_features(self, features: Iterable[str], scores: Mapping[str, Detector] | None = None) -> FramePass:
        """The same pass for other features. Exported graphs compute their own features only: eager torch replaces them."""
        names = tuple(features)
        graphs = self.graphs if names == self.features else None
        engine = "eager" if self.engine.name == "onnx" and graphs is None else self.engine.name
        return FramePass(
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

    def with_scores(self, detectors: Mapping[str, Detector]) -> FramePass:
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

    def begin(self, images: Sequence[NDArray[np.uint8]], *, decode: bool = True) -> PendingPass:
        """Start the network on N >= 1 BGR uint8 pictures (H, W, 3) of any sizes.

        ``decode``: the segmentation will be read, so a GPU starts the decoder at once.
        """
        # np.stack copies: a picture that already has the network's size may be a message's read-only memory.
        pixels = np.stack([resize_image(image, self.preprocess_spec) for image in images])
        averaging = self.averaging if self._fresh is None else self._fresh.weights(len(images)).to(self.device)
        decode = decode or not ENCODER_FEATURES.issuperset(self.features)
        began_ns = time.perf_counter_ns()
        run = self.engine.begin(pixels, averaging, decode=decode)
        return PendingPass(run, self.features, (time.perf_counter_ns() - began_ns) / 1e6)

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
    def confidence(self) -> NDArray[np.uint8]:
        """uint8 (N, h, w), largest softmax probability times 255, at the size of the decoder's logits."""
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


def _fresh_masks(network: DeepLabV3Plus, mask_bank: torch.Tensor, seed: int | None) -> FreshMasks:
    """Fresh masks of the bank's number and size."""
    count, rows, columns = mask_bank.shape
    settings = network.settings
    block, prob = inference_dropblock(settings.dropblock_size, settings.dropblock_prob, rows, columns)
    return FreshMasks(count, rows, columns, block_size=block, drop_prob=prob, seed=seed)
