"""Options of commands that work on several recordings at once: processes, a cluster, and going on after an interruption."""

from __future__ import annotations

import argparse
import re


def add_worker_arguments(parser: argparse._ActionsContainer, what: str, shared: str, resume: str) -> None:
    """Declare the options.

    Args:
        parser: takes them.
        what: what is done at once, ``recordings`` for example.
        shared: what the workers of a cluster must see.
        resume: help of ``--resume``.
    """
    parser.add_argument(
        "--jobs", default="1", metavar="N", help=f"{what} at once, in processes; auto or 0 = one a core (default 1)"
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help=f"of a Dask cluster (tcp://HOST:8786) that does the work; its workers must see {shared} under the same paths, "
        "on a shared disk",
    )
    parser.add_argument("--resume", action="store_true", help=resume)


def read_jobs(args: argparse.Namespace) -> int:
    """Number of processes. Raises ``ConfigError`` for a wrong number, a wrong address, or both options."""
    from ..errors import ConfigError
    from ..workers.processes import cores

    if args.scheduler and args.jobs != "1":
        raise ConfigError("--jobs and --scheduler exclude each other: a cluster has the workers that it has.")
    if args.scheduler and not re.fullmatch(r"(\w+://)?\S+:\d+", args.scheduler):
        raise ConfigError(f"--scheduler is {args.scheduler}; give HOST:PORT, for example tcp://10.0.0.7:8786.")
    if args.jobs in ("auto", "0"):
        return cores()
    if not (args.jobs.isascii() and args.jobs.isdigit()):
        raise ConfigError(f"--jobs is {args.jobs}; give a number of processes, or auto.")
    return int(args.jobs)
