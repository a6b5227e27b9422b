"""Cost of the cut behind the encoder: the frame in two ONNX graphs, as the monitor runs it, against all of it in one.

    python experiments/one_graph.py --networks mobilenet_v2,resnet101 --json one_graph.json

In turns, in one process, on one CPU: the pass without a monitor and the frame with its features, each in one graph and in two.
The one graph joins the two, so that ONNX Runtime sees all of it at once; results must be equal.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from ls_ood_monitor.cli.console import console, progress_bar, require_file_place, write_json
from ls_ood_monitor.cli.profile import parse_size
from ls_ood_monitor.core.detectors import required_features
from ls_ood_monitor.engines.onnx_engine import open_session
from ls_ood_monitor.machine import describe_machine
from ls_ood_monitor.profiling.random_network import RandomNetwork
from ls_ood_monitor.profiling.timing import Timing, interleaved, ratio
from ls_ood_monitor.vision.deeplabv3p import NetworkSettings

#: Features that are computed beside the segmentation.
FEATURES = {"pass": (), "spatial": required_features(("spatial",)), "larem": required_features(("larem",))}


def joined(graphs: dict[str, bytes]) -> bytes:
    """Encoder and decoder as one graph with the outputs of both, except what passes between them."""
    encoder, decoder = (onnx.load_from_string(graphs[name]) for name in ("encoder", "decoder"))
    decoder = onnx.compose.add_prefix(decoder, "decoder.")
    between = [("low", "decoder.low"), ("high", "decoder.high")]
    names = [output.name for output in (*encoder.graph.output, *decoder.graph.output)]
    outputs = [name for name in names if name not in ("low", "high")]
    content: bytes = onnx.compose.merge_models(encoder, decoder, between, outputs=outputs).SerializeToString()
    return content


def frame_of(network: RandomNetwork, features: tuple[str, ...]) -> dict[str, Callable[[], object]]:
    """The same frame in two graphs and in one; each returns the class ids."""
    session = open_session(joined(network.graphs(features)), network.device)
    frame_pass = network.frame_pass("onnx", "fp32", features)
    values = {"pixels": network.picture[None], "averaging": frame_pass.averaging.numpy()}
    inputs = {entry.name: values[entry.name.removeprefix("decoder.")] for entry in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]

    def in_two() -> np.ndarray:
        run = frame_pass.begin([network.picture])
        _ = run.features
        return run.class_ids

    def in_one() -> np.ndarray:
        class_ids: np.ndarray = session.run(names, inputs)[names.index("decoder.class_ids")]
        return class_ids

    if (in_one() != in_two()).any():
        sys.exit("the joined graph gives another segmentation than the two")
    return {"two graphs": in_two, "one graph": in_one}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="mobilenet_v2,resnet101")
    parser.add_argument("--size", default="640x483", metavar="WIDTHxHEIGHT")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    require_file_place("--json", args.json)
    width, height = parse_size(args.size)
    report: dict[str, object] = {"machine": describe_machine(), "size": args.size}
    for backbone in args.networks.split(","):
        network = RandomNetwork(NetworkSettings(backbone=backbone, dropblock_size=8, dropblock_prob=0.5), width, height)
        rows = {}
        for name, features in FEATURES.items():
            with progress_bar(f"{backbone}, {name}", args.repeats + 1) as update:
                times = interleaved(frame_of(network, features), args.repeats, update)
            cut = ratio(times, "two graphs", "one graph")
            timings = {graphs: Timing.of(turns) for graphs, turns in times.items()}
            rows[name] = {graphs: vars(timing) for graphs, timing in timings.items()} | {"two_of_one": vars(cut)}
            medians = ", ".join(f"{graphs} {timing.median_ms:.2f} ms" for graphs, timing in timings.items())
            interval = f"{cut.low_ms:.3f} .. {cut.high_ms:.3f}"
            console.print(
                f"{backbone}, {name}: {medians}; two are {cut.median_ms:.3f} of one ({interval})", soft_wrap=True
            )
        report[backbone] = rows
    write_json(args.json, report)


if __name__ == "__main__":
    main()
