"""The command line without the seconds that a process of its own takes to import torch."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from ls_ood_monitor.cli.main import main


@pytest.fixture
def ls_ood(capfd) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in this process: arguments -> exit code and what was printed."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        printed = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, end.value.code, printed.out, printed.err)

    return run
