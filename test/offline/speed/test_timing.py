"""Turns of several pieces of work."""

from __future__ import annotations

import time

from ls_ood_monitor.offline.speed.timing import interleaved


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


def test_a_rest_is_not_counted():
    """Pieces rest before each turn, and their figures are those without."""
    began = time.perf_counter()
    times = interleaved({"a": lambda: None}, 3, rest_s=0.05)
    assert time.perf_counter() - began >= 0.2
    assert min(times["a"]) < 50.0
