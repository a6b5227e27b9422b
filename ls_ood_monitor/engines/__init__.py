"""Inference engines: several ways to run the same two graphs. An engine is chosen by name and compared with eager torch."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..config import ENGINES, PRECISIONS
from ..core.detectors import Detector
from ..errors import ConfigError
from ..vision.deeplabv3p import DeepLabV3Plus
from ..vision.preprocess import PreprocessSpec
from . import onnx_engine
from .base import DecoderOutput, Engine, EngineFacts, EnginePass, FeatureRows
from .graphs import CELLS, SCORE, DecoderGraph, EncoderGraph
from .onnx_engine import OnnxEngine
from .torch_engine import TorchEngine

__all__ = [
    "CELLS",
    "SCORE",
    "ENGINES",
    "PRECISIONS",
    "DecoderGraph",
    "EncoderGraph",
    "Engine",
    "EngineFacts",
    "EnginePass",
    "DecoderOutput",
    "FeatureRows",
    "TorchEngine",
    "check_engine",
    "choose_engine",
    "make_engine",
]


def check_engine(name: str, precision: str, device: torch.device) -> None:
    """Raise ``ConfigError`` if an engine or a precision is unknown, or if engine, precision and device do not fit together."""
    if name not in ENGINES:
        raise ConfigError(f"engine is {name!r}; it must be one of {', '.join(ENGINES)}.")
    if precision not in PRECISIONS:
        raise ConfigError(f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}.")
    if precision != "fp32" and (device.type != "cuda" or name == "onnx"):
        raise ConfigError(f"precision is {precision}, which needs a GPU and engine eager or compile; use fp32.")


def choose_engine(name: str, device: torch.device, has_graphs: bool) -> str:
    """Resolve ``auto``: onnx on a CPU where there are exported graphs and ONNX Runtime is installed, else eager."""
    if name != "auto":
        return name
    return "onnx" if device.type == "cpu" and has_graphs and onnx_engine.is_installed() else "eager"


def make_engine(
    name: str,
    network: DeepLabV3Plus,
    spec: PreprocessSpec,
    features: tuple[str, ...],
    device: torch.device,
    *,
    precision: str = "fp32",
    graphs: Mapping[str, bytes] | None = None,
    threads: int = 0,
    scores: Mapping[str, Detector] | None = None,
) -> Engine:
    """Build an engine.

    Args:
        name: as in ``ENGINES``.
        network: in eval mode, on the device.
        spec: size and normalisation.
        features: names of features to compute.
        device: where it runs.
        precision: as in ``PRECISIONS``; anything but fp32 needs a GPU and a torch engine.
        graphs: ``encoder`` and ``decoder`` as ONNX, if the bundle has them.
        threads: CPU threads of ONNX Runtime; 0 = as many as torch uses.
        scores: detectors that a torch engine scores on the device.

    Raises:
        ConfigError: an engine or precision that is unknown or does not fit the device, or missing graphs.
    """
    check_engine(name, precision, device)
    graphs = graphs or {}
    chosen = choose_engine(name, device, bool(graphs))
    if chosen != "onnx":
        return TorchEngine(network, spec, features, compiled=chosen == "compile", precision=precision, scores=scores)
    if not graphs:
        raise ConfigError("engine is onnx, but the bundle holds no exported graphs; run 'ls-ood bundle export' on it.")
    return OnnxEngine(graphs["encoder"], graphs["decoder"], device, threads)
