"""The settings that a vehicle's nodes run with, read from their ROS parameter file, so that an evaluation uses the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from .config import (
    DEFAULT_DECODING,
    AlarmOverrides,
    Checked,
    DecodingSettings,
    HealthSettings,
    PerceptionNodeSettings,
    SupervisorNodeSettings,
    SupervisorSettings,
    from_mapping,
)
from .errors import ConfigError
from .yaml_file import read_yaml

S = TypeVar("S", bound=Checked)


@dataclass(frozen=True)
class VehicleSettings:
    """What decides when a vehicle stops, beside the bundle."""

    alarm: AlarmOverrides = field(default_factory=AlarmOverrides)  # of the bundle's alarm settings
    health: HealthSettings = field(default_factory=HealthSettings)  # limits of the input
    supervisor: SupervisorSettings = field(default_factory=SupervisorSettings)  # policy of the fallback
    image_timeout_s: float = PerceptionNodeSettings().image_timeout_s  # silence after which a camera is stale
    publish_rate_hz: float = SupervisorNodeSettings().publish_rate_hz  # of the stop command
    decoding: DecodingSettings = DEFAULT_DECODING  # of image messages

    @property
    def optional_cameras(self) -> tuple[str, ...]:
        """Cameras that stop no vehicle."""
        return self.supervisor.optional_cameras


def read_parameters(path: Path) -> VehicleSettings:
    """Read a ROS parameter file as the nodes do: ``/**/perception_node`` and ``/**/supervisor_node``, of any namespace.

    Raises:
        ConfigError: no readable YAML, no such node in it, an unknown parameter, or a value that a node would refuse.
    """
    content = read_yaml(path, ConfigError)
    perception, supervisor = _parameters_of(content, "perception_node"), _parameters_of(content, "supervisor_node")
    if not (perception or supervisor):
        raise ConfigError(f"{path} holds no parameters of perception_node or supervisor_node.")
    known = {spec.name for cls in (PerceptionNodeSettings, AlarmOverrides, HealthSettings) for spec in fields(cls)}
    if unknown := sorted(set(perception) - known - {"use_sim_time"}):
        raise ConfigError(f"{path}: perception_node has no parameter {', '.join(unknown)}.")
    node = _settings(PerceptionNodeSettings, perception)
    return VehicleSettings(
        _settings(AlarmOverrides, perception),
        _settings(HealthSettings, perception),
        _settings(SupervisorSettings, supervisor),
        node.image_timeout_s,
        _settings(SupervisorNodeSettings, supervisor).publish_rate_hz,
        DecodingSettings(node.image_bits, node.accept_jpeg_warnings),
    )


def read_image_topics(path: Path, cameras: Sequence[str] = (), transport: str = "") -> list[str]:
    """Topics on which perception awaits its images, relative to its namespace.

    ``cameras`` and ``transport`` are those that are given beside the file, and go before it.

    Raises:
        ConfigError: no readable YAML, or a value that the node would refuse.
    """
    given = {name: value for name, value in (("cameras", tuple(cameras)), ("transport", transport)) if value}
    values = {**_parameters_of(read_yaml(path, ConfigError), "perception_node"), **given}
    node = _settings(PerceptionNodeSettings, values)
    return [f"{camera}/image" + ("" if node.transport == "raw" else "/compressed") for camera in node.cameras]


def _parameters_of(content: Any, node: str) -> dict[str, Any]:
    """Parameters of a node, whatever its namespace; those of ``/**`` are for every node."""
    parameters: dict[str, Any] = {}
    if isinstance(content, dict):
        for name, entry in content.items():
            if str(name).rsplit("/", 1)[-1] in (node, "**") and isinstance(entry, dict):
                parameters.update(entry.get("ros__parameters") or {})
    return parameters


def _settings(cls: type[S], values: dict[str, Any]) -> S:
    """Those of the values that are fields of ``cls``."""
    own = {spec.name for spec in fields(cls)}
    chosen = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name in own}
    return from_mapping(cls, chosen)
