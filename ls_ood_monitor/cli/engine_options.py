"""Options that choose an inference engine, shared by all commands that run the network."""

from __future__ import annotations

import argparse

from ..config import ENGINES, PRECISIONS


def add_engine_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare ``--engine`` and ``--precision``."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="engine that runs the network; auto = onnx on a CPU if the bundle has graphs for it, else eager (default auto)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="precision of the network, on a GPU (default %(default)s)",
    )
