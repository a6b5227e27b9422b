"""Starting nodes with the right environment, ending them, and cleaning up after those that were killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from ls_ood_monitor.errors import ConfigError, DataError
from ls_ood_monitor.ros.processes import (
    NodeProcess,
    adopt_ros_environment,
    remove_orphaned_segments,
    ros_environment,
    share_file,
    wait_until,
)


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


def test_waiting_in_vain_names_what_was_awaited():
    """No bare timeout."""
    with pytest.raises(DataError, match="in vain for the moon"):
        wait_until(lambda: False, "the moon", 0.05)


class StubbornProcess(NodeProcess):
    """A child that ignores the polite signals, in place of a node that hangs."""

    def __init__(self, log: Path) -> None:
        super().__init__("supervisor_node", {}, os.environ, log)
        ignore = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (2, 15)]; print('deaf', flush=True)"
        self._command = [sys.executable, "-c", f"{ignore}; time.sleep(60)"]
        self.patience_s = (0.2, 0.2, 5.0)


def test_a_process_that_ignores_signals_is_killed(tmp_path):
    """After SIGINT and SIGTERM comes SIGKILL: nothing is left behind."""
    with StubbornProcess(tmp_path / "log") as process:
        wait_until(lambda: "deaf" in process.output(), "the child")
    assert process.poll() == -signal.SIGKILL


def old(folder: Path, *names: str) -> list[Path]:
    """Empty files that look two minutes old."""
    paths = [folder / name for name in names]
    for path in paths:
        path.touch()
        os.utime(path, (time.time() - 120, time.time() - 120))
    return paths


def test_segments_of_the_living_stay(tmp_path):
    """A held lock protects its segment, semaphore and lock file; a free lock gives all of them away; others' files stay."""
    living = old(tmp_path, "fastdds_port7412", "fastdds_port7412_el", "sem.fastdds_port7412_mutex")
    shared = old(tmp_path, "fastrtps_port7413", "fastrtps_port7413_sl")
    dead = old(tmp_path, "fastrtps_00ff00ff00ff00ff", "fastrtps_00ff00ff00ff00ff_el", "sem.fastdds_port9_mutex")
    foreign = old(tmp_path, "sem.other", "fastdds_notes.txt", "lttng-ust-wait-6")
    (tmp_path / "fastdds_aaaa").touch()
    with living[1].open("rb") as exclusive, shared[1].open("rb") as reader:
        fcntl.flock(exclusive, fcntl.LOCK_EX)
        fcntl.flock(reader, fcntl.LOCK_SH)
        removed = remove_orphaned_segments(tmp_path)
    assert sorted(removed) == sorted(path.name for path in dead)
    assert all(path.exists() for path in [*living, *shared, *foreign, tmp_path / "fastdds_aaaa"])


def test_cleaning_up_leaves_a_running_node_alone(start):
    """What a killed node leaves in shared memory goes; the files of one that runs beside it stay, locks included."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        pytest.skip("no /dev/shm on this system")
    survivor = start("supervisor_node", cameras=["front"])
    wait_until(lambda: "no alarm" in survivor.output(), "the first node")
    locks = held_by(survivor.pid)
    victim = start("supervisor_node", ("__node:=second",), cameras=["front"])
    wait_until(lambda: "no alarm" in victim.output(), "the second node")
    orphans = held_by(victim.pid) - locks
    assert locks
    assert orphans
    victim.signal(signal.SIGKILL)
    victim.wait(10.0)

    def cleaned() -> bool:
        remove_orphaned_segments()
        return not any((folder / name).exists() for name in orphans)

    wait_until(cleaned, "the removal of what the killed node left")
    assert all((folder / name).exists() for name in locks)


def held_by(pid: int) -> set[str]:
    """Lock files of the shared-memory segments that a process owns; those of ports come and go and may be another's."""
    names = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            target = os.readlink(descriptor)
            if re.fullmatch(r"/dev/shm/fast(dds|rtps)_[0-9a-f]{16}_el", target):
                names.add(target.removeprefix("/dev/shm/"))
    return names
