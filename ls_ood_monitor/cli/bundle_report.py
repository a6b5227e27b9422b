"""A bundle's thresholds and where they come from, as tables for people; reads what stands in its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

_SHOWN_DRIVES = 4


def calibration_report(
    detector: str, thresholds: Mapping[str, Mapping[str, Any]], provenance: Mapping[str, Any]
) -> Iterator[RenderableType]:
    """What was calibrated on, a row a detector, and the notes.

    Args:
        detector: the one that raises the alarm.
        thresholds: of each detector, as in a manifest.
        provenance: of the bundle; what an older one lacks is left out.
    """
    calibration = provenance.get("calibration", {})
    yield Text(_data(calibration))
    if target := _target(calibration):
        yield Text(target)
    details: Mapping[str, Any] = calibration.get("detectors", {})
    check: Mapping[str, Any] = provenance.get("check_on_unseen_drives", {})
    table = Table(title="Clean frames above the threshold, %, with 95 % intervals", title_justify="left")
    table.add_column("detector", no_wrap=True)
    table.add_column("threshold", justify="right", no_wrap=True)
    for heading in ("blocks left out", "drives left out", "further drives", "alarms an hour"):
        table.add_column(heading, justify="right")
    for name, threshold in thresholds.items():
        own = details.get(name, {})
        held_out, alarms = own.get("held_out", {}), own.get("alarms", {})
        table.add_row(
            f"{name} *" if name == detector else name,
            f"{threshold['value']:.5g}",
            _share(held_out.get("block")),
            _share(held_out.get("drive")),
            _share(check.get(name)),
            _alarms(alarms.get("drive", alarms.get("block"))),
        )
    yield table
    yield Text("* raises the alarm")
    by_note: dict[str, list[str]] = {}
    for name, threshold in thresholds.items():
        for note in details.get(name, {}).get("notes", [threshold["warning"]] if threshold.get("warning") else []):
            by_note.setdefault(note, []).append(name)
    for note, names in by_note.items():
        yield Text(f"note: {', '.join(names)}: {note}")


def _data(calibration: Mapping[str, Any]) -> str:
    """One sentence on the data."""
    parts = [f"{calibration.get('frames', '?')} clean frames"]
    if "blocks" in calibration:
        length = calibration.get("block_s")
        parts.append(f"{calibration['blocks']} blocks" + (f" of {length:g} s" if length else ""))
    drives = calibration.get("drives")
    if isinstance(drives, Mapping):
        shown = [f"{name} ({count})" for name, count in list(drives.items())[:_SHOWN_DRIVES]]
        more = f" and {len(drives) - len(shown)} more" if len(drives) > len(shown) else ""
        parts.append(f"{len(drives)} drive{'s' if len(drives) > 1 else ''}: {', '.join(shown)}{more}")
    elif drives is not None:
        parts.append(f"{drives} drives")
    text = "Calibrated on " + ", ".join(parts) + "."
    if calibration.get("cameras"):
        text += f" Cameras: {', '.join(f'{name} ({count})' for name, count in calibration['cameras'].items())}."
    if calibration.get("hours"):
        text += f" Video: {calibration['hours']:.3g} h."
    rates = sorted(set(calibration.get("assumed_rates_hz", {}).values()))
    if rates:
        text += f" Pictures without time: {' and '.join(f'{rate:g}' for rate in rates)} Hz assumed."
    return text


def _target(calibration: Mapping[str, Any]) -> str:
    """One sentence on the target; empty where an older bundle does not say."""
    target = calibration.get("target")
    if not target:
        return ""
    if "per_hour" in target:
        frames = calibration["alarm"]["trigger_consecutive_frames"]
        text = f"Target: {target['per_hour']:g} false alarms an hour ({frames} frames in a row)"
    else:
        text = f"Target: {target['rate']:.3g} of clean frames"
    held = {
        "block": "blocks of time held out",
        "drive": "whole drives held out",
        "worst": "the larger threshold of blocks and drives held out",
    }[calibration["hold_out"]]
    return f"{text}; {held}."


def _share(share: Mapping[str, Any] | None) -> str:
    if not share:
        return "-"
    rate = share["above"] / share["frames"]
    return f"{100 * rate:.3g}\n{100 * share['low']:.3g} to {100 * share['high']:.3g}"


def _alarms(rate: Mapping[str, Any] | None) -> str:
    if not rate:
        return "-"
    if rate["events"] == 0:
        return f"0\nclaim < {_number(rate['upper'])}"
    return f"{_number(rate['per_hour'])}\n{_number(rate['low'])} to {_number(rate['high'])}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100.0 else f"{value:.3g}"
