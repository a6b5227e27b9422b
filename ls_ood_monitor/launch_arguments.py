"""Arguments of the launch files: read as YAML of a type, and refused if a file does not have them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError


def typed(name: str, text: str, kind: type) -> Any:
    """Value of a launch argument.

    Args:
        name: of the argument, for the message.
        text: as given; YAML.
        kind: ``str``, ``bool`` (any spelling that YAML knows) or ``list`` (of strings; one string is a list of one).

    Raises:
        ConfigError: a value of another type.
    """
    if kind is str:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if kind is list and isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    is_list = isinstance(value, list) and all(isinstance(part, str) for part in value)
    if (kind is list and is_list) or (kind is bool and isinstance(value, bool)):
        return value
    wanted = "true or false" if kind is bool else "a name, or names in brackets like '[front, left]'"
    raise ConfigError(f"{name} is {text!r}; it must be {wanted}.")


def refuse_unknown(file: str, known: Iterable[str], arguments: Iterable[str] = tuple(sys.argv[1:])) -> None:
    """Refuse arguments that a launch file does not have; ``ros2 launch`` itself ignores them.

    Included in another launch file it does nothing: the arguments are that file's.

    Args:
        file: name of the launch file.
        known: names of its arguments.
        arguments: of this process.

    Raises:
        ConfigError: with the unknown name, and the nearest known one.
    """
    arguments = list(arguments)
    if file not in {Path(argument).name for argument in arguments}:
        return
    names = list(known)
    for argument in arguments:
        name, separator, _ = argument.partition(":=")
        if separator and name not in names:
            near = get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}."
            raise ConfigError(f"{file} has no argument {name!r}; {hint}")
