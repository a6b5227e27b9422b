"""The options that choose an inference engine, as every command that judges frames has them."""

from __future__ import annotations

import argparse

from ..config import ENGINES, PRECISIONS


def add_engine_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare ``--engine`` and ``--precision``."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what runs the network; auto = onnx on a CPU where the bundle has graphs for it, else eager (default auto)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="of the network, on a GPU (default %(default)s)",
    )
