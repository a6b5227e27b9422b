"""Timing pieces of work in turns, by a clock of the test."""

from __future__ import annotations

import pytest

from ls_ood_monitor.profiling.timing import interleaved, ratio


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


def test_pieces_take_turns_and_the_first_turn_is_not_counted():
    """Each piece runs in turn, once more than is reported, and times are in milliseconds."""
    clock, order = Clock(), []

    def piece(name, seconds):
        order.append(name)
        clock.advance(seconds)

    times = interleaved({"a": lambda: piece("a", 0.01), "b": lambda: piece("b", 0.02)}, 3, clock=clock)
    assert order == ["a", "b"] * 4
    assert times == {"a": pytest.approx([10.0] * 3), "b": pytest.approx([20.0] * 3)}
    assert ratio(times, "b", "a").median_ms == pytest.approx(2.0)


def test_a_rest_is_not_counted():
    """A rest before each piece does not count in its time."""
    clock, rests = Clock(), []

    def sleep(seconds):
        rests.append(seconds)
        clock.advance(seconds)

    times = interleaved({"a": lambda: clock.advance(0.02)}, 3, rest_s=5.0, clock=clock, sleep=sleep)
    assert rests == [5.0] * 4
    assert times["a"] == pytest.approx([20.0] * 3)
