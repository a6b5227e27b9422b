"""The nodes that the monitor appends to a network: means of its taps, and Monte-Carlo samples of its latents.

They are a graph fragment. Its bytes behind the network's bytes are one ONNX file (``networks/adopted_engine.py``). Matrix
products do all of it, so the same nodes serve every opset.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.grid import GRID
from ..networks.adopted_engine import LATENT_TAP, LATENTS, POOLED, TAP
from ..networks.adopted_settings import AdoptedSettings, TapSettings
from .onnx_graph import OnnxGraph

Weights = NDArray[np.float32]


def appended_nodes(graph: OnnxGraph, settings: AdoptedSettings, averaging: Weights | None) -> bytes:
    """The fragment for these settings.

    Args:
        graph: of the network.
        settings: taps and latents.
        averaging: (M, rows * columns) averaging weights of the masks; None without latents.
    """
    fragment = _Fragment(graph)
    for index, tap in enumerate(settings.taps):
        fragment.pool(tap, f"{TAP}{index}")
    if settings.latents is not None and averaging is not None:
        fragment.pool(settings.latents, LATENT_TAP)
        fragment.sample(settings.latents, averaging)
    for name in (settings.output.class_ids, settings.output.scores):
        fragment.declare_output(name)
    return fragment.content()


def pooling_weights(pixels: int, cells: int) -> Weights:
    """(cells + 1, pixels): row i is the mean of cell i, as adaptive pooling has it; the last row is the mean of all."""
    weights = np.zeros((cells + 1, pixels), np.float32)
    for index in range(cells):
        first, end = index * pixels // cells, -(-(index + 1) * pixels // cells)
        weights[index, first:end] = 1.0 / (end - first)
    weights[cells] = 1.0 / pixels
    return weights


class _Fragment:
    """Nodes, weights and outputs to append."""

    def __init__(self, graph: OnnxGraph) -> None:
        import onnx

        self._onnx = onnx
        self._model = onnx.ModelProto()
        self._tensors = graph.tensors
        self._declared = {output.name for output in graph.outputs}
        self._floats: dict[str, str] = {}

    def pool(self, tap: TapSettings, output: str) -> None:
        """Means of the cells and of the whole map, as ``POOLED``."""
        source = self._as_float32(tap.tensor)
        rows, columns = pooling_weights(tap.rows, GRID[0]), pooling_weights(tap.columns, GRID[1])
        if tap.layout == "NCHW":  # (N, C, h, w) -> (N, C, 7, 9)
            across = self._node("MatMul", source, self._weights(f"{output}.columns", columns.T))
            self._append_node("MatMul", self._weights(f"{output}.rows", rows), across, output=output)
        elif tap.layout == "NHWC":  # (N, h, w, C) -> (N, 7, w, C) -> (N, 7, 9, C)
            flat = self._reshaped(source, (0, tap.rows, tap.columns * tap.channels))
            down = self._node("MatMul", self._weights(f"{output}.rows", rows), flat)
            split = self._reshaped(down, (0, POOLED[0], tap.columns, tap.channels))
            self._append_node("MatMul", self._weights(f"{output}.columns", columns), split, output=output)
        else:  # (N, places, C) -> (N, 63, C)
            places = np.kron(rows, columns)
            places = np.pad(places, ((0, 0), (tap.skipped, 0)))
            self._append_node("MatMul", self._weights(f"{output}.places", places), source, output=output)

    def sample(self, tap: TapSettings, averaging: Weights) -> None:
        """Means under each mask, (N, C, M) of a map in NCHW, else (N, M, C)."""
        source = self._as_float32(tap.tensor)
        if tap.layout == "NCHW":
            flat = self._reshaped(source, (0, tap.channels, tap.places))
            self._append_node("MatMul", flat, self._weights(f"{LATENTS}.masks", averaging.T), output=LATENTS)
            return
        if tap.layout == "NHWC":
            source = self._reshaped(source, (0, tap.places, tap.channels))
        masks = np.pad(averaging, ((0, 0), (tap.skipped, 0)))
        self._append_node("MatMul", self._weights(f"{LATENTS}.masks", masks), source, output=LATENTS)

    def declare_output(self, tensor: str) -> None:
        """Make a tensor of the network an output, unless it is one."""
        if tensor and tensor not in self._declared:
            self._declared.add(tensor)
            info = self._tensors[tensor]
            kind = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(info.type))
            self._model.graph.output.append(self._onnx.helper.make_tensor_value_info(tensor, kind, None))

    def content(self) -> bytes:
        """The fragment, serialised."""
        return bytes(self._model.SerializeToString(deterministic=True))

    def _as_float32(self, tensor: str) -> str:
        """The tensor in float32."""
        if self._tensors[tensor].type == "float32":
            return tensor
        if tensor not in self._floats:
            self._floats[tensor] = self._node("Cast", tensor, to=self._onnx.TensorProto.FLOAT)
        return self._floats[tensor]

    def _weights(self, name: str, values: NDArray[Any]) -> str:
        self._model.graph.initializer.append(
            self._onnx.numpy_helper.from_array(np.ascontiguousarray(values), f"ls_ood.weights.{name}")
        )
        return f"ls_ood.weights.{name}"

    def _reshaped(self, source: str, shape: tuple[int, ...]) -> str:
        name = self._weights(f"shape.{len(self._model.graph.node)}", np.array(shape, np.int64))
        return self._node("Reshape", source, name)

    def _node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self._append_node(operator, *inputs, output="", **attributes)

    def _append_node(self, operator: str, *inputs: str, output: str, **attributes: Any) -> str:
        """Append a node; with a name its result becomes an output of the graph."""
        result = output or f"ls_ood.step.{len(self._model.graph.node)}"
        helper = self._onnx.helper
        self._model.graph.node.append(helper.make_node(operator, inputs, [result], name=f"{result}.node", **attributes))
        if output:
            self._model.graph.output.append(helper.make_tensor_value_info(result, self._onnx.TensorProto.FLOAT, None))
        return result
