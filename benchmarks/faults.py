"""Fault campaign: faults of camera, network and processes, injected into the real nodes many times; the stop is timed.

    python benchmarks/faults.py --repeats 20 --json faults.json

What is measured and which faults there are: ``test/support/faults.py``. Exit 1 where STOP came late or did not hold.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from command_line import exit_code, make_parser, print_table, read_arguments
from support.faults import FAULTS, MARGIN_S, Outcome, run_campaign

from ls_ood_monitor.cli.console import console, write_json
from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.ros.environment import private_domain, ros_environment


def row_of(outcome: Outcome) -> list[str]:
    """Cells of a fault's row."""
    stop = (
        [f"{np.median(outcome.to_stop_s):.2f} s", f"{max(outcome.to_stop_s):.2f} s"] if outcome.to_stop_s else ["-"] * 2
    )
    recovery = outcome.recovery_s or [float("nan")]
    return [
        outcome.name,
        f"{outcome.setting} ({outcome.allowed_s:g} s)",
        *stop,
        f"{outcome.allowed_s + MARGIN_S:.2f} s" + (f", missed {outcome.missed}" if outcome.missed else ""),
        str(outcome.false_clears),
        f"{np.median(recovery):.2f} s (max {max(recovery):.2f})",
        outcome.reason,
    ]


def main() -> int:
    """Run the campaign and print its table."""
    parser = make_parser(__doc__, repeats=20)
    parser.add_argument("--only", nargs="+", metavar="WORD", help="faults whose name holds one of these words")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the nodes' logs here")
    args = read_arguments(parser)
    faults = [fault for fault in FAULTS if not args.only or any(word in fault.name for word in args.only)]
    if not faults:
        names = "; ".join(fault.name for fault in FAULTS)
        raise ConfigError(
            f"--only is {' '.join(args.only)}; no fault's name holds one of these words. There are: {names}."
        )
    environment = ros_environment(private_domain())
    os.environ.update(environment)  # before rclpy, which reads it once
    import rclpy

    rclpy.init()
    with tempfile.TemporaryDirectory() as scratch:
        outcomes = run_campaign(faults, args.repeats, args.logs or Path(scratch), environment)
    rclpy.try_shutdown()
    columns = ("fault", "allowed by", "STOP, median", "STOP, max", "due", "false clears", "NOMINAL again", "reason")
    print_table(columns, map(row_of, outcomes), width=200)
    slowest_s = max(outcome.longest_silence_s for outcome in outcomes)
    console.print(
        f"{args.repeats} repetitions each; at most {slowest_s:.2f} s between two commands of a living supervisor"
    )
    write_json(args.json, {"faults": [asdict(outcome) for outcome in outcomes]})
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    console.print(
        f"[bold red]FAILED[/]: {', '.join(failed)}"
        if failed
        else "[bold green]PASSED[/]: STOP in time in every repetition, no false clear"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
