"""ls-ood calibrate: from a clean recording to a bundle with a threshold and its provenance."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
Fits the OoD detectors of a bundle to a clean recording and sets each threshold so that the stated share of clean
frames lies above it. The threshold comes from held-out blocks of time, never from held-out single frames:
neighbouring frames are nearly equal. The network itself is not changed.

  ls-ood calibrate clean_drive/ --out my_bundle --target-rate 0.01
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="clean ROS 2 recording (sqlite3 or mcap)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="bundle folder to write")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="bundle to start from (default: the embedded one)")
    parser.add_argument(
        "--topic",
        action="append",
        metavar="TOPIC=CAMERA",
        help="image topic and camera name; repeatable (default: every image topic)",
    )
    parser.add_argument("--start", type=float, metavar="S", help="seconds from the start of each recording")
    parser.add_argument("--end", type=float, metavar="S", help="seconds from the start of each recording")
    parser.add_argument(
        "--block",
        type=float,
        default=10.0,
        metavar="S",
        help="length of the blocks held out, seconds (default %(default)s)",
    )
    parser.add_argument(
        "--target-rate",
        type=float,
        default=0.01,
        help="accepted share of clean frames above the threshold (default %(default)s)",
    )
    parser.add_argument(
        "--allow-small", action="store_true", help="accept too few frames for the target; the bundle says so"
    )
    parser.add_argument("--detector", help="detector that raises the alarm (default: as in the bundle)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Collect, fit, set thresholds, save."""
    import numpy as np

    from ..bundle import load_bundle, save_bundle, verify_bundle
    from ..config import from_mapping
    from ..errors import ConfigError
    from ..monitor import LatentSettings
    from ..offline.bags import iter_frames
    from ..offline.calibration import (
        FeatureTable,
        blocks_of_time,
        collect_features,
        concatenate_tables,
        fit_detectors,
        summarise,
    )
    from .console import console, progress_bar, write_json
    from .topics import parse_topics

    if args.out.resolve() == (args.bundle.resolve() if args.bundle else None):
        raise ConfigError(f"--out and --bundle are both {args.out}; write the new bundle beside the old one.")
    monitor = load_bundle(args.bundle, device=args.device, detector=args.detector)
    content = verify_bundle(args.bundle).content
    topics = parse_topics(args.topic)
    tables: list[FeatureTable] = []
    blocks = []
    for bag in args.bags:
        with progress_bar(f"Reading {bag.name}", None) as update:
            frames = iter_frames(bag, topics, start_s=args.start, end_s=args.end)
            table = collect_features(frames, monitor.frame_pass, progress=update)
        tables.append(table)
        first = 1 + max((int(part.max()) for part in blocks), default=-1)
        blocks.append(first + np.unique(blocks_of_time(table, args.block), return_inverse=True)[1])
    table, held_out = concatenate_tables(tables), np.concatenate(blocks)
    detectors, thresholds = fit_detectors(
        table,
        held_out,
        names=tuple(monitor.detectors),
        head=monitor.frame_pass.head,
        target_rate=args.target_rate,
        allow_small=args.allow_small,
    )
    provenance = {
        **content["provenance"],
        "calibration": {
            **summarise(table),
            "recordings": [bag.name for bag in args.bags],
            "start_s": args.start,
            "end_s": args.end,
            "block_s": args.block,
            "held_out": "one block of time at a time",
            "from_bundle": monitor.bundle_id,
        },
    }
    provenance.pop("check_on_unseen_drives", None)  # belonged to the thresholds replaced here
    identity = save_bundle(
        args.out,
        monitor.frame_pass,
        from_mapping(LatentSettings, content["latents"]),
        detectors,
        thresholds,
        monitor.detector,
        monitor.class_names,
        provenance,
    )
    facts = {name: threshold.to_dict() for name, threshold in thresholds.items()}
    write_json(args.json, {"bundle": {"sha256": identity}, "detector": monitor.detector, "thresholds": facts})
    for name, threshold in thresholds.items():
        mark = "*" if name == monitor.detector else " "
        console.print(
            f"{mark} {name:12s} threshold {threshold.value:.2f} from {threshold.n} frames in {threshold.blocks} blocks"
        )
        if threshold.warning:
            console.print(f"    note: {threshold.warning}", highlight=False)
    console.print(f"Bundle {identity[:12]} written to {args.out} (* raises the alarm)")
    return 0
