"""Limits that a recording's figures must keep, from a YAML file; a broken one fails a release."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ...config import Checked, from_mapping, setting
from ...errors import ConfigError
from ..yaml_file import read_yaml

_NONE = -1.0
_EXAMPLES = {"labels": "fog: {min_events_detected: 1.0}", "cameras": "front: {max_false_alarms: 0}"}


def _limit(description: str, unit: str = "") -> Any:
    """A limit that is not checked unless given."""
    return setting(_NONE, description, low=_NONE, high=1e9, unit=unit)


@dataclass(frozen=True)
class EventLimits(Checked):
    """What is accepted of the events of one label; -1 = not checked."""

    min_events_detected: float = _limit("share of the events that raised their alarm")
    max_events_detected: float = _limit("share of the events that raised an alarm, where none is due")
    max_alarm_delay_s: float = _limit("longest time from an event's start to its alarm", "s")
    max_time_to_stop_s: float = _limit("longest time from an event's start to STOP", "s")


@dataclass(frozen=True)
class CameraLimits(EventLimits):
    """What is accepted of one camera: of its events, and of the rest of its time; -1 = not checked."""

    max_false_alarms: float = _limit("alarms raised outside events")
    max_faults: float = _limit("alarms without a verdict: bad images, and ten a second of silence")


@dataclass(frozen=True)
class Gate(CameraLimits):
    """What is accepted of a recording; -1 = not checked. ``max_`` limits a figure from above, ``min_`` from below."""

    max_false_alarms_per_hour: float = _limit("false alarms an hour of clean driving", "1/h")
    max_false_alarms_per_hour_upper: float = _limit("one-sided 95 % bound of the false alarms an hour", "1/h")
    max_time_to_resume_s: float = _limit("longest time from an event's end to NOMINAL", "s")
    max_false_stop_ratio: float = _limit("share of clean driving spent in STOP")
    min_hold_ratio: float = _limit("share of the events' time spent in STOP")
    min_auroc: float = _limit("area under the ROC curve, frames in events against clean ones")
    #: Of events with that label, and of that camera; a recording without it is not asked.
    labels: Mapping[str, EventLimits] = field(default_factory=dict)
    cameras: Mapping[str, CameraLimits] = field(default_factory=dict)


#: Where each limit's figure stands in the summary; for a label or a camera in ``_part``.
_FIGURES = {
    "max_false_alarms": "alarms.false",
    "max_false_alarms_per_hour": "alarms.false_per_hour.per_hour",
    "max_false_alarms_per_hour_upper": "alarms.false_per_hour.upper",
    "min_events_detected": "alarms.detected_share",
    "max_events_detected": "alarms.detected_share",
    "max_alarm_delay_s": "alarms.delay_s.max",
    "max_time_to_stop_s": "decision.time_to_stop_s",
    "max_time_to_resume_s": "decision.time_to_resume_s",
    "max_false_stop_ratio": "decision.false_stop_ratio",
    "min_hold_ratio": "decision.hold_ratio",
    "min_auroc": "ood.auroc",
    "max_faults": "fault_count",
}


_SECTIONS: dict[str, type[EventLimits]] = {"labels": EventLimits, "cameras": CameraLimits}


@dataclass(frozen=True)
class Rule:
    """One limit held against its figure.

    Attributes:
        name: of the limit.
        passed: it was kept.
        sentence: what was measured, and what is accepted.
    """

    name: str
    passed: bool
    sentence: str


def read_gate(path: Path) -> Gate:
    """Read a YAML mapping of limits. Raises ``ConfigError`` naming what is wrong with it."""
    content = read_yaml(path, ConfigError)
    if not isinstance(content, dict) or not content:
        raise ConfigError(
            f"{path} must hold limits, name: value; known: {', '.join(spec.name for spec in fields(Gate))}."
        )
    values = {str(name): value for name, value in content.items()}
    sections = {name: _section(path, name, cls, values.pop(name)) for name, cls in _SECTIONS.items() if name in values}
    gate = from_mapping(Gate, {**values, **sections})
    parts = [("", gate), *((f"{of}.", limits) for of, limits in _named(gate))]
    if not any(_given(limits) for _, limits in parts):
        raise ConfigError(f"{path} checks nothing: every limit is -1; give one, or leave --gate out.")
    for of, limits in parts:
        for spec, value in _given(limits):
            if value < 0.0:
                raise ConfigError(f"{path}: {of}{spec.name} is {value}; a limit is 0 or more, or -1 for none.")
    return gate


def _section(path: Path, section: str, cls: type[EventLimits], content: Any) -> dict[str, EventLimits]:
    """Limits by label, or by camera."""
    if not isinstance(content, dict) or not all(isinstance(limits, dict) for limits in content.values()):
        raise ConfigError(
            f"{path}: {section} must hold names, each with its limits, for example {_EXAMPLES[section]}; known: "
            f"{', '.join(spec.name for spec in fields(cls))}."
        )
    found = {}
    for name, limits in content.items():
        try:
            found[str(name)] = from_mapping(cls, {str(limit): value for limit, value in limits.items()})
        except ConfigError as error:
            raise ConfigError(f"{path}, {section}.{name}: {error}") from error
    return found


def _named(gate: Gate) -> list[tuple[str, EventLimits]]:
    return [(f"{section}.{name}", limits) for section in _SECTIONS for name, limits in getattr(gate, section).items()]


def _given(limits: Checked) -> list[tuple[Any, float]]:
    """Fields with a limit, and the limit."""
    values = [(spec, getattr(limits, spec.name)) for spec in fields(limits) if spec.name not in _SECTIONS]
    return [(spec, value) for spec, value in values if value != _NONE]


def require_known_names(gate: Gate, labels: Collection[str], cameras: Collection[str]) -> None:
    """Refuse limits for what none of the recordings holds: a mistyped name would be checked nowhere.

    Args:
        gate: to be held.
        labels: of all events of all recordings.
        cameras: of all recordings.

    Raises:
        ConfigError: the gate names a label or a camera that is not among them.
    """
    for section, known, what in (
        ("labels", labels, "event is labelled so"),
        ("cameras", cameras, "camera is so named"),
    ):
        unknown = sorted(set(getattr(gate, section)) - set(known))
        if unknown:
            raise ConfigError(
                f"the gate limits {section}.{unknown[0]}, but no {what} in the recordings, which have "
                f"{', '.join(sorted(known)) or 'none'}; correct the name, or leave it out."
            )


def check_gate(gate: Gate, summary: Mapping[str, Any]) -> list[Rule]:
    """Hold every limit that is given against the summary; a figure that is missing breaks its rule.

    So does an event after which it never came to what the limit times: the longest of the others is no answer to it.
    Limits of a label or a camera that the recording does not hold are no rules of it.
    """
    rules = _check(gate, summary, "")
    for label, limits in gate.labels.items():
        events = [event for event in summary["events"] if event["label"] == label]
        if events:
            rules += _check(limits, _part(events), f"labels.{label}.")
    for camera, limits in gate.cameras.items():
        own = summary["by_camera"].get(camera)
        if own is not None:
            events = [event for event in summary["events"] if event["camera"] == camera]
            rules += _check(limits, _part(events, own["false_alarms"], own["faults"]), f"cameras.{camera}.")
    return rules


def _part(events: Sequence[Mapping[str, Any]], false_alarms: int | None = None, faults: int | None = None) -> Any:
    """Figures of some of a summary's events, and of one camera, under the summary's own names."""
    alarms, stops = (
        [event[delay] for event in events if event[delay] is not None] for delay in ("alarm_delay_s", "stop_delay_s")
    )
    return {
        "events": events,
        "alarms": {
            "false": false_alarms,
            "detected_share": len(alarms) / len(events) if events else None,
            "delay_s": {"max": max(alarms, default=None)},
        },
        "decision": {"time_to_stop_s": max(stops, default=None)},
        "fault_count": faults,
    }


def _check(limits: Checked, summary: Mapping[str, Any], of: str) -> list[Rule]:
    """Rules of one set of limits; ``of`` stands before their names."""
    rules = []
    for spec, limit in _given(limits):
        name, is_upper = f"{of}{spec.name}", spec.name.startswith("max_")
        what, unit = spec.metadata["description"], spec.metadata["unit"]
        accepted = f"{'at most' if is_upper else 'at least'} {limit:g} {unit}".rstrip() + " accepted"
        if never := _never(summary, spec.name):
            events = len(summary["events"])
            rules.append(Rule(name, False, f"{what}: never after {never} of {events} events ({accepted})"))
            continue
        value = _figure(summary, _FIGURES[spec.name])
        if value is None:
            rules.append(Rule(name, False, f"{what}: not measured in this recording ({accepted})"))
            continue
        passed = value <= limit if is_upper else value >= limit
        rules.append(Rule(name, passed, f"{what}: {value:.4g} {unit}".rstrip() + f" ({accepted})"))
    return rules


def _never(summary: Mapping[str, Any], limit: str) -> int:
    """After how many events that did not happen which the limit times."""
    if limit == "max_time_to_resume_s":
        return int(_figure(summary, "decision.not_resumed") or 0)
    delay = {"max_alarm_delay_s": "alarm_delay_s", "max_time_to_stop_s": "stop_delay_s"}.get(limit)
    return sum(event[delay] is None for event in summary.get("events", ())) if delay else 0


def _figure(summary: Mapping[str, Any], path: str) -> float | None:
    found: Any = summary
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return None if found is None else float(found)


def write_junit(rules: Sequence[Rule], name: str, path: Path, error: str = "") -> None:
    """JUnit XML as build servers read it: one test case a rule; of a recording without a result one with ``error``."""
    failures, errors = sum(not rule.passed for rule in rules), 1 if error else 0
    counts = {"tests": len(rules) + errors, "failures": failures, "errors": errors}
    suite = ElementTree.Element("testsuite", name=name, **{key: str(value) for key, value in counts.items()})
    for rule in rules:
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=rule.name)
        if not rule.passed:
            ElementTree.SubElement(case, "failure", message=rule.sentence)
    if error:
        case = ElementTree.SubElement(suite, "testcase", classname=name, name="evaluation")
        ElementTree.SubElement(case, "error", message=_legal(error))
    ElementTree.indent(suite)
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _legal(text: str) -> str:
    """Without the control characters that XML does not know; an error may quote a damaged file."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
