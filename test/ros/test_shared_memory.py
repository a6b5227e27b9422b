"""Removing the shared memory that killed nodes leave behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from ls_ood_monitor.ros.processes import wait_until
from ls_ood_monitor.ros.shared_memory import remove_orphaned_segments


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
