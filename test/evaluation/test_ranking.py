"""Which frames count, what a unit is, and intervals against plain ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ls_ood_monitor.evaluation.ranking import FrameScores, histogram, rank, share_above, split_frames
from ls_ood_monitor.evaluation.timespans import Limits
from ls_ood_monitor.recordings.events import Event


def frames(units: int, each: int, mean: float, spread: float = 0.3, seed: int = 0) -> FrameScores:
    """Scores that are alike within a unit."""
    random = np.random.default_rng(seed)
    number = np.repeat(np.arange(units), each)
    ratios = mean + spread * random.normal(size=units)[number] + 0.02 * random.normal(size=units * each)
    return FrameScores(ratios, ratios > 1.0, number, "units")


def test_frames_are_split_as_the_summary_splits_them(tell, tables_of):
    """In its camera's event, outside, or neither just after one; units are events, and 10 s of time of all cameras."""
    events = (Event("front", 5.0, 7.0, "fog"), Event("front", 20.0, 21.0, "mud"))
    images = tell(300, events, faults=range(100, 110), cameras=("front", "left"))
    images = tables_of(images).images
    clean, odd = split_frames(images, events, Limits(release_s=1.0))
    assert len(odd.ratios) == 30
    assert len(clean.ratios) == 600 - 30 - 20 - 20  # in events; a second after each; not judged
    assert odd.units.tolist() == [0] * 20 + [1] * 10
    assert clean.unit_count == 3
    assert odd.above.all()
    assert not clean.above.any()
    alone, none = split_frames(images, (), Limits())
    assert (len(alone.ratios), len(none.ratios)) == (580, 0)


def test_above_the_threshold_is_asked_of_the_score_itself(tell, tables_of):
    """Where a threshold is not above zero the ratio is the score, and says nothing of it."""
    (image,) = tell(1)
    image = replace(image, alarm=replace(image.alarm, score=-0.5, threshold=-1.0))
    clean, _ = split_frames(tables_of([image]).images, (), Limits())
    assert clean.above.tolist() == [True]


def test_the_interval_is_as_wide_as_that_of_units():
    """With frames alike within a unit the AUROC's interval is that of one frame a unit, many times that of the frames."""
    clean, odd = frames(30, 50, 0.7, seed=1), frames(20, 50, 1.0, seed=2)
    found = rank(clean, odd)
    value, interval = found.figures["AUROC"]
    labels = np.repeat([0, 1], [1500, 1000])
    assert value == pytest.approx(roc_auc_score(labels, np.concatenate([clean.ratios, odd.ratios])))
    random = np.random.default_rng(3)
    by_unit = []
    for _ in range(1000):
        one = clean.ratios[::50][random.integers(0, 30, 30)]
        other = odd.ratios[::50][random.integers(0, 20, 20)]
        by_unit.append(roc_auc_score(np.repeat([0, 1], [30, 20]), np.concatenate([one, other])))
    low, high = np.quantile(by_unit, [0.025, 0.975])
    assert interval.low == pytest.approx(low, abs=0.04)
    assert interval.high == pytest.approx(high, abs=0.04)
    inside = np.interp(found.roc.places, found.roc.x, found.roc.y)
    assert (found.roc.low <= inside + 0.02).all()
    assert (found.roc.high >= inside - 0.02).all()


def test_perfect_scores_are_no_certainty():
    """Where no resample differs, what so many events leave open stands in: 0.025^(1/6) for six."""
    clean, odd = frames(6, 9, 0.2, 0.01), frames(6, 9, 1.8, 0.01)
    found = rank(clean, odd)
    floor = 0.025 ** (1 / 6)
    assert found.figures["AUROC"] == (1.0, pytest.approx((1.0, floor, 1.0)))
    clean_rate = next(interval for name, (_, interval) in found.figures.items() if name.startswith("clean"))
    assert clean_rate == pytest.approx((0.0, 0.0, 1.0 - floor))
    assert found.figures["AUPR"][1].low == pytest.approx(floor)
    assert found.roc.low[50] == pytest.approx(floor)
    assert found.roc.high[50] == 1.0


@pytest.mark.parametrize("units", [4, 5])
def test_few_units_give_no_interval(units):
    """Four are too few, five are not."""
    few, many = frames(units, 10, 0.7), frames(9, 10, 1.2, seed=5)
    found = rank(few, many)
    assert all((interval is None) == (units == 4) for _, interval in found.figures.values())
    assert len(found.roc.places) == (0 if units == 4 else 101)
    assert (share_above(few)[1] is None) == (units == 4)
    assert (histogram(few, np.linspace(0, 2, 11))[1] is None) == (units == 4)


def test_a_histogram_counts_every_frame_and_its_bars_hold_the_share():
    """Shares sum to one, what lies beyond the edges counts at the edge, empty bins claim nothing."""
    scores = frames(12, 20, 0.9)
    shares, low, high = histogram(scores, np.linspace(0.7, 1.1, 9))
    assert shares.sum() == pytest.approx(1.0)
    assert shares[0] == pytest.approx(np.mean(scores.ratios < 0.75))
    assert (low <= shares).all()
    assert (shares <= high).all()
    assert (high[shares == 0.0] == 0.0).all()
