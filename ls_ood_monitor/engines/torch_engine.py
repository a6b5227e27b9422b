"""The graphs in torch: eager, or compiled by TorchInductor; on a GPU captured as CUDA graphs, one a batch size.

A GPU works ahead: encoder, features and decoder are queued at once, and while the decoder runs the host computes scores.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.detectors import ArrayApiDetector
from ..features import as_rows
from ..vision.deeplabv3p import DeepLabV3Plus
from ..vision.preprocess import PreprocessSpec
from .base import DecoderOutput, FeatureRows
from .graphs import DecoderGraph, EncoderGraph

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
#: Runs before a capture: cuDNN and the compiler make their choices in them.
_WARM_UPS = 3
#: Compiled graphs of a process, of all networks and batch sizes together.
_MAX_GRAPHS = 64


class TorchEngine:
    """Runs the graphs with torch on the network's device.

    Args:
        network: in eval mode, on its device; it is put into the layout that its engine wants, for whoever else runs it, too.
        spec: size and normalisation.
        features: names of features to compute.
        compiled: by TorchInductor (takes tens of seconds a batch size; on a CPU it needs a C++ compiler).
        precision: ``fp32`` as written (no TF32), ``tf32``, ``fp16`` or ``bf16``; on a CPU ``fp32`` alone.
        scores: detectors to score on the device (``graphs.ScoreGraph``).
        captured: on a GPU, as CUDA graphs, which take the launching of kernels off the host.
    """

    def __init__(
        self,
        network: DeepLabV3Plus,
        spec: PreprocessSpec,
        features: tuple[str, ...],
        *,
        compiled: bool = False,
        precision: str = "fp32",
        captured: bool = True,
        scores: Mapping[str, ArrayApiDetector] | None = None,
    ) -> None:
        self.name = "compile" if compiled else "eager"
        self.precision = precision
        self._device = next(network.parameters()).device
        if self._device.type == "cpu" or precision != "fp32":
            # Channels last: nearly twice as fast on a CPU, and what tensor cores take; float32 on a GPU gains nothing.
            network = network.to(memory_format=torch.channels_last)
        self._encoder_graph = EncoderGraph(network, spec, features, scores).to(self._device).eval()
        self._decoder_graph = DecoderGraph(network, spec, features).to(self._device).eval()
        self._encoder: Any = _compiled(self._encoder_graph) if compiled else self._encoder_graph
        self._decoder: Any = _compiled(self._decoder_graph) if compiled else self._decoder_graph
        # On a CPU torch gains by small pictures together, and takes up to three times as long for large ones.
        self.preferred_batch_size = 1 if self._device.type == "cpu" else sys.maxsize
        self._captured = captured and self._device.type == "cuda"
        self.reentrant = not self._captured
        self._captures: dict[tuple[int, ...], _Capture] = {}

    def begin(self, pixels: NDArray[np.uint8], averaging: Tensor, *, decode: bool = True) -> TorchPass | _CapturedPass:
        """See ``Engine.begin``."""
        if self._captured:
            with torch.cuda.device(self._device):  # streams and events are of the thread's current one
                return self._replay(pixels, averaging, decode)
        with self._modes():
            encoded = self._encoder(torch.from_numpy(pixels).to(self._device), averaging)
        return TorchPass(self, encoded, averaging)

    def _replay(self, pixels: NDArray[np.uint8], averaging: Tensor, decode: bool) -> _CapturedPass:
        shape = (*pixels.shape, *averaging.shape)
        if shape not in self._captures:
            self._captures[shape] = self._capture(pixels, averaging)
        return self._captures[shape].replay(pixels, averaging, decode)

    def decode(self, low: Tensor, high: Tensor, averaging: Tensor) -> tuple[Tensor, ...]:
        """The decoder's outputs, on the device."""
        with self._modes():
            return tuple(self._decoder(low, high, averaging))

    def early(self, values: tuple[Tensor, ...]) -> FeatureRows:
        """Names to the encoder's features."""
        return _named(self._encoder_graph, values)

    def late(self, values: tuple[Tensor, ...]) -> FeatureRows:
        """Names to the decoder's features."""
        return _named(self._decoder_graph, values)

    def _modes(self) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        if self._device.type == "cuda":
            tf32 = self.precision == "tf32"
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=tf32))
        if self.precision in _HALF:
            # The cache of cast weights may not be filled within a capture, and outlives no context.
            stack.enter_context(
                torch.autocast(self._device.type, _HALF[self.precision], cache_enabled=not self._captured)
            )
        return stack

    def _capture(self, pixels: NDArray[np.uint8], averaging: Tensor) -> _Capture:
        with self._modes():
            inputs = torch.from_numpy(pixels).to(self._device)
            masks = averaging.clone()
            stream = torch.cuda.Stream(self._device)
            stream.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    encoded = self._encoder(inputs, masks)
                    self._decoder(encoded[0], encoded[1], masks)
            torch.cuda.current_stream(self._device).wait_stream(stream)
            encoder, decoder = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
            with torch.cuda.graph(encoder):
                encoded = tuple(self._encoder(inputs, masks))
            with torch.cuda.graph(decoder, pool=encoder.pool()):
                decoded = tuple(self._decoder(encoded[0], encoded[1], masks))
        return _Capture(self, encoder, decoder, inputs, masks, encoded, decoded)


class TorchPass:
    """A run of eager or compiled graphs; the decoder runs when its half is asked for."""

    def __init__(self, engine: TorchEngine, encoded: tuple[Tensor, ...], averaging: Tensor) -> None:
        self._engine, self._averaging = engine, averaging
        self._low, self._high, *rows = encoded
        self._rows = tuple(rows)

    def rows(self) -> FeatureRows:
        """See ``EnginePass.rows``."""
        return self._engine.early(self._rows)

    def planes(self) -> DecoderOutput:
        """See ``EnginePass.planes``."""
        class_ids, confidence, *rows = self._engine.decode(self._low, self._high, self._averaging)
        return DecoderOutput(class_ids.cpu().numpy(), confidence.cpu().numpy(), self._engine.late(tuple(rows)))


@dataclass
class _Capture:
    """Both graphs of one batch size, with the memory that they read and write."""

    engine: TorchEngine
    encoder: torch.cuda.CUDAGraph
    decoder: torch.cuda.CUDAGraph
    inputs: Tensor
    masks: Tensor
    encoded: tuple[Tensor, ...]
    decoded: tuple[Tensor, ...]
    rows: _Pinned = field(init=False)
    planes: _Pinned = field(init=False)

    @torch.inference_mode()
    def __post_init__(self) -> None:
        self.upload = torch.empty(self.inputs.shape, dtype=self.inputs.dtype, pin_memory=True)
        self.rows, self.planes = _Pinned(self.encoded[2:]), _Pinned(self.decoded)
        self._given: Tensor | None = None

    @torch.inference_mode()
    def replay(self, pixels: NDArray[np.uint8], averaging: Tensor, decode: bool) -> _CapturedPass:
        np.copyto(self.upload.numpy(), pixels)
        self.inputs.copy_(self.upload, non_blocking=True)
        if averaging is not self._given:  # the bank is the same for every frame
            self.masks.copy_(averaging, non_blocking=True)
            self._given = averaging
        self.encoder.replay()
        self.rows.fetch()
        if decode:
            self.decoder.replay()
            self.planes.fetch()
        return _CapturedPass(self, decode)


class _Pinned:
    """Host memory that a GPU copies into while the host goes on."""

    def __init__(self, sources: tuple[Tensor, ...]) -> None:
        self._sources = sources
        self._targets = [torch.empty(source.shape, dtype=source.dtype, pin_memory=True) for source in sources]
        self._done = torch.cuda.Event()

    @torch.inference_mode()
    def fetch(self) -> None:
        for target, source in zip(self._targets, self._sources, strict=True):
            target.copy_(source, non_blocking=True)
        self._done.record()

    @torch.inference_mode()
    def read(self) -> tuple[Tensor, ...]:
        """Copies, because the next run writes into the same memory."""
        self._done.synchronize()
        return tuple(target.clone() for target in self._targets)


class _CapturedPass:
    def __init__(self, capture: _Capture, decodes: bool) -> None:
        self._capture, self._decodes = capture, decodes

    def rows(self) -> FeatureRows:
        """See ``EnginePass.rows``."""
        return self._capture.engine.early(self._capture.rows.read())

    def planes(self) -> DecoderOutput:
        """See ``EnginePass.planes``."""
        if not self._decodes:
            with torch.cuda.device(self._capture.inputs.device):
                self._capture.decoder.replay()
                self._capture.planes.fetch()
            self._decodes = True
        class_ids, confidence, *rows = self._capture.planes.read()
        return DecoderOutput(class_ids.numpy(), confidence.numpy(), self._capture.engine.late(tuple(rows)))


def _compiled(graph: nn.Module) -> Any:
    """One whole graph a shape, or an error: in pieces, or eager beyond a number of shapes, it would not be what it is called."""
    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, _MAX_GRAPHS)
    return torch.compile(graph, dynamic=False, fullgraph=True)


def _named(graph: nn.Module, values: tuple[Tensor, ...]) -> FeatureRows:
    names: Any = graph.features
    return {name: as_rows(value) for name, value in zip(names, values, strict=True)}
