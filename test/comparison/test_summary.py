"""Figures of made-up scores, compared with scikit-learn and counts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ls_ood_monitor.comparison.report import markdown
from ls_ood_monitor.comparison.summary import summarise


@pytest.fixture
def summary(measured):
    """The summary, with few resamples."""
    return summarise(measured, reference="larem", resamples=300)


def scores(measured, name, label):
    """Scores of one condition."""
    part = next(part for part in measured.conditions if part.condition.label == label)
    return np.asarray(part.scores[name])


def entry_of(summary, name, shift, severity=None):
    """One result."""
    return next(
        entry
        for entry in summary["results"]
        if (entry["detector"], entry["shift"], entry["severity"]) == (name, shift, severity)
    )


def test_values_are_counts_and_scikit_learn(measured, summary):
    """Detection and false alarms are shares above the threshold; AUROC equals scikit-learn's and lies in its interval."""
    for name in ("multistage", "larem"):
        threshold = measured.fitted[name].threshold.value
        clean = scores(measured, name, "clean")
        assert summary["detectors"][name]["false_alarm_rate"]["value"] == pytest.approx((clean > threshold).mean())
        for severity in (1, 4):
            ood = scores(measured, name, f"fog_{severity}")
            entry = entry_of(summary, name, "fog", severity)
            assert entry["detection_rate"]["value"] == pytest.approx((ood > threshold).mean())
            expected = roc_auc_score(np.repeat([0, 1], 48), np.concatenate([clean, ood]))
            assert entry["auroc"]["value"] == pytest.approx(expected)
            assert entry["auroc"]["low"] <= expected <= entry["auroc"]["high"]


def test_the_wrong_way_is_shown(summary):
    """An AUROC below one half is reported as it is."""
    assert summary["detectors"]["larem"]["means"]["all"]["auroc"]["value"] < 0.5
    assert entry_of(summary, "larem", "fog", 4)["auroc"]["value"] < 0.1


def test_means_and_differences(summary):
    """Means are over the conditions of a group, and differences to the reference are differences of means."""
    own, base = (summary["detectors"][name] for name in ("multistage", "larem"))
    both = [entry_of(summary, "multistage", "fog", severity)["auroc"]["value"] for severity in (1, 4)]
    assert own["means"]["all"]["auroc"]["value"] == pytest.approx(np.mean(both))
    assert own["means"]["severity_1_2"]["conditions"] == 1
    assert own["by_shift"]["fog"]["severity_3_5"]["auroc"]["value"] == pytest.approx(both[1])
    difference = own["differences"]["all"]["auroc"]
    assert difference["value"] == pytest.approx(both[0] / 2 + both[1] / 2 - base["means"]["all"]["auroc"]["value"])
    assert 0.0 < difference["low"] <= difference["value"] <= difference["high"]
    assert base["differences"] == {}


def test_equal_detectors_do_not_differ(measured):
    """The same scores under two names have a difference of exactly zero, including its interval."""
    for part in measured.conditions:
        part.scores["larem"] = list(part.scores["multistage"])
    summary = summarise(measured, reference="larem", resamples=100)
    difference = summary["detectors"]["multistage"]["differences"]["all"]["auroc"]
    assert (difference["value"], difference["low"], difference["high"]) == (0.0, 0.0, 0.0)


def test_the_control_is_neutral(summary):
    """The identity control has the clean scores and an AUROC of one half."""
    assert summary["detectors"]["multistage"]["identity_difference"] == 0.0
    identity = entry_of(summary, "multistage", "identity")
    assert identity["role"] == "harmless"
    assert identity["auroc"]["value"] == pytest.approx(0.5)


def test_equal_seeds_give_equal_figures(measured, summary):
    """Equal seeds give equal summaries, and another seed changes only intervals."""
    assert json.dumps(summary) == json.dumps(summarise(measured, reference="larem", resamples=300))
    other = summarise(measured, reference="larem", resamples=300, seed=1)
    one, two = (entry_of(each, "multistage", "fog", 1)["auroc"] for each in (summary, other))
    assert one["value"] == two["value"]
    assert one["low"] != two["low"]


def test_markdown_has_every_detector_and_its_limits(summary):
    """The tables name the detectors, the domain, the target, and what the figures do not show."""
    cost = {"frames": 1, "device": "cpu", "threads": 1, "pass_ms": 10.0, "detectors": {}}
    for name in summary["detectors"]:
        cost["detectors"][name] = {"feature_ms": 0.1, "score_ms": 0.1, "share_of_pass": 0.02}
    facts = {
        "protocol": "street",
        "domain": "synthetic",
        "command": "ls-ood compare",
        "unit": "drive",
        "target_rate": 0.05,
        "calibration": {"frames": 200, "units": 10},
        "bootstrap": {"resamples": 300},
        "bundle": {"sha256": "ab" * 32},
        "notes": ["Nothing about real cameras."],
        "cost": cost,
    }
    text = markdown({**summary, **facts})
    for phrase in (
        "`multistage`",
        "`larem`",
        "5 % false alarms",
        "Nothing about real cameras.",
        "Difference to `larem`",
    ):
        assert phrase in text
