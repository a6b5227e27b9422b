"""The script on the ways to the network's size: a short run that looks at no time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "resizing.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script as a process."""
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def test_the_calibrated_size_is_brought_down_to_the_same_levels(tmp_path):
    """At the size of the embedded bundle's calibration: OpenCV's, but for a sum's last place, so scores stay."""
    out = tmp_path / "resizing.json"
    done = run("--sizes", "640x483", "--pictures", "2", "--repeats", "1", "--json", str(out))
    assert done.returncode == 0, done.stderr
    ways = json.loads(out.read_text())["sizes"]["640x483"]
    assert set(ways) == {"OpenCV at once", "area_means at once", "resize_image"}
    for one in ways.values():
        assert one["levels_that_differ"] < 2e-4
        assert one["largest_difference"] <= 1
        assert one["score_moves_at_most"] < 0.01
        assert one["scores"] == 4 * 4


def test_a_size_that_is_none_is_a_sentence():
    """Before anything is rendered."""
    done = run("--sizes", "640by483")
    assert done.returncode == 2
    assert "640by483" in done.stderr
    assert "Traceback" not in done.stderr
