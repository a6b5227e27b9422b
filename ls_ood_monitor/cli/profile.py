"""ls-ood profile: measures what a monitored frame costs on this machine, beside the plain pass and other implementations."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ..errors import ConfigError, MonitorError
from .console import PICTURES, console, progress_bar, require_file_place, warn, write_json

if TYPE_CHECKING:
    from ..profiling.frame_cost import Contenders
    from ..profiling.random_network import RandomNetwork

DESCRIPTION = """\
Times three pieces of work by every engine of this machine: the plain pass (the segmentation, which a vehicle needs anyway),
the monitored frame, and the frame up to its alarm. They run in turns, so ratios are reliable. Times in milliseconds hold
for this machine and its present load only.

  ls-ood profile                                          both networks at 640x483, every engine of this machine
  ls-ood profile --bundle DIR                             the network of a bundle: alone, and monitored
  ls-ood profile --with benchmarks/peers.py               also naive Monte-Carlo dropout and other libraries
  ls-ood profile --networks mobilenet_v2 --size 320x242   one network at another size
  ls-ood profile --growth growth.png                      how the cost grows with cameras, resolution, masks and latents
  ls-ood profile --make-bundle DIR --networks resnet101   write a bundle of random weights, to time nodes with
  ls-ood profile --check                                  only check that all engines give the same scores

Networks have random weights, because the time of a frame depends on shapes only. Engines are eager, onnx and compile; on
a GPU with a precision, such as eager:bf16. Compile takes minutes and is measured only if --engines names it. "To the
alarm" scores all detectors, as a vehicle does. --with takes a Python file with a function contenders(network, pictures,
mask_bank, entropies_to_score), which returns functions by name; each runs a whole monitored frame.
"""
_NETWORKS = ("mobilenet_v2", "resnet101")
_SIZE, _MASKS = "640x483", 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add(
        "--networks",
        help=f"backbones, or street for the embedded bundle's (default {','.join(_NETWORKS)}; with --growth the first)",
    )
    add("--bundle", type=Path, metavar="DIR", help="time the network of this calibrated bundle, at its own size")
    add("--size", metavar="WIDTHxHEIGHT", help=f"size of the network's input (default {_SIZE})")
    add("--masks", type=int, metavar="M", help=f"Monte-Carlo samples (default {_MASKS})")
    add("--cameras", type=int, default=1, metavar="N", help="pictures per pass (default %(default)s)")
    add(
        "--engines",
        help="for example eager,onnx,compile or eager,eager:bf16 (default: eager and onnx; on a GPU eager, in each precision)",
    )
    add("--repeats", type=int, default=15, metavar="N", help="turns to measure (default %(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:<index> (default %(default)s)")
    add("--threads", type=int, default=0, metavar="N", help="CPU threads (default: torch's choice)")
    add("--with", dest="peers", type=Path, metavar="FILE", help="Python file with further implementations")
    add(
        "--growth",
        type=Path,
        metavar="PICTURE",
        help="measure how the cost of one network by one engine grows around 640x483, and draw it",
    )
    add("--make-bundle", type=Path, metavar="DIR", help="only write a bundle of random weights")
    add("--check", action="store_true", help="only compare the engines' scores")


def run(args: argparse.Namespace) -> int:
    """Measure, or check. Returns 1 if engines disagree, or if a named engine could not run."""
    import torch
    from threadpoolctl import threadpool_limits

    from ..engines.device import choose_device
    from ..machine import describe_machine
    from ..profiling.frame_cost import EngineChoice

    require_file_place("--growth", args.growth, PICTURES)
    _refuse_ignored(args)
    args.size, args.masks = args.size or _SIZE, _MASKS if args.masks is None else args.masks
    width, height = parse_size(args.size)
    for name, low, high in (("masks", 2, 4096), ("cameras", 1, 64), ("repeats", 1, 10000), ("threads", 0, 1024)):
        if not low <= getattr(args, name) <= high:
            raise ConfigError(f"--{name} is {getattr(args, name)}; it must lie within [{low}, {high}].")
    contenders = _load(args.peers) if args.peers else None
    device = choose_device(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)
    # As in the nodes: the matrices of scores are small, and threads of numpy would only take cores from torch.
    threadpool_limits(1, user_api="blas")
    default = "eager,eager:tf32,eager:fp16,eager:bf16" if device.type == "cuda" else "eager,onnx"
    engines = [EngineChoice.parse(text) for text in (args.engines or default).split(",")]
    left_out: dict[str, dict[str, str]] = {}
    names = args.networks.split(",") if args.networks else _NETWORKS[:1] if args.growth else _NETWORKS
    result: dict[str, Any] = {
        "machine": describe_machine(),
        "device": str(device),
        "settings": {name: getattr(args, name) for name in ("size", "masks", "cameras", "repeats", "threads")},
        "engines": [str(engine) for engine in engines],
        "left_out": left_out,
    }
    console.print(_machine_line(result["machine"], str(device)), soft_wrap=True)
    if args.bundle is not None:
        result["frames"] = {str(args.bundle): _bundle_frames(args)}
        write_json(args.json, result)
        return 0
    subjects = {name: _subject(name, width, height, args.masks, device) for name in dict.fromkeys(names)}
    if args.make_bundle is not None:
        return _make_bundle(subjects, args.make_bundle)
    if args.check:
        result["check"] = {name: _check(name, subject, engines) for name, subject in subjects.items()}
        write_json(args.json, result)
        rows = [row for rows in result["check"].values() for row in rows]
        if not all(row["agrees"] for row in rows):
            console.print("[bold red]engines disagree[/]")
            return 1
        # A named engine that cannot run does not agree.
        if not rows or (args.engines and len(rows) != len(engines) * len(subjects)):
            console.print("[bold red]not every engine could be compared[/]")
            return 1
        console.print(f"all engines agree: {', '.join(dict.fromkeys(row['engine'] for row in rows))}")
        return 0
    if args.growth is not None:
        result["growth"] = _growth(args, subjects, engines, device)
    else:
        result["frames"] = {
            name: _frames(name, subject, engines, args, contenders, left_out) for name, subject in subjects.items()
        }
    if device.type == "cuda":
        result["gpu_peak_mb"] = round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
        console.print(f"Peak GPU memory of all engines and networks of this run: {result['gpu_peak_mb']:.0f} MB")
    write_json(args.json, result)
    if left_out and args.engines:
        console.print("[bold red]not every engine that was named could be measured[/]")
        return 1
    return 0


def _refuse_ignored(args: argparse.Namespace) -> None:
    """Refuse options that would be ignored."""
    if args.make_bundle is not None and (args.check or args.peers or args.growth or args.json):
        raise ConfigError("--make-bundle times nothing; leave out --check, --growth, --with and --json.")
    if args.check and args.peers:
        raise ConfigError("--check compares engines alone; leave out --with.")
    if args.bundle is not None and (
        args.check
        or args.peers
        or args.growth
        or args.make_bundle
        or args.networks
        or args.engines
        or args.size
        or args.masks is not None
    ):
        raise ConfigError(
            "--bundle times the bundle's own network, size and masks by its own engine; leave out --networks, --engines, --size, "
            "--masks, --check, --growth, --with and --make-bundle."
        )
    if args.growth is None:
        return
    if args.check or args.peers or args.cameras != 1 or args.size:
        raise ConfigError("--growth has sizes and cameras of its own; leave out --size, --cameras, --with and --check.")
    if args.networks == "street" or "," in (args.networks or "") or "," in (args.engines or ""):
        raise ConfigError(
            "--growth takes one network of random weights and one engine, for example --networks mobilenet_v2 --engines onnx."
        )


def parse_size(text: str) -> tuple[int, int]:
    """Parse ``WIDTHxHEIGHT``. Raises ``ConfigError`` for another format, or a size that is too small or too large."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 64 <= int(width) <= 8192 and 64 <= int(height) <= 8192):
        raise ConfigError(f"--size is {text}; it must be WIDTHxHEIGHT, each within [64, 8192], for example 640x483.")
    return int(width), int(height)


def _subject(name: str, width: int, height: int, masks: int, device: Any) -> RandomNetwork:
    from ..bundle import verify_bundle
    from ..config import from_mapping
    from ..profiling.random_network import RandomNetwork
    from ..vision.backbones import BACKBONES
    from ..vision.deeplabv3p import NetworkSettings

    if name == "street":
        settings = from_mapping(NetworkSettings, verify_bundle().content["network"])
    elif name in BACKBONES:
        settings = NetworkSettings(backbone=name, dropblock_size=8, dropblock_prob=0.5)
    else:
        raise ConfigError(f"--networks names {name!r}; there are {', '.join(BACKBONES)} and street.")
    return RandomNetwork(settings, width, height, masks, device)


def _load(path: Path) -> Contenders:
    """Load the function ``contenders`` of a Python file."""
    import importlib.util

    if not path.is_file():
        raise ConfigError(f"--with is {path}; there is no such file.")
    spec = importlib.util.spec_from_file_location("ls_ood_contenders", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--with is {path}; it must be a Python file (.py).")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        contenders: Contenders = module.contenders
    except Exception as error:
        raise ConfigError(f"--with is {path}; it gives no function contenders: {error!r}.") from error
    return contenders


def _make_bundle(subjects: Mapping[str, RandomNetwork], folder: Path) -> int:
    if len(subjects) != 1:
        raise ConfigError("--make-bundle makes one bundle; name one network, for example --networks resnet101.")
    (name, subject), *_ = subjects.items()
    identity = subject.write_bundle(folder)
    console.print(f"{folder}: {name} of random weights, {subject.width}x{subject.height}, bundle {identity[:12]}")
    return 0


def _frames(
    name: str,
    subject: RandomNetwork,
    engines: Sequence[Any],
    args: argparse.Namespace,
    contenders: Contenders | None,
    left_out: dict[str, dict[str, str]],
) -> list[dict[str, Any]]:
    from ..profiling.frame_cost import PASS, frame_work, measure_frames, peer_work, plain_torch

    work, missing = frame_work(subject, engines, args.cameras)
    for engine, reason in missing.items():
        warn(f"{engine} is left out: {reason}")
    if missing:
        left_out[name] = missing
    if args.cameras == 1:
        work = {"torch as it comes, " + PASS: plain_torch(subject), **work}
    if contenders is not None:
        work |= peer_work(subject, contenders)
    base = first if (first := f"{engines[0]}, {PASS}") in work else next(iter(work))
    with progress_bar(name, args.repeats + 1) as update:
        rows = measure_frames(work, args.repeats, base, update)
    title = f"{name}, {subject.width}x{subject.height}, M = {subject.masks}, {args.cameras} at once"
    console.print(_frame_table(rows, base, title))
    return rows


def _frame_table(rows: Sequence[Mapping[str, Any]], base: str, title: str) -> Table:
    table = Table("frame", "median ms", "quartiles", f"x {base}", "x own pass", title=title)
    for row in rows:
        ms, of_base, own = row["ms"], row["of_base"]["median_ms"], row["of_own_pass"]
        quartiles = f"{ms['low_ms']:.2f} .. {ms['high_ms']:.2f}"
        own_ratio = f"{own['median_ms']:.3f}" if own else ""
        table.add_row(row["name"], f"{ms['median_ms']:.2f}", quartiles, f"{of_base:.3f}", own_ratio)
    return table


def _bundle_frames(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time the network of a bundle, alone and monitored."""
    from ..bundle import load_bundle
    from ..profiling.frame_cost import bundle_work, measure_frames

    monitor = load_bundle(args.bundle, device=args.device, threads=args.threads)
    work = bundle_work(monitor, args.cameras)
    base = next(iter(work))
    with progress_bar(str(args.bundle), args.repeats + 1) as update:
        rows = measure_frames(work, args.repeats, base, update)
    spec = monitor.frame_pass.preprocess_spec
    console.print(_frame_table(rows, base, f"{args.bundle}, {spec.width}x{spec.height}, {args.cameras} at once"))
    return rows


def _check(name: str, subject: RandomNetwork, engines: Sequence[Any]) -> list[dict[str, Any]]:
    """Compare every engine's scores and classes with those of eager torch in single precision."""
    from ..bundle import difference_from_eager
    from ..core.detectors import DEFAULT_DETECTORS
    from ..engines.verification import is_accepted

    rows = []
    for choice in engines:
        try:
            monitor = subject.monitor(choice.engine, choice.precision, DEFAULT_DETECTORS)
        except MonitorError as error:
            warn(f"{choice} is left out: {error}")
            continue
        difference = difference_from_eager(monitor)
        console.print(f"{name}, {choice}: {difference}", soft_wrap=True, highlight=False)
        rows.append({"engine": str(choice), "agrees": is_accepted(difference, choice.precision), **vars(difference)})
    return rows


def _growth(
    args: argparse.Namespace, subjects: Mapping[str, RandomNetwork], engines: Sequence[Any], device: Any
) -> list[dict[str, Any]]:
    from ..profiling.growth import draw_growth, measure_growth, points

    first = next(iter(subjects))
    chosen = points(first, 483, args.masks)
    with progress_bar("growth", len(chosen)) as update:
        rows = list(measure_growth(chosen, engines[0], device, args.repeats, update))
    table = Table("axis", "value", "pass ms", "monitored ms", "ratio")
    for row in rows:
        times = (f"{row[key]['median_ms']:.2f}" for key in ("pass_ms", "monitored_ms"))
        table.add_row(row["axis"], str(row["value"]), *times, f"{row['ratio']['median_ms']:.3f}")
    console.print(table)
    draw_growth(rows, args.growth)
    console.print(f"drawn in {args.growth}")
    return rows


def _machine_line(machine: Mapping[str, Any], device: str) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads{gpu}; on {device}; {versions}"
