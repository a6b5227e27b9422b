"""Every command and example of the guide runs, except those under the heading *On a vehicle*."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
OFFLINE, VEHICLE = GUIDE.split("## On a vehicle")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", OFFLINE, re.DOTALL)


def commands(block: str) -> list[list[str]]:
    """Commands of a block without their comments."""
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]


def test_the_blocks_are_the_expected_ones():
    """The blocks are shell and Python only, and the vehicle part says what it needs."""
    assert {language for language, _ in BLOCKS} == {"sh", "python"}
    called = [command for language, block in BLOCKS if language == "sh" for command in commands(block)]
    assert {program for program, *_ in called} == {"ls-ood"}
    assert {command for _, command, *_ in called} == {"synth", "calibrate", "bundle", "compare"}
    assert "need a ROS distribution" in VEHICLE


def test_the_guide_runs_from_top_to_bottom(tmp_path, monkeypatch, ls_ood):
    """Each command and example runs where the ones before it have left their files."""
    monkeypatch.chdir(tmp_path)
    for language, block in BLOCKS:
        if language == "python":
            exec(block, {})
            continue
        for _, *arguments in commands(block):
            done = ls_ood(*arguments)
            assert done.returncode == 0, f"{arguments}: {done.stderr}"
    for name in ("my_bundle/manifest.json", "my_bundle/calibration.png", "comparison/results.md"):
        assert (tmp_path / name).is_file()


def test_links_of_the_guide_lead_somewhere():
    """Every relative link leads to a file or folder of the repository."""
    links = re.findall(r"\]\((?!http)([^)#]+)\)", GUIDE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
