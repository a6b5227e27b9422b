"""Velocity gate: nothing passes in STOP, unheard, silent or unreadable, and nothing ever comes out faster than it went in."""

from __future__ import annotations

from math import isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ls_ood_monitor.config import OutputSettings
from ls_ood_monitor.core.types import FallbackMode
from ls_ood_monitor.core.velocity_gate import ZERO, GateReason, VelocityGate
from ls_ood_monitor.wording import gate_sentence

SECOND = 1_000_000_000
NOMINAL, SLOW, STOP = FallbackMode.NOMINAL, FallbackMode.SLOW, FallbackMode.STOP
FORWARD = (1.0, 0.0, 0.0, 0.0, 0.0, -0.5)


def make(**values) -> VelocityGate:
    """A gate with the default settings, unless changed."""
    return VelocityGate(OutputSettings(**values))


def test_the_decision_rules_what_passes():
    """NOMINAL passes the command as it is, SLOW scales all of it, STOP gives zero."""
    gate = make(gate_slow_scale=0.5)
    gate.on_command(FORWARD, 0)
    assert gate.release(NOMINAL, 0).velocity == FORWARD
    assert gate.release(NOMINAL, 0).reason is None
    slowed = gate.release(SLOW, 0)
    assert slowed.velocity == (0.5, 0.0, 0.0, 0.0, 0.0, -0.25)
    assert not slowed.is_closed
    stopped = gate.release(STOP, 0)
    assert stopped.velocity == ZERO
    assert stopped.is_closed
    assert stopped.reason is GateReason.STOP


@pytest.mark.parametrize("mode", [NOMINAL, SLOW, STOP])
def test_before_the_first_command_it_is_closed(mode):
    """Nothing heard means zero, whatever the decision."""
    closed = make().release(mode, SECOND)
    assert (closed.velocity, closed.is_closed) == (ZERO, True)


def test_silence_closes_it_and_the_next_command_opens_it():
    """A command counts up to the timeout and not a nanosecond longer."""
    gate = make(gate_timeout_s=0.5)
    gate.on_command(FORWARD, SECOND)
    assert not gate.release(NOMINAL, SECOND + SECOND // 2).is_closed
    closed = gate.release(NOMINAL, SECOND + SECOND // 2 + 1)
    assert closed.velocity == ZERO
    assert "no velocity command for 0.50 s" in gate_sentence(closed)
    gate.on_command(FORWARD, 3 * SECOND)
    assert gate.release(NOMINAL, 3 * SECOND).velocity == FORWARD


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_command_that_is_no_number_is_zero_with_the_reason(value):
    """The whole command is dropped, the reason names the number, and the next good command passes."""
    gate = make()
    gate.on_command((1.0, value, 0.0, 0.0, 0.0, 0.0), 0)
    closed = gate.release(NOMINAL, 0)
    assert (closed.velocity, closed.is_closed, closed.reason) == (ZERO, True, GateReason.NOT_FINITE)
    assert f"linear.y is {value}" in gate_sentence(closed)
    gate.on_command(FORWARD, 1)
    assert gate.release(NOMINAL, 1).velocity == FORWARD


def test_a_clock_that_runs_backwards_closes_it_until_the_next_command():
    """The age of the command is unknown then, and stays so when the clock has caught up."""
    gate = make()
    gate.on_command(FORWARD, SECOND)
    assert gate.release(NOMINAL, SECOND - 1).is_closed
    assert gate.release(NOMINAL, SECOND + 1).is_closed
    gate.on_command(FORWARD, SECOND + 2)
    assert not gate.release(NOMINAL, SECOND + 2).is_closed


ORDINARY, ANY = st.floats(-10.0, 10.0), st.floats(allow_nan=True, allow_infinity=True)
#: A command or a question, some part of the timeout after the last event; now and then the clock runs backwards.
EVENTS = st.lists(
    st.tuples(
        st.one_of(st.tuples(*[ORDINARY] * 6), st.tuples(*[ANY] * 6), st.sampled_from(FallbackMode)),
        st.sampled_from([0.0, 0.4, 0.99, 1.01, 1.5, 5.0, -0.1]),
    ),
    max_size=20,
)


@settings(database=None, deadline=None, derandomize=True, max_examples=300)
@given(EVENTS, st.floats(0.0, 1.0), st.floats(0.01, 2.0))
def test_it_never_lets_through_what_it_must_not(events, scale, timeout_s):
    """Whatever comes in whatever order: no motion in STOP, unheard or after silence, and never more than was asked."""
    gate = make(gate_slow_scale=scale, gate_timeout_s=timeout_s)
    now_ns, command, heard_ns = 100 * SECOND, None, None
    for event, step in events:
        now_ns += int(step * timeout_s * SECOND)
        if not isinstance(event, FallbackMode):
            command, heard_ns = event, now_ns
            gate.on_command(event, now_ns)
            continue
        gated = gate.release(event, now_ns)
        assert all(isfinite(value) for value in gated.velocity)
        assert (gated.reason is None) == (event is NOMINAL and not gated.is_closed)
        if event is STOP or command is None or now_ns < heard_ns or (now_ns - heard_ns) / 1e9 > timeout_s:
            assert gated.velocity == ZERO
            assert gated.is_closed
        elif gated.velocity != ZERO:
            pairs = list(zip(gated.velocity, command, strict=True))
            assert all(abs(out) <= abs(asked) for out, asked in pairs)
            assert all(out == 0.0 or (out > 0.0) == (asked > 0.0) for out, asked in pairs)


@settings(database=None, deadline=None, derandomize=True)
@given(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 6))
def test_a_fresh_command_passes_unchanged_in_nominal(command):
    """The gate is no filter: what is allowed to pass is not touched."""
    gate = make()
    gate.on_command(command, 0)
    assert gate.release(NOMINAL, 1).velocity == command
