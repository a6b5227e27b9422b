"""ls-ood adopt: makes a bundle of the network that a vehicle already runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .console import console, require_file_place, write_json

if TYPE_CHECKING:
    from ..adoption.onnx_graph import OnnxGraph, TapCandidate

DESCRIPTION = """\
Makes a bundle of an ONNX network that is already there, so that it is monitored as it is: the file stays unchanged, and
class ids and outputs stay equal to the bit. Nothing is trained.

  ls-ood adopt network.onnx                                         what is in it, and what can be tapped
  ls-ood adopt network.onnx --suggest settings.yaml                 proposed settings; check the lines marked CHECK
  ls-ood adopt network.onnx --settings settings.yaml --out adopted  the bundle, uncalibrated
  ls-ood calibrate CLEAN_DRIVES --bundle adopted --out my_bundle    the monitor

A tap is a tensor inside the network whose means the detectors read. Early and middle stages show most. From a torch module,
see ls_ood_monitor.adoption.from_torch. Needs the package onnx: pip install 'ls_ood_monitor[export]'.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("network", type=Path, metavar="NETWORK", help="ONNX file, opset 11 or newer")
    parser.add_argument(
        "--size", metavar="WIDTHxHEIGHT", help="input size, for a network that takes any (default 512x512)"
    )
    parser.add_argument(
        "--all", action="store_true", help="list every tensor that can be tapped, not only ends of stages"
    )
    parser.add_argument("--suggest", type=Path, metavar="FILE", help="write proposed settings as a commented YAML file")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="settings, checked by a person")
    parser.add_argument("--out", type=Path, metavar="DIR", help="bundle folder to write; needs --settings")


def run(args: argparse.Namespace) -> int:
    """List, propose, or write the bundle."""
    from ..adoption.onnx_graph import read_graph

    if (args.settings is None) != (args.out is None):
        raise ConfigError(
            "--settings and --out belong together: settings that a person has checked, and the bundle to write."
        )
    if args.settings and (args.suggest or args.size):
        raise ConfigError("--settings has the size and all the rest; leave out --suggest and --size.")
    if args.suggest is not None:
        require_file_place("--suggest", args.suggest, (".yaml", ".yml"))
        if args.suggest.exists():  # a person may have edited it
            raise ConfigError(f"--suggest is {args.suggest}, which exists; delete it, or name another file.")
    graph = read_graph(args.network)
    if args.settings is not None:
        return _write(args, graph)
    return _propose(args, graph)


def _propose(args: argparse.Namespace, graph: OnnxGraph) -> int:
    from ..adoption.onnx_graph import tap_candidates
    from ..adoption.proposal import propose, settings_text
    from .profile import parse_size

    size = None
    if args.size:
        width, height = parse_size(args.size)
        size = height, width
    proposal, known = propose(graph, size)
    spec = proposal.preprocess
    candidates = tap_candidates(known, spec.height, spec.width)
    console.print(f"{args.network.name}, opset {graph.opset}", highlight=False)
    for title, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for tensor in tensors:
            console.print(f"{title}: {tensor}", highlight=False, markup=False, soft_wrap=True)
    chosen = (*proposal.taps, proposal.latents)
    console.print(_table(candidates, chosen, proposal.latents, args.all))
    if args.suggest is not None:
        args.suggest.write_text(settings_text(proposal, known, candidates, args.network.name), encoding="utf-8")
        console.print(
            f"Settings proposed in {args.suggest}. Check the lines marked CHECK, then: ls-ood adopt {args.network} "
            f"--settings {args.suggest} --out DIR",
            highlight=False,
            soft_wrap=True,
        )
    write_json(args.json, {"taps": list(proposal.taps), "latents": proposal.latents, "candidates": _facts(candidates)})
    return 0


def _table(candidates: list[TapCandidate], chosen: tuple[str, ...], latents: str, list_all: bool) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        "stride", "map", "channels", "tensor", "proposed", title="Tensors that can be tapped", title_justify="left"
    )
    last: dict[tuple[int, bool], str] = {
        (candidate.stride, candidate.is_encoder): candidate.tensor.name for candidate in candidates
    }
    for candidate in sorted(candidates, key=lambda tap: tap.stride):
        name = candidate.tensor.name
        if not list_all and name not in chosen and name != last[candidate.stride, candidate.is_encoder]:
            continue
        use = (
            ("latents" if name == latents else "tap")
            if name in chosen
            else ("" if candidate.is_encoder else "(decoder)")
        )
        table.add_row(
            str(candidate.stride),
            f"{candidate.rows} x {candidate.columns}",
            str(candidate.channels),
            Text(name if list_all else _shortened(name), overflow="fold"),
            use,
        )
    return table


def _shortened(name: str) -> str:
    """A long name without its middle."""
    return name if len(name) <= 40 else f"{name[:18]} ... {name[-17:]}"


def _facts(candidates: list[TapCandidate]) -> list[dict[str, Any]]:
    return [
        {
            "tensor": candidate.tensor.name,
            "stride": candidate.stride,
            "layout": candidate.layout,
            "rows": candidate.rows,
            "columns": candidate.columns,
            "channels": candidate.channels,
            "is_encoder": candidate.is_encoder,
        }
        for candidate in candidates
    ]


def _write(args: argparse.Namespace, graph: OnnxGraph) -> int:
    from ..adoption.adopt import adopt_graph, default_detectors, write_adopted_bundle
    from ..adoption.proposal import read_settings

    proposal = read_settings(args.settings)
    frame_pass = adopt_graph(graph, proposal, args.network.name)
    identity = write_adopted_bundle(args.out, frame_pass, proposal)
    detectors = default_detectors(frame_pass)
    if not proposal.output.scores:
        console.print(
            "note: without scores there is no confidence picture, and no detector that reads logits.", highlight=False
        )
    equal = "Class ids and outputs" if proposal.output.class_source else "There are no classes; its outputs"
    console.print(
        f"Bundle {identity[:12]} written to {args.out}. {equal} equal those of {args.network.name} on two synthetic test "
        f"pictures. Detectors: {', '.join(detectors)}.",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"It is not calibrated and judges no frame yet: ls-ood calibrate CLEAN_DRIVES --bundle {args.out} --out CALIBRATED",
        highlight=False,
        soft_wrap=True,
    )
    write_json(args.json, {"bundle": {"sha256": identity}, "detectors": list(detectors), "calibrated": False})
    return 0
