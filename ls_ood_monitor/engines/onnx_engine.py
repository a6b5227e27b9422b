"""Runs the exported graphs in ONNX Runtime, on a CPU or, with ``onnxruntime-gpu``, on a GPU."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
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

#: Output of a graph that version 0.1 exported -> name of the feature now.
RENAMED_OUTPUTS = {"taps": "stage_means"}
_COLOURS = re.compile("\x1b\\[[0-9;]*m")


def is_installed() -> bool:
    """Whether ONNX Runtime can be imported."""
    return onnxruntime is not None


def runs_on(device_type: str) -> bool:
    """Whether ONNX Runtime is installed and has a provider for ``cpu`` or ``cuda``."""
    return onnxruntime is not None and _provider(device_type) in onnxruntime.get_available_providers()


def _provider(device_type: str) -> str:
    return "CUDAExecutionProvider" if device_type == "cuda" else "CPUExecutionProvider"


class OnnxEngine:
    """Runs exported graphs (``engines/export.py``), the contents of their files; 0 threads = as many as torch uses.

    Raises:
        ConfigError: ONNX Runtime is missing, or the device is a GPU and this ONNX Runtime has no CUDA.
        MonitorError: ONNX Runtime cannot read a file.
    """

    name = "onnx"
    precision = "fp32"
    reentrant = True

    def __init__(self, encoder: bytes, decoder: bytes, device: torch.device, threads: int = 0) -> None:
        # On a CPU the steps of a small network are too short for several threads; a batch of four makes them long enough.
        self.preferred_batch_size = sys.maxsize if device.type == "cuda" else 4
        self._encoder, self._decoder = (open_session(content, device, threads) for content in (encoder, decoder))

    def begin(self, pixels: NDArray[np.uint8], averaging: Tensor, *, decode: bool = True) -> OnnxPass:
        """See ``Engine.begin``."""
        masks = averaging.cpu().numpy()
        return OnnxPass(self._decoder, _run(self._encoder, {"pixels": pixels, "averaging": masks}), masks)


def open_session(content: bytes, device: torch.device, threads: int = 0, *, reproducible: bool = False) -> Any:
    """Open a graph in ONNX Runtime with this engine's settings. Arguments and errors as in ``OnnxEngine``.

    ``reproducible``: a GPU uses the same algorithms in every session, so two sessions can be compared bit by bit. Without it,
    each session times the algorithms and chooses the fastest.
    """
    if onnxruntime is None:
        raise ConfigError("engine is onnx, but ONNX Runtime is not installed; pip install onnxruntime, or use eager.")
    provider = _provider(device.type)
    if provider not in onnxruntime.get_available_providers():
        raise ConfigError(
            f"engine is onnx and device is {device}, but this ONNX Runtime has no {provider}; "
            "install onnxruntime-gpu, or use engine eager."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Idle threads that spin would take CPU time from DDS, the supervisor and the decoding of images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # an exception has the same text
    settings = provider_settings(device)
    if reproducible:
        options.use_deterministic_compute = True
        if device.type == "cuda":
            settings["cudnn_conv_algo_search"] = "DEFAULT"
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[(provider, settings)])
    except Exception as error:  # ONNX Runtime's exceptions have no other common base
        raise MonitorError(
            f"ONNX Runtime {onnxruntime.__version__} cannot use an ONNX graph: {first_line(error)}."
        ) from error
    if session.get_providers()[0] != provider:  # it falls back to the CPU silently if a library does not load
        raise ConfigError(
            f"engine is onnx and device is {device}, but ONNX Runtime {onnxruntime.__version__} could not load its {provider} "
            "(CUDA or cuDNN missing or of another version); install those that it was built for, or use engine eager."
        )
    return session


def run_session(session: Any, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Outputs by name. Raises ``MonitorError`` if ONNX Runtime cannot run the graph on these inputs."""
    try:
        return dict(zip(outputs, session.run(outputs, inputs), strict=True))
    except Exception as error:  # ONNX Runtime's exceptions have no other common base
        raise MonitorError(
            f"ONNX Runtime {onnxruntime.__version__} cannot run the network: {first_line(error)}."
        ) from error


def first_line(error: BaseException) -> str:
    """First line of a foreign error's text, without colours and the final full stop."""
    lines = _COLOURS.sub("", str(error)).strip().splitlines()
    return (lines or [type(error).__name__])[0].strip().rstrip(".")


def provider_settings(device: torch.device) -> dict[str, Any]:
    """Options of ONNX Runtime's provider. If torch's GPU memory is limited, each of the two graphs gets half of that limit."""
    if device.type != "cuda":
        return {}
    settings: dict[str, Any] = {"device_id": device.index or 0}
    share = torch.cuda.get_per_process_memory_fraction(device)
    if share < 1.0:
        settings["gpu_mem_limit"] = int(share * torch.cuda.get_device_properties(device).total_memory / 2)
        settings["arena_extend_strategy"] = "kSameAsRequested"
    return settings


class OnnxPass:
    """A run; the decoder runs when its output is read."""

    def __init__(self, decoder: Any, encoded: dict[str, NDArray[Any]], masks: NDArray[np.float32]) -> None:
        self._decoder, self._encoded, self._masks = decoder, encoded, masks

    def encoder_rows(self) -> FeatureRows:
        """See ``EnginePass.encoder_rows``."""
        return _rows(self._encoded, ("low", "high"))

    def decoder_output(self) -> DecoderOutput:
        """See ``EnginePass.decoder_output``."""
        decoded = _run(self._decoder, {**self._encoded, "averaging": self._masks})
        return DecoderOutput(decoded["class_ids"], decoded["confidence"], _rows(decoded, ("class_ids", "confidence")))


def _run(session: Any, values: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    # An input that no feature reads is not part of the graph.
    inputs = {node.name: values[node.name] for node in session.get_inputs()}
    names = [RENAMED_OUTPUTS.get(node.name, node.name) for node in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def _rows(outputs: dict[str, NDArray[Any]], others: Sequence[str]) -> FeatureRows:
    return {name: np.asarray(value, dtype=np.float64) for name, value in outputs.items() if name not in others}
