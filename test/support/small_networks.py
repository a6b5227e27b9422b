"""Small ONNX networks with random weights, as other people's tools write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH, CLASSES = 48, 64, 5


def segmenter(
    *,
    layout: str = "NCHW",
    output: str = "scores",
    opset: int = 17,
    size: bool = True,
    kind: str = "float32",
    classes: int = CLASSES,
    widths: tuple[int, int, int] = (8, 12, 16),
    end: Sequence[tuple[str, dict[str, object]]] = (),
) -> onnx.ModelProto:
    """Three convolutions of stride 2, 4 and 8, then scores of the classes at stride 8, or ids at full size.

    Args:
        layout: of the input; NHWC is transposed inside.
        output: ``scores``, ``probabilities``, ``ids`` (ArgMax of scores resized to full size), or ``two`` heads.
        opset: of ONNX.
        size: whether the input's size is fixed; the number of pictures is open if not.
        kind: type of the input.
        classes: number of classes.
        widths: channels of the three stages.
        end: operators and attributes of further nodes behind the scores; the last one's result is the output.
    """
    random = np.random.default_rng(0)
    nodes, weights = [], []

    def constant(name: str, values: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(values, name))
        return name

    name = "image"
    if kind == "uint8":
        nodes.append(helper.make_node("Cast", [name], ["as_float"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", ["as_float", constant("scale", np.float32([1 / 255.0]))], ["scaled"]))
        name = "scaled"
    if layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [name], ["planes"], perm=[0, 3, 1, 2]))
        name = "planes"
    channels = 3
    for stage, width in enumerate(widths):
        kernel = random.normal(0, 0.3, (width, channels, 3, 3)).astype(np.float32)
        nodes.append(
            helper.make_node(
                "Conv",
                [name, constant(f"kernel_{stage}", kernel)],
                [f"conv_{stage}"],
                strides=[2, 2],
                pads=[1, 1, 1, 1],
            )
        )
        nodes.append(helper.make_node("Relu", [f"conv_{stage}"], [f"stage_{stage}"]))
        name, channels = f"stage_{stage}", width
    head = random.normal(0, 0.5, (classes, channels, 1, 1)).astype(np.float32)
    nodes.append(helper.make_node("Conv", [name, constant("head", head)], ["scores"]))
    free = ["pictures", 3, "height", "width"]
    shape = [1, 3, HEIGHT, WIDTH] if size else free
    if layout == "NHWC":
        shape = [shape[0], shape[2], shape[3], shape[1]]
    types = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "float16": TensorProto.FLOAT16}
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [shape[0], classes, None, None])]
    if output == "probabilities":
        nodes.append(helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1))
        outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [shape[0], classes, None, None])]
    if output == "two":
        second = random.normal(0, 0.5, (2, channels, 1, 1)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [name, constant("second", second)], ["lanes"]))
        outputs.append(helper.make_tensor_value_info("lanes", TensorProto.FLOAT, [shape[0], 2, None, None]))
    if output == "ids":
        scales = constant("scales", np.float32([1, 1, 8, 8]))
        nodes.append(
            helper.make_node("Resize", ["scores", constant("roi", np.float32([])), scales], ["resized"], mode="linear")
        )
        nodes.append(helper.make_node("ArgMax", ["resized"], ["ids"], axis=1, keepdims=0))
        outputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, [shape[0], None, None])]
    for index, (operator, attributes) in enumerate(end):
        name = f"end_{index}"
        nodes.append(helper.make_node(operator, [outputs[0].name], [name], **attributes))
        result_type = (
            TensorProto.INT64 if operator == "ArgMax" else attributes.get("to", outputs[0].type.tensor_type.elem_type)
        )
        outputs = [helper.make_tensor_value_info(name, result_type, None)]
    graph = helper.make_graph(
        nodes, "small", [helper.make_tensor_value_info("image", types[kind], shape)], outputs, weights
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def detector() -> onnx.ModelProto:
    """An instance segmentation: boxes from heads at strides 4 and 8, prototypes of masks at stride 4 from a decoder."""
    model = segmenter()
    nodes, weights = model.graph.node, model.graph.initializer
    kernel = np.random.default_rng(1).normal(0, 0.5, (CLASSES, 12, 1, 1)).astype(np.float32)
    weights.append(numpy_helper.from_array(kernel, "head_1"))
    weights.append(numpy_helper.from_array(np.array([1, -1, CLASSES], np.int64), "flat"))
    weights.append(numpy_helper.from_array(np.float32([]), "roi"))
    weights.append(numpy_helper.from_array(np.float32([1, 1, 2, 2]), "scales"))
    nodes.extend(
        [
            helper.make_node("Conv", ["stage_1", "head_1"], ["scores_1"]),
            helper.make_node("Reshape", ["scores", "flat"], ["coarse"]),
            helper.make_node("Reshape", ["scores_1", "flat"], ["fine"]),
            helper.make_node("Concat", ["coarse", "fine"], ["boxes"], axis=1),
            helper.make_node("Resize", ["stage_2", "roi", "scales"], ["prototypes"]),
        ]
    )
    places = HEIGHT * WIDTH // 16 + HEIGHT * WIDTH // 64
    shapes = {"boxes": [1, places, CLASSES], "prototypes": [1, 16, HEIGHT // 4, WIDTH // 4]}
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()
    )
    return model


def transformer(patch: int = 8, size: tuple[int, int] = (HEIGHT, WIDTH), tokens: int = 1) -> onnx.ModelProto:
    """Patches as tokens behind other tokens, three blocks, scores of the classes at each patch."""
    random = np.random.default_rng(0)
    rows, columns, width = size[0] // patch, size[1] // patch, 12
    arrays = {
        "patch": random.normal(0, 0.1, (width, 3, patch, patch)),
        "class_token": random.normal(0, 1, (1, tokens, width)),
        **{f"weights_{block}": random.normal(0, 0.4, (width, width)) for block in range(3)},
        "head": random.normal(0, 0.5, (CLASSES, width, 1, 1)),
    }
    weights = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in arrays.items()]
    shapes = {"flat": [1, width, rows * columns], "square": [1, width, rows, columns]}
    weights += [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in shapes.items()]
    weights += [
        numpy_helper.from_array(np.array([value], np.int64), f"at_{value}") for value in sorted({1, tokens, 1000})
    ]
    nodes = [
        helper.make_node("Conv", ["image", "patch"], ["patches"], strides=[patch, patch]),
        helper.make_node("Reshape", ["patches", "flat"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["embedded"], perm=[0, 2, 1]),
        helper.make_node("Concat", ["class_token", "embedded"], ["block_0"], axis=1),
    ]
    for block in range(3):
        nodes.append(helper.make_node("MatMul", [f"block_{block}", f"weights_{block}"], [f"mixed_{block}"]))
        nodes.append(helper.make_node("Tanh", [f"mixed_{block}"], [f"block_{block + 1}"]))
    nodes += [
        helper.make_node("Slice", ["block_3", f"at_{tokens}", "at_1000", "at_1"], ["tokens"]),
        helper.make_node("Transpose", ["tokens"], ["channels"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["channels", "square"], ["map"]),
        helper.make_node("Conv", ["map", "head"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tokens",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CLASSES, rows, columns])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(path: Path, model: onnx.ModelProto) -> Path:
    """Write a network."""
    onnx.save(model, str(path))
    return path
