"""Every command of the README and of the page of commands runs, or stands under a heading that says it needs a vehicle."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

pytest.importorskip("rclpy")

from ls_ood_monitor.ros.environment import ros_environment
from ls_ood_monitor.ros.processes import wait_until
from ls_ood_monitor.ros.shared_memory import remove_orphaned_segments

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README.split("## On a vehicle")[0], re.DOTALL)
PAGE = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), re.DOTALL)
BIN = str(Path(sys.executable).parent)


def commands(block: str) -> list[list[str]]:
    """Commands of a block without their comments."""
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]


def run_all(block: str, ls_ood) -> None:
    for program, *arguments in commands(block):
        assert program == "ls-ood"
        done = ls_ood(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the commands run, one block after the other as a reader would."""
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """The private environment's executables first on the path."""
    return {**ros_environment(), "PATH": os.pathsep.join([BIN, os.environ["PATH"]])}


def test_the_blocks_are_the_expected_ones():
    """Two blocks of the README run here, and one of the page of commands; all others stand under the heading of the vehicle."""
    assert (len(BLOCKS), len(PAGE)) == (2, 1)
    assert "need a ROS distribution" in README.split("## On a vehicle")[1]
    assert {command[1] for command in commands(BLOCKS[0])} == {"synth", "inspect", "calibrate", "evaluate"}
    assert {command[1] for command in commands(PAGE[0])} == {
        "synth",
        "inspect",
        "anomalies",
        "calibrate",
        "evaluate",
        "bundle",
        "profile",
    }


def test_the_readme_is_short():
    """At most 900 words, as ``wc -w`` counts."""
    assert len(README.split()) <= 900


def test_the_offline_commands_run(folder, monkeypatch, ls_ood):
    """Each line of the first block exits with 0."""
    monkeypatch.chdir(folder)
    run_all(BLOCKS[0], ls_ood)
    assert (folder / "my_bundle" / "manifest.json").is_file()
    assert (folder / "verdict" / "summary.json").is_file()


def test_the_lines_of_python_run(folder, monkeypatch, make_pictures, capsys):
    """They judge a picture with the bundle of the first block, and draw it."""
    monkeypatch.chdir(folder)
    cv2.imwrite("frame.png", make_pictures(1)[0])
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.split()[0] in ("True", "False")
    assert (folder / "frame_judged.png").is_file()


def test_the_page_of_commands_runs(tmp_path, monkeypatch, ls_ood):
    """Each line exits with 0."""
    monkeypatch.chdir(tmp_path)
    run_all(PAGE[0], ls_ood)
    assert (tmp_path / "look" / "contact_sheet.png").is_file()


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
        listener = folder / "listener.log"
        with listener.open("wb") as output:
            example = [sys.executable, str(ROOT / "examples" / "listen_to_alarms.py")]
            running.append(subprocess.Popen(example, env=environment, stdout=output, stderr=subprocess.STDOUT))
        wait_until(lambda: "listening" in listener.read_text(), "the example that listens", 30.0)
        done = subprocess.run(player, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "/front/image: 120 messages" in done.stdout
        assert "NOMINAL" in logs[0].read_text()
        assert "STOP: camera front: out of distribution" in logs[0].read_text()
        assert "front: RAISED, sudden" in listener.read_text()
        assert "stop: True" in listener.read_text()
    finally:
        for process in running:
            process.terminate()
            process.wait(20.0)
        remove_orphaned_segments()
