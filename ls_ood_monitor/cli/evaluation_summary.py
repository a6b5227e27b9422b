"""What ``ls-ood evaluate`` says in the terminal: of each recording, of all together, and of those that failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_MAX_TOLD = 4


def tell(summary: Mapping[str, Any], out: Path) -> None:
    """The paragraph of one recording, whose report lies in ``out``."""
    _show(_sentences(summary), out)


def tell_pool(pooled: Mapping[str, Any], out: Path) -> None:
    """That of all together."""
    _show(_pool_sentences(pooled), out)


def _show(lines: Sequence[str], out: Path) -> None:
    from rich.markup import escape

    from ..evaluation.evaluate import REPORT
    from .console import console

    for line in (*lines, f"  report: {escape(str(out / REPORT))}"):
        console.print(line, soft_wrap=True)


def tell_failures(failed: Mapping[str, str], results: Iterable[Any], count: int) -> None:
    """On stderr, by name; a defect of this package with its traceback."""
    import sys

    from .console import warn

    for result in results:
        if result.trace:
            sys.stderr.write(result.trace)
    for name, sentence in failed.items():
        sys.stderr.write(f"ls-ood evaluate: {name}: {sentence}\n" if count > 1 else f"ls-ood evaluate: {sentence}\n")
    if count > 1:
        warn(f"{len(failed)} of {count} recordings could not be judged: {', '.join(failed)}.")


def _sentences(summary: dict[str, Any]) -> list[str]:
    """What a person wants to know first; names that the user gave are no markup."""
    from rich.markup import escape

    from ..evaluation import summary_text as words

    decision, silences = summary["decision"], summary["silences"]
    lines = [
        f"{words.counted(summary['frames'], 'image')} of {', '.join(summary['cameras'])}, {summary['duration_s']:.1f} s, "
        f"bundle {summary['bundle']['sha256'][:12]}, detector {summary['detector']}",
        words.stop_verdict(summary),
        *_stop_lines(summary["stops"]),
    ]
    for event in summary["events"]:
        alarm, stop = words.delay(event, "alarm"), words.delay(event, "stop")
        lines.append(f"{event['label']} on {event['camera']} at {event['start_s']:g} s: alarm {alarm}, STOP {stop}")
    if summary["events"]:
        lines.append(words.of_all_events(summary))
    rate = words.false_alarm_rate(summary)
    if decision["clean_s"] and not summary["clip"]:
        share = 100 * decision["false_stop_ratio"]
        rate += f"; STOP in {share:.1f} % of {decision['clean_s']:.0f} s of clean driving"
    lines.append(rate)
    if summary["fault_count"]:
        counted = ", ".join(f"{name} {count}" for name, count in summary["faults"].items())
        lines.append(f"{words.counted(summary['fault_count'], 'alarm')} without a verdict: {counted}")
    if silences:
        told = [f"{one['camera']} from {one['start_s']:.1f} to {one['end_s']:.1f} s" for one in silences[:_MAX_TOLD]]
        more = f", and {len(silences) - len(told)} more" if len(silences) > len(told) else ""
        lines.append(f"alarm of a silent camera: {', '.join(told)}{more}")
    if summary["truth"] == "events":
        failures = summary["judgement"]["failures"]
        more = f" And {len(failures) - _MAX_TOLD} more." if len(failures) > _MAX_TOLD else ""
        judged = f"{' '.join(failures[:_MAX_TOLD])}{more}" if failures else f"{words.judged_well(summary)}."
        lines.append(f"judgement by the events: {judged}")
    if advice := words.advice(summary):
        lines.append(advice)
    if summary["clip"]:
        lines += words.again_in_clip(summary["clip"])
    printed = [f"[bold]{escape(summary['recording'])}[/]: {escape(lines[0])}"]
    printed += [f"  {escape(line)}" for line in lines[1:]]
    for rule in summary["gate"]["rules"]:
        word = "[green]kept[/]" if rule["passed"] else "[bold red]BROKEN[/]"
        printed.append(f"  {word} {rule['name']}: {escape(rule['sentence'])}")
    return printed


def _pool_sentences(pooled: Mapping[str, Any]) -> list[str]:
    """One paragraph; names that the user gave are no markup."""
    from rich.markup import escape

    from ..evaluation import summary_text as words

    alarms, decision, rate = pooled["alarms"], pooled["decision"], pooled["alarms"]["false_per_hour"]
    count = len(pooled["recordings"])
    lines = [
        f"[bold]{count - pooled['failed']} of {count} recordings together[/]: {pooled['frames']} images of "
        f"{escape(', '.join(pooled['cameras'])) or 'no camera'}, {pooled['duration_s']:.1f} s"
    ]
    if alarms["events"]:
        longest = decision["time_to_stop_s"]
        told = [
            f"alarm at {alarms['detected']} of {alarms['events']} events",
            f"longest time to STOP {'-' if longest is None else f'{longest:.2f} s'}",
            f"STOP in {words.share(decision['hold_ratio'])} of their time",
            *([f"never at {decision['not_stopped']}"] if decision["not_stopped"] else []),
            *([f"STOP was on already at {decision['stop_was_on']}"] if decision["stop_was_on"] else []),
        ]
        lines.append(f"  {', '.join(told)}")
    if rate is not None:
        lines.append(
            f"  {'false alarms' if pooled['truth'] == 'events' else 'alarms'} in {rate['hours']:.3g} h of clean driving: "
            f"{alarms['false']}, which is {rate['per_hour']:.1f} an hour (95 % interval {rate['low']:.1f} to "
            f"{rate['high']:.1f}); STOP in {100 * decision['false_stop_ratio']:.1f} % of it"
        )
    if pooled["faults"]:
        counted = ", ".join(f"{name} {number}" for name, number in pooled["faults"].items())
        lines.append(f"  alarms without a verdict: {counted}")
    for rule in pooled["gate"]["rules"]:
        word = "[green]kept[/]" if rule["passed"] else "[bold red]BROKEN[/]"
        lines.append(f"  {word} {escape(rule['name'])}: {escape(rule['sentence'])}")
    return lines


def _stop_lines(stops: Sequence[Mapping[str, Any]]) -> list[str]:
    """The first stops, each with its first causes in the order in which they came; the one at the start is not counted."""
    from ..evaluation.summary_text import counted

    lines = []
    shown = _MAX_TOLD + (bool(stops) and stops[0]["start_up"])
    for stop in stops[:shown]:
        first, *others = stop["reasons"]
        what = "STOP at the start," if stop["start_up"] else "STOP"
        lines.append(f"{what} {stop['start_s']:.2f} to {stop['end_s']:.2f} s: {first['reason']}")
        lines += [f"  from {cause['start_s']:.2f} s: {cause['reason']}" for cause in others[: _MAX_TOLD - 1]]
        if len(others) >= _MAX_TOLD:
            lines.append(f"  and {counted(len(others) - _MAX_TOLD + 1, 'more reason')}")
    if len(stops) > shown:
        lines.append(f"and {len(stops) - shown} more")
    return lines
