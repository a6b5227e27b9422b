"""The script on cameras judged together: a short run that looks at no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "batches.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script as a process."""
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def test_every_batch_of_both_engines_is_timed(tmp_path):
    """To the alarm and with the segmentation, as multiples of one by one."""
    out = tmp_path / "batches.json"
    done = run("--networks", "street", "--repeats", "1", "--json", str(out))
    assert done.returncode == 0, done.stderr
    told = json.loads(out.read_text())["networks"]["street"]
    assert set(told) == {"onnx", "eager"}
    for ends in told.values():
        assert set(ends) == {"to the alarm", "with the segmentation"}
        for sizes in ends.values():
            assert set(sizes) == {"1", "2", "4", "8"}
            assert sizes["1"]["of_single"]["median_ms"] == 1.0
            assert all(one["ms"]["median_ms"] > 0.0 for one in sizes.values())


def test_a_network_that_is_none_is_a_sentence():
    """With those that there are."""
    done = run("--networks", "lenet")
    assert done.returncode == 2
    assert "--networks names 'lenet'; there are street, " in done.stderr
    assert "Traceback" not in done.stderr
