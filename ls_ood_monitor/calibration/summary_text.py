"""Describes the calibration in a bundle's manifest as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_MAX_DRIVES = 4
#: An interval of a share that is wider says nothing.
NO_KNOWLEDGE = 0.9


def calibrated_on(calibration: Mapping[str, Any]) -> str:
    """Describe the data that a bundle was calibrated on. What an older bundle does not state is left out."""
    parts = [f"{calibration.get('frames', '?')} clean frames"]
    if "blocks" in calibration:
        length = calibration.get("block_s")
        parts.append(f"{calibration['blocks']} blocks" + (f" of {length:g} s" if length else ""))
    drives = calibration.get("drives")
    if isinstance(drives, Mapping):
        listed = [f"{name} ({count})" for name, count in list(drives.items())[:_MAX_DRIVES]]
        more = f" and {len(drives) - len(listed)} more" if len(drives) > len(listed) else ""
        parts.append(f"{len(drives)} drive{'s' if len(drives) > 1 else ''}: {', '.join(listed)}{more}")
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


def calibration_target(calibration: Mapping[str, Any]) -> str:
    """Describe the target of the thresholds, and what was held out; empty if an older bundle does not state it."""
    target = calibration.get("target")
    if not target:
        return ""
    if "per_hour" in target:
        alarm = calibration["alarm"]
        window_s = alarm.get("lasting_window_s")
        lasting = f", or a median over {window_s:g} s" if window_s else ""
        text = (
            f"Target: {target['per_hour']:g} false alarms an hour "
            f"({alarm['trigger_consecutive_frames']} frames in a row{lasting})"
        )
    else:
        text = f"Target: {target['rate']:.3g} of clean frames"
    held_out = {
        "block": "blocks of time held out",
        "drive": "whole drives held out",
        "worst": "the larger threshold of blocks and drives held out",
    }[calibration["hold_out"]]
    return f"{text}; {held_out}."


def sensitivity_sentences(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what ``calibration.sensitivity`` says: how many of the disturbed clips alarm, how soon, by severity."""
    for shares, name in (
        (facts["anomalies"], "anomalies of severity"),
        (facts["harmless"], "harmless changes of level"),
    ):
        for level in dict.fromkeys(share["level"] for share in shares):
            parts = [f"{_share(share)} within {share['within_s']:g} s" for share in shares if share["level"] == level]
            yield f"{name} {level}: alarm in {', '.join(parts)}"
    if not facts["is_complete"]:
        yield "The time was over before all clips were disturbed; --sensitivity-minutes gives more."


def _share(share: Mapping[str, Any]) -> str:
    if share["high"] - share["low"] > NO_KNOWLEDGE:
        return f"{two_digits(100 * share['value'])} % (too few clips for an interval)"
    return f"{two_digits(100 * share['value'])} % ({two_digits(100 * share['low'])} to {two_digits(100 * share['high'])} %)"


def threshold_text(value: float) -> str:
    """A threshold with at least three significant digits, never in powers of ten."""
    return f"{value:.0f}" if abs(value) >= 100.0 else f"{value:.3g}"


def two_digits(value: float) -> str:
    """Two significant digits; a value too small to matter is said to be so."""
    if 0.0 < value < 0.01:
        return "< 0.01"
    return f"{value:.0f}" if value >= 10.0 else f"{value:.2g}"
