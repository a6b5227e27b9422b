"""What the cut behind the encoder costs: the frame in two ONNX graphs, as the monitor runs it, against all of it in one.

    python benchmarks/one_graph.py --networks mobilenet_v2,resnet101 --json one_graph.json

In turns, in one process, on one CPU: the pass without a monitor and the frame with its features, each in one graph and in two.
The one graph is the two joined, so that ONNX Runtime sees all of it at once; results must be equal.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from command_line import count, exit_code

from ls_ood_monitor.cli.console import console, progress_bar, require_file_place, write_json
from ls_ood_monitor.cli.profile import parse_size
from ls_ood_monitor.core.detectors import required_features
from ls_ood_monitor.engines.onnx_engine import open_session
from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.machine import describe_machine
from ls_ood_monitor.profiling.random_network import RandomNetwork
from ls_ood_monitor.profiling.timing import Timing, interleaved, ratio
from ls_ood_monitor.vision.backbones import BACKBONES
from ls_ood_monitor.vision.deeplabv3p import NetworkSettings

#: What is computed beside the segmentation.
FEATURES = {"pass": (), "spatial": required_features(("spatial",)), "larem": required_features(("larem",))}


def joined(graphs: dict[str, bytes]) -> bytes:
    """Encoder and decoder as one graph, which gives what both give, but for what passes between them."""
    encoder, decoder = (onnx.load_from_string(graphs[name]) for name in ("encoder", "decoder"))
    decoder = onnx.compose.add_prefix(decoder, "decoder.")
    between = [("low", "decoder.low"), ("high", "decoder.high")]
    outputs = [one.name for one in (*encoder.graph.output, *decoder.graph.output) if one.name not in ("low", "high")]
    model = onnx.compose.merge_models(encoder, decoder, between, outputs=outputs)
    content: bytes = model.SerializeToString()
    return content


def frame_of(subject: RandomNetwork, features: tuple[str, ...]) -> dict[str, Callable[[], object]]:
    """The same frame in two graphs and in one; each gives the class ids."""
    graphs = subject.graphs(features)
    whole = open_session(joined(graphs), subject.device)
    frame_pass = subject.frame_pass("onnx", "fp32", features)
    values = {"pixels": subject.picture[None], "averaging": frame_pass.averaging.numpy()}
    given = {one.name: values[one.name.removeprefix("decoder.")] for one in whole.get_inputs()}
    names = [one.name for one in whole.get_outputs()]

    def in_two() -> np.ndarray:
        run = frame_pass.begin([subject.picture])
        _ = run.features
        return run.class_ids

    def in_one() -> np.ndarray:
        found: np.ndarray = whole.run(names, given)[names.index("decoder.class_ids")]
        return found

    if (in_one() != in_two()).any():
        sys.exit("the joined graph gives another segmentation than the two")
    return {"two graphs": in_two, "one graph": in_one}


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="mobilenet_v2,resnet101")
    parser.add_argument("--size", default="640x483", metavar="WIDTHxHEIGHT")
    parser.add_argument("--repeats", type=count, default=15)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    require_file_place("--json", args.json)
    width, height = parse_size(args.size)
    result: dict[str, object] = {"machine": describe_machine(), "size": args.size}
    for network in args.networks.split(","):
        if network not in BACKBONES:
            raise ConfigError(f"--networks names {network!r}; there are {', '.join(BACKBONES)}.")
        settings = NetworkSettings(backbone=network, dropblock_size=8, dropblock_prob=0.5)
        subject = RandomNetwork(settings, width, height)
        work = {
            f"{what}, {how}": run
            for what, features in FEATURES.items()
            for how, run in frame_of(subject, features).items()
        }
        with progress_bar(network, args.repeats + 1) as update:
            times = interleaved(work, args.repeats, update)
        rows = {}
        for what in FEATURES:
            one, two = f"{what}, one graph", f"{what}, two graphs"
            cut = ratio(times, two, one)
            each = {name: Timing.of(times[name]) for name in (one, two)}
            rows[what] = {name: vars(timing) for name, timing in each.items()} | {"two_of_one": vars(cut)}
            console.print(
                f"{network}, {what}: one graph {each[one].median_ms:.2f} ms, two {each[two].median_ms:.2f} ms; "
                f"two are {cut.median_ms:.3f} of one ({cut.low_ms:.3f} .. {cut.high_ms:.3f})",
                soft_wrap=True,
            )
        result[network] = rows
    write_json(args.json, result)


if __name__ == "__main__":
    sys.exit(exit_code(main))
