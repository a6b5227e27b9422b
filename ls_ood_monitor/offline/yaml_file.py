"""YAML files that people write: what cannot be read is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..errors import MonitorError


def read_yaml(path: Path, refusal: type[MonitorError]) -> Any:
    """Content of a YAML file. Raises ``refusal`` naming it where it is missing, no text, or no YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refusal(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise refusal(f"{path} cannot be read as YAML: {' '.join(str(error).split()).rstrip('.')}.") from error
