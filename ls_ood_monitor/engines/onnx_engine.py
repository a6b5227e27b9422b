"""The exported graphs in ONNX Runtime: on a CPU, or on a GPU with ``onnxruntime-gpu``."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ConfigError, MonitorError
from .base import DecoderOutput, FeatureRows

try:
    import onnxruntime
except ImportError:  # an extra: pip install 'ls_ood_monitor[onnx]'
    onnxruntime = None


def is_installed() -> bool:
    """Whether ONNX Runtime can be imported."""
    return onnxruntime is not None


class OnnxEngine:
    """Runs exported graphs (``engines/export.py``).

    Args:
        encoder: content of the encoder's file.
        decoder: content of the decoder's file.
        device: cpu or cuda.
        threads: of a CPU; 0 = as many as torch uses.

    Raises:
        ConfigError: ONNX Runtime is missing, or has no CUDA where that is asked for.
        MonitorError: a file that it cannot read.
    """

    name = "onnx"
    precision = "fp32"
    reentrant = True

    def __init__(self, encoder: bytes, decoder: bytes, device: torch.device, threads: int = 0) -> None:
        if onnxruntime is None:
            raise ConfigError(
                "engine is onnx, but ONNX Runtime is not installed; pip install onnxruntime, or use eager."
            )
        # On a CPU threads share the steps of a small network better where these are longer; a few pictures are enough for that.
        self.preferred_batch_size = sys.maxsize if device.type == "cuda" else 4
        self._encoder, self._decoder = (open_session(content, device, threads) for content in (encoder, decoder))

    def begin(self, pixels: NDArray[np.uint8], averaging: Tensor, *, decode: bool = True) -> OnnxPass:
        """See ``Engine.begin``."""
        masks = averaging.cpu().numpy()
        return OnnxPass(self._decoder, _run(self._encoder, {"pixels": pixels, "averaging": masks}), masks)


def open_session(content: bytes, device: torch.device, threads: int = 0) -> Any:
    """ONNX Runtime's session of a graph, with the settings of this engine. Arguments and errors as of ``OnnxEngine``."""
    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise ConfigError(
            f"engine is onnx and device is {device}, but this ONNX Runtime has no {provider}; "
            "install onnxruntime-gpu, or use engine eager."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Idle threads that spin take the cores from whoever has work: DDS, the supervisor, the next camera's decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    chosen = [(provider, provider_settings(device))]
    try:
        session = onnxruntime.InferenceSession(content, options, providers=chosen)
    except Exception as error:  # its exceptions have no common base but this
        raise MonitorError(f"ONNX Runtime {onnxruntime.__version__} cannot use an exported graph: {error}.") from error
    if session.get_providers()[0] != provider:  # it falls back to the CPU without a word where a library does not load
        raise ConfigError(
            f"engine is onnx and device is {device}, but ONNX Runtime {onnxruntime.__version__} could not load its {provider} "
            "(CUDA or cuDNN missing or of another version); install those that it was built for, or use engine eager."
        )
    return session


def provider_settings(device: torch.device) -> dict[str, Any]:
    """Options of ONNX Runtime's provider. Where torch's memory of a GPU is limited, each of the two graphs gets half as much."""
    if device.type != "cuda":
        return {}
    settings: dict[str, Any] = {"device_id": device.index or 0}
    share = torch.cuda.get_per_process_memory_fraction(device)
    if share < 1.0:
        settings["gpu_mem_limit"] = int(share * torch.cuda.get_device_properties(device).total_memory / 2)
        settings["arena_extend_strategy"] = "kSameAsRequested"
    return settings


class OnnxPass:
    """A run; the decoder runs when its half is asked for."""

    def __init__(self, decoder: Any, encoded: dict[str, NDArray[Any]], masks: NDArray[np.float32]) -> None:
        self._decoder, self._encoded, self._masks = decoder, encoded, masks

    def rows(self) -> FeatureRows:
        """See ``EnginePass.rows``."""
        return _features(self._encoded, ("low", "high"))

    def planes(self) -> DecoderOutput:
        """See ``EnginePass.planes``."""
        inputs = {"low": self._encoded["low"], "high": self._encoded["high"], "averaging": self._masks}
        decoded = _run(self._decoder, inputs)
        return DecoderOutput(
            decoded["class_ids"], decoded["confidence"], _features(decoded, ("class_ids", "confidence"))
        )


def _run(session: Any, values: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    # An input that no feature reads is not part of the graph.
    wanted = {one.name for one in session.get_inputs()}
    outputs = session.run(None, {name: value for name, value in values.items() if name in wanted})
    return {one.name: value for one, value in zip(session.get_outputs(), outputs, strict=True)}


def _features(outputs: dict[str, NDArray[Any]], others: tuple[str, ...]) -> FeatureRows:
    return {name: np.asarray(value, dtype=np.float64) for name, value in outputs.items() if name not in others}
