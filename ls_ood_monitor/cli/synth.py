"""ls-ood synth: record a drive of the procedural street, with disturbances at known times."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
Renders a drive of the procedural (synthetic) fisheye street into a ROS 2 bag with an events file of ground truth.

  ls-ood synth --out drive --camera front --camera left --event front:fog:4:7:11
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that gets bag/ and events.yaml")
    parser.add_argument(
        "--drive", type=int, default=5000, metavar="SEED", help="seed of the drive (default %(default)s)"
    )
    parser.add_argument(
        "--camera",
        action="append",
        metavar="NAME",
        help="front, left, right or rear; repeatable (default: front and left)",
    )
    parser.add_argument("--seconds", type=float, default=24.0, help="length (default %(default)s)")
    parser.add_argument("--rate", type=float, default=5.0, help="frames a second of each camera (default %(default)s)")
    parser.add_argument(
        "--event",
        action="append",
        default=[],
        metavar="CAMERA:ANOMALY:SEVERITY:START:END",
        help="disturb a camera from START to END seconds, severity 1 to 5; repeatable",
    )
    parser.add_argument(
        "--storage", choices=("sqlite3", "mcap"), default="sqlite3", help="bag format (default %(default)s)"
    )
    parser.add_argument("--compressed", action="store_true", help="JPEG images on <camera>/image/compressed")


def run(args: argparse.Namespace) -> int:
    """Parse the story, render it, say where it is."""
    from ..errors import ConfigError
    from ..offline.scenario import Event, Scenario, record_scenario
    from .console import console, progress_bar, write_json

    events = []
    for option in args.event:
        parts = option.split(":")
        try:
            camera, label, severity, start, end = parts
            events.append(Event(camera, float(start), float(end), label, int(severity)))
        except ValueError as error:
            raise ConfigError(
                f"--event is {option!r}; write CAMERA:ANOMALY:SEVERITY:START:END, for example front:fog:4:7:11."
            ) from error
    scenario = Scenario(args.drive, tuple(args.camera or ("front", "left")), args.seconds, args.rate, tuple(events))
    args.out.mkdir(parents=True, exist_ok=True)
    with progress_bar("Rendering", len(scenario.stamps_s) * len(scenario.cameras)) as update:
        record_scenario(
            scenario,
            args.out / "bag",
            args.out / "events.yaml",
            storage=args.storage,
            compressed=args.compressed,
            progress=update,
        )
    facts = {"bag": str(args.out / "bag"), "events": str(args.out / "events.yaml"), "drive": args.drive}
    write_json(args.json, {**facts, "cameras": list(scenario.cameras), "frames": len(scenario.stamps_s)})
    console.print(
        f"{args.out / 'bag'}: {', '.join(scenario.cameras)}, {args.seconds:g} s at {args.rate:g} Hz, {len(events)} events"
    )
    return 0
