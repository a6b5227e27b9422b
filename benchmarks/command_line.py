"""What the scripts of this folder share: a command line, a table, an exit code, and the way to ``test/support``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from math import isfinite
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ls_ood_monitor.cli.console import require_file_place
from ls_ood_monitor.errors import MonitorError

# Some scripts run the rig that the tests use: ``from support...``. pytest has this path from pyproject.toml.
sys.path.append(str(Path(__file__).parents[1] / "test"))


def make_parser(description: str | None, repeats: int | None = None) -> argparse.ArgumentParser:
    """A parser with ``--json``, and with ``--repeats`` where a default is given."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if repeats is not None:
        parser.add_argument("--repeats", type=count, default=repeats, help="turns that count (default %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure; - is standard output")
    return parser


def read_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments of this call. Raises ``ConfigError`` where ``--json`` cannot be written."""
    args = parser.parse_args()
    require_file_place("--json", args.json)
    return args


def count(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1.")
    return int(text)


def seconds(text: str) -> float:
    """A finite number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (value > 0.0 and isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0.")
    return value


def print_table(
    columns: Iterable[str], rows: Iterable[Iterable[object]], title: str | None = None, width: int | None = 150
) -> None:
    """Print rows under their headings; a width of None is that of the terminal."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*map(str, row))
    Console(width=width).print(table)


def exit_code(main: Callable[[], int | None]) -> int:
    """Run a script and return its exit code: 2 where an input cannot be used, 130 where it is interrupted."""
    try:
        return main() or 0
    except MonitorError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
