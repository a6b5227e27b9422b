"""Delay on the way, without comparing clocks."""

from __future__ import annotations

import pytest

from ls_ood_monitor.core.transit import TransitDelay

SECOND = 10**9
MILLI = 10**6


@pytest.mark.parametrize("apart_s", [0, -5_000_000, 7_000_000])
def test_what_took_longer_than_the_fastest_is_late_by_that(apart_s):
    """However far apart the clocks stand: 2 ms is the fastest way, 900 ms is 898 late."""
    transit = TransitDelay()
    ways = [5, 2, 3, 900, 2]
    delays = [
        transit.of(index * SECOND, index * SECOND + way * MILLI + apart_s * SECOND) for index, way in enumerate(ways)
    ]
    assert delays == [0, 0, MILLI, 898 * MILLI, 0]


def test_a_burst_after_a_stall_is_as_old_as_it_is():
    """Ten messages held back for up to 4 s come at once: each is late by its own time, though the minute is over."""
    transit = TransitDelay()
    for index in range(700):
        transit.of(index * SECOND // 10, index * SECOND // 10 + MILLI)
    now = 74 * SECOND
    sent = [70 * SECOND + index * SECOND // 10 for index in range(10)]
    assert [transit.of(moment, now) for moment in sent] == [now - moment - MILLI for moment in sent]


def test_clocks_may_drift():
    """100 ppm over three hours are 1.1 s, and nothing is late."""
    transit = TransitDelay()
    worst = max(transit.of(second * SECOND, round(second * SECOND * 1.0001)) for second in range(3 * 3600))
    assert worst < 20 * MILLI
