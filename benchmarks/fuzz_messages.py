"""Random and mutated messages through the subscriptions of the real nodes.

    python benchmarks/fuzz_messages.py [--messages 100000] [--seed 0] [--json FILE]

What is mutated, and how: ``test/support/fuzzing.py``. Exit 1 where a node crashed, an invalid message was not reported as a
fault, or a good one was not clear afterwards.
"""

from __future__ import annotations

import os
import sys

from command_line import count, exit_code, make_parser, print_table, read_arguments

from ls_ood_monitor.cli.console import write_json
from ls_ood_monitor.ros.environment import private_domain, ros_environment


def main() -> int:
    """Fuzz and print."""
    parser = make_parser(__doc__)
    parser.add_argument("--messages", type=count, default=100_000, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    args = read_arguments(parser)
    os.environ.update(ros_environment(private_domain()))  # before rclpy, which reads it once
    import rclpy
    from support.fuzzing import fuzz

    rclpy.init()
    outcomes = fuzz(args.messages, args.seed)
    rclpy.shutdown()
    columns = (
        "message",
        "sent",
        "invalid",
        "reported as a fault",
        "crashed",
        "invalid but accepted",
        "not clear afterwards",
    )
    rows = []
    for name, outcome in outcomes.items():
        accepted = ", ".join(f"{why} {number}" for why, number in outcome.accepted_invalid.items()) or 0
        numbers = (outcome.messages, outcome.invalid, outcome.refused, outcome.crashes, accepted, outcome.not_recovered)
        rows.append((name, *numbers))
    print_table(columns, rows)
    write_json(args.json, {name: vars(outcome) for name, outcome in outcomes.items()})
    return 0 if all(outcome.passed for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(exit_code(main))
