"""The node's parts, step by step: short runs of the script that look at no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("onnxruntime")

from ls_ood_monitor.ros.environment import ros_environment

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "node_parts.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script as a process."""
    environment = ros_environment()
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_every_step_of_every_camera_is_timed(tmp_path):
    """Four cameras; what is the node's own is no less than any step of it, and no part of the network or of decoding."""
    out = tmp_path / "parts.json"
    done = run("--repeats", "2", "--json", str(out))
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert set(report["ms"]) == {"640x483 raw", "1280x966 raw", "640x483 jpeg", "1280x966 jpeg"}
    for steps in report["ms"].values():
        own = [name for name in steps if name not in ("decode", "network", "own")]
        assert set(own) == {"check", "resize", "score", "rule", "message", "send"}
        assert all(0.0 < steps[name]["p50"] <= steps["own"]["p50"] for name in own)


def test_a_place_that_cannot_take_the_file_is_a_sentence():
    """Before anything is timed."""
    done = run("--json", "/nowhere/parts.json")
    assert done.returncode == 2
    assert (
        done.stderr.strip()
        == "node_parts.py: --json is /nowhere/parts.json; it must be a file in a folder that exists."
    )
