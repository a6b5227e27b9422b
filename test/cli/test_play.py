"""ls-ood play: what is refused before a node is looked for; test/ros/test_live_replay.py plays, loops and records."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

from ls_ood_monitor.cli.play import image_accounting, lost_on_the_way
from ls_ood_monitor.recordings.bags import FrameBagWriter


def test_a_bag_without_a_message_is_refused(ls_ood, tmp_path):
    """A loop over nothing would never rest."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    with Writer(tmp_path / "bag", version=9) as writer:
        writer.add_connection("/front/image", "sensor_msgs/msg/Image", typestore=types)
    done = ls_ood("play", tmp_path / "bag", "--loop")
    assert done.returncode == 2
    assert "holds no message on /front/image; there is nothing to play" in done.stderr


@pytest.mark.ros
def test_a_recording_without_listeners_leaves_nothing_behind(tmp_path, make_pictures):
    """Nobody subscribes: one sentence, and the same command can be tried again."""
    pytest.importorskip("rclpy")
    from ls_ood_monitor.ros.processes import ros_environment

    with FrameBagWriter(tmp_path / "bag") as writer:
        writer.write("front", make_pictures(1)[0], 10**9)
    command = [sys.executable, "-m", "ls_ood_monitor.cli.main", "play", "bag", "--wait", "0.2", "--record", "out"]
    environment = ros_environment()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nobody subscribed to /front/image within 0.2 s" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_was_lost_on_the_way_is_told():
    """Scores against alarms, and pictures against scores; what is whole needs no word."""
    pairs = {"/p/front/ood_score": (20, 20), "/p/left/ood_score": (20, 19)}
    pictures = {"/p/front/overlay": (20, 20), "/p/left/overlay": (12, 19), "/p/left/confidence": (20, 19)}
    scores, overlays = lost_on_the_way(pairs, pictures)
    assert scores.startswith("/p/left/ood_score has 19 scores in the recording, and 20 alarms are about images")
    assert overlays.startswith("/p/left/overlay has 12 pictures in the recording, and its camera 19 scores; what is")


def test_what_became_of_each_image_is_told():
    """What perception neither judged, nor called a fault, nor dropped never reached it; of other cameras it tells nothing."""
    answers = {
        "front": {"judged": 90, "faults": 3, "dropped": 5},
        "left": {"judged": 101, "faults": 0, "dropped": 0},  # somebody else sends, too
    }
    topics = {"/front/image": "front", "/left/image": "left", "/rear/image": "rear"}
    fates = image_accounting(topics, {"/front/image": 100, "/left/image": 100, "/rear/image": 100}, answers)
    assert fates == {
        "front": {"played": 100, "judged": 90, "faults": 3, "dropped": 5, "lost": 2},
        "left": {"played": 100, "judged": 101, "faults": 0, "dropped": 0, "lost": 0},
    }
