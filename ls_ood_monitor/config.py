"""Settings as frozen dataclasses, checked on construction; the single schema behind files and ROS parameters.

Every field carries its range, unit and meaning in ``metadata`` so that ``ros/parameters.py`` can declare
a ROS parameter from it and a bundle can store it as JSON without a second description.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, TypeVar

from .errors import ConfigError

T = TypeVar("T")

#: What runs the network, and in which arithmetic; their meaning is ``engines``'.
ENGINES: tuple[str, ...] = ("auto", "eager", "compile", "onnx")
PRECISIONS: tuple[str, ...] = ("fp32", "tf32", "fp16", "bf16")


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
    """One camera's scores over time -> an alarm (core/alarm.py, core/alarm_rules.py)."""

    trigger_consecutive_frames: int = setting(
        3, "OoD or unusable frames, in a row or of the window, that raise the alarm", low=1, high=1000, unit="frames"
    )
    release_consecutive_frames: int = setting(
        5, "in-distribution frames in a row that clear the alarm", low=1, high=10000, unit="frames"
    )
    rule: str = setting(
        "consecutive",
        "what raises the alarm: bad frames in a row, so many of a window, or the sum of how far they lie above (cusum)",
        choices=("consecutive", "window", "cusum"),
    )
    window_frames: int = setting(5, "frames that the rule window looks back", low=1, high=10000, unit="frames")
    cusum_limit: float = setting(
        1.0,
        "sum that raises the alarm by the rule cusum; a frame adds how far its score lies above the threshold, where 1 is "
        "the distance from a usual clean frame to the threshold",
        low=0.01,
        high=1000.0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rule == "window" and self.window_frames < self.trigger_consecutive_frames:
            raise ConfigError(
                f"AlarmSettings.window_frames is {self.window_frames}; it must hold the "
                f"{self.trigger_consecutive_frames} frames that raise the alarm (trigger_consecutive_frames)."
            )


def _as_calibrated(name: str) -> Any:
    """The setting of ``AlarmSettings`` with one more value, 0 or empty, for what the bundle was calibrated for."""
    spec = AlarmSettings.__dataclass_fields__[name]
    meta, default = spec.metadata, spec.default
    is_text = isinstance(default, str)
    return setting(
        "" if is_text else 0.0 if isinstance(default, float) else 0,
        f"{meta['description']}; {'empty' if is_text else '0'} = as the bundle was calibrated",
        low=None if is_text else 0,
        high=meta["high"],
        unit=meta["unit"],
        choices=("", *meta["choices"]) if is_text else (),
    )


@dataclass(frozen=True)
class AlarmOverrides(Checked):
    """``AlarmSettings`` of a vehicle that departs from what its bundle was calibrated for; 0 or empty = as calibrated."""

    trigger_consecutive_frames: int = _as_calibrated("trigger_consecutive_frames")
    release_consecutive_frames: int = _as_calibrated("release_consecutive_frames")
    rule: str = _as_calibrated("rule")
    window_frames: int = _as_calibrated("window_frames")
    cusum_limit: float = _as_calibrated("cusum_limit")

    def of(self, calibrated: AlarmSettings) -> AlarmSettings:
        """The settings in force. Raises ``ConfigError`` for a combination that cannot work."""
        return replace(calibrated, **{spec.name: value for spec in fields(self) if (value := getattr(self, spec.name))})


@dataclass(frozen=True)
class SupervisorSettings(Checked):
    """Policy of the fallback supervisor (core/supervision.py)."""

    alarm_timeout_s: float = setting(
        0.5, "silence of one camera's alarm after which the vehicle must stop", low=0.01, high=60.0, unit="s"
    )
    slow_on_pending: bool = setting(
        True,
        "ask for SLOW while a camera's alarm is PENDING by its score; a frame that cannot be judged asks for it anyway",
    )
    stop_requires_reset: bool = setting(
        False, "hold STOP, once an alarm or silence caused it, until the reset service is called"
    )
    optional_cameras: tuple[str, ...] = setting(
        ("",),
        "cameras without which the vehicle may move on: the most that they ask for is SLOW; an empty name is none",
    )
    cameras_to_stop: int = setting(
        1,
        "required cameras that must be out of distribution at once to stop the vehicle, fewer slow it; one that is silent, "
        "cannot be judged or was not clear before stops it all the same",
        low=1,
        high=1000,
    )
    min_stop_s: float = setting(0.0, "least time in STOP", low=0.0, high=600.0, unit="s")
    min_slow_s: float = setting(
        0.0, "least time in SLOW, also on the way from STOP to NOMINAL", low=0.0, high=600.0, unit="s"
    )
    startup_grace_s: float = setting(
        5.0,
        "time after start in which STOP is logged as a note, not as an error; it is commanded all the same",
        low=0.0,
        high=600.0,
        unit="s",
    )


@dataclass(frozen=True)
class HealthSettings(Checked):
    """When an input is not fit to be judged (core/input_validation.py); 0 or empty switches a check off where it says so."""

    max_age_s: float = setting(
        1.0,
        "age of an image, before the network takes it and when its verdict is there, from which on it is late; 0 = not "
        "checked. A stamp more than 60 s old is of another clock (a recording) and says nothing about delay",
        low=0.0,
        high=60.0,
        unit="s",
    )
    min_rate_hz: float = setting(
        0.0, "images a second below which a camera is too slow; 0 = not checked", low=0.0, high=1000.0, unit="Hz"
    )
    max_clock_lead_s: float = setting(
        1.0,
        "lead of an image's stamp over the clock that is no fault; 0 = not checked",
        low=0.0,
        high=60.0,
        unit="s",
    )
    frozen_frames: int = setting(
        1, "repetitions of one picture in a row from which on the camera is frozen", low=1, high=1000, unit="frames"
    )
    dark_level: int = setting(4, "pixel value up to which a pixel is black", low=0, high=254)
    bright_level: int = setting(251, "pixel value from which on a pixel is saturated", low=1, high=255)
    max_blind_share: float = setting(
        0.99, "share of black, or of saturated, pixels from which on a picture shows nothing", low=0.5, high=1.0
    )
    expected_width: int = setting(
        0, "width that images must have; 0 = that of the first since activation", low=0, high=65535, unit="px"
    )
    expected_height: int = setting(
        0, "height that images must have; 0 = that of the first since activation", low=0, high=65535, unit="px"
    )
    expected_encoding: str = setting("", "encoding that raw images must have, for example bgr8; empty = any known one")


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
class EvidenceSettings(Checked):
    """What is kept around an alarm, to be looked at afterwards (core/clips.py, ros/clip_recorder/)."""

    evidence_dir: str = setting("", "folder that gets a clip of every alarm; it must exist; empty = none is recorded")
    evidence_before_s: float = setting(5.0, "time before an alarm in its clip", low=0.0, high=300.0, unit="s")
    evidence_after_s: float = setting(5.0, "time after an alarm in its clip", low=0.0, high=300.0, unit="s")
    evidence_max_s: float = setting(
        60.0, "time after its first alarm that further alarms extend a clip to", low=0.0, high=3600.0, unit="s"
    )
    evidence_fault_gap_s: float = setting(
        60.0,
        "least time between two clips of images that could not be judged, or of silence; more faults get none",
        low=0.0,
        high=86400.0,
        unit="s",
    )
    evidence_max_mb: float = setting(
        2000.0, "disk space of all clips, of which the oldest are removed", low=1.0, high=1e7, unit="MB"
    )
    evidence_max_memory_mb: float = setting(
        500.0,
        "memory of the images kept for a clip; where it is too small, the time before an alarm is shorter",
        low=1.0,
        high=1e5,
        unit="MB",
    )


@dataclass(frozen=True)
class PerceptionNodeSettings(EvidenceSettings):
    """What the perception node runs on (ros/perception_node.py)."""

    cameras: tuple[str, ...] = setting(("front",), "camera names; each is subscribed as <camera>/image")
    bundle_path: str = setting("", "bundle folder; empty = the bundle in the package")
    bundle_sha256: str = setting(
        "", "identity that the bundle must have, 12 or more of its first digits; any other is refused; empty = any"
    )
    require_calibrated_cameras: bool = setting(
        False, "refuse a bundle that was not calibrated on every one of the cameras"
    )
    detector: str = setting("", "detector that raises the alarm; empty = the bundle's default")
    device: str = setting("auto", "auto, cpu, cuda or cuda:<index>")
    engine: str = setting(
        "auto",
        "what runs the network; auto = onnx on a CPU where ONNX Runtime is installed and the bundle has graphs for it, else "
        "eager. Any but eager is held against it at start, and refused where it differs",
        choices=ENGINES,
    )
    precision: str = setting("fp32", "of the network on a GPU, checked likewise", choices=PRECISIONS)
    max_batch: int = setting(
        0,
        "cameras judged together at most; 0 = as many as the engine gains by: all on a GPU, on a CPU four by ONNX Runtime and "
        "one by torch. 1 where a pass takes a tenth of a second or more: the first alarms come earlier",
        low=0,
        high=64,
    )
    gpu_memory_mb: float = setting(
        0.0,
        "GPU memory that torch may take, and ONNX Runtime as much again where it runs; a batch that needs more is an "
        "inference fault; 0 = no limit",
        low=0.0,
        high=1e6,
        unit="MB",
    )
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
    num_threads: int = setting(0, "CPU threads of the network and of OpenCV; 0 = their choice", low=0, high=1024)
    autostart: bool = setting(False, "configure and activate at start, for use without a lifecycle manager")
    class_table: bool = setting(False, "publish the class names, latched, on ~/class_table and ~/label_info")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "cameras", check_camera_names(self.cameras))


@dataclass(frozen=True)
class SupervisorNodeSettings(Checked):
    """What the supervisor node watches (ros/supervisor_node.py)."""

    cameras: tuple[str, ...] = setting(("front",), "cameras that must all be clear for the vehicle to move")
    alarm_lease_s: float = setting(
        1.0,
        "time without a sign of life after which DDS takes the process that publishes the alarm for dead",
        low=0.2,
        high=60.0,
        unit="s",
    )
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
