"""Settings for a network that is to be adopted: proposed from its graph, written and read as a commented YAML file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from ..config import Checked, from_mapping, setting
from ..datasets.cityscapes import CLASSES as CITYSCAPES
from ..datasets.cityscapes import VOID
from ..errors import ConfigError, DataError
from ..networks.adopted_settings import InputSettings, LatentTap, OutputSettings, TapSettings
from ..vision.preprocess import IMAGENET_MEAN, IMAGENET_STD, PreprocessSpec
from ..yaml_file import read_yaml
from .onnx_graph import (
    FLOATS,
    INTEGERS,
    TAPPABLE,
    OnnxGraph,
    TapCandidate,
    TensorInfo,
    image_inputs,
    input_size,
    is_class_plane,
    map_layout,
    require_input,
    takes_pictures,
    tap_candidates,
)

#: Operators that keep the values of scores, and change only their size, order or coding.
_VALUE_PRESERVING = ("Resize", "Upsample", "QuantizeLinear", "DequantizeLinear", "Transpose", "Cast", "Identity")
#: Those that ids may also pass.
_RESHAPING = ("Squeeze", "Unsqueeze", "Reshape", "Flatten")
_PROBABILITIES = ("Softmax", "Sigmoid")
_QUANTISED = "DequantizeLinear"


@dataclass(frozen=True)
class AdoptionSettings(Checked):
    """What a settings file says: names alone; shapes are read from the graph.

    Attributes:
        input: the network's input.
        preprocess: size and normalisation.
        output: tensors of the segmentation.
        class_names: by id.
        taps: tensors to tap, fine ones first.
        latents: tensor to sample latents from; empty = none.
        token_grid: rows and columns of the map that tokens are; empty = read from the graph.
        mc_samples: Monte-Carlo samples.
        dropblock_size: cells; 0 = 8, smaller on small maps.
        dropblock_prob: probability p.
    """

    input: InputSettings
    preprocess: PreprocessSpec
    output: OutputSettings
    class_names: tuple[str, ...]
    taps: tuple[str, ...]
    latents: str = ""
    token_grid: tuple[int, ...] = ()
    mc_samples: int = setting(64, "Monte-Carlo samples", low=2, high=4096)
    dropblock_size: int = setting(0, "side of the dropped blocks, cells of the map; 0 = automatic", low=0, high=256)
    dropblock_prob: float = setting(0.5, "DropBlock probability p", low=0.01, high=0.99)


def propose(graph: OnnxGraph, size: tuple[int, int] | None = None) -> tuple[AdoptionSettings, OnnxGraph]:
    """Propose settings, and return the graph with the shapes of its tensors.

    Args:
        graph: of the network.
        size: height and width for a network that takes any size; None = the file's own, or 512 x 512.

    Raises:
        DataError: no input can be a picture, or no tensor can be tapped.
    """
    inputs = image_inputs(graph)
    if not inputs:
        raise DataError(
            "no input of this network is a picture of three channels, (N, 3, H, W) or (N, H, W, 3); its inputs are "
            f"{'; '.join(map(str, graph.inputs)) or 'none'}."
        )
    tensor, layout = inputs[0]
    height, width = size or input_size(tensor, layout)
    source = InputSettings(tensor.name, layout, tensor.type, "rgb", tensor.shape[0] is None)
    require_input(graph, source, height, width)
    source = replace(source, batch=takes_pictures(graph, source, height, width))
    known = graph.at_size(tensor.name, height, width, layout)
    candidates = tap_candidates(known, height, width)
    if not candidates:
        raise DataError(
            f"no tensor of this network is a feature map of a picture of {width}x{height}, so nothing can be tapped; give its "
            "own size with --size, or another network."
        )
    outputs = _class_outputs(known, height, width)
    output, classes = _classes_of(known, outputs, height, width)
    scores = {scores.name for given in outputs for scores in _score_chain(known, given.name)}
    inner = [candidate for candidate in candidates if candidate.tensor.name not in scores]
    taps, latents = choose_taps(inner or candidates)
    is_bytes = tensor.type == "uint8"
    return (
        AdoptionSettings(
            source,
            PreprocessSpec(
                width, height, (0.0,) * 3 if is_bytes else IMAGENET_MEAN, (1.0,) * 3 if is_bytes else IMAGENET_STD
            ),
            output,
            class_names_of(classes),
            tuple(tap.tensor.name for tap in taps),
            latents.tensor.name,
        ),
        known,
    )


def choose_taps(candidates: Sequence[TapCandidate]) -> tuple[list[TapCandidate], TapCandidate]:
    """Taps for features, and the one for latents: the end of each stage of the encoder, and the last stage.

    Heads are left out: a coarser map is computed from the end of a stage, and from that of the last stage a finer one, if
    there is a decoder. Stride 1 is left out where there are others. If all maps have one stride, as in a plain vision
    transformer, the taps lie at a third and two thirds of its depth.
    """
    encoder = [candidate for candidate in candidates if candidate.is_encoder] or list(candidates)
    strides = sorted({candidate.stride for candidate in encoder})
    if len(strides) > 1 and strides[0] == 1:
        strides = strides[1:]
    *earlier, coarsest = strides
    stages = {stride: [candidate for candidate in encoder if candidate.stride == stride] for stride in strides}
    last = _end(stages[coarsest], "finer_follows")
    if earlier:
        return [_end(stages[stride], "coarser_follows") for stride in earlier], last
    blocks = stages[coarsest]
    return [blocks[len(blocks) // 3], blocks[2 * len(blocks) // 3]], last


def _end(stage: Sequence[TapCandidate], goes_on: str) -> TapCandidate:
    """End of a stage: the last of those from which the network goes on, if there are any."""
    return reduce(_better_end, [candidate for candidate in stage if getattr(candidate, goes_on)] or stage)


def _better_end(before: TapCandidate, candidate: TapCandidate) -> TapCandidate:
    """The later one; in a quantised network the later output of DequantizeLinear.

    A tap within a quantised block would keep ONNX Runtime from joining its layers, and so change their rounding.
    """
    if candidate.tensor.operator == _QUANTISED or before.tensor.operator != _QUANTISED:
        return candidate
    return before


def class_names_of(count: int) -> tuple[str, ...]:
    """Names to propose: those of Cityscapes for 19 classes, and for 20 with void."""
    if count == 1:
        return ("everything",)
    if VOID <= count <= VOID + 1:
        return CITYSCAPES.names[:count]
    return tuple(f"class_{index}" for index in range(count))


def _class_outputs(graph: OnnxGraph, height: int, width: int) -> list[TensorInfo]:
    """Outputs with one value, or one of each class, at each place of the picture.

    Beside an output that is no picture, such as boxes, scores must have the picture's size: a coarser map is then an input of
    the further processing, such as the prototypes of an instance segmentation.
    """
    outputs = [graph.tensors[output.name] for output in graph.outputs if output.name in graph.tensors]
    planes = [output for output in outputs if is_class_plane(output, height, width)]
    has_lists = any(output.type in FLOATS and len(output.shape) < 4 and output not in planes for output in outputs)
    return [
        output
        for output in outputs
        if output in planes
        or (
            (output.type in FLOATS and len(output.shape) == 4)
            and (not has_lists or (height, width) in (output.shape[1:3], output.shape[2:4]))
        )
    ]


def _classes_of(graph: OnnxGraph, outputs: Sequence[TensorInfo], height: int, width: int) -> tuple[OutputSettings, int]:
    """Tensors of the segmentation, and the number of classes, of the first output that is one; 256 where only ids are known.

    One value at each place is a segmentation if it is an integer, or comes from an ArgMax (ids) or a sigmoid (two classes);
    otherwise it may as well be a depth.
    """
    for output in outputs:
        chain, origin = _score_chain(graph, output.name), _origin(graph, output.name)
        if not is_class_plane(output, height, width):
            layout, classes = _layout_of_scores(output, height, width)
            return OutputSettings("", output.name, layout, origin in _PROBABILITIES), classes
        if output.type in INTEGERS or origin == "ArgMax":
            if not chain:
                return OutputSettings(class_ids=output.name), 2 if output.type == "bool" else 256
            layout, classes = _layout_of_scores(chain[-1], height, width)
            if chain[-1].type not in FLOATS:  # the scale of these scores is not known
                return OutputSettings(class_ids=output.name), classes
            are_probabilities = _origin(graph, chain[-1].name) in _PROBABILITIES
            return OutputSettings(output.name, chain[-1].name, layout, are_probabilities), classes
        if origin == "Sigmoid":
            layout = "NHWC" if len(output.shape) == 4 and output.shape[3] == 1 else "NCHW"
            return OutputSettings("", output.name, layout, are_probabilities=True), 2
    return OutputSettings(), 1


def _origin(graph: OnnxGraph, tensor: str) -> str:
    """Operator that gives a tensor's values."""
    node = graph.producers.get(tensor)
    while node is not None and node.op_type in (*_VALUE_PRESERVING, *_RESHAPING):
        node = graph.producers.get(node.input[0])
    return "" if node is None else str(node.op_type)


def _layout_of_scores(scores: TensorInfo, height: int, width: int) -> tuple[str, int]:
    """Layout and number of classes. Where the sizes are no map of the picture, the classes are the shorter axis."""
    if known := map_layout(scores, height, width):
        return known
    shape = [size or 0 for size in scores.shape]
    return ("NHWC", shape[3]) if 0 < shape[3] < shape[1] else ("NCHW", shape[1])


def _score_chain(graph: OnnxGraph, output: str) -> list[TensorInfo]:
    """The tensors of scores behind an output, the network's own, smaller ones last; empty behind ids without scores.

    In a quantised network only outputs of DequantizeLinear: see ``_better_end``.
    """
    producers = graph.producers
    found: list[TensorInfo] = []
    name = output
    node = producers.get(output)
    while node is not None and node.op_type in (*_VALUE_PRESERVING, *_RESHAPING):
        node = producers.get(node.input[0])
    if node is not None and node.op_type == "ArgMax":
        name = node.input[0]
    elif output not in graph.tensors or graph.tensors[output].type in INTEGERS:
        return []
    while True:
        tensor = graph.tensors.get(name)
        if (
            tensor is not None
            and tensor.type in TAPPABLE
            and len(tensor.shape) == 4
            and (not found or tensor.operator == _QUANTISED or found[-1].operator != _QUANTISED)
        ):
            found.append(tensor)
        node = producers.get(name)
        if node is None or node.op_type not in _VALUE_PRESERVING:
            return found
        name = node.input[0]


def settings_text(proposal: AdoptionSettings, graph: OnnxGraph, candidates: Sequence[TapCandidate], file: str) -> str:
    """A proposal as YAML, with a comment at what a person must check."""
    by_name = {candidate.tensor.name: candidate for candidate in candidates}
    other_outputs = [
        _quoted(str(output)) for output in graph.outputs if output.name not in vars(proposal.output).values()
    ]
    spec, source, output = proposal.preprocess, proposal.input, proposal.output
    lines = [
        f"# How {file} is to be monitored. Proposed by 'ls-ood adopt'; check the lines marked CHECK.",
        "",
        "input:",
        f"  name: {_quoted(source.name)}",
        f"  layout: {source.layout}",
        f"  type: {source.type}",
        f"  batch: {_flag(source.batch)}  # takes several pictures at once",
        f"  colour: {source.colour}  # CHECK: order of the channels, rgb or bgr",
        f"  width: {spec.width}",
        f"  height: {spec.height}",
    ]
    if source.type == "uint8":
        lines.append("  # Values 0 to 255, as they are.")
    else:
        lines += [
            "  # CHECK: the network gets (value / 255 - mean) / std, per channel in the order red, green, blue.",
            "  # ImageNet's are proposed. Plain value / 255: mean [0, 0, 0], std [1, 1, 1].",
            "  # Values 0 to 255: mean [0, 0, 0], std [0.00392157, 0.00392157, 0.00392157].",
            f"  mean: [{', '.join(f'{value:g}' for value in spec.mean)}]",
            f"  std: [{', '.join(f'{value:g}' for value in spec.std)}]",
        ]
    lines += [
        "",
        "output:",
        *(
            ()
            if output.class_source
            else (
                "  # CHECK: no output was found that is a segmentation; every pixel gets class 0. Scores of one channel, such as",
                "  # those of road against all else, are named under scores, with two class names.",
            )
        ),
        *(f"  # another output: {other}" for other in other_outputs),
        "  # Tensor of class ids; empty = the largest score decides.",
        f"  class_ids: {_quoted(output.class_ids)}",
        "  # Tensor of the classes' scores; empty = no confidence picture.",
        f"  scores: {_quoted(output.scores)}",
        f"  scores_layout: {output.scores_layout}  # CHECK: NCHW = (N, classes, H, W), NHWC = (N, H, W, classes)",
        f"  are_probabilities: {_flag(output.are_probabilities)}  # the scores come after a softmax or a sigmoid",
        "  # CHECK: names by id, a list here or the name of a YAML file with a list.",
        "  class_names:",
        *(f"    - {name}" for name in proposal.class_names),
        "",
        "# Tensors whose means the detectors read: where each stage of the encoder ends.",
        "taps:",
        *(line for name in proposal.taps for line in (f"  # {_described(by_name[name])}", f"  - {_quoted(name)}")),
        "",
        "# Tensor that Monte-Carlo samples are drawn from, for the detectors larem, lared and mahalanobis; null = none.",
        "latents:",
        f"  # {_described(by_name[proposal.latents])}",
        f"  tensor: {_quoted(proposal.latents)}",
        f"  mc_samples: {proposal.mc_samples}",
        "  dropblock_size: 0  # cells; 0 = 8, smaller on small maps",
        f"  dropblock_prob: {proposal.dropblock_prob:g}",
        "",
        "# Rows and columns of the map that tokens (N, places, channels) are; null = read from the graph.",
        "token_grid: null",
    ]
    return "\n".join(lines) + "\n"


def _described(candidate: TapCandidate) -> str:
    return f"stride {candidate.stride}, {candidate.rows} x {candidate.columns}, {candidate.channels} channels"


def _quoted(text: str) -> str:
    """A string of YAML, on one line."""
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=sys.maxsize).strip()


def _flag(value: bool) -> str:
    return "true" if value else "false"


_KEYS = ("input", "output", "taps", "latents", "token_grid")


def read_settings(path: Path) -> AdoptionSettings:
    """Read a settings file. Raises ``ConfigError`` for a missing or unknown key, or a value out of range."""
    content = read_yaml(path, ConfigError)
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path} is no settings file; 'ls-ood adopt NETWORK --suggest {path}' writes one.")
    if unknown := sorted(set(map(str, content)) - set(_KEYS)):
        raise ConfigError(f"{path} has the unknown key {unknown[0]}; known are {', '.join(_KEYS)}.")
    if missing := [key for key in _KEYS[:3] if key not in content]:
        raise ConfigError(f"{path} lacks {missing[0]}; 'ls-ood adopt NETWORK --suggest FILE' writes a whole one.")
    try:
        source, output = dict(content["input"]), dict(content["output"])
        latents = dict(content.get("latents") or {})
        names = _class_names(output.pop("class_names"), path)
        size = {key: source.pop(key) for key in ("width", "height", "mean", "std") if key in source}
        taps = tuple(_texts(content["taps"], "taps"))
        unknown = sorted(set(latents) - {"tensor", "mc_samples", "dropblock_size", "dropblock_prob"})
        if unknown:
            raise ConfigError(f"latents has the unknown key {unknown[0]}.")
        given = {
            spec.name: latents[spec.name] for spec in fields(AdoptionSettings) if latents.get(spec.name) is not None
        }
        (latent,) = _texts([latents.get("tensor") or ""], "latents.tensor")
        proposal = AdoptionSettings(
            from_mapping(InputSettings, source),
            from_mapping(PreprocessSpec, _with_default_normalisation(size, str(source.get("type")))),
            from_mapping(OutputSettings, {key: "" if value is None else value for key, value in output.items()}),
            names,
            taps,
            latent,
            _token_grid(content.get("token_grid")),
            **given,
        )
    except KeyError as error:
        raise ConfigError(
            f"{path} lacks {error.args[0]}; 'ls-ood adopt NETWORK --suggest FILE' writes a whole one."
        ) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if not taps:
        raise ConfigError(f"{path}: taps is empty; name at least one tensor inside the network.")
    return proposal


def _with_default_normalisation(size: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Size and normalisation; values of uint8 have none."""
    return {**({"mean": (0.0,) * 3, "std": (1.0,) * 3} if kind == "uint8" else {}), **size}


def _class_names(value: Any, path: Path) -> tuple[str, ...]:
    """Names from a list, or from a YAML file beside the settings file: a list, or a mapping of ids 0, 1, 2, ... to names."""
    if isinstance(value, str):
        value = read_yaml(path.parent / value, ConfigError)
        if isinstance(value, Mapping):
            if list(range(len(value))) != sorted(key for key in value if type(key) is int):
                raise ConfigError(
                    f"class_names has the ids {', '.join(map(repr, value))}; whole numbers from 0 on without gaps are needed, "
                    "without quotes."
                )
            value = [value[index] for index in range(len(value))]
    if not isinstance(value, list) or not value:
        raise ConfigError("class_names is no list of names.")
    return tuple(_texts(value, "class_names"))


def _texts(values: Any, key: str) -> list[str]:
    """The values, which must be strings: YAML reads 12, no and null as other things."""
    if not isinstance(values, list):
        raise ConfigError(f"{key} is {values!r}; it must be a list of names.")
    for value in values:
        if not isinstance(value, str):
            raise ConfigError(f"{key} has {value!r}, which YAML does not read as text; put each name in quotes.")
    return values


def _token_grid(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) != 2 or not all(type(size) is int and size > 0 for size in value):
        raise ConfigError(f"token_grid is {value!r}; it must be [rows, columns], for example [16, 16], or null.")
    return tuple(value)


def tap_settings(candidate: TapCandidate) -> TapSettings:
    """What the bundle says of a tap."""
    return TapSettings(
        candidate.tensor.name,
        candidate.layout,
        candidate.channels,
        candidate.rows,
        candidate.columns,
        candidate.skipped,
    )


def latent_tap(candidate: TapCandidate, proposal: AdoptionSettings) -> LatentTap:
    """What the bundle says of the latents' tap; blocks are smaller on small maps."""
    size = proposal.dropblock_size or min(8, max(1, min(candidate.rows, candidate.columns) // 4))
    return LatentTap(**vars(tap_settings(candidate)), dropblock_size=size, dropblock_prob=proposal.dropblock_prob)
