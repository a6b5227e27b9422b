"""Progress bars on a narrow terminal, of tasks that end, and of several machines."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ls_ood_monitor.cli.console import progress_lines


def final_lines(width: int, totals: dict[str, int | None], *updates: tuple) -> list[str]:
    """The progress bars after the last update, on a terminal of ``width`` columns."""
    output = io.StringIO()
    screen = Console(width=width, file=output, force_terminal=True, color_system=None)
    with progress_lines(totals, screen) as update:
        for arguments in updates:
            update(*arguments)
    text = output.getvalue().removesuffix("\x1b[?25h")  # the cursor comes back
    return text.split("\x1b[1A\x1b[2K")[-1].split("\x1b[2K")[-1].splitlines()[-len(totals) :]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_figures_are_never_cut(width):
    """Eighty columns show every figure in full; only a long title is cut."""
    totals = {"2026-07-12_city_north_bag": 12345, "b": 200}
    note = "47.4 frames/s, 5.2 times real time"
    first, second = final_lines(width, totals, ("2026-07-12_city_north_bag", 1234, note), ("b", 183, note))
    for line, figures in ((first, " 1234/12345 "), (second, "  183/200 ")):
        assert len(line) <= width
        assert figures in line
        assert note in line
        assert " 0:00:00 left " in line
    assert first.startswith("2026")
    assert second.startswith("b ")


def test_a_single_bar_has_its_figures_too():
    """A single bar shows count and note on eighty columns."""
    (line,) = final_lines(80, {"Judging it again offline": 240}, ("Judging it again offline", 22, "47.4 frames/s"))
    assert " 22/240 " in line
    assert "47.4 frames/s" in line
    assert len(line) <= 80


def test_a_completed_bar_stays_complete():
    """The last update completes a bar, also below its total; later updates of the task are ignored."""
    totals = {"a": 200, "b": 221, "c": None}
    a, b, c = final_lines(
        80,
        totals,
        ("a", 150, "x"),
        ("a", 200, "done", True),
        ("a", 183, "late"),
        ("b", 58, "done", True),
        ("c", 7, "done", True),
    )
    assert "200/200" in a
    assert "done" in a
    assert "58/58" in b
    assert "7/7" in c
