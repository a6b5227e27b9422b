"""Entry points of the executables: Ctrl-C while libraries are imported ends them quietly."""

from __future__ import annotations

import importlib
import sys


def perception_node() -> None:
    """Run perception."""
    _run("perception_node")


def supervisor_node() -> None:
    """Run the supervisor."""
    _run("supervisor_node")


def rviz_status() -> None:
    """Run the node that publishes texts for RViz."""
    _run("rviz_status")


def _run(module: str) -> None:
    try:
        main = importlib.import_module(f".{module}", __package__).main
    except KeyboardInterrupt:
        sys.exit(130)
    main()
