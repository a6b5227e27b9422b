"""Settings as frozen dataclasses, checked on construction: the one schema of parameter files and ROS parameters.

Every field has its range, unit and description in ``metadata``. ``ros/parameters.py`` declares ROS parameters from them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, TypeVar

from .errors import ConfigError, SettingError

T = TypeVar("T")

#: Inference engines and precisions; see ``engines``.
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
    """A dataclass field with the facts that validation and ROS descriptors need."""
    return field(
        default=default,
        metadata={"description": description, "low": low, "high": high, "unit": unit, "choices": choices},
    )


def check_field(owner: str, spec: Field[Any], value: Any) -> None:
    """Raise ``SettingError`` if ``value`` is outside the range or the choices in ``spec.metadata``."""
    if fault := _fault_of(spec, value):
        raise SettingError(owner, spec.name, fault)


def _fault_of(spec: Field[Any], value: Any) -> str:
    """Value and rule of a setting that breaks it; empty if it does not."""
    meta = spec.metadata
    if isinstance(spec.default, bool) and not isinstance(value, bool):
        return f"is {value!r}; it must be true or false."
    if isinstance(spec.default, str) and not isinstance(value, str):
        return f"is {value!r}; it must be text, in YAML within quotes."
    choices = meta.get("choices") or ()
    if choices and value not in choices:
        return f"is {value!r}; it must be one of {', '.join(map(repr, choices))}."
    low, high = meta.get("low"), meta.get("high")
    if low is None and high is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return f"is {value!r}; it must be a number from {low} to {high} {meta['unit']}".rstrip() + "."
    if type(spec.default) is int and not float(value).is_integer():
        return f"is {value}; it must be a whole number."
    if (low is not None and value < low) or (high is not None and value > high):
        return f"is {value}; it must lie within [{low}, {high}] {meta['unit']}".rstrip() + "."
    return ""


@dataclass(frozen=True)
class Checked:
    """Base of settings: checks every field on construction."""

    def __post_init__(self) -> None:
        for spec in fields(self):
            check_field(type(self).__name__, spec, getattr(self, spec.name))


def from_mapping(cls: type[T], values: Mapping[str, Any]) -> T:
    """Build a settings dataclass from a mapping. Raises ``ConfigError`` for an unknown key or a value out of range."""
    known = {spec.name for spec in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"{cls.__name__} has no setting {', '.join(unknown)}; known: {', '.join(sorted(known))}.")
    return cls(**values)


@dataclass(frozen=True)
class AlarmSettings(Checked):
    """When the scores of one camera raise and clear its alarm (core/alarm.py)."""

    trigger_consecutive_frames: int = setting(
        3, "OoD or unusable frames in a row that raise the alarm", low=1, high=1000, unit="frames"
    )
    release_consecutive_frames: int = setting(
        5, "in-distribution frames in a row that clear the alarm", low=1, high=10000, unit="frames"
    )
    lasting_window_s: float = setting(
        5.0, "window of the median score of the lasting path", low=0.1, high=60.0, unit="s"
    )


def _as_calibrated(name: str) -> Any:
    """The setting of ``AlarmSettings`` with one more value, 0: as the bundle was calibrated."""
    meta = AlarmSettings.__dataclass_fields__[name].metadata
    description = f"{meta['description']}; 0 = as the bundle was calibrated"
    return setting(0, description, low=0, high=meta["high"], unit=meta["unit"])


@dataclass(frozen=True)
class AlarmOverrides(Checked):
    """A vehicle's changes of the alarm that its bundle was calibrated for; 0 = as calibrated.

    The lasting path has none: its threshold fits its window alone.
    """

    trigger_consecutive_frames: int = _as_calibrated("trigger_consecutive_frames")
    release_consecutive_frames: int = _as_calibrated("release_consecutive_frames")

    def of(self, calibrated: AlarmSettings) -> AlarmSettings:
        """The calibrated settings with these changes."""
        return replace(calibrated, **{spec.name: value for spec in fields(self) if (value := getattr(self, spec.name))})


@dataclass(frozen=True)
class SupervisorSettings(Checked):
    """Policy of the fallback supervisor (core/supervision.py)."""

    alarm_timeout_s: float = setting(
        0.5,
        "time without an alarm message of a camera after which the vehicle must stop",
        low=0.01,
        high=60.0,
        unit="s",
    )
    slow_on_pending: bool = setting(
        True,
        "SLOW while a camera's alarm is PENDING because of its score; a frame that cannot be judged always causes SLOW",
    )
    on_sudden: str = setting(
        "stop", "mode that a sudden alarm (frames above the threshold) asks for", choices=("stop", "slow")
    )
    on_lasting: str = setting(
        "stop", "mode that a lasting alarm (median over seconds above its threshold) asks for", choices=("stop", "slow")
    )
    stop_requires_reset: bool = setting(
        False, "hold STOP, if an alarm or a missing message caused it, until the reset service is called"
    )
    optional_cameras: tuple[str, ...] = setting(
        ("",),
        "cameras without which the vehicle may move: they cause SLOW at most; an empty name is none",
    )
    cameras_to_stop: int = setting(
        1,
        "number of required cameras that must be out of distribution at once to stop the vehicle; fewer cause SLOW. A camera "
        "that is silent, cannot be judged or was not clear before always stops it",
        low=1,
        high=1000,
    )
    min_stop_s: float = setting(0.0, "minimum time in STOP", low=0.0, high=600.0, unit="s")
    min_slow_s: float = setting(
        0.0, "minimum time in SLOW, also between STOP and NOMINAL", low=0.0, high=600.0, unit="s"
    )
    startup_grace_s: float = setting(
        5.0,
        "time after the start in which STOP is logged as information, not as an error; STOP is commanded anyway",
        low=0.0,
        high=600.0,
        unit="s",
    )


@dataclass(frozen=True)
class HealthSettings(Checked):
    """When an image cannot be judged (core/input_validation.py)."""

    max_age_s: float = setting(
        1.0,
        "age above which an image is late, checked before inference and when its verdict is ready; 0 = not checked. A stamp "
        "more than 60 s old belongs to another clock (a recording) and is not checked",
        low=0.0,
        high=60.0,
        unit="s",
    )
    min_rate_hz: float = setting(
        0.0, "lowest rate of images; below it a camera is too slow; 0 = not checked", low=0.0, high=1000.0, unit="Hz"
    )
    max_clock_lead_s: float = setting(
        1.0,
        "largest time that an image's stamp may be ahead of the clock; 0 = not checked",
        low=0.0,
        high=60.0,
        unit="s",
    )
    frozen_s: float = setting(
        0.5,
        "time without a change of the picture after which the camera counts as frozen; small cameras repeat single frames",
        low=0.0,
        high=60.0,
        unit="s",
    )
    dark_level: int = setting(4, "largest value of a black pixel", low=0, high=254)
    bright_level: int = setting(251, "smallest value of a saturated pixel", low=1, high=255)
    max_blind_share: float = setting(
        0.99, "share of black, or of saturated, pixels at which a picture counts as blind", low=0.5, high=1.0
    )
    expected_width: int = setting(
        0, "required width of images; 0 = that of the first image since activation", low=0, high=65535, unit="px"
    )
    expected_height: int = setting(
        0, "required height of images; 0 = that of the first image since activation", low=0, high=65535, unit="px"
    )
    expected_encoding: str = setting(
        "", "required encoding of raw images, for example bgr8; empty = any known encoding"
    )


@dataclass(frozen=True)
class DecodingSettings:
    """How image messages become pictures; the same on the vehicle and for recordings.

    Attributes:
        image_bits: significant bits of images with 16 bits a value; 0 = by the largest value seen.
        accept_jpeg_warnings: take JPEGs with damage that libjpeg only warns of.
    """

    image_bits: int = 0
    accept_jpeg_warnings: bool = False

    def __post_init__(self) -> None:
        if self.image_bits and not 8 <= self.image_bits <= 16:
            raise ConfigError(f"image_bits is {self.image_bits}; it must be 0 (found in the images) or 8 to 16.")


DEFAULT_DECODING = DecodingSettings()

_CAMERA_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


def check_camera_names(cameras: Sequence[str]) -> tuple[str, ...]:
    """Return the names as a tuple; each must fit into a ROS topic and be unique.

    Raises:
        ConfigError: no name, a name that ROS cannot use, or a repeated name.
    """
    names = tuple(cameras)
    if not names:
        raise ConfigError("cameras is empty; name at least one camera, for example [front].")
    for name in names:
        if not _CAMERA_NAME.match(name):
            raise ConfigError(
                f"camera name {name!r} does not fit into a topic; use letters, digits and _, a letter first."
            )
    if len(set(names)) != len(names):
        raise ConfigError(f"cameras names one camera twice: {', '.join(names)}.")
    return names


@dataclass(frozen=True)
class EvidenceSettings(Checked):
    """Clips around alarms (core/clips.py, ros/clip_recorder/)."""

    evidence_dir: str = setting("", "folder for a clip of every alarm; it must exist; empty = no clips")
    evidence_before_s: float = setting(
        6.0, "time before an alarm that its clip contains", low=0.0, high=300.0, unit="s"
    )
    evidence_after_s: float = setting(5.0, "time after an alarm that its clip contains", low=0.0, high=300.0, unit="s")
    evidence_max_s: float = setting(
        60.0, "longest time after its first alarm to which further alarms extend a clip", low=0.0, high=3600.0, unit="s"
    )
    evidence_fault_gap_s: float = setting(
        60.0,
        "minimum time between two clips of faults (unusable or missing images); further faults get no clip",
        low=0.0,
        high=86400.0,
        unit="s",
    )
    evidence_max_mb: float = setting(
        2000.0, "disk space of all clips; the oldest are removed", low=1.0, high=1e7, unit="MB"
    )
    evidence_max_memory_mb: float = setting(
        500.0,
        "memory for the images kept for a clip; if it is too small, the time before an alarm is shorter",
        low=1.0,
        high=1e5,
        unit="MB",
    )


@dataclass(frozen=True)
class PerceptionNodeSettings(EvidenceSettings):
    """Settings of the perception node (ros/perception_node.py)."""

    cameras: tuple[str, ...] = setting(("front",), "camera names; each is subscribed as <camera>/image")
    bundle_path: str = setting("", "bundle folder; empty = the bundle in the package")
    bundle_sha256: str = setting("", "required identity of the bundle, its first 12 or more digits; empty = any")
    require_calibrated_cameras: bool = setting(False, "refuse a bundle that was not calibrated on all of the cameras")
    detector: str = setting("", "detector that raises the alarm; empty = the bundle's default")
    device: str = setting("auto", "auto, cpu, cuda or cuda:<index>")
    engine: str = setting(
        "auto",
        "inference engine; auto = onnx on a CPU if ONNX Runtime is installed and the bundle has exported graphs, else eager. Any "
        "engine but eager is compared with eager at start, and refused if it differs",
        choices=ENGINES,
    )
    precision: str = setting(
        "fp32", "precision of the network on a GPU; compared with fp32 at start", choices=PRECISIONS
    )
    max_batch: int = setting(
        0,
        "largest number of cameras in one batch; 0 = the engine's preference: all on a GPU; on a CPU four with ONNX Runtime, one "
        "with torch. Use 1 if a pass takes 0.1 s or more, so that the first alarms come earlier",
        low=0,
        high=64,
    )
    gpu_memory_mb: float = setting(
        0.0,
        "GPU memory limit of torch, and the same again for ONNX Runtime if it runs; a batch that needs more is an inference "
        "fault; 0 = no limit",
        low=0.0,
        high=1e6,
        unit="MB",
    )
    transport: str = setting("raw", "image transport", choices=("raw", "compressed"))
    image_reliability: str = setting(
        "best_effort", "reliability of the image subscriptions", choices=("best_effort", "reliable")
    )
    image_bits: int = setting(
        0,
        "significant bits of images with 16 bits a value, 8 to 16; 0 = 10, 12, 14 or 16 by the largest value seen, which can "
        "change once after a start in the dark",
        low=0,
        high=16,
    )
    accept_jpeg_warnings: bool = setting(
        False, "take JPEGs with damage that libjpeg only warns of; for a camera whose every JPEG is like that"
    )
    image_timeout_s: float = setting(
        1.0,
        "time without an image, or for one batch, after which a camera is reported as not OK",
        low=0.05,
        high=60.0,
        unit="s",
    )
    overlay_alpha: float = setting(0.5, "opacity of the class colours in the overlay", low=0.0, high=1.0)
    num_threads: int = setting(0, "CPU threads of the network and of OpenCV; 0 = their default", low=0, high=1024)
    autostart: bool = setting(False, "configure and activate at start, without a lifecycle manager")
    class_table: bool = setting(False, "publish the class names, latched, on ~/class_table and ~/label_info")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "cameras", check_camera_names(self.cameras))
        if 0 < self.image_bits < 8:
            raise ConfigError(f"image_bits is {self.image_bits}; it must be 0 (found in the images) or 8 to 16.")


@dataclass(frozen=True)
class SupervisorNodeSettings(Checked):
    """Settings of the supervisor node (ros/supervisor_node.py)."""

    cameras: tuple[str, ...] = setting(("front",), "cameras that must all be clear for the vehicle to move")
    alarm_lease_s: float = setting(
        1.0,
        "DDS liveliness lease of the alarm: time without a sign of life after which the publisher counts as dead",
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
    """Optional outputs of the decision beside the stop command."""

    gate_cmd_vel: str = setting(
        "",
        "type of cmd_vel_in, which is passed on to cmd_vel_out by the decision; empty = no velocity gate",
        choices=("", "twist", "twist_stamped"),
    )
    gate_slow_scale: float = setting(0.3, "factor on the velocity command in SLOW", low=0.0, high=1.0)
    gate_timeout_s: float = setting(
        0.5, "time without a message on cmd_vel_in after which zero is published", low=0.01, high=60.0, unit="s"
    )
    nav2_speed_limit: bool = setting(False, "publish nav2_msgs/SpeedLimit on speed_limit")
    slow_speed_percent: float = setting(
        30.0, "speed limit for Nav2 in SLOW and STOP, of the controller's full speed", low=1.0, high=100.0, unit="%"
    )
