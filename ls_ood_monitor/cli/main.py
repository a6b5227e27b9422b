"""ls-ood: the command line. Each command is a module of this folder, imported only when it is called."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..errors import MonitorError

#: Command -> one line for --help. The module has the same name.
COMMANDS = {
    "demo": "watch a camera go out of distribution, the alarm rise and the stop command follow",
    "synth": "record a drive of the procedural (synthetic) street, with disturbances at known times",
    "anomalies": "disturb pictures: fog, rain, night, mud, broken JPEG, unknown objects and more, at five severities",
    "adopt": "make a bundle of an ONNX network that a vehicle already runs",
    "train": "train the network on a data set, measure it, calibrate, and write a bundle",
    "calibrate": "set the thresholds of a bundle from a clean recording",
    "compare": "compare detectors on unseen drives, clean and disturbed, with intervals by drive",
    "inspect": "state what is in a recording, what of it cannot be used, and why",
    "evaluate": "judge a recording as the vehicle would: alarms, stops, figures, and limits for releases",
    "play": "publish a recording to running nodes, through DDS, in real time",
    "top": "watch the running nodes in a terminal: decision, alarms, scores, rates, delays",
    "bundle": "show what is in a bundle, verify it, or export its network",
    "profile": "measure what a monitored frame costs on this machine, by engine, beside other implementations",
}
#: A disk that is full or read-only; writing to an open file does not name it.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
#: Earlier name of a command -> its name now.
RENAMED = {"bench": "profile", "benchmark": "compare"}


class _Parser(argparse.ArgumentParser):
    """Reports bad usage in one line, like every other error; argparse would print the whole usage first."""

    #: The command of this call. An option that no parser knows is reported as an option of this command.
    command = ""

    def error(self, message: str) -> NoReturn:
        call = f"{self.prog} {self.command}".rstrip()
        self.exit(2, f"{call}: {message.rstrip('.')}; '{call} --help' explains.\n")


def make_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands. Only the module of ``command`` is imported."""
    parser = _Parser(
        prog="ls-ood",
        description="Out-of-distribution monitor for the cameras of a vehicle.",
        epilog="'ls-ood COMMAND --help' explains a command. Exit codes: 0 done, 1 a check failed, 2 bad usage or input.",
    )
    parser.command = command if command in COMMANDS else ""
    parser.add_argument("--version", action="version", version=__version__)
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, line in COMMANDS.items():
        sub = parsers.add_parser(name, help=line)
        sub.add_argument(
            "--json",
            type=Path,
            metavar="FILE",
            help="write the result here, for machines; - is standard output, and all text goes to stderr then",
        )
        if name == command:
            importlib.import_module(f"{__package__}.{name}").add_arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code. An error that the user can cure is one line on stderr and exit code 2."""
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    command = next((argument for argument in arguments if not argument.startswith("-")), None)
    if command in RENAMED:
        sys.stderr.write(
            f"ls-ood {command}: this command is now called {RENAMED[command]}; run 'ls-ood {RENAMED[command]}'.\n"
        )
        sys.exit(2)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name need not be text; stderr shows any
        sys.stdout.reconfigure(errors="backslashreplace")
    # Set before torch is loaded: otherwise its idle threads spin and take cores from the threads that work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    options = make_parser(command).parse_args(arguments)
    options.arguments = arguments  # for commands that print how to repeat them
    module = importlib.import_module(f"{__package__}.{options.command}")
    from .console import require_file_place, text_beside_json

    try:
        require_file_place("--json", options.json)  # before the work starts
        with text_beside_json(options.json):
            code = module.run(options)
    except MonitorError as error:
        sys.stderr.write(f"ls-ood {options.command}: {error}\n")
        code = 2
    except OSError as error:
        if (
            error.filename is None and error.errno not in _FULL
        ):  # no file of the user is involved: a defect of the program
            raise
        place = error.filename or "the disk with the results"
        sys.stderr.write(f"ls-ood {options.command}: {place} cannot be used: {error.strerror}.\n")
        code = 2
    except KeyboardInterrupt:
        sys.stderr.write(f"ls-ood {options.command}: interrupted\n")
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
