"""ROS parameters from settings dataclasses, which give their description, range and default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.node import Node

from ..config import from_mapping
from ..errors import ConfigError

T = TypeVar("T")


def declare_settings(node: Node, cls: type[Any], *, read_only: bool = False) -> None:
    """Declare one parameter per field of a settings dataclass; ``read_only`` ones refuse later changes.

    Raises:
        ConfigError: a value given at start has the wrong type or is out of range.
    """
    for spec in fields(cls):
        meta = spec.metadata
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        unit, choices = meta.get("unit", ""), meta.get("choices") or ()
        descriptor = ParameterDescriptor(
            description=meta["description"] + (f" [{unit}]" if unit else ""),
            read_only=read_only,
            additional_constraints=f"one of {', '.join(map(repr, choices))}" if choices else "",
        )
        if isinstance(default, float) and meta["low"] is not None:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(meta["low"]), to_value=float(meta["high"]), step=0.0)
            ]
        elif isinstance(default, int) and not isinstance(default, bool) and meta["low"] is not None:
            descriptor.integer_range = [IntegerRange(from_value=int(meta["low"]), to_value=int(meta["high"]), step=1)]
        try:
            node.declare_parameter(spec.name, default, descriptor)
        except (InvalidParameterValueException, InvalidParameterTypeException) as error:
            low, high = meta["low"], meta["high"]
            allowed = f" within [{low}, {high}] {unit}".rstrip() if low is not None else ""
            raise ConfigError(
                f"parameter {spec.name} must be {_type_name(default)}{allowed}: {str(error).rstrip('.')}."
            ) from error


def read_settings(node: Node, cls: type[T], new: Mapping[str, Any] | None = None) -> T:
    """Build the dataclass from the node's present parameters, and ``new`` values of some.

    Raises:
        ConfigError: a value that ROS could not check.
    """
    values = {}
    for spec in fields(cls):  # type: ignore[arg-type]
        value = new[spec.name] if new and new.get(spec.name) is not None else _value_of(node, spec.name)
        values[spec.name] = tuple(value) if isinstance(spec.default, tuple) else value
    return from_mapping(cls, values)


def check_unknown(node: Node, *classes: type[Any]) -> None:
    """Check for parameters given at start that the node does not have; ROS would ignore them silently.

    Such a parameter is only logged, because a launch file may give shared parameters to every node.

    Raises:
        ConfigError: its name is so similar to one of ``classes`` that it must be misspelt.
    """
    known = [spec.name for cls in classes for spec in fields(cls)]
    # A private attribute, unchanged from humble to rolling. rclpy's public way, which declares whatever was given, fails
    # on an empty list without naming it. Without the attribute nothing is checked.
    given = getattr(node, "_parameter_overrides", {})
    for name in sorted(set(given) - set(known)):
        if name == "use_sim_time" or name.startswith(("start_type_description_service", "qos_overrides.")):
            continue
        similar = get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.75)
        if similar:
            raise ConfigError(f"parameter {name} is not known; did you mean {similar[0]}?")
        node.get_logger().warning(f"parameter {name} is not one of this node's and has no effect")


def _value_of(node: Node, name: str) -> Any:
    """The parameter's value; rclpy turns an empty list given at start into no value at all."""
    try:
        value = node.get_parameter(name).value
    except ParameterUninitializedException:
        value = None
    if value is None:
        raise ConfigError(f"parameter {name} is empty; give it a value or leave it out for its default.")
    return value


def _type_name(value: object) -> str:
    return {
        bool: "true or false",
        int: "a whole number",
        float: "a number with a decimal point",
        str: "a text",
        list: "a list of texts",
    }[type(value)]
