"""Thresholds: exact ranks, held-out blocks, and refusal of what the data cannot support."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.core.held_out import blocks_per_fold
from ls_ood_monitor.core.threshold import Threshold, left_out, quantile_threshold
from ls_ood_monitor.errors import CalibrationError

ORIGIN = "leave-one-block-out"


@pytest.mark.parametrize(
    ("n", "rate", "rank"), [(99, 0.01, 99), (199, 0.01, 198), (999, 0.001, 999), (9, 0.1, 9), (19, 0.1, 18)]
)
def test_rank_is_that_of_split_conformal_prediction(n, rate, rank):
    """The ceil((n + 1)(1 - a))-th smallest score, exactly, at the edges where rounding could slip."""
    scores = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    threshold = quantile_threshold(scores, rate, origin=ORIGIN)
    assert (threshold.rank, threshold.value, threshold.n) == (rank, float(rank), n)


def test_the_promised_rate_holds_on_the_mean():
    """Over many calibrations the share of fresh clean scores above the threshold averages at most the target."""
    random = np.random.default_rng(0)
    rates = []
    for _ in range(400):
        threshold = quantile_threshold(random.normal(size=99), 0.05, origin=ORIGIN)
        rates.append((random.normal(size=2000) > threshold.value).mean())
    assert np.mean(rates) == pytest.approx(0.05, abs=0.006)


def test_too_few_scores_are_refused_or_noted():
    """98 frames cannot promise 1 %; with allow_small the largest is taken and the provenance says so."""
    scores = np.arange(98.0)
    with pytest.raises(CalibrationError, match="at least 99 are needed"):
        quantile_threshold(scores, 0.01, origin=ORIGIN)
    threshold = quantile_threshold(scores, 0.01, allow_small=True, origin=ORIGIN)
    assert threshold.value == 97.0
    assert "98 clean frames" in threshold.warning


def test_too_few_blocks_give_a_warning():
    """Thousands of frames of few blocks make a threshold, but no claim for the next block (rule of three)."""
    scores = np.arange(3000.0)
    few = quantile_threshold(scores, 0.01, blocks=60, origin=ORIGIN)
    assert few.value == quantile_threshold(scores, 0.01, origin=ORIGIN).value
    assert "60 blocks cannot prove" in few.warning
    assert "0.049 could be claimed" in few.warning  # 1 - 0.05^(1/60), about 3 / 60
    needed = next(units for units in range(1, 1000) if 0.99**units <= 0.05)
    assert f"{needed} are needed" in few.warning
    assert quantile_threshold(scores, 0.01, blocks=needed - 1, origin=ORIGIN).warning
    assert quantile_threshold(scores, 0.01, blocks=needed, origin=ORIGIN).warning == ""


def test_the_origin_says_how_many_were_left_out():
    """One drive at a time, or several together if there are many."""
    assert blocks_per_fold(40) == 1
    assert blocks_per_fold(120) == 3
    assert left_out("drive", blocks_per_fold(40)) == "leave-one-drive-out"
    assert left_out("drive", blocks_per_fold(120)) == "leave-3-drives-out"


def test_the_method_states_the_origin_that_the_caller_names():
    """A threshold of fitted frames never claims to come from held-out ones."""
    threshold = quantile_threshold(np.arange(200.0), 0.05, origin="fitted-frame")
    assert threshold.method == "split-conformal quantile of fitted-frame scores"


@pytest.mark.parametrize(
    ("scores", "rate", "words"),
    [
        ([1.0], 0.0, "within"),
        ([1.0], 1.0, "within"),
        ([], 0.5, "not finite"),
        ([1.0, np.nan], 0.5, "1 of 2"),
        ([[1.0, 2.0]], 0.5, r"shape \(1, 2\)"),
    ],
)
def test_impossible_calibrations_are_refused(scores, rate, words):
    """Targets outside (0, 1) and scores that are no numbers are refused."""
    with pytest.raises(CalibrationError, match=words):
        quantile_threshold(scores, rate, origin=ORIGIN)


def test_the_lowest_rank_is_the_smallest_score():
    """A target next to one takes the smallest score, never one from the other end."""
    assert quantile_threshold([3.0, 1.0, 2.0], 1.0 - 1e-12, origin=ORIGIN).value == 1.0


def test_threshold_round_trip():
    """What goes into a manifest comes back."""
    threshold = quantile_threshold(np.arange(200.0), 0.05, blocks=7, origin=ORIGIN)
    assert Threshold.from_dict(threshold.to_dict()) == threshold
    with pytest.raises(ValueError, match="finite"):
        Threshold.from_dict({**threshold.to_dict(), "value": float("nan")})


def test_thresholds_of_older_bundles_still_load():
    """A manifest without the newer entries reads as before; one without a value does not."""
    values = quantile_threshold(np.arange(200.0), 0.05, origin=ORIGIN).to_dict()
    older = {name: value for name, value in values.items() if name != "target_per_hour"}
    assert Threshold.from_dict(older).target_per_hour is None
    with pytest.raises(KeyError, match="value"):
        Threshold.from_dict({name: value for name, value in values.items() if name != "value"})
