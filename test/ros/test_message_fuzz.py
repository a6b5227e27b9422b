"""A short run of the message fuzzing (``benchmarks/fuzz_messages.py``): nothing crashes, nothing invalid is clear."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy")

from support.fuzzing import fuzz, fuzz_perception


def test_three_thousand_messages(ros):
    """Every kind of message: no exception, every invalid one reported as a fault, and the next good one clear."""
    for name, outcome in fuzz(3000, seed=1).items():
        assert outcome.messages == 1000
        assert outcome.invalid > 400
        assert outcome.passed, (name, outcome)


def test_the_fuzzing_can_fail(ros):
    """With a check switched off it finds the messages that pass."""
    outcome = fuzz_perception("raw", 200, np.random.default_rng(1), max_clock_lead_s=0.0)
    assert outcome.accepted_invalid["stamp years ahead"] > 0
    assert not outcome.passed
