"""Several recordings as one: their hours, alarms and events together, and the gate that they pass as a set.

One drive is too short for a rate an hour; a set of them may be long enough. Figures have the names of a single recording's
``summary.json`` where they mean the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from ..core.intervals import event_rate
from .acceptance import Acceptance, check_set

_OF_EACH = ("frames", "duration_s", "cameras", "truth", "truncated", "alarms", "decision", "stops", "judgement", "gate")


def pool(
    names: Sequence[str], summaries: Mapping[str, Mapping[str, Any]], failed: Mapping[str, str], gate: Acceptance | None
) -> dict[str, Any]:
    """Figures of a set of recordings; times in seconds, rates an hour of clean driving.

    Args:
        names: of all recordings, in their order.
        summaries: of those that could be judged, by name.
        failed: why the others could not, a sentence each.
        gate: limits to hold the set against. Its verdict is None without one, and while a recording is missing that could
            still break it.
    """
    judged = [summaries[name] for name in names if name in summaries]
    events = [{"recording": one["recording"], **event} for one in judged for event in one["events"]]
    faults = _sum(one["faults"] for one in judged)
    pooled: dict[str, Any] = {
        "recordings": [_entry(name, summaries.get(name), failed.get(name, "")) for name in names],
        "failed": len(failed),
        "truth": _truth(judged),
        "bundle": judged[0]["bundle"] if judged else None,
        "detector": judged[0]["detector"] if judged else None,
        "threshold": judged[0]["threshold"] if judged else None,
        "provenance": _common(judged),
        "duration_s": sum(one["duration_s"] for one in judged),
        "frames": sum(one["frames"] for one in judged),
        "cameras": sorted({camera for one in judged for camera in one["cameras"]}),
        "alarms": _alarms(judged, events),
        "decision": _decision(judged, events),
        "events": events,
        "faults": faults,
        "fault_count": sum(faults.values()),
        "by_camera": _by_camera(judged),
        "silences": [{"recording": one["recording"], **silence} for one in judged for silence in one["silences"]],
        "judgement": _judgement(judged),
    }
    pooled["gate"] = _gate(gate, judged, pooled, is_whole=not failed)
    return pooled


def _entry(name: str, summary: Mapping[str, Any] | None, error: str) -> dict[str, Any]:
    """One recording of the set; its folder is beside the file of the pool."""
    figures = {} if summary is None else {key: summary[key] for key in _OF_EACH}
    return {"recording": name, "folder": name, "error": error, **figures}


def _common(judged: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Software, engine and parameters of all; where they were judged on several machines, the first one's."""
    if not judged:
        return None
    facts = judged[0]["provenance"]
    return {name: facts[name] for name in ("version", "network", "environment", "parameters")}


def _judgement(judged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """By the events of the recordings that have some; None where none has."""
    known = [one for one in judged if one["truth"] == "events"]
    return {
        "passed": all(one["judgement"]["passed"] for one in known) if known else None,
        "failures": [f"{one['recording']}: {text}" for one in known for text in one["judgement"]["failures"]],
    }


def _truth(judged: Collection[Mapping[str, Any]]) -> str:
    known = sum(one["truth"] == "events" for one in judged)
    if known == len(judged) and judged:
        return "events"
    return f"events of {known} of {len(judged)} recordings: in the others every alarm counts as false"


def _alarms(judged: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    false = sum(one["alarms"]["false"] for one in judged)
    clean_h = sum(one["decision"]["clean_s"] for one in judged) / 3600.0
    delays = [event["alarm_delay_s"] for event in events if event["alarm_delay_s"] is not None]
    return {
        "events": len(events),
        "detected": len(delays),
        "raised": sum(one["alarms"]["raised"] for one in judged),
        "detected_share": len(delays) / len(events) if events else None,
        "delay_s": {"median": median(delays) if delays else None, "max": max(delays, default=None)},
        "false": false,
        "false_per_hour": event_rate(false, clean_h).to_dict() if clean_h > 0.0 else None,
    }


def _decision(judged: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    false_stop_s, clean_s, held_s, event_s = (
        sum(one["decision"][name] for one in judged) for name in ("false_stop_s", "clean_s", "held_s", "event_s")
    )
    return {
        "time_to_stop_s": _longest(judged, "time_to_stop_s"),
        "not_stopped": sum(event["stop_delay_s"] is None for event in events),
        "stop_was_on": sum(event["stop_was_on"] for event in events),
        "time_to_resume_s": _longest(judged, "time_to_resume_s"),
        "not_resumed": sum(one["decision"]["not_resumed"] for one in judged),
        "false_stop_s": false_stop_s,
        "clean_s": clean_s,
        "false_stop_ratio": false_stop_s / clean_s if clean_s else None,
        "held_s": held_s,
        "event_s": event_s,
        "hold_ratio": held_s / event_s if event_s else None,
    }


def _longest(judged: Sequence[Mapping[str, Any]], name: str) -> float | None:
    found = [one["decision"][name] for one in judged if one["decision"][name] is not None]
    return max(found, default=None)


def _by_camera(judged: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    cameras = sorted({camera for one in judged for camera in one["by_camera"]})
    return {camera: _sum(one["by_camera"].get(camera, {}) for one in judged) for camera in cameras}


def _sum(counts: Any) -> dict[str, int]:
    """Of counts by name; a name that counts nothing stays."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _gate(
    gate: Acceptance | None, judged: Sequence[Mapping[str, Any]], pooled: Mapping[str, Any], is_whole: bool
) -> dict[str, Any]:
    """The rules of the set, and whether it passes: each recording by its own rules, and all of them by these."""
    if gate is None:
        return {"passed": None, "rules": []}
    answered = {rule["name"] for one in judged for rule in one["gate"]["rules"]}
    rules = check_set(gate, pooled, answered, is_whole)
    is_kept = all(rule.passed for rule in rules) and all(one["gate"]["passed"] for one in judged)
    passed = None if is_kept and not is_whole else is_kept
    return {"passed": passed, "rules": [asdict(rule) for rule in rules]}
