"""Settings as frozen dataclasses, checked on construction; the single schema behind files and ROS parameters.

Every field carries its range, unit and meaning in ``metadata`` so that ``ros/parameters.py`` can declare
a ROS parameter from it and a bundle can store it as JSON without a second description.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

from .errors import ConfigError

T = TypeVar("T")


def setting(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with the facts that validation, ROS descriptors and documentation share."""
    return field(
        default=default,
        metadata={"description": description, "low": low, "high": high, "unit": unit, "choices": choices},
    )


def check_field(owner: str, spec: Field[Any], value: Any) -> None:
    """Raise ``ConfigError`` when ``value`` breaks the range or choices in ``spec.metadata``."""
    name, meta = f"{owner}.{spec.name}", spec.metadata
    if isinstance(spec.default, bool) and not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}; it must be true or false.")
    choices = meta.get("choices") or ()
    if choices and value not in choices:
        raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, choices))}.")
    low, high = meta.get("low"), meta.get("high")
    if low is None and high is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        raise ConfigError(
            f"{name} is {value!r}; it must be a number from {low} to {high} {meta['unit']}".rstrip() + "."
        )
    if (low is not None and value < low) or (high is not None and value > high):
        raise ConfigError(f"{name} is {value}; it must lie within [{low}, {high}] {meta['unit']}".rstrip() + ".")


@dataclass(frozen=True)
class Checked:
    """Base: validates every field against its metadata on construction."""

    def __post_init__(self) -> None:
        for spec in fields(self):
            check_field(type(self).__name__, spec, getattr(self, spec.name))


def from_mapping(cls: type[T], values: Mapping[str, Any]) -> T:
    """Build a settings dataclass from a mapping; unknown keys are refused by name."""
    known = {spec.name for spec in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"{cls.__name__} has no setting {', '.join(unknown)}; known: {', '.join(sorted(known))}.")
    return cls(**values)


@dataclass(frozen=True)
class AlarmSettings(Checked):
    """Debouncing of one camera's scores (core/alarm.py)."""

    trigger_consecutive_frames: int = setting(
        3, "OoD or unusable frames in a row that raise the alarm", low=1, high=1000, unit="frames"
    )
    release_consecutive_frames: int = setting(
        5, "in-distribution frames in a row that clear the alarm", low=1, high=10000, unit="frames"
    )


@dataclass(frozen=True)
class SupervisorSettings(Checked):
    """Policy of the fallback supervisor (core/supervision.py)."""

    alarm_timeout_s: float = setting(
        0.5, "silence of one camera's alarm after which the vehicle must stop", low=0.01, high=60.0, unit="s"
    )
    slow_on_pending: bool = setting(True, "ask for SLOW while a camera's alarm is PENDING")
    stop_requires_reset: bool = setting(
        False, "hold STOP, once an alarm or silence caused it, until the reset service is called"
    )
    startup_grace_s: float = setting(
        5.0,
        "time after start in which STOP is logged as a note, not as an error; it is commanded all the same",
        low=0.0,
        high=600.0,
        unit="s",
    )


_CAMERA_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


def check_camera_names(cameras: Sequence[str]) -> tuple[str, ...]:
    """Return the names as a tuple; each must be able to stand in a ROS topic, once.

    Raises:
        ConfigError: no name, a name ROS cannot use, or one given twice.
    """
    names = tuple(cameras)
    if not names:
        raise ConfigError("cameras is empty; name at least one camera, for example [front].")
    for name in names:
        if not _CAMERA_NAME.match(name):
            raise ConfigError(
                f"camera name {name!r} cannot stand in a topic; use letters, digits and _, a letter first."
            )
    if len(set(names)) != len(names):
        raise ConfigError(f"cameras names one camera twice: {', '.join(names)}.")
    return names


@dataclass(frozen=True)
class PerceptionNodeSettings(Checked):
    """What the perception node runs on (ros/perception_node.py)."""

    cameras: tuple[str, ...] = setting(("front",), "camera names; each is subscribed as <camera>/image")
    bundle_path: str = setting("", "bundle folder; empty = the bundle in the package")
    detector: str = setting("", "detector that raises the alarm; empty = the bundle's default")
    device: str = setting("auto", "auto, cpu, cuda or cuda:<index>")
    transport: str = setting("raw", "image transport", choices=("raw", "compressed"))
    image_reliability: str = setting(
        "best_effort", "reliability asked of the cameras", choices=("best_effort", "reliable")
    )
    image_timeout_s: float = setting(
        1.0,
        "time without an image, or spent on judging one batch, after which a camera is reported as not OK",
        low=0.05,
        high=60.0,
        unit="s",
    )
    overlay_alpha: float = setting(0.5, "opacity of the class colours in the overlay", low=0.0, high=1.0)
    num_threads: int = setting(0, "CPU threads of the network; 0 = torch's choice", low=0, high=1024)
    autostart: bool = setting(False, "configure and activate at start, for use without a lifecycle manager")
    class_table: bool = setting(False, "publish the class names, latched, on ~/class_table and ~/label_info")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "cameras", check_camera_names(self.cameras))


@dataclass(frozen=True)
class SupervisorNodeSettings(Checked):
    """What the supervisor node watches (ros/supervisor_node.py)."""

    cameras: tuple[str, ...] = setting(("front",), "cameras that must all be clear for the vehicle to move")
    publish_rate_hz: float = setting(20.0, "rate of the stop command and the state", low=10.0, high=200.0, unit="Hz")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "cameras", check_camera_names(self.cameras))


@dataclass(frozen=True)
class OutputSettings(Checked):
    """Further ways to hand the decision on, beside the stop command; both are off unless asked for."""

    gate_cmd_vel: str = setting(
        "", "pass cmd_vel_in on to cmd_vel_out by the decision; empty = no gate", choices=("", "twist", "twist_stamped")
    )
    gate_slow_scale: float = setting(0.3, "factor on the velocity command in SLOW", low=0.0, high=1.0)
    gate_timeout_s: float = setting(
        0.5, "silence of cmd_vel_in after which zero is published", low=0.01, high=60.0, unit="s"
    )
    nav2_speed_limit: bool = setting(False, "publish nav2_msgs/SpeedLimit on speed_limit")
    slow_speed_percent: float = setting(
        30.0, "speed limit for Nav2 in SLOW and STOP, of the controller's full speed", low=1.0, high=100.0, unit="%"
    )
