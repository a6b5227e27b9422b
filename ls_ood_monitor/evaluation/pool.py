"""Several recordings as one: their hours, alarms and events together, and the acceptance that they pass as a set.

One drive is too short for a rate an hour; a set of them may be long enough.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .acceptance import Acceptance, check_set
from .assessment import alarm_figures, fraction, longest, time_to_stop
from .results import (
    AcceptanceResult,
    CameraFigures,
    DecisionFigures,
    EventCheck,
    EventOutcome,
    PoolEntry,
    PoolSummary,
    Provenance,
    Summary,
)


def pool(
    names: Sequence[str], summaries: Mapping[str, Summary], failed: Mapping[str, str], acceptance: Acceptance | None
) -> PoolSummary:
    """Figures of a set of recordings, in the order of ``names``; ``failed`` says why some could not be judged.

    The acceptance is not decided without limits, and while a recording is missing that could still break it.
    """
    judged = [summaries[name] for name in names if name in summaries]
    first = judged[0] if judged else None
    events = tuple(replace(event, recording=summary.recording) for summary in judged for event in summary.events)
    silences = tuple(replace(gap, recording=summary.recording) for summary in judged for gap in summary.silences)
    faults = _sum(summary.faults for summary in judged)
    decision = _decision(judged, events)
    raised, false = (sum(getattr(summary.alarms, name) for summary in judged) for name in ("raised", "false"))
    pooled = PoolSummary(
        recordings=tuple(PoolEntry(name, failed.get(name, ""), summaries.get(name)) for name in names),
        failed=len(failed),
        truth=_truth(judged),
        bundle=None if first is None else first.bundle,
        detector=None if first is None else first.detector,
        threshold=None if first is None else first.threshold,
        provenance=None if first is None else _common(first.provenance),
        duration_s=sum(summary.duration_s for summary in judged),
        frames=sum(summary.frames for summary in judged),
        cameras=tuple(sorted({camera for summary in judged for camera in summary.cameras})),
        alarms=alarm_figures(events, raised, false, decision.clean_s),
        decision=decision,
        events=events,
        faults=faults,
        fault_count=sum(faults.values()),
        by_camera=_by_camera(judged),
        silences=silences,
        judgement=_judgement(judged),
        acceptance=AcceptanceResult(),
    )
    if acceptance is None:
        return pooled
    return replace(pooled, acceptance=_accepted(acceptance, judged, pooled, is_whole=not failed))


def _common(facts: Provenance) -> Provenance:
    """Software, engine and parameters of all; where they were judged on several machines, the first one's."""
    return Provenance(facts.version, facts.network, facts.environment, facts.parameters)


def _judgement(judged: Sequence[Summary]) -> EventCheck:
    """By the events of the recordings that have some."""
    known = [summary for summary in judged if summary.has_events]
    failures = (f"{summary.recording}: {failure}" for summary in known for failure in summary.judgement.failures)
    return EventCheck(all(summary.judgement.passed for summary in known) if known else None, tuple(failures))


def _truth(judged: Sequence[Summary]) -> str:
    known = sum(summary.has_events for summary in judged)
    if known == len(judged) and judged:
        return "events"
    return f"events of {known} of {len(judged)} recordings: in the others every alarm counts as false"


def _decision(judged: Sequence[Summary], events: Sequence[EventOutcome]) -> DecisionFigures:
    parts = [summary.decision for summary in judged]
    false_stop_s, clean_s = sum(part.false_stop_s for part in parts), sum(part.clean_s for part in parts)
    held_s, event_s = sum(part.held_s for part in parts), sum(part.event_s for part in parts)
    return DecisionFigures(
        time_to_stop_s=time_to_stop(events),
        false_stop_s=false_stop_s,
        clean_s=clean_s,
        false_stop_ratio=fraction(false_stop_s, clean_s),
        held_s=held_s,
        event_s=event_s,
        hold_ratio=fraction(held_s, event_s),
        time_to_release_s=longest(part.time_to_release_s for part in parts),
        not_released=sum(part.not_released for part in parts),
        not_stopped=sum(event.stop_delay_s is None for event in events),
        stop_was_on=sum(event.stop_was_on for event in events),
    )


def _by_camera(judged: Sequence[Summary]) -> dict[str, CameraFigures]:
    counts: defaultdict[str, list[dict[str, int]]] = defaultdict(list)
    for summary in judged:
        for camera, figures in summary.by_camera.items():
            counts[camera].append(vars(figures))
    return {camera: CameraFigures(**_sum(counts[camera])) for camera in sorted(counts)}


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Of counts by name; a name that counts nothing stays."""
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(total)


def _accepted(
    acceptance: Acceptance, judged: Sequence[Summary], pooled: PoolSummary, is_whole: bool
) -> AcceptanceResult:
    """The rules of the set, and whether it passes: each recording by its own rules, and all of them by these."""
    answered = {rule.name for summary in judged for rule in summary.acceptance.rules}
    rules = check_set(acceptance, pooled, answered, is_whole)
    is_kept = all(rule.passed for rule in rules) and all(summary.acceptance.passed for summary in judged)
    return AcceptanceResult(None if is_kept and not is_whole else is_kept, rules)
