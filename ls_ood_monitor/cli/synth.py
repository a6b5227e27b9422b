"""ls-ood synth: record a drive of the procedural street with disturbances at known times, or a labelled data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ConfigError
from .console import console, progress_bar, write_json
from .option_values import make_folder

DESCRIPTION = """\
Renders a drive of the procedural (synthetic) fisheye street into a ROS 2 bag with an events file of ground truth.

  ls-ood synth --out drive --camera front --camera left --event front:fog:4:7:11 --labels

With --layout woodscape it renders clean pictures of several drives with their class ids instead, as a data set in the
folder layout of WoodScape. split.json names the drive of each picture. With three drives or more it also assigns each
drive to training, validation or test (72, 18 and 10 % of the pictures); ls-ood train and ls-ood compare use this split.

  ls-ood synth --out street --layout woodscape --drives 20 --per-drive 4
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="output folder: gets bag/ and events.yaml, or the data set",
    )
    add("--layout", choices=("bag", "woodscape"), default="bag", help="what to write (default %(default)s)")
    add("--drive", type=int, default=5000, metavar="SEED", help="seed of the (first) drive (default %(default)s)")
    add(
        "--camera",
        action="append",
        metavar="NAME",
        help="front, left, right or rear; repeatable (default: front and left)",
    )
    add("--seconds", type=float, default=24.0, help="length of the recording, seconds (default %(default)s)")
    add("--rate", type=float, default=5.0, help="frames per second of each camera (default %(default)s)")
    add(
        "--event",
        action="append",
        default=[],
        metavar="CAMERA:ANOMALY:SEVERITY:START:END",
        help="disturb a camera from START to END seconds, severity 1 to 5; repeatable",
    )
    add("--storage", choices=("sqlite3", "mcap"), default="sqlite3", help="bag format (default %(default)s)")
    add("--compressed", action="store_true", help="JPEG images on <camera>/image/compressed")
    add("--labels", action="store_true", help="also write class ids of each image, on <camera>/labels")
    add(
        "--drives",
        type=int,
        default=10,
        metavar="N",
        help="drives of a data set, each with its own seed (default %(default)s)",
    )
    add(
        "--per-drive",
        type=int,
        default=4,
        metavar="K",
        help="pictures of each camera in each drive of a data set, 4 s apart (default %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Render a recording or a data set."""
    return _write_data_set(args) if args.layout == "woodscape" else _record(args)


def _record(args: argparse.Namespace) -> int:
    from ..recordings.events import Event
    from ..street.scenario import Scenario, record_scenario

    events = []
    for option in args.event:
        try:
            camera, label, severity, start, end = option.split(":")
            events.append(Event(camera, float(start), float(end), label, int(severity)))
        except ValueError as error:
            raise ConfigError(
                f"--event is {option!r}; write CAMERA:ANOMALY:SEVERITY:START:END, for example front:fog:4:7:11."
            ) from error
    scenario = Scenario(args.drive, tuple(args.camera or ("front", "left")), args.seconds, args.rate, tuple(events))
    make_folder(args.out)
    foreign = sorted(path.name for path in args.out.iterdir() if path.name not in ("bag", "events.yaml"))
    if foreign:
        raise ConfigError(
            f"--out {args.out} holds {foreign[0]}, which is not part of a recording; choose another folder."
        )
    with progress_bar("Rendering", len(scenario.stamps_s) * len(scenario.cameras)) as update:
        record_scenario(
            scenario,
            args.out / "bag",
            args.out / "events.yaml",
            storage=args.storage,
            compressed=args.compressed,
            labels=args.labels,
            progress=update,
        )
    facts = {"bag": str(args.out / "bag"), "events": str(args.out / "events.yaml"), "drive": args.drive}
    write_json(args.json, {**facts, "cameras": list(scenario.cameras), "frames": len(scenario.stamps_s)})
    console.print(
        f"{args.out / 'bag'}: {', '.join(scenario.cameras)}, {args.seconds:g} s at {args.rate:g} Hz, {len(events)} events"
    )
    return 0


def _write_data_set(args: argparse.Namespace) -> int:
    from ..street import CAMERAS
    from ..street.shots import render_shots, spread_shots
    from ..street.woodscape_writer import write_woodscape

    if args.event:
        raise ConfigError(
            "--event applies to a recording and a data set has clean pictures; leave out --event or --layout."
        )
    for option, value in (("--drives", args.drives), ("--per-drive", args.per_drive)):
        if value < 1:
            raise ConfigError(f"{option} is {value}; it must be 1 or larger.")
    if args.drive < 0:
        raise ConfigError(f"--drive is {args.drive}; it must be 0 or larger.")
    cameras = tuple(args.camera or ("front", "left"))
    unknown = sorted(set(cameras) - set(CAMERAS))
    if unknown:
        raise ConfigError(f"--camera is {unknown[0]!r}; the street has {', '.join(CAMERAS)}.")
    shots = spread_shots(range(args.drive, args.drive + args.drives), args.per_drive, cameras)
    with progress_bar("Rendering", len(shots)) as update:
        write_woodscape(args.out, render_shots(shots, progress=update))
    facts = {"data_set": str(args.out), "layout": args.layout, "drive": args.drive, "drives": args.drives}
    write_json(args.json, {**facts, "cameras": list(cameras), "pictures": len(shots)})
    console.print(f"{args.out}: {len(shots)} pictures of {args.drives} drives with class ids, in WoodScape's layout")
    return 0
