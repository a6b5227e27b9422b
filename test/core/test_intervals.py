"""Intervals: equal to scipy and to closed forms, and honest where nothing was seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest, poisson

from ls_ood_monitor.core.intervals import (
    bootstrap_interval,
    counts_by_unit,
    event_rate,
    poisson_interval,
    poisson_upper_bound,
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


def test_the_bootstrap_of_single_frames_is_binomial():
    """With every frame a unit of its own the percentiles are those of the binomial distribution."""
    flags = np.arange(400) < 40
    low, high = bootstrap_interval(flags, np.arange(400), draws=40000)
    expected = binom.ppf([0.025, 0.975], 400, 0.1) / 400
    assert (low, high) == pytest.approx(tuple(expected), abs=0.0026)


def test_the_bootstrap_knows_that_blocks_move_together():
    """Blocks that are bad as a whole widen the interval to that of as many frames as there are blocks."""
    bad = np.arange(50) < 10
    blocks = np.repeat(np.arange(50), 20)
    low, high = bootstrap_interval(np.repeat(bad, 20), blocks, draws=40000)
    alone = bootstrap_interval(bad, np.arange(50), draws=40000)
    assert (low, high) == pytest.approx(alone, abs=1e-12)
    share = share_of(np.repeat(bad, 20), blocks)
    assert share.high - share.low > 3.0 * (share.wilson_high - share.wilson_low)
    assert (share.above, share.frames, share.units, share.rate) == (200, 1000, 50, 0.2)


def test_the_bootstrap_interval_covers():
    """Of intervals from drifting data about 95 % hold the true rate (units with a rate of their own, mean 0.2)."""
    random = np.random.default_rng(3)
    covered = 0
    for trial in range(300):
        rates = random.beta(1.0, 4.0, size=40)
        flags = random.random((40, 15)) < rates[:, None]
        low, high = bootstrap_interval(flags.ravel(), np.repeat(np.arange(40), 15), draws=800, seed=trial)
        covered += low <= 0.2 <= high
    assert covered / 300 == pytest.approx(0.94, abs=0.04)


@pytest.mark.parametrize("units", [1, 2, 30])
def test_nothing_seen_is_not_nothing_there(units):
    """Without a hit the upper end is the exact binomial bound for that many units, not zero; the same for all hits."""
    ids = np.repeat(np.arange(units), 7)
    low, high = bootstrap_interval(np.zeros(7 * units, bool), ids)
    expected = binomtest(0, units, alternative="less").proportion_ci(0.95, method="exact").high
    assert (low, high) == (0.0, pytest.approx(expected))
    assert bootstrap_interval(np.ones(7 * units, bool), ids) == (pytest.approx(1.0 - expected), 1.0)


def test_units_are_counted_by_name():
    """Flagged frames of each unit, and the worst of them."""
    flags, names = np.array([1, 0, 0, 1, 1], bool), np.array(["a", "a", "a", "b", "b"])
    assert counts_by_unit(flags, names) == {"a": (1, 3), "b": (2, 2)}
    assert worst_share(flags, names) == ("b", 2, 2)
    with pytest.raises(ValueError, match="shape"):
        bootstrap_interval(flags, names[:3])
