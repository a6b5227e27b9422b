"""ls-ood compare: compares detectors over shifts and severities, calibrated on some drives and tested on others."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DataError
from .console import console, progress_bar, write_json
from .option_values import make_folder, parse_list, parse_severities

if TYPE_CHECKING:
    from ..comparison.protocols import Protocol

DESCRIPTION = """\
Compares OoD detectors on one network. Each detector is fitted to clean calibration drives, and its threshold comes from
drives held out of the fit. Then it judges unseen drives: clean, harmlessly changed, and disturbed. Every figure has a
95 % interval by whole drives. Nothing is chosen on the test drives and no sign is flipped: an AUROC below 0.5 is reported
as it is.

  ls-ood compare --out comparison                                all detectors on the synthetic street; takes a while
  ls-ood compare --drives 6 --calibration-drives 14 --per-drive 2 \\
      --kinds fog,mud,unknown_object --severities 1,3              a short run
  ls-ood compare --protocol recordings --clean A B --test C      own drives: bags, folders of pictures, or videos
  ls-ood compare --protocol larex --woodscape DIR --cityscapes DIR --soiling DIR

protocols
  street      calibration drives and unseen test drives of the procedural (synthetic) street
  recordings  --clean calibrates, --test is the clean control and is disturbed, --ood are recorded OoD drives
  larex       as in the reference: WoodScape against synthetic anomalies, Cityscapes and WoodScape soiling, by sequences

figures
  detection       share of disturbed frames above the calibrated threshold: what a vehicle would notice
  false alarms    share of unseen clean frames above the threshold; compare it with the target
  AUROC           chance that a disturbed frame scores higher than a clean one; independent of the threshold
  identity        control: clean frames that take the code path of an anomaly; must equal clean
  harmless changes  exposure +-10 %, JPEG quality 90, a tilt of 1 degree: must not alarm

Writes to --out: results.json (everything), results.md (tables), scores.npz (every score), and plots.
"""
#: Defaults of options that belong to one protocol.
_DEFAULTS = {"drives": 30, "calibration_drives": 60, "per_drive": 2, "every": 1, "rate": 10.0, "block": 10.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="folder for results and plots (default: print the table only)")
    add("--protocol", choices=("street", "recordings", "larex"), default="street", help="(default %(default)s)")
    add("--bundle", type=Path, metavar="DIR", help="network to use (default: the embedded bundle's)")
    add(
        "--detectors",
        default="all",
        metavar="NAME,...",
        help="detectors; all = every detector that is fitted to clean frames only (default %(default)s)",
    )
    add(
        "--reference",
        metavar="NAME",
        help="detector with which the others are compared (default: mahalanobis, if tested)",
    )
    add("--kinds", metavar="KIND,...", help="anomalies (default: all; larex: mud,fog,sun_flare)")
    add("--severities", metavar="N,...", help="1 (slight) to 5 (heavy) (default: all; larex: 3)")
    add(
        "--target-rate",
        type=float,
        default=0.01,
        help="accepted share of clean frames above a threshold (default %(default)s)",
    )
    add(
        "--ood-kind",
        default="fog",
        metavar="KIND",
        help="anomaly to which supervised detectors are fitted, on calibration drives only (default %(default)s)",
    )
    add("--folds", type=int, default=0, metavar="N", help="hold out drives in N groups (default: one drive at a time)")
    add("--resamples", type=int, default=1000, metavar="N", help="number of bootstrap resamples (default %(default)s)")
    add("--seed", type=int, default=0, help="seed of anomalies, splits and bootstrap (default %(default)s)")
    add(
        "--processes",
        type=int,
        metavar="N",
        help="worker processes that make pictures; 0 = none (default: number of cores)",
    )
    add("--device", default="auto", help="auto, cpu, cuda (default %(default)s)")
    add = parser.add_argument_group("street").add_argument
    add("--drives", type=int, metavar="N", help="unseen test drives (default %(default)s)")
    add("--calibration-drives", type=int, metavar="N", help="calibration drives (default %(default)s)")
    add("--per-drive", type=int, metavar="N", help="moments per drive, 4 cameras each (default %(default)s)")
    add = parser.add_argument_group("recordings").add_argument
    add("--clean", nargs="+", type=Path, default=[], metavar="DRIVE", help="clean drives to calibrate on")
    add("--test", nargs="+", type=Path, default=[], metavar="DRIVE", help="further clean drives, unseen")
    add("--ood", nargs="+", type=Path, default=[], metavar="DRIVE", help="drives that must alarm")
    add("--every", type=int, metavar="N", help="use each N-th frame (default %(default)s)")
    add("--rate", type=float, metavar="HZ", help="frame rate of pictures in folders (default %(default)s)")
    add("--block", type=float, metavar="S", help="length of held-out blocks (default %(default)s)")
    add("--topic", action="append", metavar="TOPIC=CAMERA", help="image topic of the bags (default: all)")
    add = parser.add_argument_group("larex").add_argument
    add("--woodscape", type=Path, metavar="DIR", help="WoodScape, in distribution")
    add("--cityscapes", type=Path, metavar="DIR", help="Cityscapes, OoD")
    add("--soiling", type=Path, metavar="DIR", help="WoodScape soiling, OoD")
    add("--split", type=Path, metavar="FILE", help="split.json that the network was trained with")
    add("--limit", type=int, metavar="N", help="at most N pictures of each set (default: all)")
    parser.set_defaults(**_DEFAULTS)


def run(args: argparse.Namespace) -> int:
    """Score all pictures, compute the figures, print and write them."""
    from .. import __version__
    from ..anomalies import ANOMALIES
    from ..bundle import open_bundle
    from ..comparison.cost import measure_cost
    from ..comparison.pictures import PictureRenderer
    from ..comparison.scoring import detectors_named, score_protocol
    from ..comparison.summary import summarise
    from ..core.detectors import detector_spec, required_features

    names = detectors_named(args.detectors)
    reference = args.reference or ("mahalanobis" if "mahalanobis" in names else names[0])
    if reference not in names:
        raise ConfigError(f"--reference is {reference!r}; it must be one of the detectors tested: {', '.join(names)}.")
    if args.ood_kind not in ANOMALIES or args.ood_kind == "identity":
        raise ConfigError(f"--ood-kind is {args.ood_kind!r}; known: {', '.join(ANOMALIES[1:])}.")
    if not 0.0 < args.target_rate < 1.0:
        raise ConfigError(f"--target-rate is {args.target_rate}; it must lie within (0, 1).")
    processes = (os.cpu_count() or 1) if args.processes is None else args.processes
    numbers = {**vars(args), "processes": processes}
    for name, minimum in (("resamples", 100), ("seed", 0), ("folds", 0), ("processes", 0)):
        if numbers[name] < minimum:
            raise ConfigError(f"--{name} is {numbers[name]}; it must be {minimum} or larger.")
    if args.folds == 1:
        raise ConfigError("--folds is 1; at least 2 groups are needed to hold one out, or 0 for one drive at a time.")
    protocol = _protocol(args)
    if args.out is not None:
        make_folder(args.out)
    opened = open_bundle(args.bundle, device=args.device)
    if args.detectors.strip() == "all":
        names = tuple(name for name in names if detector_spec(name).feature in opened.frame_pass.available)
    opened.frame_pass.require_detectors(names)
    frame_pass = opened.frame_pass.with_features(required_features(names))
    renderer = PictureRenderer(frame_pass.preprocess_spec, seed=args.seed, processes=processes)
    with _progress_bars() as update:
        scores = score_protocol(
            protocol,
            names,
            frame_pass,
            renderer,
            target_rate=args.target_rate,
            ood_kind=args.ood_kind,
            folds=args.folds,
            progress=update,
        )
        update("Timing and resampling", 0, None)
        fitted = {name: entry.detector for name, entry in scores.fitted.items()}
        cost = measure_cost(frame_pass, fitted, scores.sample)
        figures = summarise(scores, reference=reference, resamples=args.resamples, seed=args.seed)
    results = {
        "protocol": protocol.name,
        "domain": protocol.domain,
        "positive_class": "OoD",
        "version": __version__,
        "command": _reproduce_command(args),
        "bundle": {"sha256": opened.manifest.bundle_id},
        "seed": args.seed,
        "target_rate": args.target_rate,
        "unit": protocol.unit,
        "data": protocol.facts,
        "calibration": scores.calibration,
        "bootstrap": {
            "resamples": args.resamples,
            "seed": args.seed,
            "confidence": 0.95,
            "of": "means, differences, rankings and pixels",
        },
        "notes": list(protocol.notes),
        "cost": cost,
        **figures,
    }
    write_json(args.json, results)
    _print_table(results)
    if args.out is not None:
        _write(args.out, results, scores)
        console.print(f"{args.out}: results.json, results.md, scores.npz and plots", soft_wrap=True)
    return 0


def _protocol(args: argparse.Namespace) -> Protocol:
    from ..comparison.protocols import larex_protocol, recordings_protocol, street_protocol
    from ..datasets import read_split
    from .topics import parse_topics

    chosen: dict[str, Any] = {}
    if args.kinds is not None:
        chosen["kinds"] = tuple(parse_list(args.kinds))
    if args.severities is not None:
        chosen["severities"] = tuple(sorted(parse_severities(args.severities)))
    _refuse_foreign_options(args)
    if args.protocol == "recordings":
        return recordings_protocol(
            args.clean,
            args.test,
            args.ood,
            rate_hz=args.rate,
            block_s=args.block,
            every=args.every,
            topics=parse_topics(args.topic),
            **chosen,
        )
    if args.protocol == "larex":
        if args.woodscape is None:
            raise ConfigError("--protocol larex needs --woodscape DIR, the set in distribution.")
        split = None if args.split is None else read_split(args.split)
        return larex_protocol(
            args.woodscape, args.cityscapes, args.soiling, split=split, seed=args.seed, limit=args.limit, **chosen
        )
    return street_protocol(
        calibration_drives=args.calibration_drives, drives=args.drives, per_drive=args.per_drive, **chosen
    )


def _refuse_foreign_options(args: argparse.Namespace) -> None:
    """Refuse an option of another protocol, which would be ignored."""
    for protocol, options in (
        ("street", ("drives", "calibration_drives", "per_drive")),
        ("recordings", ("clean", "test", "ood", "topic", "every", "rate", "block")),
        ("larex", ("woodscape", "cityscapes", "soiling", "split", "limit")),
    ):
        given = [option for option in options if getattr(args, option) not in (None, [], _DEFAULTS.get(option))]
        if given and args.protocol != protocol:
            option = given[0].replace("_", "-")
            raise ConfigError(f"--{option} belongs to --protocol {protocol}, but the protocol is {args.protocol}.")


def _reproduce_command(args: argparse.Namespace) -> str:
    """Return a command that repeats this call."""
    command = ["ls-ood", "compare"]
    for name, value in vars(args).items():
        if name in ("command", "arguments", "json", "out") or value is None or value == []:
            continue
        option = f"--{name.replace('_', '-')}"
        if name == "topic":
            command += [part for topic in value for part in (option, topic)]
        else:
            command += [option, *(map(str, value) if isinstance(value, list) else [str(value)])]
    return shlex.join(command)


@contextmanager
def _progress_bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield ``update(title, done, total)``: progress bars, one after the other. A new title starts a new bar."""
    title, move = "", None
    with ExitStack() as stack:

        def update(name: str, done: int, total: int | None) -> None:
            nonlocal title, move
            if move is None or name != title:
                stack.close()
                title, move = name, stack.enter_context(progress_bar(name, total))
            move(done)

        yield update


def _print_table(results: Mapping[str, Any]) -> None:
    """Print the table of detectors, with notes."""
    from rich.box import SIMPLE
    from rich.table import Table

    from ..comparison.report import compact

    title = f"{results['domain']}: {results['frames']} unseen clean frames, {results['units']['control']} units"
    table = Table(title=title, box=SIMPLE, padding=(0, 1), collapse_padding=True)
    tested = {group for entry in results["detectors"].values() for group in entry["means"]}
    groups = [
        (group, head)
        for group, head in (("severity_1_2", "severity 1-2"), ("severity_3_5", "3-5"), ("recorded", "recorded"))
        if group in tested
    ]
    table.add_column("detector", no_wrap=True)
    heads = (*(f"detected, %\n{head}" for _, head in groups), "false\nalarms, %", "AUROC\nmean", "+ % of\npass")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for name, entry in results["detectors"].items():
        auroc = entry["means"]["all"]["auroc"]
        text = compact(auroc, 1.0, 2)
        table.add_row(
            f"{name}{' *' if name == results['reference'] else ''}{' (s)' if entry['supervised'] else ''}",
            *(compact(entry["means"][group]["detection_rate"], 100.0, 0) for group, _ in groups),
            compact(entry["false_alarm_rate"], 100.0, 1),
            f"[red]{text}[/]" if auroc["value"] < 0.5 else text,
            f"{100 * results['cost']['detectors'][name]['share_of_pass']:.1f}",
        )
    console.print(table)
    target = 100 * results["target_rate"]
    supervised = results["calibration"].get("supervised")
    console.print(
        f"Means over shifts and severities at thresholds for {target:g} % false alarms; in brackets 95 % intervals by "
        f"{results['unit']}. * reference."
        + (f" (s) supervised, fitted to {supervised['kind']} on calibration drives." if supervised else ""),
        highlight=False,
    )
    for name, entry in results["detectors"].items():
        if entry["threshold"]["warning"]:
            console.print(f"note: {name}: {entry['threshold']['warning']}", highlight=False)
            break
    for note in results["notes"]:
        console.print(f"note: {note}", highlight=False)


def _write(folder: Path, results: Mapping[str, Any], scores: Any) -> None:
    from ..comparison.report import draw_plots, markdown, write_scores

    chosen = list(dict.fromkeys([results["reference"], *results["detectors"]]))[:6]
    try:
        write_json(folder / "results.json", results)
        (folder / "results.md").write_text(markdown(results), encoding="utf-8")
        write_scores(folder / "scores.npz", scores)
        draw_plots(folder, results, chosen)
    except OSError as error:
        raise DataError(f"results cannot be written to {folder}: {error.strerror}.") from error
