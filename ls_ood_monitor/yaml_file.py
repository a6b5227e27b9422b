"""Read YAML files. An unreadable file or a duplicate key raises an error that names the file and the line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .errors import MonitorError


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses duplicate keys; yaml's own silently takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, refusal: type[MonitorError]) -> Any:
    """Content of a YAML file. Raises ``refusal`` if it is missing, not text, not YAML, or has a duplicate key."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a safe loader: it builds plain values only
    except OSError as error:
        raise refusal(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise refusal(f"{path} cannot be read as YAML: {' '.join(str(error).split()).rstrip('.')}.") from error
