"""Speed limit for Nav2: only NOMINAL lifts it."""

from __future__ import annotations

import pytest

from ls_ood_monitor.core.speed_limit import speed_limit_of
from ls_ood_monitor.core.types import FallbackMode


@pytest.mark.parametrize(
    ("mode", "limit"), [(FallbackMode.NOMINAL, 0.0), (FallbackMode.SLOW, 30.0), (FallbackMode.STOP, 30.0)]
)
def test_only_nominal_lifts_the_limit(mode, limit):
    """0.0 means no limit to Nav2, so STOP keeps the limit of SLOW; the limit is always a percentage."""
    assert speed_limit_of(mode, 30.0) == (True, limit)
