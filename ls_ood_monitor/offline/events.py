"""Ground truth of a recording: which camera was out of distribution, and when. Read from and written to YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from ..errors import DataError
from .yaml_file import read_yaml


@dataclass(frozen=True)
class Event:
    """One stretch of time in which a camera is out of distribution, seconds from the start of the recording."""

    camera: str
    start_s: float
    end_s: float
    label: str
    severity: int = 4


def write_events(events: Sequence[Event], path: Path) -> None:
    """Write ground truth as a YAML list of {camera, start_s, end_s, label, severity}."""
    path.write_text(yaml.safe_dump([asdict(event) for event in events], sort_keys=False), encoding="utf-8")


def read_events(path: Path, cameras: Sequence[str], duration_s: float) -> tuple[Event, ...]:
    """Read what ``write_events`` writes, or a person: {camera, start_s, end_s, label}.

    Args:
        path: YAML file.
        cameras: of the recording.
        duration_s: of the recording.

    Raises:
        DataError: no such file, no YAML, or an entry that does not fit the recording; the sentence names it.
    """
    content = read_yaml(path, DataError)
    if not isinstance(content, list):
        raise DataError(
            f"{path} holds {type(content).__name__}, not a list; each entry is camera, start_s, end_s, label."
        )
    return tuple(_event(path, number, entry, cameras, duration_s) for number, entry in enumerate(content, 1))


def _event(path: Path, number: int, entry: Any, cameras: Sequence[str], duration_s: float) -> Event:
    where = f"{path}, event {number}"
    try:
        known = {name: entry[name] for name in ("camera", "start_s", "end_s", "label")}
        severity = int(entry.get("severity", 4))
        start_s, end_s = float(known["start_s"]), float(known["end_s"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: it must give camera, start_s, end_s and label ({error!r}).") from error
    if known["camera"] not in cameras:
        raise DataError(f"{where}: camera {known['camera']!r} is not in the recording, which has {', '.join(cameras)}.")
    if not (isfinite(start_s) and isfinite(end_s) and 0.0 <= start_s < end_s and start_s < duration_s):
        raise DataError(
            f"{where}: it lasts from {start_s:g} to {end_s:g} s; it must begin before it ends, within the {duration_s:.1f} s "
            "of the recording."
        )
    return Event(str(known["camera"]), start_s, end_s, str(known["label"]), severity)
