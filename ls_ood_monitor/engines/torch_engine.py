"""The two graphs in torch: eager, or compiled by TorchInductor. On a GPU they run as CUDA graphs, one pair per batch size.

On a GPU encoder and decoder are queued at once. The host computes scores while the decoder runs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.detectors import Detector
from ..features import as_rows
from ..vision.deeplabv3p import DeepLabV3Plus
from ..vision.preprocess import PreprocessSpec
from .base import DecoderOutput, FeatureRows
from .graphs import DecoderGraph, EncoderGraph

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
#: Runs before a capture, in which cuDNN and the compiler choose their kernels.
_WARM_UPS = 3
#: Limit of compiled graphs in a process, for all networks and batch sizes.
_MAX_GRAPHS = 64


class TorchEngine:
    """Runs the graphs with torch on the network's device.

    Args:
        network: in eval mode, on its device. Its memory layout may change, in place.
        spec: size and normalisation.
        features: names of features to compute.
        compiled: use TorchInductor. It takes tens of seconds per batch size, and on a CPU it needs a C++ compiler.
        precision: ``fp32`` (without TF32), ``tf32``, ``fp16`` or ``bf16``; a CPU has ``fp32`` only.
        cuda_graphs: on a GPU, replay CUDA graphs, so that the host need not launch every kernel.
        scores: detectors to score on the device (``graphs.ScoreGraph``).

    Attributes:
        encoder_outputs: names of the rows that the encoder gives.
        decoder_outputs: names of the rows that the decoder gives.
    """

    def __init__(
        self,
        network: DeepLabV3Plus,
        spec: PreprocessSpec,
        features: tuple[str, ...],
        *,
        compiled: bool = False,
        precision: str = "fp32",
        cuda_graphs: bool = True,
        scores: Mapping[str, Detector] | None = None,
    ) -> None:
        self.name = "compile" if compiled else "eager"
        self.precision = precision
        self._device = next(network.parameters()).device
        if self._device.type == "cpu" or precision != "fp32":
            # Channels last: nearly twice as fast on a CPU and with tensor cores; no gain for float32 on a GPU.
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
        encoder = EncoderGraph(network, spec, features, scores).to(self._device).eval()
        decoder = DecoderGraph(network, spec, features).to(self._device).eval()
        self.encoder_outputs, self.decoder_outputs = encoder.outputs, decoder.outputs
        self._encoder: Any = _compiled(encoder) if compiled else encoder
        self._decoder: Any = _compiled(decoder) if compiled else decoder
        # On a CPU a batch of large pictures takes torch up to three times as long as the pictures one by one.
        self.preferred_batch_size = 1 if self._device.type == "cpu" else sys.maxsize
        self._cuda_graphs = cuda_graphs and self._device.type == "cuda"
        self.reentrant = not self._cuda_graphs
        self._captured: dict[tuple[int, ...], _CapturedGraphs] = {}

    def begin(self, pixels: NDArray[np.uint8], averaging: Tensor, *, decode: bool = True) -> TorchPass | _CapturedPass:
        """See ``Engine.begin``."""
        if self._cuda_graphs:
            with torch.cuda.device(self._device):  # streams and events belong to the thread's current device
                shape = (*pixels.shape, *averaging.shape)
                if shape not in self._captured:
                    self._captured[shape] = self._capture(pixels, averaging)
                return self._captured[shape].replay(pixels, averaging, decode)
        with self._modes():
            encoded = self._encoder(torch.from_numpy(pixels).to(self._device), averaging)
        return TorchPass(self, encoded, averaging)

    def decode(self, low: Tensor, high: Tensor, averaging: Tensor) -> tuple[Tensor, ...]:
        """The decoder's outputs, on the device."""
        with self._modes():
            return tuple(self._decoder(low, high, averaging))

    def _modes(self) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        if self._device.type == "cuda":
            tf32 = self.precision == "tf32"
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=tf32))
        if self.precision in _HALF:
            # A capture must not fill the cache of cast weights, which ends with this context.
            stack.enter_context(
                torch.autocast(self._device.type, _HALF[self.precision], cache_enabled=not self._cuda_graphs)
            )
        return stack

    def _capture(self, pixels: NDArray[np.uint8], averaging: Tensor) -> _CapturedGraphs:
        with self._modes():
            inputs = torch.from_numpy(pixels).to(self._device)
            masks = averaging.clone()
            stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch has no types for it
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
        return _CapturedGraphs(self, encoder, decoder, inputs, masks, encoded, decoded)


class TorchPass:
    """A run of eager or compiled graphs; the decoder runs when its output is read."""

    def __init__(self, engine: TorchEngine, encoded: tuple[Tensor, ...], averaging: Tensor) -> None:
        self._engine, self._averaging = engine, averaging
        self._low, self._high, *self._rows = encoded

    def encoder_rows(self) -> FeatureRows:
        """See ``EnginePass.encoder_rows``."""
        return _named(self._engine.encoder_outputs, self._rows)

    def decoder_output(self) -> DecoderOutput:
        """See ``EnginePass.decoder_output``."""
        class_ids, confidence, *rows = self._engine.decode(self._low, self._high, self._averaging)
        named = _named(self._engine.decoder_outputs, rows)
        return DecoderOutput(class_ids.cpu().numpy(), confidence.cpu().numpy(), named)


@dataclass
class _CapturedGraphs:
    """The CUDA graphs of encoder and decoder for one batch size, with the memory that they read and write."""

    engine: TorchEngine
    encoder: torch.cuda.CUDAGraph
    decoder: torch.cuda.CUDAGraph
    inputs: Tensor
    masks: Tensor
    encoded: tuple[Tensor, ...]
    decoded: tuple[Tensor, ...]
    encoder_copy: _HostCopy = field(init=False)
    decoder_copy: _HostCopy = field(init=False)

    @torch.inference_mode()
    def __post_init__(self) -> None:
        self.upload = torch.empty(self.inputs.shape, dtype=self.inputs.dtype, pin_memory=True)
        self.encoder_copy, self.decoder_copy = _HostCopy(self.encoded[2:]), _HostCopy(self.decoded)
        self._averaging: Tensor | None = None

    @torch.inference_mode()
    def replay(self, pixels: NDArray[np.uint8], averaging: Tensor, decode: bool) -> _CapturedPass:
        np.copyto(self.upload.numpy(), pixels)
        self.inputs.copy_(self.upload, non_blocking=True)
        if averaging is not self._averaging:  # a fixed bank is the same for every frame
            self.masks.copy_(averaging, non_blocking=True)
            self._averaging = averaging
        self.encoder.replay()
        self.encoder_copy.fetch()
        if decode:
            self.decode()
        return _CapturedPass(self, decode)

    def decode(self) -> None:
        self.decoder.replay()
        self.decoder_copy.fetch()


class _HostCopy:
    """Pinned host memory, which a GPU copies tensors into without blocking the host."""

    def __init__(self, sources: tuple[Tensor, ...]) -> None:
        self._sources = sources
        self._targets = [torch.empty(source.shape, dtype=source.dtype, pin_memory=True) for source in sources]
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch has no types for it

    @torch.inference_mode()
    def fetch(self) -> None:
        for target, source in zip(self._targets, self._sources, strict=True):
            target.copy_(source, non_blocking=True)
        self._done.record()

    @torch.inference_mode()
    def read(self) -> tuple[Tensor, ...]:
        """Copies of the copied tensors: the next run writes into the same memory."""
        self._done.synchronize()
        return tuple(target.clone() for target in self._targets)


class _CapturedPass:
    """A replay of captured graphs."""

    def __init__(self, graphs: _CapturedGraphs, is_decoded: bool) -> None:
        self._graphs, self._is_decoded = graphs, is_decoded

    def encoder_rows(self) -> FeatureRows:
        """See ``EnginePass.encoder_rows``."""
        return _named(self._graphs.engine.encoder_outputs, self._graphs.encoder_copy.read())

    def decoder_output(self) -> DecoderOutput:
        """See ``EnginePass.decoder_output``."""
        if not self._is_decoded:
            with torch.cuda.device(self._graphs.inputs.device):
                self._graphs.decode()
            self._is_decoded = True
        class_ids, confidence, *rows = self._graphs.decoder_copy.read()
        return DecoderOutput(class_ids.numpy(), confidence.numpy(), _named(self._graphs.engine.decoder_outputs, rows))


def _compiled(graph: nn.Module) -> Any:
    """The graph compiled as a whole for each input shape; an error where that is impossible, never a silent fallback."""
    config: Any = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, _MAX_GRAPHS)
    return torch.compile(graph, dynamic=False, fullgraph=True)


def _named(names: Sequence[str], values: Sequence[Tensor]) -> FeatureRows:
    return {name: as_rows(value) for name, value in zip(names, values, strict=True)}
