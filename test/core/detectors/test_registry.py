"""The contract, for every detector of the registry alike."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save

from ls_ood_monitor.core.detectors import DEFAULT_DETECTORS, DETECTORS, Detector, Head, detector_spec
from ls_ood_monitor.errors import BundleError, ConfigError, MonitorError
from ls_ood_monitor.features import FEATURES

WIDTH, CLASSES = 24, 4
HEAD = Head(*(np.random.default_rng(0).normal(size=size) for size in ((CLASSES, WIDTH), (CLASSES,))))
#: Axes of a row of each feature, at a small size.
ROW = {
    "entropies": (WIDTH,), "latent_means": (WIDTH,), "stage_means": (WIDTH,),
    "cells": (48, WIDTH), "head_cells": (6, WIDTH), "class_latents": (CLASSES, WIDTH + 1),
}  # fmt: skip
NOTHING_TO_LEARN = {name for name, spec in DETECTORS.items() if ROW.get(spec.feature, (1,)) == (1,)}


def rows_for(name: str, count: int, seed: int = 0) -> np.ndarray:
    """Positive rows of the shape that a detector reads."""
    feature = DETECTORS[name].feature
    rows = np.random.default_rng(seed).gamma(2.0, size=(count, *ROW.get(feature, (1,))))
    if feature == "class_latents":
        rows[:, :, -1] /= rows[:, :, -1].sum(axis=1, keepdims=True)
    return rows


def fitted(name: str) -> Detector:
    """A detector fitted to 60 rows, a supervised one to as many others."""
    return DETECTORS[name].make(HEAD).fit(rows_for(name, 60), rows_for(name, 60, seed=1) + 1.0)


def test_names_features_and_sources():
    """Each entry reads a feature that a pass can compute and says where it comes from; defaults are entries."""
    assert {spec.feature for spec in DETECTORS.values()} <= set(FEATURES)
    assert all(spec.source for spec in DETECTORS.values())
    assert set(DEFAULT_DETECTORS) <= set(DETECTORS)
    assert [name for name, spec in DETECTORS.items() if spec.supervised] == ["kde_two_class"]
    with pytest.raises(ConfigError, match="'oracle'; known: spatial"):
        detector_spec("oracle")


@pytest.mark.parametrize("name", DETECTORS)
def test_state_survives_a_file(name):
    """Arrays written to and read from safetensors give equal scores."""
    detector, rows = fitted(name), rows_for(name, 9, seed=2)
    arrays = {key: np.ascontiguousarray(value) for key, value in detector.state().items()}
    rebuilt = DETECTORS[name].from_state(load(save(arrays)))
    np.testing.assert_array_equal(rebuilt.score(rows), detector.score(rows))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_broken_row_scores_nan_and_harms_no_other(name):
    """A row with one non-finite value scores NaN; its neighbours score what they score alone."""
    detector, rows = fitted(name), rows_for(name, 30, seed=3)
    alone = np.array([detector.score(row[None])[0] for row in rows])
    assert np.isfinite(alone).all()
    for value in (np.nan, np.inf):
        broken = rows.copy()
        broken[7].flat[0] = value
        scores = detector.score(broken)
        assert np.isnan(scores[7])
        np.testing.assert_allclose(np.delete(scores, 7), np.delete(alone, 7), rtol=1e-9)


@pytest.mark.parametrize("name", DETECTORS)
def test_no_rows_no_scores(name):
    """An empty batch gives no score and no error."""
    assert fitted(name).score(rows_for(name, 60)[:0]).shape == (0,)


@pytest.mark.parametrize("name", DETECTORS)
def test_bad_rows_are_refused(name):
    """Too few rows, equal rows, non-finite rows and rows of another shape are refused in a sentence."""
    rows = rows_for(name, 60)
    bad = rows.copy()
    bad[3].flat[0] = np.nan
    for damaged, words in (
        (rows[:1], "at least 2"),
        (np.repeat(rows[:1], 60, axis=0), "all 60 .*rows are equal"),
        (bad, "non-finite"),
        (rows[..., None], "the detector needs"),
    ):
        with pytest.raises(MonitorError, match=words):
            DETECTORS[name].make(HEAD).fit(damaged, rows)
    with pytest.raises(MonitorError, match="the detector needs"):
        fitted(name).score(np.concatenate([rows, rows], axis=-1))


@pytest.mark.parametrize("name", sorted(set(DETECTORS) - NOTHING_TO_LEARN))
def test_unfitted_use_and_damaged_states_are_refused(name):
    """Before fitting there is neither score nor state; a stored array that lacks, is misshapen or non-finite is named."""
    unfitted = DETECTORS[name].make(HEAD)
    for use in (lambda: unfitted.score(rows_for(name, 3)), unfitted.state):
        with pytest.raises(MonitorError, match="not fitted"):
            use()
    state = fitted(name).state()
    assert state
    for key, value in state.items():
        without = {other: array for other, array in state.items() if other != key}
        for damaged, words in (
            (without, f"{key} are missing"),
            ({**state, key: value[None]}, f"{key} is"),
            ({**state, key: np.full_like(value, np.nan)}, f"{key} holds non-finite"),
        ):
            with pytest.raises(BundleError, match=words):
                DETECTORS[name].from_state(damaged)


@pytest.mark.parametrize("name", sorted(NOTHING_TO_LEARN))
def test_output_scores_pass_through(name):
    """Where the network's output is the score, the value goes on as it is, fitted or not, and nothing is stored."""
    rows = rows_for(name, 5)
    np.testing.assert_array_equal(DETECTORS[name].make(HEAD).score(rows), rows[:, 0])
    assert fitted(name).state() == {}


@pytest.mark.parametrize("name", sorted({"larem", "lared", "mahalanobis", "multistage", "gmm", "ddu", "vim"}))
def test_far_rows_score_higher(name):
    """Rows far from all clean ones score above every clean one."""
    detector, far = fitted(name), rows_for(name, 20, seed=4)
    far[..., : WIDTH // 2] += 40.0
    assert detector.score(far).min() > detector.score(rows_for(name, 60)).max()
