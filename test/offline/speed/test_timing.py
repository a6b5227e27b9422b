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
