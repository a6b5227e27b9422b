"""Turns of several pieces of work."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from ls_ood_monitor.profiling import timing
from ls_ood_monitor.profiling.timing import interleaved


def test_pieces_take_turns_and_the_first_turn_is_not_counted():
    """Every piece runs once more than is reported, one after the other, and the figures are milliseconds."""
    order = []

    def piece(name, seconds):
        order.append(name)
        time.sleep(seconds)

    times = interleaved({"a": lambda: piece("a", 0.0), "b": lambda: piece("b", 0.02)}, 3)
    assert order == ["a", "b"] * 4
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}
    assert min(times["b"]) >= 20.0


def test_a_rest_is_not_counted(monkeypatch):
    """Pieces rest before each turn, and their figures are those without."""
    now, rests = [0.0], []

    def sleep(seconds):
        rests.append(seconds)
        now[0] += seconds

    def piece():
        now[0] += 0.02

    monkeypatch.setattr(timing, "time", SimpleNamespace(sleep=sleep, perf_counter=lambda: now[0]))
    times = interleaved({"a": piece}, 3, rest_s=5.0)
    assert rests == [5.0] * 4
    assert times["a"] == pytest.approx([20.0] * 3)
