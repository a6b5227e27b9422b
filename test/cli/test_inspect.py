"""ls-ood inspect: its screen, its JSON and its exit codes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ls_ood_monitor.recordings.bags import FrameBagWriter


@pytest.fixture
def bag(tmp_path):
    """Two cameras, 20 images each."""
    random = np.random.default_rng(0)
    with FrameBagWriter(tmp_path / "bag", storage="mcap") as writer:
        for index in range(20):
            for camera in ("front", "left"):
                picture = random.integers(20, 230, (24, 32, 3), dtype=np.uint8)
                writer.write(camera, picture, 10**18 + index * 10**8, compressed=camera == "left")
    return tmp_path / "bag"


def test_a_good_bag_is_shown_and_exits_with_0(ls_ood, bag, tmp_path):
    """The table names topics, sizes and rates; --json has the same facts."""
    done = ls_ood("inspect", bag, "--json", tmp_path / "report.json")
    assert done.returncode == 0, done.stderr
    for shown in ("/front/image", "32x24", "10.0", "nothing is wrong or missing"):
        assert shown in done.stdout
    (report,) = json.loads((tmp_path / "report.json").read_text())["recordings"]
    assert {topic["topic"]: topic["read"] for topic in report["topics"]} == {
        "/front/image": 20,
        "/left/image/compressed": 20,
    }


def test_a_damaged_bag_exits_with_1_and_an_unreadable_one_with_2(ls_ood, bag, tmp_path):
    """A finding is exit code 1; a path that is no recording is a sentence, exit code 2, and the others are inspected."""
    storage = bag / "bag.mcap"
    storage.write_bytes(storage.read_bytes()[:40_000])
    done = ls_ood("inspect", bag)
    assert done.returncode == 1
    assert "of the 20 messages" in done.stdout
    done = ls_ood("inspect", bag, tmp_path / "nowhere")
    assert done.returncode == 2
    assert "there is no" in done.stderr
    assert "/front/image" in done.stdout
    assert "Traceback" not in done.stderr
