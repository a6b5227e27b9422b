"""Every command of the README runs, or stands under a heading that says it needs a vehicle."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from ls_ood_monitor.ros.environment import ros_environment
from ls_ood_monitor.ros.processes import wait_until
from ls_ood_monitor.ros.shared_memory import remove_orphaned_segments

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README.split("## On a vehicle")[0], re.DOTALL)
BIN = str(Path(sys.executable).parent)


def commands(block: str) -> list[list[str]]:
    """Commands of a block without their comments."""
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the commands run, one block after the other as a reader would."""
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """The private environment's executables first on the path."""
    return {**ros_environment(), "PATH": os.pathsep.join([BIN, os.environ["PATH"]])}


def test_the_blocks_are_the_expected_ones():
    """Two blocks run here; all others stand under the heading of the vehicle."""
    assert len(BLOCKS) == 2
    assert "need a ROS distribution" in README.split("## On a vehicle")[1]
    assert {command[1] for command in commands(BLOCKS[0])} == {
        "synth",
        "inspect",
        "anomalies",
        "calibrate",
        "evaluate",
        "bundle",
        "profile",
    }


def test_the_offline_commands_run(folder, monkeypatch, ls_ood):
    """Each line of the first block exits with 0."""
    monkeypatch.chdir(folder)
    for program, *arguments in commands(BLOCKS[0]):
        assert program == "ls-ood"
        done = ls_ood(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
    assert (folder / "my_bundle" / "manifest.json").is_file()
    assert (folder / "look" / "contact_sheet.png").is_file()
    assert (folder / "verdict" / "summary.json").is_file()


def test_the_live_commands_run(folder, environment):
    """The nodes of the second block judge what its player plays, and stop for the fog of the recording."""
    *nodes, player = commands(BLOCKS[1])
    logs = [folder / f"{command[0]}.log" for command in nodes]
    running = []
    for command, log in zip(nodes, logs, strict=True):
        with log.open("wb") as output:
            running.append(
                subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
            )
    try:
        wait_until(lambda: "active, listening" in logs[1].read_text(), "an active perception node", 60.0)
        done = subprocess.run(player, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "/front/image: 120 messages" in done.stdout
        assert "NOMINAL" in logs[0].read_text()
        assert "STOP: camera front: out of distribution" in logs[0].read_text()
    finally:
        for process in running:
            process.terminate()
            process.wait(20.0)
        remove_orphaned_segments()
