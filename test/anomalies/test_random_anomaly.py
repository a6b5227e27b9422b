"""One random anomaly for each picture."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.anomalies.random_anomaly import REFERENCE_KINDS, RandomAnomaly
from ls_ood_monitor.errors import ConfigError

PICTURE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def test_exactly_one_of_the_kinds_on_every_picture():
    """Each picture is what apply_anomaly gives for one of the kinds, and all of them are drawn about equally often."""
    transform = RandomAnomaly(seed=4)
    drawn = [transform.draw(index) for index in range(300)]
    counts = Counter(kind for kind, _, _ in drawn)
    assert set(counts) == set(REFERENCE_KINDS)
    assert min(counts.values()) > 70
    assert {severity for _, severity, _ in drawn} == {1, 2, 3, 4, 5}
    np.testing.assert_array_equal(transform(PICTURE, 7), apply_anomaly(drawn[7][0], PICTURE, *drawn[7][1:]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kinds": ["fog", "locusts"]}, "kinds are locusts; known: identity"),
        ({"kinds": []}, r"kinds are \(none\)"),
        ({"severities": [0, 1]}, r"severities are \(0, 1\)"),
        ({"severities": []}, r"severities are \(\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, words):
    """An unknown kind, a severity out of range and empty lists are refused."""
    with pytest.raises(ConfigError, match=words):
        RandomAnomaly(**arguments)
