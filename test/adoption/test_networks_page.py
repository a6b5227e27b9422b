"""The page on adopted networks: its commands parse, its examples compile, and the one without other packages runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ls_ood_monitor.cli.main import make_parser

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


def test_commands_parse_and_examples_compile():
    """Every option of a command is known, and every example is Python."""
    assert {language for language, _ in BLOCKS} == {"sh", "python"}
    for language, block in BLOCKS:
        if language == "python":
            compile(block, "networks.md", "exec")
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "ls-ood"
            assert make_parser(arguments[0]).parse_args(arguments).command == arguments[0]


@pytest.mark.slow
def test_the_example_without_other_packages_runs(tmp_path, monkeypatch):
    """It writes a bundle."""
    monkeypatch.chdir(tmp_path)
    exec(next(block for language, block in BLOCKS if language == "python"), {})
    assert (tmp_path / "small_bundle" / "network.onnx").is_file()
