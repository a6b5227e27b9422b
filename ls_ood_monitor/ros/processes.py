"""Starts the nodes as processes of their own, with the environment they need, and ends them by pid."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType

from ..errors import ConfigError, DataError

FAST_DDS_PROFILE = "fastdds_large_images.xml"


def share_file(name: str) -> Path:
    """Find a file of ``config/`` in the checkout or where the package was installed.

    Raises:
        DataError: it is in none of these places.
    """
    places = [Path(__file__).resolve().parents[2] / "config", Path(sys.prefix) / "share" / "ls_ood_monitor" / "config"]
    places += [
        Path(prefix) / "share" / "ls_ood_monitor" / "config"
        for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
        if prefix
    ]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise DataError(f"{name} is in none of {', '.join(map(str, places))}; install the package with its config files.")


def require_rclpy() -> None:
    """Raise ``DataError`` where no ROS client library is installed."""
    if importlib.util.find_spec("rclpy") is None:
        raise DataError("rclpy is not installed; source your ROS distribution, or pip install -r requirements/ros.txt.")


def ros_environment(domain_id: int | None = None, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment for a process that talks ROS on this machine alone and moves images over 512 KB.

    Fast DDS's default shared-memory segment holds 512 KiB; larger best-effort samples are lost without a word.
    The profile enlarges it. ``OMP_WAIT_POLICY`` keeps idle network threads from burning the other nodes' CPU.
    """
    environment = dict(os.environ if base is None else base)
    environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    profile = str(share_file(FAST_DDS_PROFILE))
    environment["FASTDDS_DEFAULT_PROFILES_FILE"] = profile
    if not _has_fast_dds_3(environment):
        environment["FASTRTPS_DEFAULT_PROFILES_FILE"] = profile
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if domain_id is not None:
        environment["ROS_DOMAIN_ID"] = str(domain_id)
    return environment


def adopt_ros_environment() -> None:
    """Complete this process's own environment by ``ros_environment``; what its user has set stays.

    To be called before rclpy, which reads it once.

    Raises:
        ConfigError: ROS_DOMAIN_ID is none.
    """
    for name, value in ros_environment(asked_domain()).items():
        os.environ.setdefault(name, value)


def _has_fast_dds_3(environment: Mapping[str, str]) -> bool:
    """Fast DDS 2 reads only the older name of the variable; Fast DDS 3 warns about that one at every start."""
    distro = environment.get("ROS_DISTRO")
    if distro:
        return distro not in ("humble", "iron", "jazzy")
    try:
        metadata.distribution("ros-fastdds")  # from pip there is no ROS_DISTRO; Fast DDS 2 comes as ros-fastrtps
    except metadata.PackageNotFoundError:
        return False
    return True


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    """Wait for a condition. Raises ``DataError`` naming what was awaited."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise DataError(f"waited {timeout_s:g} s in vain for {what}.")
        time.sleep(0.02)


def private_domain() -> int:
    """A domain id of this process's own within 1..101, where Linux keeps the ports free."""
    return os.getpid() % 101 + 1


def asked_domain() -> int | None:
    """The domain id that the environment asks for; None when it asks for none.

    Raises:
        ConfigError: ROS_DOMAIN_ID is no number from 0 to 232, beyond which Fast DDS has no ports.
    """
    text = os.environ.get("ROS_DOMAIN_ID", "")
    if not text:
        return None
    if not (text.isdecimal() and int(text) <= 232):
        raise ConfigError(f"ROS_DOMAIN_ID is {text!r}; it must be a whole number from 0 to 232.")
    return int(text)


class NodeProcess:
    """One node as a child process; a context manager that never leaves it behind.

    Args:
        executable: ``perception_node`` or ``supervisor_node``.
        parameters: ROS parameters to set.
        environment: from ``ros_environment``.
        log: file that takes its output.
        remaps: remapping rules, ``from:=to``.
    """

    def __init__(
        self,
        executable: str,
        parameters: Mapping[str, object],
        environment: Mapping[str, str],
        log: Path,
        remaps: Sequence[str] = (),
    ) -> None:
        self.executable = executable
        self.log = log
        self.patience_s = (10.0, 5.0, 5.0)  # after SIGINT, SIGTERM, SIGKILL
        command = [sys.executable, "-m", f"ls_ood_monitor.ros.{executable}", "--ros-args"]
        for rule in remaps:
            command += ["-r", rule]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={_yaml(value)}"]
        self._command = command
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> NodeProcess:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._running().pid

    def poll(self) -> int | None:
        """Exit code, or None while it runs."""
        return self._running().poll()

    def wait(self, timeout_s: float) -> int:
        """Wait for its end; raises ``subprocess.TimeoutExpired``."""
        return self._running().wait(timeout_s)

    def signal(self, number: int) -> None:
        """Send a signal to this process."""
        self._running().send_signal(number)

    def stop(self) -> int:
        """End it: SIGINT, then SIGTERM, then SIGKILL; returns the exit code."""
        process = self._running()
        for number, patience_s in zip((signal.SIGINT, signal.SIGTERM, signal.SIGKILL), self.patience_s, strict=True):
            if process.poll() is not None:
                break
            process.send_signal(number)
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        return process.wait()

    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{self.executable} was not started; use it in a with statement.")
        return self._process


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    return f"'{value}'" if isinstance(value, str) else str(value)


#: A Fast DDS segment or port with its lock files and semaphore; only together do they tell whether the owner lives.
_SEGMENT = re.compile(r"(?:sem\.)?((?:fastrtps|fastdds)_(?:port\d+|[0-9a-f]+))(?:_el|_sl|_mutex)?")


def remove_orphaned_segments(folder: Path = Path("/dev/shm")) -> list[str]:
    """Remove Fast DDS shared-memory files whose owner is dead; a killed node leaves its own behind.

    The owner holds a lock on ``<segment>_el`` or ``_sl`` for as long as it lives, in another container too; a file
    beside a held lock, or one that a process has mapped, stays.

    Args:
        folder: where Fast DDS keeps them.

    Returns:
        Names removed.
    """
    if not folder.is_dir():
        return []
    families: dict[str, list[Path]] = {}
    for entry in folder.iterdir():
        if match := _SEGMENT.fullmatch(entry.name):
            families.setdefault(match[1], []).append(entry)
    mapped = _mapped_names()
    removed = []
    for segment, entries in families.items():
        if segment in mapped or any(_is_in_use(entry) for entry in entries):
            continue
        for entry in entries:
            try:
                entry.unlink()
            except OSError:
                continue  # another user's, or gone meanwhile
            removed.append(entry.name)
    return removed


def _is_in_use(entry: Path) -> bool:
    """A lock that is held, or a file so young that its owner may not have locked it yet."""
    try:
        if time.time() - entry.stat().st_mtime < 1.0:
            return True
        if not entry.name.endswith(("_el", "_sl")):
            return False
        with entry.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _mapped_names() -> set[str]:
    names: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            text = maps.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # ended meanwhile, or another user's
        names |= {line.rsplit("/dev/shm/", 1)[1].split(" ")[0] for line in text.splitlines() if "/dev/shm/" in line}
    return names
