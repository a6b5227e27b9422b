"""The environment variables of a process that uses ROS, and the files they name."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

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
    """Environment of a process that uses ROS on this machine alone and exchanges images over 512 KB.

    Fast DDS's default shared-memory segment holds 512 KiB, and larger best-effort samples are lost silently; the profile
    enlarges it. ``OMP_WAIT_POLICY`` keeps idle threads of the network from using CPU time of other nodes.

    Args:
        domain_id: ROS domain; None = that of ``base``.
        base: environment to start from; None = this process's own.
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
    """Add what ``ros_environment`` sets to this process's own environment; variables that are set already stay.

    Call it before rclpy is initialised, which reads the environment once.

    Raises:
        ConfigError: as ``asked_domain``.
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


def private_domain() -> int:
    """A domain id drawn from this process's id, within 1..101, whose ports Linux keeps free."""
    return os.getpid() % 101 + 1


def asked_domain() -> int | None:
    """The domain id of the environment; None if it sets none.

    Raises:
        ConfigError: ROS_DOMAIN_ID is not a number from 0 to 232; Fast DDS has no ports beyond.
    """
    text = os.environ.get("ROS_DOMAIN_ID", "")
    if not text:
        return None
    if not (text.isdecimal() and int(text) <= 232):
        raise ConfigError(f"ROS_DOMAIN_ID is {text!r}; it must be a whole number from 0 to 232.")
    return int(text)
