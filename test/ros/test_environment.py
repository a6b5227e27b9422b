"""The environment of processes that use ROS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ls_ood_monitor.errors import ConfigError, DataError
from ls_ood_monitor.ros.environment import adopt_ros_environment, ros_environment, share_file


def test_the_environment_is_complete():
    """Local discovery, the profile for large images, idle threads asleep, the given domain; the rest is passed on."""
    environment = ros_environment(42, {"HOME": "/h"})
    assert environment["ROS_DOMAIN_ID"] == "42"
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["HOME"] == "/h"
    assert Path(environment["FASTDDS_DEFAULT_PROFILES_FILE"]).is_file()


def test_a_process_adopts_only_what_its_user_has_not_set(monkeypatch):
    """A chosen discovery range and domain stay; a profile and a local range are added where there is none."""
    for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROS_DOMAIN_ID", "77")
    adopt_ros_environment()
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert Path(os.environ["FASTDDS_DEFAULT_PROFILES_FILE"]).is_file()
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    adopt_ros_environment()
    assert (os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"], os.environ["ROS_DOMAIN_ID"]) == ("SUBNET", "77")
    monkeypatch.setenv("ROS_DOMAIN_ID", "300")
    with pytest.raises(ConfigError, match="ROS_DOMAIN_ID is '300'"):
        adopt_ros_environment()


@pytest.mark.parametrize(("distro", "older"), [("humble", True), ("jazzy", True), ("kilted", False)])
def test_each_fast_dds_gets_the_variable_it_reads(distro, older):
    """Fast DDS 2 would lose large images without the older name; Fast DDS 3 would warn about it."""
    environment = ros_environment(1, {"ROS_DISTRO": distro})
    assert ("FASTRTPS_DEFAULT_PROFILES_FILE" in environment) == older
    assert "FASTDDS_DEFAULT_PROFILES_FILE" in environment


def test_a_configuration_file_that_is_nowhere_is_a_sentence():
    """The places searched are named."""
    with pytest.raises(DataError, match=r"absent\.xml is in none of .*config"):
        share_file("absent.xml")
