"""Ground truth of a recording as YAML: which camera was out of distribution, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from ..errors import DataError
from ..yaml_file import read_yaml

_EXAMPLE = "each entry is a line like - {camera: front, start_s: 7, end_s: 11, label: fog}"


@dataclass(frozen=True)
class Event:
    """A time span in which a camera is out of distribution, in seconds from the start of the recording."""

    camera: str
    start_s: float
    end_s: float
    label: str
    severity: int = 4


def write_events(events: Sequence[Event], path: Path) -> None:
    """Write ground truth as a YAML list of {camera, start_s, end_s, label, severity}."""
    path.write_text(yaml.safe_dump([asdict(event) for event in events], sort_keys=False), encoding="utf-8")


def read_events(path: Path, cameras: Sequence[str], duration_s: float) -> tuple[Event, ...]:
    """Read ground truth, from ``write_events`` or written by hand: {camera, start_s, end_s, label}.

    Raises:
        DataError: there is no such file, it is not YAML, or an entry does not fit the recording. The message names it.
    """
    content = read_yaml(path, DataError)
    if not isinstance(content, list):
        raise DataError(f"{path} holds no list of events; {_EXAMPLE}.")
    events = tuple(_event(path, number, entry, cameras, duration_s) for number, entry in enumerate(content, 1))
    for number, event in enumerate(events, 1):
        if event in events[: number - 1]:
            raise DataError(f"{path}: event {number} is event {events.index(event) + 1} once more; give it once.")
    return events


def clip_events(events: Sequence[Event], end_s: float) -> tuple[Event, ...]:
    """Cut events at the end of what was recorded, and drop those that begin after it."""
    return tuple(replace(event, end_s=min(event.end_s, end_s)) for event in events if event.start_s < end_s)


def _event(path: Path, number: int, entry: Any, cameras: Sequence[str], duration_s: float) -> Event:
    where = f"{path}: event {number}"
    if not isinstance(entry, dict):
        raise DataError(f"{where} is {entry!r}; {_EXAMPLE}.")
    missing = [name for name in ("camera", "start_s", "end_s", "label") if entry.get(name) is None]
    if missing:
        raise DataError(f"{where} has no {' and no '.join(missing)}; {_EXAMPLE}.")
    known = [spec.name for spec in fields(Event)]
    if unknown := [str(name) for name in entry if name not in known]:
        raise DataError(f"{where} has no {', '.join(unknown)}; known: {', '.join(known)}.")
    camera, label = str(entry["camera"]), str(entry["label"])
    start_s, end_s = (_seconds(where, name, entry[name]) for name in ("start_s", "end_s"))
    severity = entry.get("severity", 4)
    if severity not in range(1, 6):
        raise DataError(f"{where}: severity is {severity!r}; it must be a whole number from 1 to 5.")
    if camera not in cameras:
        raise DataError(f"{where}: camera {camera!r} is not in the recording, which has {', '.join(cameras)}.")
    if not (isfinite(start_s) and isfinite(end_s) and 0.0 <= start_s < end_s and start_s < duration_s):
        raise DataError(
            f"{where} lasts from {start_s:g} to {end_s:g} s; it must begin before it ends, within the {duration_s:.1f} s "
            "of the recording."
        )
    return Event(camera, start_s, end_s, label, int(severity))


def _seconds(where: str, name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f"{where}: {name} is {value!r}; it must be a number of seconds.") from None
