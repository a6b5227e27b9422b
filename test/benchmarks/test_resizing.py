"""The script on the ways to the network's size: short runs that look at no time."""

from __future__ import annotations

import json

import cv2
import pytest
import resizing


@pytest.fixture(autouse=True)
def _opencv_threads():
    """The script takes one thread; the tests after it have theirs."""
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def test_the_calibrated_size_is_brought_down_to_the_same_levels(tmp_path, monkeypatch):
    """At the size of the embedded bundle's calibration: OpenCV's, but for a sum's last place, so scores stay."""
    out = tmp_path / "resizing.json"
    words = ["--sizes", "640x483", "--pictures", "2", "--repeats", "1", "--json", str(out)]
    monkeypatch.setattr("sys.argv", ["resizing.py", *words])
    resizing.main()
    ways = json.loads(out.read_text())["sizes"]["640x483"]
    assert set(ways) == {"OpenCV at once", "area_means at once", "resize_image"}
    for figures in ways.values():
        assert figures["levels_that_differ"] < 2e-4
        assert figures["largest_difference"] <= 1
        assert figures["score_moves_at_most"] < 0.01
        assert figures["scores"] == 4 * 4


def test_a_size_that_is_none_is_a_sentence(monkeypatch, capsys):
    """Before anything is rendered."""
    monkeypatch.setattr("sys.argv", ["resizing.py", "--sizes", "640by483"])
    assert resizing.exit_code(resizing.main) == 2
    assert "640by483" in capsys.readouterr().err
