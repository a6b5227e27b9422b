"""Intervals: equal to scipy and to closed forms, and honest where nothing was seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, poisson

from ls_ood_monitor.core.intervals import (
    clopper_pearson,
    counts_by_unit,
    event_rate,
    poisson_interval,
    poisson_upper_bound,
    share_interval,
    share_of,
    wilson_interval,
    worst_share,
)


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (10, 10), (3, 200), (57, 111)])
def test_wilson_interval_equals_scipy(hits, trials):
    """The interval is scipy's, at the edges too."""
    low, high = wilson_interval(hits, trials)
    expected = binomtest(hits, trials).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    wide = binomtest(hits, trials).proportion_ci(0.99, method="wilson")
    assert wilson_interval(hits, trials, 0.99) == pytest.approx((wide.low, wide.high), abs=1e-12)


@pytest.mark.parametrize(
    ("hits", "trials", "confidence"), [(1, 0, 0.95), (5, 4, 0.95), (-1, 4, 0.95), (1, 4, 1.0), (1, 4, 95.0)]
)
def test_impossible_shares_are_refused(hits, trials, confidence):
    """More hits than trials, no trials, and confidences outside (0, 1)."""
    with pytest.raises(ValueError, match=r"share|confidence"):
        wilson_interval(hits, trials, confidence)


@pytest.mark.parametrize("events", [0, 1, 4, 40])
@pytest.mark.parametrize("hours", [0.25, 12.0])
def test_the_poisson_interval_is_exact(events, hours):
    """At each end the tail of the Poisson distribution holds exactly 2.5 %, one-sided 5 %."""
    low, high = poisson_interval(events, hours)
    assert poisson.cdf(events, high * hours) == pytest.approx(0.025)
    assert low == 0.0 if events == 0 else poisson.sf(events - 1, low * hours) == pytest.approx(0.025)
    assert poisson.cdf(events, poisson_upper_bound(events, hours) * hours) == pytest.approx(0.05)


def test_rule_of_three():
    """No alarm in T hours bounds the rate at -ln(0.05) / T, about 3 / T."""
    assert poisson_upper_bound(0, 5.0) == pytest.approx(-np.log(0.05) / 5.0)
    assert event_rate(0, 5.0).upper == pytest.approx(3.0 / 5.0, rel=2e-3)
    assert event_rate(6, 2.0).to_dict()["per_hour"] == 3.0
    with pytest.raises(ValueError, match="not a rate"):
        poisson_interval(1, 0.0)


@pytest.mark.parametrize("successes", [0, 3, 20])
def test_clopper_pearson_is_that_of_scipy(successes):
    """Both ends, at the borders too."""
    reference = binomtest(successes, 20).proportion_ci(0.95, method="exact")
    assert clopper_pearson(successes, 20) == (pytest.approx(reference.low), pytest.approx(reference.high))
    with pytest.raises(ValueError, match="not a share"):
        clopper_pearson(successes, 2.5 if successes == 3 else -1)


@pytest.mark.parametrize("hits", [1, 40, 360])
def test_single_frames_have_the_exact_interval(hits):
    """With every frame a unit of its own nothing is alike, and the interval is the binomial one but for one frame."""
    computed = share_interval(np.arange(400) < hits, np.ones(400))
    exact = binomtest(hits, 400).proportion_ci(0.95, method="exact")
    assert computed == pytest.approx((hits / 400, exact.low, exact.high), abs=1e-4)


def test_the_interval_knows_that_blocks_move_together():
    """Blocks that are bad as a whole count for one frame each, however many they hold (but for the t quantile)."""
    bad = np.arange(50) < 10
    share = share_of(np.repeat(bad, 20), np.repeat(np.arange(50), 20))
    exact = binomtest(10, 50).proportion_ci(0.95, method="exact")
    assert (share.low, share.high) == pytest.approx((exact.low, exact.high), abs=0.008)
    assert share.high - share.low > 3.0 * (share.wilson_high - share.wilson_low)
    assert (share.above, share.frames, share.units, share.rate) == (200, 1000, 50, 0.2)


def test_long_units_weigh_more():
    """The share counts frames, and a unit's hits are held against its own length: by hand for three of unequal length."""
    computed = share_interval([1, 2, 0], [4, 2, 10])
    assert computed.value == pytest.approx(3 / 16)
    variance = 1.5 * ((1 - 4 * 3 / 16) ** 2 + (2 - 2 * 3 / 16) ** 2 + (10 * 3 / 16) ** 2) / 16**2
    effective = 3 / 16 * 13 / 16 / variance * (2.1314495455597742 / 4.302652729749464) ** 2  # t of 15 and 2 degrees
    assert (computed.low, computed.high) == pytest.approx(clopper_pearson(3 / 16 * effective, effective))


@pytest.mark.parametrize(("rate", "least"), [(0.01, 0.9), (0.03, 0.88), (0.2, 0.92)])
@pytest.mark.parametrize("units", [15, 40])
def test_the_interval_covers(rate, least, units):
    """Of intervals of drifting data (units with a rate of their own) nine in ten or more hold the true rate, few hits or many."""
    random = np.random.default_rng(units)
    likeness = 1.0 / 0.3 - 1.0  # correlation of 0.3 within a unit
    rates = random.beta(rate * likeness, (1.0 - rate) * likeness, size=(400, units))
    hits = random.binomial(15, rates)
    computed = [share_interval(row, np.full(units, 15)) for row in hits]
    assert np.mean([interval.low <= rate <= interval.high for interval in computed]) >= least


@pytest.mark.parametrize("units", [1, 2, 30])
def test_nothing_seen_is_not_nothing_there(units):
    """Without a hit the upper end is the exact binomial bound for that many units, not zero; the same for all hits."""
    ids = np.repeat(np.arange(units), 7)
    share = share_of(np.zeros(7 * units, bool), ids)
    expected = binomtest(0, units).proportion_ci(0.95, method="exact").high
    assert (share.low, share.high) == (0.0, pytest.approx(expected))
    every = share_of(np.ones(7 * units, bool), ids)
    assert (every.low, every.high) == (pytest.approx(1.0 - expected), 1.0)


def test_one_unit_says_little():
    """A single drive, half of it flagged, leaves nearly everything open."""
    computed = share_interval([50], [100])
    assert computed.low < 0.02
    assert computed.high > 0.98


def test_units_are_counted_by_name():
    """Flagged frames of each unit, and the worst of them."""
    flags, names = np.array([1, 0, 0, 1, 1], bool), np.array(["a", "a", "a", "b", "b"])
    assert counts_by_unit(flags, names) == {"a": (1, 3), "b": (2, 2)}
    assert worst_share(flags, names) == ("b", 2, 2)
    with pytest.raises(ValueError, match="shape"):
        share_of(flags, names[:3])
    with pytest.raises(ValueError, match="same units"):
        share_interval([1, 2], [4])
