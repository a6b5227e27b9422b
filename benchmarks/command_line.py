"""What the scripts of this folder share on their command lines: numbers that make sense, a sentence instead of a traceback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ls_ood_monitor.errors import MonitorError


def count(text: str) -> int:
    """A whole number of at least 1, as argparse takes it."""
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1.")
    return int(text)


def exit_code(main: Callable[[], int | None]) -> int:
    """Run a script: its own code, 2 where an input cannot be used, 130 when it is interrupted."""
    try:
        return main() or 0
    except MonitorError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
