"""Every command and example of the guide runs, except those under the heading *On a vehicle*."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
OFFLINE, VEHICLE = GUIDE.split("## On a vehicle")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", OFFLINE, re.DOTALL)
BIN = str(Path(sys.executable).parent)


def commands() -> list[list[str]]:
    """The commands of the guide in order; a Python example is a command, too."""
    calls = []
    for language, block in BLOCKS:
        if language == "python":
            calls.append([sys.executable, "-c", block])
        else:
            calls += [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]
    return calls


def test_the_blocks_are_the_expected_ones():
    """The blocks are shell and Python only, and the vehicle part says what it needs."""
    assert {language for language, _ in BLOCKS} == {"sh", "python"}
    assert {command[1] for command in commands()} == {"synth", "-c", "calibrate", "bundle", "compare"}
    assert "need a ROS distribution" in VEHICLE


def test_the_guide_runs_from_top_to_bottom(tmp_path):
    """Each command exits with 0, in the folder with the files of the commands before it."""
    environment = {**os.environ, "PATH": os.pathsep.join([BIN, os.environ["PATH"]])}
    for command in commands():
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    for name in ("my_bundle/manifest.json", "my_bundle/calibration.png", "comparison/results.md"):
        assert (tmp_path / name).is_file()


def test_links_of_the_guide_lead_somewhere():
    """Every relative link leads to a file or folder of the repository."""
    links = re.findall(r"\]\((?!http)([^)#]+)\)", GUIDE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
