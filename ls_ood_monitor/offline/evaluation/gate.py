"""Limits that a recording's figures must keep, from a YAML file; a broken one fails a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ...config import Checked, from_mapping, setting
from ...errors import ConfigError
from ..yaml_file import read_yaml

_NONE = -1.0


def _limit(description: str, unit: str = "") -> Any:
    """A limit that is not checked unless given."""
    return setting(_NONE, description, low=_NONE, high=1e9, unit=unit)


@dataclass(frozen=True)
class Gate(Checked):
    """What is accepted; -1 = not checked. ``max_`` limits a figure from above, ``min_`` from below."""

    max_false_alarms_per_hour: float = _limit("false alarms an hour of clean driving", "1/h")
    max_false_alarms_per_hour_upper: float = _limit("one-sided 95 % bound of the false alarms an hour", "1/h")
    min_events_detected: float = _limit("share of the events that raised their alarm")
    max_alarm_delay_s: float = _limit("longest time from an event's start to its alarm", "s")
    max_time_to_stop_s: float = _limit("longest time from an event's start to STOP", "s")
    max_time_to_resume_s: float = _limit("longest time from an event's end to NOMINAL", "s")
    max_false_stop_ratio: float = _limit("share of clean driving spent in STOP")
    min_hold_ratio: float = _limit("share of the events' time spent in STOP")
    min_auroc: float = _limit("area under the ROC curve, frames in events against clean ones")
    max_faults: float = _limit("alarms without a verdict: bad images, and silent cameras, ten a second")


#: Where each limit's figure stands in the summary.
_FIGURES = {
    "max_false_alarms_per_hour": "alarms.false_per_hour.per_hour",
    "max_false_alarms_per_hour_upper": "alarms.false_per_hour.upper",
    "min_events_detected": "alarms.detected_share",
    "max_alarm_delay_s": "alarms.delay_s.max",
    "max_time_to_stop_s": "decision.time_to_stop_s",
    "max_time_to_resume_s": "decision.time_to_resume_s",
    "max_false_stop_ratio": "decision.false_stop_ratio",
    "min_hold_ratio": "decision.hold_ratio",
    "min_auroc": "ood.auroc",
    "max_faults": "fault_count",
}


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
    gate = from_mapping(Gate, {str(name): value for name, value in content.items()})
    limits = {spec.name: getattr(gate, spec.name) for spec in fields(gate)}
    if all(value == _NONE for value in limits.values()):
        raise ConfigError(f"{path} checks nothing: every limit is -1; give one, or leave --gate out.")
    for name, value in limits.items():
        if _NONE < value < 0.0:
            raise ConfigError(f"{path}: {name} is {value}; a limit is 0 or more, or -1 for none.")
    return gate


def check_gate(gate: Gate, summary: Mapping[str, Any]) -> list[Rule]:
    """Hold every limit that is given against the summary; a figure that is missing breaks its rule.

    So does an event after which it never came to what the limit times: the longest of the others is no answer to it.
    """
    rules = []
    for spec in fields(gate):
        limit = getattr(gate, spec.name)
        if limit == _NONE:
            continue
        is_upper = spec.name.startswith("max_")
        what, unit = spec.metadata["description"], spec.metadata["unit"]
        accepted = f"{'at most' if is_upper else 'at least'} {limit:g} {unit}".rstrip() + " accepted"
        if never := _never(summary, spec.name):
            of = len(summary["events"])
            rules.append(Rule(spec.name, False, f"{what}: never after {never} of {of} events ({accepted})"))
            continue
        value = _figure(summary, _FIGURES[spec.name])
        if value is None:
            rules.append(Rule(spec.name, False, f"{what}: not measured in this recording ({accepted})"))
            continue
        passed = value <= limit if is_upper else value >= limit
        rules.append(Rule(spec.name, passed, f"{what}: {value:.4g} {unit}".rstrip() + f" ({accepted})"))
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
