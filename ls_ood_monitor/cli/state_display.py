"""How alarms and decisions look in a terminal."""

from __future__ import annotations

from math import isfinite

from rich.text import Text

#: Style of each state of an alarm, and of each mode of a decision.
STYLES = {
    "CLEAR": "green",
    "PENDING": "yellow",
    "RAISED": "bold red",
    "NOMINAL": "bold green",
    "SLOW": "bold yellow",
    "STOP": "bold red",
}
_BAR = 12


def score_bar(ratio: float) -> Text:
    """A bar of score over threshold from 0 to 2, with a mark at the threshold; empty for NaN."""
    filled = round(max(0.0, min(ratio, 2.0)) * _BAR / 2) if isfinite(ratio) else 0
    cells = ["█" if place < filled else "┃" if place == _BAR // 2 else "·" for place in range(_BAR)]
    return Text("".join(cells), "red" if ratio > 1.0 else "green" if isfinite(ratio) else "dim")


def number_text(value: float, form: str, unit: str = "") -> str:
    """A number in a format; ``-`` for NaN."""
    return f"{value:{form}}{unit}" if isfinite(value) else "-"
