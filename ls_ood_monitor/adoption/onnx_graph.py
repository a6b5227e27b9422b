"""An ONNX file read: its inputs and outputs, and the tensors inside that can be tapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from ..networks.adopted_settings import LAYOUTS

#: Input pixels per place of a map that can be tapped.
STRIDES = (1, 2, 4, 8, 16, 32, 64)
MIN_OPSET = 11
#: A protobuf message can be no larger.
MAX_BYTES = 2**31 - 1
_MIN_CHANNELS = 4
#: Operators whose result of three axes may have channels where tokens have places.
_REARRANGING = frozenset({"Transpose", "Reshape"})
_FIXED_SIZE = 512  # assumed height and width of a network that takes any
_TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16", 11: "float64", 16: "bfloat16"}
_FLOATS = frozenset({"float32", "float16", "float64"})
_INTEGERS = frozenset({"uint8", "int8", "int32", "int64"})
#: Stride, layout, channels, rows, columns and skipped tokens.
_Map = tuple[int, str, int, int, int, int]


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of a graph. ``shape`` has None where the size is not fixed."""

    name: str
    shape: tuple[int | None, ...]
    type: str
    operator: str = ""  # that gives it; empty for an input

    def __str__(self) -> str:
        sizes = " x ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name}  {self.type} {sizes}"


@dataclass(frozen=True)
class TapCandidate:
    """A tensor that can be tapped.

    Attributes:
        tensor: it.
        stride: input pixels per place of its map.
        layout: one of ``LAYOUTS``.
        channels: number of channels.
        rows: rows of the map.
        columns: columns of the map.
        skipped: tokens before those of the map.
        is_encoder: no coarser map comes before it.
        coarser_follows: a coarser map is computed from it.
        finer_follows: a finer map is computed from it.
    """

    tensor: TensorInfo
    stride: int
    layout: str
    channels: int
    rows: int
    columns: int
    skipped: int = 0
    is_encoder: bool = True
    coarser_follows: bool = False
    finer_follows: bool = False


@dataclass
class OnnxGraph:
    """A network's file, and what is known of its tensors at one input size.

    Attributes:
        content: the file in one piece, external data included.
        inputs: inputs that are no weights, as the file declares them.
        outputs: outputs, as the file declares them.
        opset: version of ONNX's own operators.
        tensors: all tensors that depend on the input, in the order of computation, at the size of ``at_size``.
    """

    content: bytes
    model: Any = field(repr=False)
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    opset: int
    tensors: Mapping[str, TensorInfo] = field(default_factory=dict, repr=False)

    @property
    def producers(self) -> dict[str, Any]:
        """Tensor -> the node that gives it."""
        return {output: node for node in self.model.graph.node for output in node.output}

    def at_size(self, name: str, height: int, width: int, layout: str) -> OnnxGraph:
        """The graph with the shapes of all tensors for one picture of this size at input ``name``."""
        return OnnxGraph(
            self.content,
            self.model,
            self.inputs,
            self.outputs,
            self.opset,
            _tensors(self.model, name, height, width, layout),
        )


def read_graph(path: Path) -> OnnxGraph:
    """Read a network. Raises ``DataError`` if it is missing or no ONNX file, or its operators are too old."""
    require_onnx()
    import onnx

    refuse_other_files(path)
    try:
        model = onnx.load(str(path))
        weights = onnx.load(str(path), load_external_data=False).graph.initializer
        is_in_parts = any(weight.data_location == onnx.TensorProto.EXTERNAL for weight in weights)
        content = model.SerializeToString() if is_in_parts else path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} keeps weights in another file that is missing ({error}); put it beside.") from error
    except Exception as error:  # protobuf's and onnx's exceptions have no other common base
        raise DataError(f"{path} is not an ONNX network ({_first_line(error)}).") from error
    return _graph_of(model, content, str(path))


def graph_of(content: bytes) -> OnnxGraph:
    """A network from the content of a file. Errors as in ``read_graph``."""
    require_onnx()
    import onnx

    return _graph_of(onnx.load_model_from_string(content), content, "the network")


def require_onnx() -> None:
    """Raise ``ConfigError`` if the package onnx is missing."""
    if find_spec("onnx") is None:
        raise ConfigError("package onnx is not installed; pip install 'ls_ood_monitor[export]' brings it.")


def _graph_of(model: Any, content: bytes, name: str) -> OnnxGraph:
    if not model.graph.node:
        raise DataError(f"{name} is not an ONNX network (it has no nodes).")
    if len(content) > MAX_BYTES:
        raise DataError(
            f"{name} has {len(content) / 1e9:.1f} GB in one piece; an ONNX network in a bundle can have 2.1 GB."
        )
    opset = max((own.version for own in model.opset_import if own.domain in ("", "ai.onnx")), default=0)
    if opset < MIN_OPSET:
        raise DataError(
            f"{name} has opset {opset}; at least {MIN_OPSET} is needed. onnx.version_converter raises the version."
        )
    weights = {weight.name for weight in model.graph.initializer}
    inputs = tuple(_info(value) for value in model.graph.input if value.name not in weights)
    outputs = tuple(_info(value) for value in model.graph.output)
    return OnnxGraph(content, model, inputs, outputs, opset)


def refuse_other_files(path: Path) -> None:
    """Raise ``DataError`` for a file that is missing, or known to be something else; the message says what."""
    if not path.is_file():
        raise DataError(f"{path} is no file; name an ONNX file.")
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise DataError(f"{path} is empty; copy or download it again.")
    if head.startswith(b"version https://git-lfs"):
        raise DataError(f"{path} is a pointer of Git LFS, not the file; run 'git lfs pull' where it was cloned.")
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        raise DataError(f"{path} is a web page, not a network; download the file itself.")
    if head.startswith(b"PK\x03\x04"):
        raise DataError(f"{path} is a file of torch.save or torch.jit; export it as ONNX first (docs/networks.md).")
    if head[4:8] == b"TFL3":
        raise DataError(f"{path} is a TensorFlow Lite network; convert it with tf2onnx first.")


def image_inputs(graph: OnnxGraph) -> list[tuple[TensorInfo, str]]:
    """Inputs that can be a picture of three channels, each with its layout."""
    found = []
    for tensor in graph.inputs:
        if len(tensor.shape) == 4 and tensor.type in ("float32", "float16", "uint8"):
            if tensor.shape[1] == 3:
                found.append((tensor, "NCHW"))
            elif tensor.shape[3] == 3:
                found.append((tensor, "NHWC"))
    return found


def input_size(tensor: TensorInfo, layout: str) -> tuple[int, int]:
    """Height and width of a picture input; 512 where the file leaves them open."""
    height, width = tensor.shape[2:4] if layout == "NCHW" else tensor.shape[1:3]
    return height or _FIXED_SIZE, width or _FIXED_SIZE


def tap_candidates(graph: OnnxGraph, height: int, width: int) -> list[TapCandidate]:
    """Tensors that are maps of the picture, in the order of computation. ``graph`` knows its tensors' shapes."""
    maps = {name: own for name, tensor in graph.tensors.items() if (own := _map_of(tensor, height, width))}
    nodes = graph.model.graph.node
    before, after = _strides_before(nodes, maps), _strides_after(nodes, maps)
    found: list[TapCandidate] = []
    for name, (stride, layout, channels, rows, columns, skipped) in maps.items():
        tensor = graph.tensors[name]
        if channels < _MIN_CHANNELS or tensor.type not in _FLOATS:
            continue
        strides = after.get(name, frozenset())
        found.append(
            TapCandidate(
                tensor,
                stride,
                layout,
                channels,
                rows,
                columns,
                skipped,
                is_encoder=stride >= before[name],
                coarser_follows=any(other > stride for other in strides),
                finer_follows=any(other < stride for other in strides),
            )
        )
    return found


def _strides_before(nodes: Sequence[Any], maps: Mapping[str, _Map]) -> dict[str, int]:
    """Tensor -> largest stride of the maps that it is computed from; 0 without any."""
    coarsest: dict[str, int] = {}  # of a tensor and those before it
    found: dict[str, int] = {}
    for node in nodes:
        before = max((coarsest.get(name, 0) for name in node.input), default=0)
        for name in node.output:
            found[name] = before
            coarsest[name] = max(before, maps[name][0]) if name in maps else before
    return found


def _strides_after(nodes: Sequence[Any], maps: Mapping[str, _Map]) -> dict[str, frozenset[int]]:
    """Tensor -> strides of the maps that are computed from it."""
    found: dict[str, frozenset[int]] = {}
    for node in reversed(nodes):
        own = {maps[name][0] for name in node.output if name in maps}
        strides = frozenset(own).union(*(found.get(name, ()) for name in node.output))
        for name in node.input:
            found[name] = found.get(name, frozenset()) | strides
    return found


def _map_of(tensor: TensorInfo, height: int, width: int) -> _Map | None:
    """Stride, layout, channels, rows, columns and skipped tokens of a map of the picture; None for another tensor."""
    shape = tensor.shape
    if any(size is None for size in shape) or len(shape) not in (3, 4):
        return None
    sizes: list[int] = [int(size or 0) for size in shape]
    for stride in STRIDES:
        rows_of, columns_of = _sizes(height, stride), _sizes(width, stride)
        if len(sizes) == 4:
            _, first, second, third = sizes
            if second in rows_of and third in columns_of:
                return stride, LAYOUTS[0], first, second, third, 0
            if first in rows_of and second in columns_of:
                return stride, LAYOUTS[1], third, first, second, 0
        elif tensor.operator not in _REARRANGING:
            for rows, columns in ((height // stride, width // stride), (-(-height // stride), -(-width // stride))):
                for skipped in (0, 1):
                    if rows * columns > 1 and sizes[1] == rows * columns + skipped:
                        return stride, LAYOUTS[2], sizes[2], rows, columns, skipped
    return None


def map_layout(tensor: TensorInfo, height: int, width: int) -> tuple[str, int] | None:
    """Layout and channels of a map (N, C, h, w) or (N, h, w, C) of the picture; None for another tensor."""
    found = _map_of(tensor, height, width)
    return (found[1], found[2]) if found is not None and found[1] != LAYOUTS[2] else None


def _sizes(pixels: int, stride: int) -> frozenset[int]:
    """Sizes that a map of this stride can have, whatever the padding."""
    exact = pixels / stride
    return frozenset(size for size in range(int(exact) - 1, int(exact) + 3) if size > 1 and abs(size - exact) <= 1.0)


def class_outputs(graph: OnnxGraph, height: int, width: int) -> list[TensorInfo]:
    """Outputs that can give the classes: ids of a picture, or a value of each class at each place.

    Beside an output that is no picture, such as boxes, scores must have the picture's size: a coarser map is then an input of
    the further processing, such as the prototypes of an instance segmentation.
    """
    outputs = [graph.tensors.get(output.name, output) for output in graph.outputs]
    has_lists = any(tensor.type in _FLOATS and len(tensor.shape) < 4 for tensor in outputs)
    found = []
    for tensor in outputs:
        rank = len(tensor.shape)
        is_fine = not has_lists or (height, width) in (tensor.shape[1:3], tensor.shape[2:4])
        if (tensor.type in _INTEGERS and rank in (3, 4)) or (tensor.type in _FLOATS and rank == 4 and is_fine):
            found.append(tensor)
    return found


def _tensors(model: Any, name: str, height: int, width: int, layout: str) -> dict[str, TensorInfo]:
    import onnx

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        if value.name == name:
            shape = (1, 3, height, width) if layout == "NCHW" else (1, height, width, 3)
            for dimension, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
                dimension.dim_value = size
    for output in fixed.graph.output:  # declared sizes may be those of another input size
        output.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    except Exception as error:
        raise DataError(f"the shapes of this network's tensors cannot be found ({_first_line(error)}).") from error
    operators = {output: node.op_type for node in model.graph.node for output in node.output}
    depends = {name}
    for node in model.graph.node:
        if depends.intersection(node.input):
            depends.update(node.output)
    known = [*inferred.graph.value_info, *inferred.graph.output]
    infos = {value.name: _info(value, operators.get(value.name, "")) for value in known if value.name in depends}
    missing = [tensor for tensor in operators if tensor in depends and not _is_known(infos.get(tensor))]
    infos |= _measured(model, name, height, width, layout, missing, operators)
    return {tensor: infos[tensor] for tensor in operators if tensor in infos}


def _is_known(info: TensorInfo | None) -> bool:
    return info is not None and None not in info.shape


def _measured(
    model: Any, name: str, height: int, width: int, layout: str, missing: list[str], operators: Mapping[str, str]
) -> dict[str, TensorInfo]:
    """Shapes that inference does not find, from a run on a blank picture; none if ONNX Runtime cannot run it."""
    import onnx
    import onnxruntime

    types = {value.name: _info(value).type for value in model.graph.input}
    shape = (1, 3, height, width) if layout == "NCHW" else (1, height, width, 3)
    blank = np.zeros(shape, types[name])
    found: dict[str, TensorInfo] = {}
    for start in range(0, len(missing), 50):
        part = missing[start : start + 50]
        fragment = onnx.ModelProto()
        declared = {output.name for output in model.graph.output}
        fragment.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in part if tensor not in declared)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString() + fragment.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            values = session.run(part, {name: blank})
        except Exception:  # a tensor that is no output type, or an input that is missing: it cannot be tapped
            continue
        for tensor, value in zip(part, values, strict=True):
            if isinstance(value, np.ndarray):
                found[tensor] = TensorInfo(tensor, value.shape, str(value.dtype), operators[tensor])
    return found


def _info(value: Any, operator: str = "") -> TensorInfo:
    tensor = value.type.tensor_type
    shape = tuple(
        size.dim_value if size.HasField("dim_value") and size.dim_value > 0 else None for size in tensor.shape.dim
    )
    return TensorInfo(value.name, shape, _TYPES.get(tensor.elem_type, f"type {tensor.elem_type}"), operator)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
