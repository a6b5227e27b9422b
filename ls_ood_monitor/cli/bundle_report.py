"""A bundle's thresholds and their provenance, read from its manifest, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..calibration.summary_text import calibrated_on, calibration_target


def calibration_report(
    detector: str, thresholds: Mapping[str, Mapping[str, Any]], provenance: Mapping[str, Any]
) -> Iterator[RenderableType]:
    """Yield the calibration data and target, a table with one row per detector, and the notes.

    ``detector`` raises the alarm, ``thresholds`` are as in a manifest. Facts that the provenance of an older bundle
    lacks are left out.
    """
    calibration = provenance.get("calibration", {})
    yield Text(calibrated_on(calibration))
    if target := calibration_target(calibration):
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
