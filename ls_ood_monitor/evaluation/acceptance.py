"""Limits that the figures of a recording, or of a set of them, must keep, from a YAML file; a broken one fails a release.

What was not measured is not kept: a limit without its figure is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..core.intervals import EventRate, poisson_upper_bound
from ..errors import ConfigError
from ..yaml_file import read_yaml
from .assessment import alarm_figures, time_to_stop
from .results import EventOutcome, Figures, Rule, Summary

L = TypeVar("L", bound="EventLimits")

_NONE, _MAX = -1.0, 1e9
_EXAMPLES = {"labels": "fog: {min_events_detected: 1.0}", "cameras": "front: {max_false_alarms: 0}"}
#: Names of an earlier version.
_RENAMED = {"max_time_to_resume_s": "max_time_to_release_s"}


@dataclass(frozen=True)
class Limit:
    """What is limited. A limit in per cent of a share from 0 to 1 could never be broken, or never be kept."""

    description: str
    figure: Callable[[Figures], float | None]
    unit: str = ""  # of limit and figure
    is_share: bool = False  # from 0 to 1
    is_min: bool = False  # limits the figure from below
    never: Callable[[Figures], int] = lambda it: 0  # after how many events what the limit times did not happen
    is_hourly: bool = False  # no single drive is long enough for it: it is checked on the pooled figures
    is_to_stop: bool = False  # an event that begins under STOP has no such time
    is_estimate: bool = False  # the figure is no bound


def _limit(description: str, figure: Callable[[Figures], float | None], **facts: Any) -> Any:
    """A field for the value of a limit, which is not checked unless given."""
    return field(default=_NONE, metadata={"limit": Limit(description, figure, **facts)})


@dataclass(frozen=True)
class EventLimits:
    """What is accepted of the events of one label; -1 = not checked."""

    min_events_detected: float = _limit(
        "share of the events that raised their alarm", lambda it: it.alarms.detected_share, is_share=True, is_min=True
    )
    max_events_detected: float = _limit(
        "share of the events that raised an alarm, where none is due",
        lambda it: it.alarms.detected_share,
        is_share=True,
    )
    max_alarm_delay_s: float = _limit(
        "longest time from an event's start to its alarm",
        lambda it: it.alarms.delay_s.max,
        unit="s",
        never=lambda it: sum(event.alarm_delay_s is None for event in it.events),
    )
    max_time_to_stop_s: float = _limit(
        "longest time from an event's start to STOP",
        lambda it: it.decision.time_to_stop_s,
        unit="s",
        never=lambda it: sum(event.stop_delay_s is None for event in it.events),
        is_to_stop=True,
    )


@dataclass(frozen=True)
class CameraLimits(EventLimits):
    """What is accepted of one camera: of its events, and of the rest of its time; -1 = not checked."""

    max_false_alarms: float = _limit("alarms raised outside events", lambda it: it.alarms.false)
    max_faults: float = _limit(
        "alarms without a verdict: bad images, and ten a second of silence", lambda it: it.fault_count
    )


@dataclass(frozen=True)
class Acceptance(CameraLimits):
    """What is accepted of a recording; -1 = not checked."""

    max_false_alarms_per_hour: float = _limit(
        "false alarms in clean driving",
        lambda it: rate.per_hour if (rate := it.alarms.false_per_hour) else None,
        unit="an hour",
        is_hourly=True,
        is_estimate=True,
    )
    max_false_alarms_per_hour_upper: float = _limit(
        "one-sided 95 % bound of the false alarms",
        lambda it: rate.upper if (rate := it.alarms.false_per_hour) else None,
        unit="an hour",
        is_hourly=True,
    )
    max_time_to_release_s: float = _limit(
        "longest time from an event's end to NOMINAL",
        lambda it: it.decision.time_to_release_s,
        unit="s",
        never=lambda it: it.decision.not_released,
    )
    max_false_stop_ratio: float = _limit(
        "share of clean driving spent in STOP", lambda it: it.decision.false_stop_ratio, is_share=True
    )
    min_hold_ratio: float = _limit(
        "share of the events' time spent in STOP", lambda it: it.decision.hold_ratio, is_share=True, is_min=True
    )
    min_auroc: float = _limit(
        "area under the ROC curve, frames in events against clean ones",
        lambda it: it.ood.auroc if isinstance(it, Summary) else None,
        is_share=True,
        is_min=True,
    )
    allow_damaged: bool = False  # a recording that cannot be read to its end may pass
    require_events: bool = False  # a recording without a file of events does not pass
    #: Of events with that label, and of that camera.
    labels: Mapping[str, EventLimits] = field(default_factory=dict)
    cameras: Mapping[str, CameraLimits] = field(default_factory=dict)


_SECTIONS: dict[str, type[EventLimits]] = {"labels": EventLimits, "cameras": CameraLimits}
#: Rules of a recording that is damaged, which it must not be, and of one without ground truth, where that is required.
WHOLE, TRUTH = "whole recording", "ground truth"


class _Given(NamedTuple):
    """A limit that is checked; ``name`` has its label or camera in front."""

    name: str
    limit: Limit
    value: float

    @property
    def accepted(self) -> str:
        side = "at least" if self.limit.is_min else "at most"
        return f"{side} {self.value:g} {self.limit.unit}".rstrip() + " accepted"


def read_acceptance(path: Path) -> Acceptance:
    """Read a YAML mapping of limits. Raises ``ConfigError`` naming what is wrong with it."""
    content = read_yaml(path, ConfigError)
    if not isinstance(content, dict) or not content:
        raise ConfigError(
            f"{path} must hold limits, name: value; known: {', '.join(spec.name for spec in fields(Acceptance))}."
        )
    values = {str(name): value for name, value in content.items()}
    sections = {name: _section(path, name, cls, values.pop(name)) for name, cls in _SECTIONS.items() if name in values}
    acceptance = _limits(path, "", Acceptance, {**values, **sections})
    if not _all_given(acceptance) and not acceptance.require_events:
        raise ConfigError(f"{path} checks nothing: every limit is -1; give one, or leave --acceptance out.")
    return acceptance


def _section(path: Path, section: str, cls: type[EventLimits], content: Any) -> dict[str, EventLimits]:
    """Limits by label, or by camera."""
    if not isinstance(content, dict) or not all(isinstance(limits, dict) for limits in content.values()):
        raise ConfigError(
            f"{path}: {section} must hold names, each with its limits, for example {_EXAMPLES[section]}; known: "
            f"{', '.join(spec.name for spec in fields(cls))}."
        )
    return {str(name): _limits(path, f"{section}.{name}.", cls, limits) for name, limits in content.items()}


def _limits(path: Path, prefix: str, cls: type[L], values: Mapping[Any, Any]) -> L:
    """The limits of one place in the file; errors name the keys of the file."""
    known = [spec.name for spec in fields(cls)]
    where = f"{path}: {prefix.rstrip('.')}" if prefix else f"{path}"
    for name in values:
        if name in _RENAMED:
            raise ConfigError(f"{where}: {name} is now called {_RENAMED[name]}; rename it.")
    if unknown := [str(name) for name in values if name not in known]:
        raise ConfigError(f"{where} has no limit {', '.join(unknown)}; known: {', '.join(known)}.")
    for spec in fields(cls):
        value, limit = values.get(spec.name, spec.default), _limit_of(spec)
        given = f"{path}: {prefix}{spec.name} is {'empty' if value is None else repr(value)}"
        if limit and not _is_accepted(value, _MAX):
            raise ConfigError(f"{given}; a limit is a number, 0 or more{f' {limit.unit}'.rstrip()}, or -1 for none.")
        if limit and limit.is_share and not _is_accepted(value, 1.0):
            raise ConfigError(f"{given}; it limits a share from 0 to 1: 5 % is 0.05.")
        if isinstance(spec.default, bool) and not isinstance(value, bool):
            raise ConfigError(f"{given}; it must be true or false.")
    return cls(**values)


def _limit_of(spec: Field[Any]) -> Limit | None:
    return spec.metadata.get("limit")


def _is_accepted(value: Any, high: float) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and (value == _NONE or 0.0 <= value <= high)


def _given(limits: EventLimits, prefix: str = "") -> list[_Given]:
    known = [(spec.name, _limit_of(spec), getattr(limits, spec.name)) for spec in fields(limits)]
    return [_Given(f"{prefix}{name}", limit, value) for name, limit, value in known if limit and value != _NONE]


def _all_given(acceptance: Acceptance) -> list[_Given]:
    given = _given(acceptance)
    for section in _SECTIONS:
        for name, limits in getattr(acceptance, section).items():
            given += _given(limits, f"{section}.{name}.")
    return given


def require_known_names(acceptance: Acceptance, labels: Collection[str], cameras: Collection[str]) -> None:
    """Refuse limits for what none of the recordings holds: a mistyped name would be checked nowhere.

    ``labels`` and ``cameras`` are those of all recordings. Raises ``ConfigError`` for one that is not among them.
    """
    for section, limited, known, missing in (
        ("labels", acceptance.labels, labels, "event is labelled so"),
        ("cameras", acceptance.cameras, cameras, "camera is so named"),
    ):
        unknown = sorted(set(limited) - set(known))
        if unknown:
            raise ConfigError(
                f"the acceptance file limits {section}.{unknown[0]}, but no {missing} in the recordings, which have "
                f"{', '.join(sorted(known)) or 'none'}; correct the name, or leave it out."
            )


def check_acceptance(
    acceptance: Acceptance, figures: Figures, truncated: str = "", of_set: bool = False
) -> tuple[Rule, ...]:
    """Hold the limits against the figures of one recording.

    A figure that is missing breaks its rule. So does an event after which it never came to what the limit times: the
    longest of the others is no answer to it. A damaged recording breaks a rule of its own: what is lost may be what counts.

    ``truncated`` says what of it is not judged; empty where all is. With ``of_set`` others are judged with it: limits an
    hour are left to ``check_set``, and a limit that this recording has nothing to measure on, no event, label or camera, is
    no rule of it.
    """
    rules = []
    if truncated:
        sentence = f"{truncated} Accepted: allow_damaged." if acceptance.allow_damaged else truncated
        rules.append(Rule(WHOLE, acceptance.allow_damaged, sentence))
    if acceptance.require_events:
        none = "no events were given; where nothing happens, a file holds []"
        sentence = "events were given" if figures.has_events else none
        rules.append(Rule(TRUTH, figures.has_events, f"{sentence} (require_events)"))
    given = [given for given in _given(acceptance) if not (of_set and given.limit.is_hourly)]
    rules += _check(given, figures, may_be_unmeasured=of_set)
    for label, limits in acceptance.labels.items():
        part = _of_events(figures, [event for event in figures.events if event.label == label])
        rules += _check(_given(limits, f"labels.{label}."), part, may_be_unmeasured=of_set)
    for camera, camera_limits in acceptance.cameras.items():
        own: Figures | None = None
        if counts := figures.by_camera.get(camera):
            part = _of_events(figures, [event for event in figures.events if event.camera == camera])
            own = replace(part, alarms=replace(part.alarms, false=counts.false_alarms), fault_count=counts.faults)
        rules += _check(_given(camera_limits, f"cameras.{camera}."), own, may_be_unmeasured=of_set)
    return tuple(rules)


def check_set(acceptance: Acceptance, pooled: Figures, answered: Collection[str], is_whole: bool) -> tuple[Rule, ...]:
    """Check the limits that a set of recordings meets as a whole, on its pooled figures.

    ``answered`` are the names of the rules that single recordings answered. Unless ``is_whole``, a recording could not be
    judged, and nobody knows what it would have answered.
    """
    hourly = [given for given in _given(acceptance) if given.limit.is_hourly]
    rules = _check(hourly, pooled, may_be_unmeasured=True)
    known = {*answered, *(rule.name for rule in rules)}
    missing = [given for given in _all_given(acceptance) if is_whole and given.name not in known]
    rules += [_unmeasured(given, "any recording") for given in missing]
    return tuple(rules)


def _of_events(figures: Figures, events: Sequence[EventOutcome]) -> Figures:
    """The figures, with those of alarms and stops that some of the events alone decide."""
    alarms = alarm_figures(events, figures.alarms.raised, figures.alarms.false, figures.decision.clean_s)
    decision = replace(figures.decision, time_to_stop_s=time_to_stop(events))
    return replace(figures, events=tuple(events), alarms=alarms, decision=decision)


def _check(given: Sequence[_Given], figures: Figures | None, may_be_unmeasured: bool) -> list[Rule]:
    """Rules of one set of limits; None = there is nothing to measure them on."""
    rules = []
    for checked in given:
        name, limit, accepted = checked
        value = remark = None
        if figures is not None:
            if never := limit.never(figures):
                after = f"never after {never} of {len(figures.events)} events"
                rules.append(Rule(name, False, f"{limit.description}: {after} ({checked.accepted})"))
                continue
            value, remark = limit.figure(figures), _remark(checked, figures)
        if value is not None:
            passed = value >= accepted if limit.is_min else value <= accepted
            measured = f"{value:.4g} {limit.unit}".rstrip()
            rules.append(Rule(name, passed, f"{limit.description}: {measured} ({checked.accepted}){remark}"))
        elif remark or not may_be_unmeasured:
            rules.append(_unmeasured(checked, "this recording", remark or ""))
    return rules


def _unmeasured(given: _Given, where: str, remark: str = "") -> Rule:
    sentence = f"{given.limit.description}: not measured in {where} ({given.accepted}){remark}"
    return Rule(given.name, False, sentence)


def _remark(given: _Given, figures: Figures) -> str:
    """What the figure of a limit does not say, to follow it; empty = nothing."""
    if given.limit.is_to_stop:
        held, count = sum(event.stop_was_on for event in figures.events), len(figures.events)
        return f"; STOP was on already when {held} of {count} events began, which have no such time" if held else ""
    rate = figures.alarms.false_per_hour
    if rate is None or not given.limit.is_hourly:
        return ""
    return f"; {'an estimate: ' if given.limit.is_estimate else ''}{_can_show(rate, given.value)}"


def _can_show(rate: EventRate, limit: float) -> str:
    """What so much clean time can show of a rate an hour, with 95 % confidence (``core.intervals.poisson_upper_bound``)."""
    driven = f"{_plain(rate.hours)} h of clean driving"
    if rate.upper <= limit:
        return f"{driven} show it with 95 % confidence"
    shown = f"{driven} can show no less than {_plain(rate.upper)} an hour with 95 % confidence"
    if not limit:
        return f"{shown}, and no time can show 0"
    needed = poisson_upper_bound(rate.events, 1.0) / limit
    so_many = "with no more alarms" if rate.events else "without an alarm"
    return f"{shown}; to show {limit:g} takes {_plain(needed)} h {so_many}"


def _plain(number: float) -> str:
    """Three digits, and no exponent where there are more."""
    return f"{number:.0f}" if number >= 1000.0 else f"{number:.3g}"
