"""ls-ood play: what is refused before a node is looked for; test/ros/test_live_replay.py plays, loops and records."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

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
    from ls_ood_monitor.ros.environment import ros_environment

    with FrameBagWriter(tmp_path / "bag") as writer:
        writer.write("front", make_pictures(1)[0], 10**9)
    command = [sys.executable, "-m", "ls_ood_monitor.cli.main", "play", "bag", "--wait", "0.2", "--record", "out"]
    environment = ros_environment()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nobody subscribed to /front/image within 0.2 s" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
