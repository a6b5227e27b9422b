"""Settings dataclasses <-> ROS parameters: one description, range and default for both."""

from __future__ import annotations

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
    """Declare one parameter per field of a settings dataclass.

    ``read_only`` is for nodes that read their parameters once: a change that would have no effect is refused.

    Raises:
        ConfigError: a value given at start has the wrong type or lies outside its range.
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


def read_settings(node: Node, cls: type[T]) -> T:
    """Build the dataclass from the node's present parameters; raises ``ConfigError`` for what ROS could not check."""
    values = {}
    for spec in fields(cls):  # type: ignore[arg-type]
        value = _value_of(node, spec.name)
        values[spec.name] = tuple(value) if isinstance(spec.default, tuple) else value
    return from_mapping(cls, values)


def check_unknown(node: Node, *classes: type[Any]) -> None:
    """Look for parameters given at start that are none of the node's; they would be ignored without a word.

    What nobody means for this node is only logged: a launch file may hand shared parameters to every node.

    Raises:
        ConfigError: a name so close to one of ``classes``' that it must be misspelt.
    """
    known = [spec.name for cls in classes for spec in fields(cls)]
    # Private in name, and the same from humble to rolling; rclpy's public way, to declare whatever was given, fails on
    # an empty list without naming it. Should the attribute go, nothing is checked.
    given = getattr(node, "_parameter_overrides", {})
    for name in sorted(set(given) - set(known)):
        if name == "use_sim_time" or name.startswith(("start_type_description_service", "qos_overrides.")):
            continue
        meant = get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.75)
        if meant:
            raise ConfigError(f"parameter {name} is not known; did you mean {meant[0]}?")
        node.get_logger().warning(f"parameter {name} is not one of this node's and has no effect")


def _value_of(node: Node, name: str) -> Any:
    """The parameter's value; an empty list given at start reaches rclpy as no value at all."""
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
