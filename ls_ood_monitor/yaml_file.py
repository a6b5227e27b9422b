"""YAML files that people write: what cannot be read is one sentence, and a key that is given twice is no choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .errors import MonitorError


class _Loader(yaml.SafeLoader):
    """As yaml's own, which takes the last of two equal keys without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        known: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in known:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
                known.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, refusal: type[MonitorError]) -> Any:
    """Content of a YAML file. Raises ``refusal`` naming it where it is missing, no text, no YAML, or has a key twice."""
    try:
        # The loader is a safe one: it knows plain values alone.
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise refusal(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise refusal(f"{path} cannot be read as YAML: {' '.join(str(error).split()).rstrip('.')}.") from error
