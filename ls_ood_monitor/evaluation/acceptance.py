"""Limits that the figures of a recording, or of a set of them, must keep, from a YAML file; a broken one fails a release.

What was not measured is not kept: a limit without its figure is broken.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from ..config import Checked, setting
from ..core.intervals import poisson_upper_bound
from ..errors import ConfigError
from ..yaml_file import read_yaml

Kind = TypeVar("Kind", bound="EventLimits")

_NONE, _MOST = -1.0, 1e9
_EXAMPLES = {"labels": "fog: {min_events_detected: 1.0}", "cameras": "front: {max_false_alarms: 0}"}


def _limit(description: str, unit: str = "") -> Any:
    """A limit that is not checked unless given."""
    return setting(_NONE, description, low=_NONE, high=_MOST, unit=unit)


def _share(description: str) -> Any:
    """Likewise of a figure from 0 to 1: a limit in per cent could never be broken, or never be kept."""
    return setting(_NONE, description, low=_NONE, high=1.0)


@dataclass(frozen=True)
class EventLimits(Checked):
    """What is accepted of the events of one label; -1 = not checked."""

    min_events_detected: float = _share("share of the events that raised their alarm")
    max_events_detected: float = _share("share of the events that raised an alarm, where none is due")
    max_alarm_delay_s: float = _limit("longest time from an event's start to its alarm", "s")
    max_time_to_stop_s: float = _limit("longest time from an event's start to STOP", "s")


@dataclass(frozen=True)
class CameraLimits(EventLimits):
    """What is accepted of one camera: of its events, and of the rest of its time; -1 = not checked."""

    max_false_alarms: float = _limit("alarms raised outside events")
    max_faults: float = _limit("alarms without a verdict: bad images, and ten a second of silence")


@dataclass(frozen=True)
class Acceptance(CameraLimits):
    """What is accepted of a recording; -1 = not checked. ``max_`` limits a figure from above, ``min_`` from below."""

    max_false_alarms_per_hour: float = _limit("false alarms in clean driving", "an hour")
    max_false_alarms_per_hour_upper: float = _limit("one-sided 95 % bound of the false alarms", "an hour")
    max_time_to_resume_s: float = _limit("longest time from an event's end to NOMINAL", "s")
    max_false_stop_ratio: float = _share("share of clean driving spent in STOP")
    min_hold_ratio: float = _share("share of the events' time spent in STOP")
    min_auroc: float = _share("area under the ROC curve, frames in events against clean ones")
    allow_damaged: bool = setting(False, "a recording that cannot be read to its end may pass")
    require_events: bool = setting(False, "a recording without a file of events does not pass")
    #: Of events with that label, and of that camera.
    labels: Mapping[str, EventLimits] = field(default_factory=dict)
    cameras: Mapping[str, CameraLimits] = field(default_factory=dict)


#: A set of recordings answers these as one: no single drive is long enough.
_PER_HOUR = ("max_false_alarms_per_hour", "max_false_alarms_per_hour_upper")
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
#: Rules of a recording that is damaged, which it must not be, and of one without ground truth, where that is required.
WHOLE, TRUTH = "whole recording", "ground truth"


@dataclass(frozen=True)
class Rule:
    """One limit held against its figure.

    Attributes:
        name: of the limit, ``WHOLE`` or ``TRUTH``.
        passed: it was kept.
        sentence: what was measured, and what is accepted.
    """

    name: str
    passed: bool
    sentence: str


def read_acceptance(path: Path) -> Acceptance:
    """Read a YAML mapping of limits. Raises ``ConfigError`` naming what is wrong with it."""
    content = read_yaml(path, ConfigError)
    if not isinstance(content, dict) or not content:
        raise ConfigError(
            f"{path} must hold limits, name: value; known: {', '.join(spec.name for spec in fields(Acceptance))}."
        )
    values = {str(name): value for name, value in content.items()}
    sections = {name: _section(path, name, cls, values.pop(name)) for name, cls in _SECTIONS.items() if name in values}
    gate = _limits(path, "", Acceptance, {**values, **sections})
    if not _all_given(gate) and not gate.require_events:
        raise ConfigError(f"{path} checks nothing: every limit is -1; give one, or leave --gate out.")
    return gate


def _section(path: Path, section: str, cls: type[EventLimits], content: Any) -> dict[str, EventLimits]:
    """Limits by label, or by camera."""
    if not isinstance(content, dict) or not all(isinstance(limits, dict) for limits in content.values()):
        raise ConfigError(
            f"{path}: {section} must hold names, each with its limits, for example {_EXAMPLES[section]}; known: "
            f"{', '.join(spec.name for spec in fields(cls))}."
        )
    return {str(name): _limits(path, f"{section}.{name}", cls, limits) for name, limits in content.items()}


def _limits(path: Path, of: str, cls: type[Kind], values: Mapping[Any, Any]) -> Kind:
    """The limits of one place in the file; what is wrong is told in its words, not in those of the settings."""
    known = [spec.name for spec in fields(cls)]
    unknown = [str(name) for name in values if name not in known]
    if unknown:
        where = f"{path}: {of}" if of else f"{path}"
        raise ConfigError(f"{where} has no limit {', '.join(unknown)}; known: {', '.join(known)}.")
    for spec in fields(cls):
        value = values.get(spec.name, spec.default)
        what = f"{path}: {f'{of}.' if of else ''}{spec.name} is {'empty' if value is None else repr(value)}"
        if _is_limit(spec) and not _is_accepted(value, _MOST):
            unit = f" {spec.metadata['unit']}".rstrip()
            raise ConfigError(f"{what}; a limit is a number, 0 or more{unit}, or -1 for none.")
        if _is_limit(spec) and not _is_accepted(value, spec.metadata["high"]):
            raise ConfigError(f"{what}; it limits a share from 0 to 1: 5 % is 0.05.")
        if isinstance(spec.default, bool) and not isinstance(value, bool):
            raise ConfigError(f"{what}; it must be true or false.")
    return cls(**values)


def _is_limit(spec: Any) -> bool:
    """Whether a field is a number that a figure is held against."""
    return bool(spec.default == _NONE)


def _is_accepted(value: Any, most: float) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and (value == _NONE or 0.0 <= value <= most)


def _given(limits: Checked) -> list[tuple[Any, float]]:
    """Fields with a limit, and the limit."""
    values = [(spec, getattr(limits, spec.name)) for spec in fields(limits) if _is_limit(spec)]
    return [(spec, value) for spec, value in values if value != _NONE]


def _all_given(gate: Acceptance) -> list[tuple[str, Any, float]]:
    """Likewise of the whole gate, with what stands before their names."""
    parts: list[tuple[str, Checked]] = [("", gate)]
    for section in _SECTIONS:
        parts += [(f"{section}.{name}.", limits) for name, limits in getattr(gate, section).items()]
    return [(of, spec, limit) for of, limits in parts for spec, limit in _given(limits)]


def require_known_names(gate: Acceptance, labels: Collection[str], cameras: Collection[str]) -> None:
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


def check_acceptance(gate: Acceptance, summary: Mapping[str, Any], of_set: bool = False) -> list[Rule]:
    """Hold the limits against the figures of one recording.

    A figure that is missing breaks its rule. So does an event after which it never came to what the limit times: the
    longest of the others is no answer to it. A damaged recording breaks a rule of its own: what is lost may be what counts.

    Args:
        gate: the limits.
        summary: as in ``summary.json``.
        of_set: others are judged with it. Limits an hour are then left to ``check_set``, and a limit that this recording has
            nothing to measure on, no event, label or camera, is no rule of it.
    """
    rules = []
    if damage := summary.get("truncated"):
        sentence = f"{damage} Accepted: allow_damaged." if gate.allow_damaged else str(damage)
        rules.append(Rule(WHOLE, gate.allow_damaged, sentence))
    if gate.require_events:
        known = summary["truth"] == "events"
        sentence = "events were given" if known else "no events were given; where nothing happens, a file holds []"
        rules.append(Rule(TRUTH, known, f"{sentence} (require_events)"))
    asked = [(spec, limit) for spec, limit in _given(gate) if not (of_set and spec.name in _PER_HOUR)]
    rules += _check(asked, summary, "", of_set)
    for label, limits in gate.labels.items():
        events = [event for event in summary["events"] if event["label"] == label]
        rules += _check(_given(limits), _part(events), f"labels.{label}.", of_set)
    for camera, limits in gate.cameras.items():
        own = summary["by_camera"].get(camera, {})
        events = [event for event in summary["events"] if event["camera"] == camera]
        part = _part(events, own.get("false_alarms"), own.get("faults"))
        rules += _check(_given(limits), part, f"cameras.{camera}.", of_set)
    return rules


def check_set(gate: Acceptance, pooled: Mapping[str, Any], answered: Collection[str], is_whole: bool) -> list[Rule]:
    """Hold the limits that a set of recordings answers as one.

    Args:
        gate: the limits.
        pooled: figures of all recordings, under the names of a single summary.
        answered: names of the rules that single recordings answered.
        is_whole: every recording could be judged. Of one that could not be, nobody knows what it would have answered.
    """
    hourly = [(spec, limit) for spec, limit in _given(gate) if spec.name in _PER_HOUR]
    rules = _check(hourly, pooled, "", may_be_unmeasured=True)
    if is_whole:
        known = {*answered, *(rule.name for rule in rules)}
        for of, spec, limit in _all_given(gate):
            if (name := f"{of}{spec.name}") not in known:
                sentence = f"{spec.metadata['description']}: not measured in any recording ({_accepted(spec, limit)})"
                rules.append(Rule(name, False, sentence))
    return rules


def _part(events: Sequence[Mapping[str, Any]], false_alarms: int | None = None, faults: int | None = None) -> Any:
    """Figures of some of a summary's events, and of one camera, under the summary's own names."""
    alarms = [event["alarm_delay_s"] for event in events if event["alarm_delay_s"] is not None]
    stops = [event["stop_delay_s"] for event in events if event["stop_delay_s"] is not None and not _was_on(event)]
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


def _check(
    given: Sequence[tuple[Any, float]], summary: Mapping[str, Any], of: str, may_be_unmeasured: bool = False
) -> list[Rule]:
    """Rules of one set of limits; ``of`` stands before their names."""
    rules = []
    for spec, limit in given:
        name, what, accepted = f"{of}{spec.name}", spec.metadata["description"], _accepted(spec, limit)
        if never := _never(summary, spec.name):
            events = len(summary["events"])
            rules.append(Rule(name, False, f"{what}: never after {never} of {events} events ({accepted})"))
            continue
        value, more = _figure(summary, _FIGURES[spec.name]), _more(summary, spec.name, limit)
        if value is not None:
            passed = value <= limit if spec.name.startswith("max_") else value >= limit
            measured = f"{value:.4g} {spec.metadata['unit']}".rstrip()
            rules.append(Rule(name, passed, f"{what}: {measured} ({accepted}){more}"))
        elif more or not may_be_unmeasured:
            rules.append(Rule(name, False, f"{what}: not measured in this recording ({accepted}){more}"))
    return rules


def _accepted(spec: Any, limit: float) -> str:
    side = "at most" if spec.name.startswith("max_") else "at least"
    return f"{side} {limit:g} {spec.metadata['unit']}".rstrip() + " accepted"


def _more(summary: Mapping[str, Any], name: str, limit: float) -> str:
    """What the figure of a limit does not tell, to follow it; empty = nothing."""
    if name == "max_time_to_stop_s":
        events = summary.get("events", ())
        held = sum(map(_was_on, events))
        return f"; STOP was on already when {held} of {len(events)} events began, which tell no time" if held else ""
    rate = summary["alarms"]["false_per_hour"] if name in _PER_HOUR else None
    if rate is None:
        return ""
    return f"; {'an estimate: ' if name == _PER_HOUR[0] else ''}{_can_show(rate, limit)}"


def _can_show(rate: Mapping[str, Any], limit: float) -> str:
    """What so much clean time can show of a rate an hour, with 95 % confidence (``core.intervals.poisson_upper_bound``)."""
    driven = f"{_plain(rate['hours'])} h of clean driving"
    if rate["upper"] <= limit:
        return f"{driven} show it with 95 % confidence"
    words = f"{driven} can show no less than {_plain(rate['upper'])} an hour with 95 % confidence"
    if not limit:
        return f"{words}, and no time can show 0"
    needed = poisson_upper_bound(rate["events"], 1.0) / limit
    so_many = "with no more alarms" if rate["events"] else "without an alarm"
    return f"{words}; to show {limit:g} takes {_plain(needed)} h {so_many}"


def _plain(number: float) -> str:
    """Three digits, and no exponent where there are more."""
    return f"{number:.0f}" if number >= 1000.0 else f"{number:.3g}"


def _was_on(event: Mapping[str, Any]) -> bool:
    """STOP was on when the event began: its time to STOP is none."""
    return bool(event.get("stop_was_on"))


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
