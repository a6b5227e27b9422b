"""ls-ood demo: what it takes from the nodes."""

from __future__ import annotations

from types import SimpleNamespace

from ls_ood_monitor.cli.demo import _on_axis
from ls_ood_monitor.core.types import FallbackMode


def test_the_stop_is_the_one_commanded_not_the_one_explained():
    """Where state and stop disagree, the judged samples follow the stop command, from the start of the recording to its end."""
    observer = SimpleNamespace(
        alarms=list,
        decisions=lambda: [SimpleNamespace(at_ns=3 * 10**9, mode=FallbackMode.STOP, reason="why")],
        stops=lambda: [SimpleNamespace(at_ns=second * 10**9, stop=second == 4) for second in (3, 4, 9)],
    )
    _, modes, stops = _on_axis(observer, 2 * 10**9, 5.0)
    assert [(one.time_s, one.mode, one.reason) for one in modes] == [(1.0, FallbackMode.STOP, "why")]
    assert [(one.time_s, one.stop) for one in stops] == [(1.0, False), (2.0, True)]
