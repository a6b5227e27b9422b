"""A short run of the message fuzzing (``benchmarks/fuzz_messages.py``): nothing crashes, nothing invalid is clear."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")


@pytest.fixture(scope="module")
def fuzzing():
    """The script as a module."""
    path = Path(__file__).parents[2] / "benchmarks" / "fuzz_messages.py"
    spec = importlib.util.spec_from_file_location("fuzz_messages", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_three_thousand_messages(ros, fuzzing):
    """Every kind of message: no exception, every invalid one told as a fault, and the next good one clear."""
    for name, outcome in fuzzing.fuzz(3000, seed=1).items():
        assert outcome.messages == 1000
        assert outcome.invalid > 400
        assert outcome.passed, (name, outcome)


def test_the_fuzzing_can_fail(ros, fuzzing, monkeypatch):
    """With a check taken out it finds the messages that pass."""
    from ls_ood_monitor.core.input_validation import FrameValidator

    monkeypatch.setattr(FrameValidator, "_check_stamp", lambda self, stamp_ns, now_ns: None)
    outcome = fuzzing.fuzz(600, seed=1)["raw image"]
    assert outcome.accepted_invalid["stamp before the last"] > 0
    assert not outcome.passed
