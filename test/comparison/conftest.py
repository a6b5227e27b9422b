"""Made-up scores, whose figures can also be computed in another way."""

from __future__ import annotations

import numpy as np
import pytest

from ls_ood_monitor.comparison.conditions import make_conditions
from ls_ood_monitor.comparison.scoring import CalibratedDetector, ComparisonScores, ConditionScores
from ls_ood_monitor.core.detectors import MahalanobisDetector
from ls_ood_monitor.core.threshold import quantile_threshold


@pytest.fixture
def measured() -> ComparisonScores:
    """Two detectors on 6 drives of 8 frames: ``multistage`` sees fog, ``larem`` points the wrong way."""
    random = np.random.default_rng(0)
    units = [str(drive) for drive in range(6) for _ in range(8)]
    threshold = quantile_threshold(random.normal(size=200), 0.05, origin="leave-one-drive-out", blocks=10)
    fitted = {name: CalibratedDetector(MahalanobisDetector(), threshold, None) for name in ("multistage", "larem")}
    clean = random.normal(size=48)
    parts = []
    for condition in make_conditions(("fog",), (1, 4)):
        part = ConditionScores(condition, "control", list(units))
        for name, sign in (("multistage", 1.0), ("larem", -1.0)):
            shift = sign * 0.8 * condition.severity
            noise = random.normal(size=48) * (condition.role == "ood")
            part.scores[name] = list(clean + shift + noise)
        parts.append(part)
    return ComparisonScores(fitted, parts, {"frames": 200, "units": 10}, {"multistage": 0, "larem": 0}, [])
