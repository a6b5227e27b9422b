"""What ``ls-ood evaluate`` prints: of each recording, of all together, and of those that failed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from .console import console, warn

if TYPE_CHECKING:
    from ..evaluation.request import Result
    from ..evaluation.results import AcceptanceResult, PoolSummary, Stop, Summary

_MAX_SHOWN = 4


def print_summary(summary: Summary | PoolSummary, out: Path) -> None:
    """The paragraph of one recording, or that of all together, whose report lies in ``out``."""
    from ..evaluation.evaluate import REPORT
    from ..evaluation.results import PoolSummary

    lines = _pool_sentences(summary) if isinstance(summary, PoolSummary) else _sentences(summary)
    for line in (*lines, f"  report: {escape(str(out / REPORT))}"):
        console.print(line, soft_wrap=True)


def print_failures(failed: Mapping[str, str], results: Iterable[Result], count: int) -> None:
    """On stderr, by name; a defect of this package with its traceback."""
    for result in results:
        if result.trace:
            sys.stderr.write(result.trace)
    for name, sentence in failed.items():
        sys.stderr.write(f"ls-ood evaluate: {name}: {sentence}\n" if count > 1 else f"ls-ood evaluate: {sentence}\n")
    if count > 1:
        warn(f"{len(failed)} of {count} recordings could not be judged: {', '.join(failed)}.")


def stop_lines(stops: Sequence[Stop]) -> list[str]:
    """The first stops, each with its first reasons in the order in which they came; the one at the start is not counted."""
    from ..evaluation.summary_text import counted

    lines = []
    shown = _MAX_SHOWN + (bool(stops) and stops[0].start_up)
    for stop in stops[:shown]:
        first, *others = stop.reasons
        title = "STOP at the start," if stop.start_up else "STOP"
        lines.append(f"{title} {stop.start_s:.2f} to {stop.end_s:.2f} s: {first.reason}")
        lines += [f"  from {other.start_s:.2f} s: {other.reason}" for other in others[: _MAX_SHOWN - 1]]
        if len(others) >= _MAX_SHOWN:
            lines.append(f"  and {counted(len(others) - _MAX_SHOWN + 1, 'more reason')}")
    if len(stops) > shown:
        lines.append(f"and {len(stops) - shown} more")
    return lines


def _sentences(summary: Summary) -> list[str]:
    """What a person wants to know first; names that the user gave are no markup."""
    from ..evaluation import summary_text as text

    decision, silences = summary.decision, summary.silences
    lines = [
        f"{text.counted(summary.frames, 'image')} of {', '.join(summary.cameras)}, {summary.duration_s:.1f} s, "
        f"bundle {summary.bundle.sha256[:12]}, detector {summary.detector}",
        text.stops_sentence(summary),
        *stop_lines(summary.stops),
    ]
    for event in summary.events:
        alarm, stop = text.alarm_delay(event), text.stop_delay(event)
        lines.append(f"{event.label} on {event.camera} at {event.start_s:g} s: alarm {alarm}, STOP {stop}")
    if summary.events:
        lines.append(text.events_sentence(summary))
    rate = text.false_alarm_rate(summary)
    if decision.clean_s and not summary.clip:
        rate += f"; STOP in {text.share(decision.false_stop_ratio)} of {decision.clean_s:.0f} s of clean driving"
    lines.append(rate)
    if summary.fault_count:
        lines.append(f"{text.counted(summary.fault_count, 'alarm')} without a verdict: {text.counts(summary)}")
    if silences:
        first = [f"{gap.camera} from {gap.start_s:.1f} to {gap.end_s:.1f} s" for gap in silences[:_MAX_SHOWN]]
        more = f", and {len(silences) - len(first)} more" if len(silences) > len(first) else ""
        lines.append(f"alarm of a silent camera: {', '.join(first)}{more}")
    if summary.has_events:
        failures = summary.judgement.failures
        more = f" And {len(failures) - _MAX_SHOWN} more." if len(failures) > _MAX_SHOWN else ""
        judged = f"{' '.join(failures[:_MAX_SHOWN])}{more}" if failures else f"{text.passed_sentence(summary)}."
        lines.append(f"judgement by the events: {judged}")
    if advice := text.advice(summary):
        lines.append(advice)
    if summary.clip:
        lines += text.again_in_clip(summary.clip)
    head = f"[bold]{escape(summary.recording)}[/]: {escape(lines[0])}"
    return [head, *(f"  {escape(line)}" for line in lines[1:]), *_rule_lines(summary.acceptance)]


def _pool_sentences(pooled: PoolSummary) -> list[str]:
    """One paragraph; names that the user gave are no markup."""
    from ..evaluation import summary_text as text

    alarms, decision, rate = pooled.alarms, pooled.decision, pooled.alarms.false_per_hour
    count = len(pooled.recordings)
    lines = [
        f"[bold]{count - pooled.failed} of {count} recordings together[/]: {pooled.frames} images of "
        f"{escape(', '.join(pooled.cameras)) or 'no camera'}, {pooled.duration_s:.1f} s"
    ]
    if alarms.events:
        longest = decision.time_to_stop_s
        parts = [
            f"alarm at {alarms.detected} of {alarms.events} events",
            f"longest time to STOP {'-' if longest is None else f'{longest:.2f} s'}",
            f"STOP in {text.share(decision.hold_ratio)} of their time",
            *([f"never at {decision.not_stopped}"] if decision.not_stopped else []),
            *([f"STOP was on already at {decision.stop_was_on}"] if decision.stop_was_on else []),
        ]
        lines.append(f"  {', '.join(parts)}")
    if rate is not None:
        lines.append(
            f"  {'false alarms' if pooled.has_events else 'alarms'} in {rate.hours:.3g} h of clean driving: "
            f"{alarms.false}, which is {rate.per_hour:.1f} an hour (95 % interval {rate.low:.1f} to {rate.high:.1f}); "
            f"STOP in {text.share(decision.false_stop_ratio)} of it"
        )
    if pooled.faults:
        lines.append(f"  alarms without a verdict: {text.counts(pooled)}")
    return [*lines, *_rule_lines(pooled.acceptance)]


def _rule_lines(acceptance: AcceptanceResult) -> list[str]:
    kept = {True: "[green]kept[/]", False: "[bold red]BROKEN[/]"}
    return [f"  {kept[rule.passed]} {escape(rule.name)}: {escape(rule.sentence)}" for rule in acceptance.rules]
