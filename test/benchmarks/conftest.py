"""The scripts of ``benchmarks/`` as modules."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def script() -> Iterator[Callable[[str], ModuleType]]:
    """Import a script by name; the folder is on the path only meanwhile."""
    known = set(sys.modules)

    def load(name: str) -> ModuleType:
        path = list(sys.path)
        sys.path.insert(0, str(BENCHMARKS))
        try:
            return importlib.import_module(name)
        finally:
            sys.path[:] = path

    yield load
    for path in BENCHMARKS.glob("*.py"):
        if path.stem not in known:
            sys.modules.pop(path.stem, None)
