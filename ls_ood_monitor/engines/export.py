"""Export of the two graphs to ONNX, with their weights.

Needs the packages ``onnx`` and ``onnxscript`` (``requirements/export.txt``). A vehicle needs neither.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..vision.deeplabv3p import DeepLabV3Plus
from ..vision.preprocess import PreprocessSpec
from .graphs import DecoderGraph, EncoderGraph

OPSET = 20


def export_graphs(
    network: DeepLabV3Plus, spec: PreprocessSpec, features: tuple[str, ...], averaging: Tensor
) -> tuple[bytes, bytes]:
    """Encoder and decoder as ONNX, for any number of pictures and these features; the network stays as it is.

    The graphs take ``averaging``, the averaging weights (M, h*w) of a fixed mask bank, as an input. Raises
    ``ConfigError`` for fresh masks, a feature that cannot be exported, or a missing package.
    """
    require_packages()
    if averaging.dim() != 2:
        raise ConfigError("fresh masks cannot be exported; calibrate with --masks fixed.")
    if "mutual_information" in features:
        raise ConfigError(
            "mutual_information takes several decoder passes and is not exported; leave its detector out."
        )
    device = averaging.device
    # Two pictures, because the exporter would make a batch size of 1 a constant.
    pixels = torch.zeros(2, spec.height, spec.width, 3, dtype=torch.uint8, device=device)
    encoder = EncoderGraph(network, spec, features).to(device).eval()
    decoder = DecoderGraph(network, spec, features).to(device).eval()
    with torch.no_grad():
        low, high, *_ = encoder(pixels, averaging)
        inputs, outputs = {"pixels": pixels, "averaging": averaging}, ("low", "high", *encoder.outputs)
        exported = exported_model(encoder, inputs, ("pixels",), outputs)
        inputs = {"low": low, "high": high, "averaging": averaging}
        return exported, exported_model(decoder, inputs, ("low", "high"), ("class_ids", "confidence", *decoder.outputs))


def require_packages() -> None:
    """Raise ``ConfigError`` if a package that torch's exporter needs is missing."""
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise ConfigError(f"package {package} is not installed; pip install 'ls_ood_monitor[export]' brings it.")


def exported_model(
    graph: nn.Module, inputs: dict[str, Tensor], per_picture: tuple[str, ...], outputs: tuple[str, ...]
) -> bytes:
    """A module as ONNX with its weights; inputs and outputs are tensors.

    Args:
        graph: in eval mode.
        inputs: example of each argument of ``forward``, by its name; two pictures where their number is left open.
        per_picture: inputs whose first axis is the number of pictures, which is left open.
        outputs: names of the outputs.
    """
    pictures = torch.export.Dim("pictures", min=1, max=64)
    shapes: dict[str, Any] = {name: {0: pictures} if name in per_picture else None for name in inputs}
    with _quiet():
        program = torch.onnx.export(
            graph,
            tuple(inputs.values()),
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            verbose=False,
        )
        if program is None:  # only torch's older exporter returns None
            raise ConfigError("torch gave no ONNX program; use torch 2.11 or newer.")
    model = program.model_proto
    # Stack traces and file names of the exporting machine.
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    del model.graph.metadata_props[:], model.metadata_props[:], model.graph.value_info[:]
    serialised: bytes = model.SerializeToString()
    return serialised


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporter's warnings about its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
