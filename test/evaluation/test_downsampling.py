"""Few points for many: what may be left out of a drawing, and what may not."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ls_ood_monitor.evaluation.downsampling import LabelledSpan, keep_extremes, merge_spans, thin_curve


def test_a_short_recording_is_drawn_whole():
    """Every point, in order."""
    np.testing.assert_array_equal(keep_extremes(np.arange(9.0), np.ones(9), np.zeros(9, int), 9), np.arange(9))


@pytest.mark.parametrize("seed", range(4))
def test_extremes_changes_and_ends_stay(seed):
    """Of 20000 points few are kept, among them every slice's smallest and largest and a point of a rare kind; NaN is none."""
    random = np.random.default_rng(seed)
    times = np.sort(random.uniform(0.0, 1000.0, 20_000))
    values = random.normal(size=20_000)
    values[random.integers(0, 20_000, 500)] = np.nan
    kinds = np.zeros(20_000, int)
    kinds[7_777] = 2
    kept = keep_extremes(times, values, kinds, 800)
    assert len(kept) <= 802
    assert (np.diff(kept) > 0).all()
    assert {0, 19_999, 7_777, int(np.nanargmin(values)), int(np.nanargmax(values))} <= set(kept.tolist())
    slices = 800 // 4
    number = ((times - times[0]) / (times[-1] - times[0]) * slices).astype(int).clip(max=slices - 1)
    for part in range(slices):
        inside = np.flatnonzero(number == part)
        chosen = kept[number[kept] == part]
        assert np.nanmax(values[chosen]) == np.nanmax(values[inside])
        assert np.nanmin(values[chosen]) == np.nanmin(values[inside])


def test_points_of_one_moment_do_not_break_it():
    """Equal times, and no value at all."""
    kept = keep_extremes(np.zeros(50), np.full(50, np.nan), np.zeros(50, int), 10)
    assert 0 < len(kept) <= 12


@given(st.lists(st.tuples(st.floats(0.01, 5.0), st.integers(0, 2)), min_size=1, max_size=200), st.integers(1, 30))
def test_merged_spans_never_hide_the_worst(lengths, most):
    """No more than asked for, without gaps, and wherever the worst kind was it is still shown."""
    spans, begin = [], 0.0
    for length, kind in lengths:
        spans.append(LabelledSpan(begin, begin + length, kind, str(len(spans))))
        begin += length
    merged = merge_spans(spans, most)
    assert len(merged) <= max(most, len(spans) if len(spans) <= most else 0)
    assert merged[0].begin_s == pytest.approx(0.0)
    assert merged[-1].end_s == pytest.approx(begin)
    for one, other in pairwise(merged):
        assert one.end_s == pytest.approx(other.begin_s)
    for span in spans:
        middle = (span.begin_s + span.end_s) / 2.0
        shown = [kept for kept in merged if kept.begin_s - 1e-9 <= middle <= kept.end_s + 1e-9]
        assert max(kept.severity for kept in shown) >= span.severity


def test_a_curve_keeps_its_shape():
    """A thinned curve has few points, its ends, and lies within a step of the whole."""
    x = np.linspace(0.0, 1.0, 50_000)
    y = np.sqrt(x)
    kept = thin_curve(x, y, 100)
    assert len(kept) < 250
    assert (kept[0], kept[-1]) == (0, 49_999)
    np.testing.assert_allclose(np.interp(x, x[kept], y[kept]), y, atol=0.03)
