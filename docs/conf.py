"""Sphinx settings of the site: ``make docs``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ls_ood_monitor
from ls_ood_monitor.cli.main import COMMANDS, make_parser

project = "ls_ood_monitor"
version = release = ls_ood_monitor.__version__
project_copyright = "the ls_ood_monitor maintainers, MIT licence"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"ls_ood_monitor {version}"
exclude_patterns = ["_build"]
myst_heading_anchors = 4
autodoc_typehints = "none"  # signatures show them
#: A link to a file beside docs/, which is not part of the site. test/test_packaging.py checks that each such file exists.
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def name_files_outside(app: Any, page: str, source: list[str]) -> None:
    """Replace links to files outside the site by their path in the repository."""
    source[0] = _OUTSIDE.sub(r"\1 (`\2` in the repository)", source[0])


def write_command_line(app: Any) -> None:
    """Write the page of the command line: ``--help`` of every command."""
    page = ["# Command line", "", "Exit codes: 0 done, 1 a check failed, 2 bad usage or input.", ""]
    for name in COMMANDS:
        text = _help_of(name)
        page += [f"## ls-ood {name}", "", "```text", text.rstrip(), "```", ""]
    folder = Path(app.srcdir) / "_generated"
    folder.mkdir(exist_ok=True)
    (folder / "command_line.md").write_text("\n".join(page), encoding="utf-8")


def _help_of(command: str) -> str:
    """Help text of a command, without colours."""
    parsers = make_parser(command)
    for action in parsers._subparsers._group_actions:
        return re.sub(r"\x1b\[[0-9;]*m", "", action.choices[command].format_help())
    raise LookupError(command)


def setup(app: Any) -> None:
    """Connect what is generated."""
    app.connect("builder-inited", write_command_line)
    app.connect("source-read", name_files_outside)
