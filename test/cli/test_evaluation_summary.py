"""What an evaluation says in the terminal: as much as one reads."""

from __future__ import annotations

from ls_ood_monitor.cli.evaluation_summary import stop_lines
from ls_ood_monitor.evaluation.results import Stop, StopReason


def test_many_stops_are_told_in_few_lines():
    """Four, and the one at the start, and how many more; of their reasons likewise."""
    reasons = tuple(StopReason(f"{n}", n / 10.0, f"camera {n}: odd", "sudden") for n in range(6))
    stops = [Stop(float(n), n + 0.5, n == 0, reasons[: 6 if n == 1 else 1]) for n in range(7)]
    lines = stop_lines(stops)
    assert lines[0] == "STOP at the start, 0.00 to 0.50 s: camera 0: odd"
    assert lines[1:6] == [
        "STOP 1.00 to 1.50 s: camera 0: odd",
        "  from 0.10 s: camera 1: odd",
        "  from 0.20 s: camera 2: odd",
        "  from 0.30 s: camera 3: odd",
        "  and 2 more reasons",
    ]
    assert lines[6:] == [*(f"STOP {n}.00 to {n}.50 s: camera 0: odd" for n in (2, 3, 4)), "and 2 more"]
    assert stop_lines([]) == []
