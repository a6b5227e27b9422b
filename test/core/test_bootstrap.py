"""Bootstrap by units against scipy's, closed forms and metrics of frames written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from ls_ood_monitor.core.bootstrap import (
    binned_auroc,
    binned_average_precision,
    curve_replicates,
    percentile_interval,
    ranking_replicates,
    resample_counts,
    share_replicates,
)
from ls_ood_monitor.core.metrics import aupr, auroc, fpr_at_tpr


def test_counts_repeat_and_sum_to_the_units():
    """Equal seeds draw equal resamples; each draws as many units as there are, each unit once on the mean."""
    counts = resample_counts(12, 4000, [3, 1])
    np.testing.assert_array_equal(counts, resample_counts(12, 4000, [3, 1]))
    assert (counts.sum(axis=1) == 12).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=0.07)
    assert not np.array_equal(counts, resample_counts(12, 4000, [3, 2]))


def test_percentiles_of_resampled_shares_are_those_of_scipy():
    """With equally long drives the share is the mean of the drives' shares, whose interval scipy computes."""
    random = np.random.default_rng(0)
    hits = random.integers(0, 9, 25)
    replicates = share_replicates(hits, np.full(25, 8), resample_counts(25, 20000, 1))
    interval = percentile_interval(hits.mean() / 8, replicates)
    reference = bootstrap((hits / 8,), np.mean, method="percentile", n_resamples=20000, rng=np.random.default_rng(2))
    assert interval.value == pytest.approx(hits.mean() / 8)
    assert interval.low == pytest.approx(reference.confidence_interval.low, abs=0.006)
    assert interval.high == pytest.approx(reference.confidence_interval.high, abs=0.006)
    assert replicates.std() == pytest.approx(hits.std() / 8 / 5, rel=0.03)  # closed form: sigma / sqrt(units)


def test_share_weighs_long_drives_more():
    """A share counts frames: by hand for three drives of unequal length."""
    counts = np.array([[1, 1, 1], [2, 0, 1]])
    np.testing.assert_allclose(share_replicates([1, 2, 0], [4, 2, 10], counts), [3 / 16, 2 / 18])
    with pytest.raises(ValueError, match="same units"):
        share_replicates([1, 2], [4, 2, 10], counts)


@pytest.mark.parametrize("tpr", [0.5, 0.95, 1.0])
def test_rankings_equal_the_metrics_of_frames_written_out(tpr):
    """Each resample's AUROC, AUPR and false-positive rate are those of core.metrics on the repeated frames, ties included."""
    random = np.random.default_rng(4)
    ind_units, ood_units = np.repeat(np.arange(5), 7), np.repeat(np.arange(6), 5)
    ind = random.integers(0, 12, 35).astype(float)
    ood = random.integers(4, 16, 30).astype(float)
    ind_counts, ood_counts = resample_counts(5, 40, 1), resample_counts(6, 40, 2)
    computed = ranking_replicates(ind, ind_units, ood, ood_units, ind_counts, ood_counts, tpr=tpr)
    for index, (clean_row, odd_row) in enumerate(zip(ind_counts, ood_counts, strict=True)):
        clean, odd = np.repeat(ind, clean_row[ind_units]), np.repeat(ood, odd_row[ood_units])
        assert computed.auroc[index] == pytest.approx(auroc(clean, odd), abs=1e-12)
        assert computed.aupr[index] == pytest.approx(aupr(clean, odd), abs=1e-12)
        assert computed.fpr[index] == pytest.approx(fpr_at_tpr(clean, odd, tpr=tpr), abs=1e-12)


def test_curves_equal_those_of_frames_written_out():
    """Each resample's heights are those of scikit-learn's curves on the repeated frames, ties included."""
    random = np.random.default_rng(6)
    ind_units, ood_units = np.repeat(np.arange(5), 7), np.repeat(np.arange(6), 5)
    ind = random.integers(0, 12, 35).astype(float)
    ood = random.integers(4, 16, 30).astype(float)
    ind_counts, ood_counts = resample_counts(5, 40, 1), resample_counts(6, 40, 2)
    places = np.linspace(0.0, 1.0, 21)
    computed = curve_replicates(ind, ind_units, ood, ood_units, ind_counts, ood_counts, places)
    for index, (clean_row, odd_row) in enumerate(zip(ind_counts, ood_counts, strict=True)):
        clean, odd = np.repeat(ind, clean_row[ind_units]), np.repeat(ood, odd_row[ood_units])
        labels, scores = np.repeat([0, 1], [len(clean), len(odd)]), np.concatenate([clean, odd])
        false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
        precision, recall, _ = precision_recall_curve(labels, scores)
        for place, height, exact in zip(places, computed.tpr[index], computed.precision[index], strict=True):
            assert height == pytest.approx(true[false <= place + 1e-12].max())
            least = recall[(recall >= place - 1e-12) & (recall > 0.0)].min()
            assert exact == pytest.approx(precision[recall == least].max())


def test_a_wrong_way_score_stays_wrong():
    """Nothing is flipped: a score that points the wrong way has an AUROC of 0 in every resample."""
    counts = resample_counts(4, 9, 0)
    units = np.arange(4)
    computed = ranking_replicates(np.ones(4), units, np.zeros(4), units, counts, counts)
    assert (computed.auroc == 0.0).all()
    assert (computed.fpr == 1.0).all()


def test_percentiles_are_those_of_a_normal():
    """For normal replicates the interval ends at 1.96 sigma; confidence outside (0, 1) is refused."""
    replicates = np.random.default_rng(0).normal(3.0, 2.0, 200_000)
    interval = percentile_interval(3.0, replicates)
    assert interval.low == pytest.approx(3.0 - 1.96 * 2.0, abs=0.05)
    assert interval.high == pytest.approx(3.0 + 1.96 * 2.0, abs=0.05)
    with pytest.raises(ValueError, match="confidence"):
        percentile_interval(3.0, replicates, 1.0)


def test_binned_metrics_equal_those_of_scikit_learn():
    """Counts in bins give the AUROC and the average precision of the bin numbers."""
    random = np.random.default_rng(5)
    ind, ood = random.integers(0, 20, 300), random.integers(5, 25, 60)
    counts = [np.bincount(part, minlength=25) for part in (ind, ood)]
    labels, scores = np.repeat([0, 1], [300, 60]), np.concatenate([ind, ood])
    assert binned_auroc(*counts) == pytest.approx(roc_auc_score(labels, scores))
    assert binned_average_precision(*counts) == pytest.approx(average_precision_score(labels, scores))
    assert np.isnan(binned_auroc(counts[0], np.zeros(25)))
