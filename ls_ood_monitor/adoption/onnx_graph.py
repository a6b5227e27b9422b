"""An ONNX file read: its inputs and outputs, and the tensors inside that can be tapped."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..engines.onnx_engine import first_line, open_session, run_session
from ..errors import ConfigError, DataError, MonitorError
from ..networks.adopted_settings import LAYOUTS, InputSettings

#: Input pixels per place of a map that can be tapped; 14 is the patch of some vision transformers.
STRIDES = (1, 2, 4, 8, 16, 32, 64, 14)
MIN_OPSET = 11
#: A protobuf message can be no larger.
MAX_BYTES = 2**31 - 1
_MIN_CHANNELS = 4
#: Operators whose result of three axes may have channels where tokens have places.
_REARRANGING = frozenset({"Transpose", "Reshape"})
_FIXED_SIZE = 512  # assumed height and width of a network that takes any
#: Tokens that a vision transformer may have before those of the map: of the class, of distillation, registers.
_MAX_SKIPPED = 8
#: The same where a person gives the grid.
_MAX_SKIPPED_OF_GRID = 64
_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
FLOATS = frozenset({"float32", "float16", "float64"})
INTEGERS = frozenset({"bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))})
#: Types of a tensor that can be tapped. Those of 8 bits are maps of a quantised network.
TAPPABLE = FLOATS | {"uint8", "int8"}
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
        is_in_parts = model != onnx.load(str(path), load_external_data=False)
        content = model.SerializeToString() if is_in_parts else path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} keeps weights in another file that is missing ({error}); put it beside.") from error
    except Exception as error:  # protobuf's and onnx's exceptions have no other common base
        raise DataError(f"{path} is not an ONNX network ({first_line(error)}).") from error
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


def require_input(graph: OnnxGraph, source: InputSettings, height: int, width: int) -> None:
    """Raise ``ConfigError`` unless the file declares this input for pictures of this size, and needs no other."""
    tensors = {tensor.name: tensor for tensor in graph.inputs}
    tensor = tensors.pop(source.name, None)
    if tensor is None:
        raise ConfigError(f"input.name is {source.name!r}; the network's inputs are {', '.join(tensors) or 'none'}.")
    if tensors:
        raise ConfigError(
            f"the network also needs the input {next(iter(tensors))}; only a network of one picture can be adopted. Make the "
            "other inputs constants of the file."
        )
    wanted = (3, height, width) if source.layout == "NCHW" else (height, width, 3)
    if len(tensor.shape) != 4 or tensor.shape[1 if source.layout == "NCHW" else 3] not in (None, 3):
        raise ConfigError(f"input.layout is {source.layout}, but the file's input is {tensor}; set the other layout.")
    if any(fixed not in (None, size) for fixed, size in zip(tensor.shape[1:], wanted, strict=True)):
        fixed_height, fixed_width = input_size(tensor, source.layout)
        raise ConfigError(
            f"the file's input is fixed to {fixed_width}x{fixed_height} (width x height), not {width}x{height}; use that size, "
            "or export the network for another."
        )
    if tensor.type != source.type:
        raise ConfigError(f"input.type is {source.type}, but the file's input is {tensor}; set type: {tensor.type}.")
    pictures = tensor.shape[0]
    if pictures not in (None, 1):
        raise ConfigError(
            f"the file's input takes {pictures} pictures at a time; export the network for one, or for an open number."
        )
    if pictures == 1 and source.batch:
        raise ConfigError("input.batch is true, but the file's input takes one picture at a time; set batch: false.")


def takes_pictures(graph: OnnxGraph, source: InputSettings, height: int, width: int) -> bool:
    """Run the network on blank pictures. Returns whether it takes two at once.

    Raises ``DataError`` if ONNX Runtime cannot run it at all.
    """
    names = [output.name for output in graph.outputs]
    picture = np.zeros((1, 3, height, width) if source.layout == "NCHW" else (1, height, width, 3), source.type)
    try:
        session = open_session(graph.content, torch.device("cpu"))
        run_session(session, names, {source.name: picture})
    except MonitorError as error:
        raise DataError(f"{error} A file that ONNX Runtime cannot run cannot be adopted.") from error
    if not source.batch:
        return False
    try:
        outputs = run_session(session, names, {source.name: np.repeat(picture, 2, axis=0)})
    except MonitorError:
        return False
    return all(len(np.atleast_1d(output)) == 2 for output in outputs.values())


def input_size(tensor: TensorInfo, layout: str) -> tuple[int, int]:
    """Height and width of a picture input; 512 where the file leaves them open."""
    height, width = tensor.shape[2:4] if layout == "NCHW" else tensor.shape[1:3]
    return height or _FIXED_SIZE, width or _FIXED_SIZE


def tap_candidates(graph: OnnxGraph, height: int, width: int, token_grid: Sequence[int] = ()) -> list[TapCandidate]:
    """Feature maps, in the order of computation. ``graph`` knows its tensors' shapes.

    Args:
        graph: of the network.
        height: of the picture.
        width: of the picture.
        token_grid: rows and columns of the tokens' map; empty = that of another map, or of a usual stride.
    """
    maps = {name: own for name, tensor in graph.tensors.items() if (own := _map_of(tensor, height, width))}
    grids = {(stride, rows, columns) for stride, _, _, rows, columns, _ in maps.values()}
    for name, tensor in graph.tensors.items():
        if tokens := _token_map(tensor, height, width, grids, token_grid):
            maps[name] = tokens
    maps = {name: maps[name] for name in graph.tensors if name in maps}
    nodes = graph.model.graph.node
    before, after = _strides_before(nodes, maps), _strides_after(nodes, maps)
    found: list[TapCandidate] = []
    for name, (stride, layout, channels, rows, columns, skipped) in maps.items():
        tensor = graph.tensors[name]
        if channels < _MIN_CHANNELS or tensor.type not in TAPPABLE:
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
        before = max((coarsest.get(name, 0) for name in inputs_of(node)), default=0)
        for name in node.output:
            found[name] = before
            coarsest[name] = max(before, maps[name][0]) if name in maps else before
    return found


def _strides_after(nodes: Sequence[Any], maps: Mapping[str, _Map]) -> dict[str, frozenset[int]]:
    """Tensor -> strides of the maps that are computed from it."""
    found: dict[str, frozenset[int]] = {}
    for node in reversed(nodes):
        given = {maps[name][0] for name in node.output if name in maps}
        strides = frozenset(given).union(*(found.get(name, ()) for name in node.output))
        for name in inputs_of(node):
            found[name] = found.get(name, frozenset()) | strides
    return found


def inputs_of(node: Any) -> list[str]:
    """Tensors that a node reads, also those that the subgraphs of If and Loop take from outside."""
    names = list(node.input)
    for attribute in node.attribute:
        for subgraph in (attribute.g, *attribute.graphs):
            names += [name for inner in subgraph.node for name in inputs_of(inner)]
    return names


def _map_of(tensor: TensorInfo, height: int, width: int) -> _Map | None:
    """Stride, layout, channels, rows, columns and skipped tokens of a map of the picture; None for another tensor."""
    shape = tensor.shape
    if any(size is None for size in shape) or len(shape) != 4:
        return None
    first, second, third = (int(size or 0) for size in shape[1:])
    maps = [
        (abs(rows - height / stride) + abs(columns - width / stride), (stride, layout, channels, rows, columns, 0))
        for stride in STRIDES
        for layout, channels, rows, columns in ((LAYOUTS[0], first, second, third), (LAYOUTS[1], third, first, second))
        if rows in _sizes(height, stride) and columns in _sizes(width, stride)
    ]
    return min(maps, key=lambda found: found[0])[1] if maps else None


def _token_map(
    tensor: TensorInfo,
    height: int,
    width: int,
    grids: Collection[tuple[int, int, int]],
    given: Sequence[int],
) -> _Map | None:
    """As ``_map_of``, of tokens (N, places, C). ``grids`` are stride, rows and columns of the graph's other maps.

    A grid that a person gives comes first. Then come those of the usual strides with at most a class token, and those of other
    maps, such as that of the patches, with more tokens before them.
    """
    if len(tensor.shape) != 3 or None in tensor.shape or tensor.operator in _REARRANGING:
        return None
    tokens, channels = int(tensor.shape[1] or 0), int(tensor.shape[2] or 0)
    usual = [
        (stride, rows, columns)
        for stride in STRIDES
        for rows, columns in ((height // stride, width // stride), (-(-height // stride), -(-width // stride)))
    ]
    choices = [(grid, skipped) for grid in usual for skipped in (0, 1)]
    choices += [(grid, skipped) for skipped in range(_MAX_SKIPPED + 1) for grid in sorted(grids)]
    if given:
        rows, columns = given
        own = (max(1, round(height / rows)), rows, columns)
        choices = [(own, skipped) for skipped in range(_MAX_SKIPPED_OF_GRID + 1)] + choices
    for (stride, rows, columns), skipped in choices:
        if rows * columns >= max(2, 2 * skipped) and tokens == rows * columns + skipped:
            return stride, LAYOUTS[2], channels, rows, columns, skipped
    return None


def is_class_plane(tensor: TensorInfo, height: int, width: int) -> bool:
    """Whether a tensor has one value at each place of the picture: (N, H, W), (N, 1, H, W), (N, H, W, 1) or (H, W)."""
    if len(tensor.shape) not in (2, 3, 4):
        return False
    sizes = [size for size in (tensor.shape if len(tensor.shape) == 2 else tensor.shape[1:]) if size != 1]
    if len(sizes) != 2 or None in sizes:
        return len(sizes) == 2 and len(tensor.shape) > 2
    return _map_of(TensorInfo("", (1, 1, *sizes), ""), height, width) is not None


def map_layout(tensor: TensorInfo, height: int, width: int) -> tuple[str, int] | None:
    """Layout and channels of a map (N, C, h, w) or (N, h, w, C) of the picture; None for another tensor."""
    found = _map_of(tensor, height, width)
    return None if found is None else (found[1], found[2])


def _sizes(pixels: int, stride: int) -> frozenset[int]:
    """Sizes that a map of this stride can have, whatever the padding."""
    exact = pixels / stride
    return frozenset(size for size in range(int(exact) - 1, int(exact) + 3) if size > 1 and abs(size - exact) <= 1.0)


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
        raise DataError(f"the shapes of this network's tensors cannot be found ({first_line(error)}).") from error
    operators = {output: node.op_type for node in model.graph.node for output in node.output}
    depends = {name}
    for node in model.graph.node:
        if depends.intersection(inputs_of(node)):
            depends.update(node.output)
    known = [*inferred.graph.value_info, *inferred.graph.output]
    infos = {value.name: _info(value, operators.get(value.name, "")) for value in known if value.name in depends}
    missing = [tensor for tensor in operators if tensor in depends and not _is_known(infos.get(tensor))]
    infos |= _shapes_from_run(model, name, height, width, layout, missing, operators)
    return {tensor: infos[tensor] for tensor in operators if tensor in infos}


def _is_known(info: TensorInfo | None) -> bool:
    return info is not None and None not in info.shape


def _shapes_from_run(
    model: Any, name: str, height: int, width: int, layout: str, missing: list[str], operators: Mapping[str, str]
) -> dict[str, TensorInfo]:
    """Shapes that inference does not find, from a run on a blank picture. ``takes_pictures`` has run the network before."""
    import onnx

    types = {value.name: _info(value).type for value in model.graph.input}
    shape = (1, 3, height, width) if layout == "NCHW" else (1, height, width, 3)
    blank = np.zeros(shape, types[name])
    declared = {output.name for output in model.graph.output}
    found: dict[str, TensorInfo] = {}
    for start in range(0, len(missing), 50):
        part = missing[start : start + 50]
        fragment = onnx.ModelProto()
        fragment.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in part if tensor not in declared)
        try:
            session = open_session(model.SerializeToString() + fragment.SerializeToString(), torch.device("cpu"))
            values = run_session(session, part, {name: blank})
        except MonitorError:  # a tensor that can be no output: these are not tapped
            continue
        for tensor, value in values.items():
            if isinstance(value, np.ndarray):
                found[tensor] = TensorInfo(tensor, value.shape, str(value.dtype), operators[tensor])
    return found


def _info(value: Any, operator: str = "") -> TensorInfo:
    tensor = value.type.tensor_type
    shape = tuple(
        size.dim_value if size.HasField("dim_value") and size.dim_value > 0 else None for size in tensor.shape.dim
    )
    return TensorInfo(value.name, shape, _TYPES.get(tensor.elem_type, f"type {tensor.elem_type}"), operator)
