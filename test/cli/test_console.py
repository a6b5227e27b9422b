"""What the commands share: lines of progress on a narrow terminal, of tasks that end, and of several machines."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ls_ood_monitor.cli import console


@pytest.fixture
def shown(monkeypatch):
    """Lines of progress as they stand at the end, on a terminal of so many columns."""

    def run(width: int, totals: dict[str, int | None], *updates) -> list[str]:
        screen = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
        monkeypatch.setattr(console, "errors", screen)
        with console.progress_lines(totals) as update:
            for arguments in updates:
                update(*arguments)
        shown = screen.file.getvalue().removesuffix("\x1b[?25h")  # the cursor comes back
        return shown.split("\x1b[1A\x1b[2K")[-1].split("\x1b[2K")[-1].splitlines()[-len(totals) :]

    return run


@pytest.mark.parametrize("width", [80, 100, 160])
def test_figures_are_whole_and_the_title_and_the_bar_give_way(shown, width):
    """Eighty columns have room for every figure; only a long name is cut."""
    totals = {"2026-07-12_city_north_bag": 12345, "b": 200}
    note = "47.4 frames/s, 5.2 times real time"
    first, second = shown(width, totals, ("2026-07-12_city_north_bag", 1234, note), ("b", 183, note))
    for line, figures in ((first, " 1234/12345 "), (second, "  183/200 ")):
        assert len(line) <= width
        assert figures in line
        assert note in line
        assert " 0:00:00 left " in line
    assert first.startswith("2026")
    assert second.startswith("b ")


def test_a_single_bar_has_its_figures_too(shown):
    """As of a long recording that is played."""
    (line,) = shown(80, {"Judging it again offline": 240}, ("Judging it again offline", 22, "47.4 frames/s"))
    assert " 22/240 " in line
    assert "47.4 frames/s" in line
    assert len(line) <= 80


def test_what_is_done_stays_done(shown):
    """Its line is full, of a recording that was cut off, too; what a cluster's worker said before comes too late."""
    totals = {"a": 200, "b": 221, "c": None}
    a, b, c = shown(
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
