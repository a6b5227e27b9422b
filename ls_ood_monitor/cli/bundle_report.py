"""A bundle's thresholds and their provenance, read from its manifest, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..calibration.summary_text import (
    NO_KNOWLEDGE,
    calibrated_on,
    calibration_target,
    sensitivity_sentences,
    threshold_text,
    two_digits,
)


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
    table = Table(title="Clean frames above the sudden threshold, %, with 95 % intervals", title_justify="left")
    table.add_column("detector", no_wrap=True)
    for heading in ("sudden", "lasting"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("blocks left out", "drives left out", "further drives", "alarms an hour"):
        table.add_column(heading, justify="right")
    for name, threshold in thresholds.items():
        own = details.get(name, {})
        held_out, alarms = own.get("held_out", {}), own.get("alarms", {})
        table.add_row(
            f"{name} *" if name == detector else name,
            threshold_text(threshold["value"]),
            threshold_text(threshold["lasting_value"]) if "lasting_value" in threshold else "-",
            _share(held_out.get("block"), "blocks"),
            _share(held_out.get("drive"), "drives"),
            _share(check.get(name), "drives"),
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
    if sensitivity := calibration.get("sensitivity"):
        yield from sensitivity_report(sensitivity)


def sensitivity_report(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Yield what the monitor saw of disturbed clean clips (``calibration.sensitivity``), and which harmless changes alarmed."""
    clips = facts["clips"]
    title = f"What {facts['detector']} sees: synthetic changes of {clips} clean clips, {facts['length_s']:g} s each:"
    for is_harmless, heading in ((False, title), (True, "Harmless changes, which should not alarm:")):
        yield Text(heading)
        yield _delays(facts, is_harmless)
    yield from map(Text, sensitivity_sentences(facts))


def _delays(facts: Mapping[str, Any], is_harmless: bool) -> Table:
    """One row a change, one column a level: clips that alarmed, and the median time to the alarm."""
    rows: dict[str, dict[int, str]] = {}
    for condition in facts["conditions"]:
        if condition["is_harmless"] is is_harmless:
            delays = sorted(inf if delay is None else delay for delay in condition["delays_s"])
            hits = sum(delay < inf for delay in delays)
            median_s = delays[(len(delays) - 1) // 2]
            soon = f", {median_s:.1f} s" if median_s < inf else ""
            rows.setdefault(condition["name"], {})[condition["level"]] = f"{hits}/{len(delays)}{soon}" if hits else "-"
    levels = sorted({level for cells in rows.values() for level in cells})
    table = Table("change", *(str(level) for level in levels))
    for name, cells in rows.items():
        table.add_row(name.replace("_", " "), *(cells.get(level, "") for level in levels))
    return table


def _share(share: Mapping[str, Any] | None, units: str) -> str:
    if not share:
        return "-"
    rate = two_digits(100 * share["above"] / share["frames"])
    if share["high"] - share["low"] > NO_KNOWLEDGE:
        return f"{rate}\ntoo few {units} to say"
    return f"{rate}\n{two_digits(100 * share['low'])} to {two_digits(100 * share['high'])}"


def _alarms(rate: Mapping[str, Any] | None) -> str:
    if not rate:
        return "-"
    if rate["events"] == 0:
        return f"0\nclaim < {two_digits(rate['upper'])}"
    return f"{two_digits(rate['per_hour'])}\n{two_digits(rate['low'])} to {two_digits(rate['high'])}"
