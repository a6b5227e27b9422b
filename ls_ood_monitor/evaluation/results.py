"""What an evaluation finds: dataclasses from which JSON, terminal, report and JUnit are made.

Names and units are those of ``summary.json`` (docs/evaluation.md). Times end in ``_s``, those of the network in ``_ms``.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ..core.intervals import EventRate

T = TypeVar("T")

_MICROSECOND, _MICROSECOND_IN_MS = 6, 3
#: Only of several recordings, or only of one; left out of the JSON of the other.
_OMIT_IF_EMPTY = {"is_omitted_if_empty": True}


@dataclass(frozen=True)
class EventOutcome:
    """How one event went. A delay counts from its start, and is None where the thing never happened.

    Attributes:
        camera: whose event it is.
        label: what happens.
        start_s: of the event.
        end_s: of the event, the end of the recording at most.
        alarm_delay_s: to the alarm of its camera.
        stop_delay_s: to the stop command; 0 where it was on already.
        alarm_was_on: the alarm was raised before it began, and still.
        stop_was_on: so was the stop, whose delay says nothing then.
        recording: of a set of recordings the one that holds it.
    """

    camera: str
    label: str
    start_s: float
    end_s: float
    alarm_delay_s: float | None
    stop_delay_s: float | None
    alarm_was_on: bool = False
    stop_was_on: bool = False
    recording: str = field(default="", metadata=_OMIT_IF_EMPTY)


@dataclass(frozen=True)
class Delays:
    """Of all events that raised their alarm; None where there are none."""

    median: float | None
    max: float | None


@dataclass(frozen=True)
class AlarmFigures:
    """Alarms against events. ``false`` counts those outside the events of their camera, also under a stop that is due."""

    events: int
    detected: int
    raised: int
    false: int
    delay_s: Delays
    detected_share: float | None
    false_per_hour: EventRate | None


@dataclass(frozen=True)
class DecisionFigures:
    """Commands against events.

    Attributes:
        time_to_stop_s: from the start of an event, the longest; without those that begin under STOP.
        false_stop_s: under STOP in clean driving.
        clean_s: clean driving.
        false_stop_ratio: its share under STOP.
        held_s: time of the events under STOP.
        event_s: time of the events, those that overlap counted once.
        hold_ratio: its share under STOP.
        time_to_release_s: from the end of an event to NOMINAL, the longest.
        not_released: events after which NOMINAL never came.
        messages: decisions.
        not_stopped: events without a stop.
        stop_was_on: events that began under STOP.
    """

    time_to_stop_s: float | None
    false_stop_s: float
    clean_s: float
    false_stop_ratio: float | None
    held_s: float
    event_s: float
    hold_ratio: float | None
    time_to_release_s: float | None
    not_released: int
    messages: int | None = field(default=None, metadata=_OMIT_IF_EMPTY)
    not_stopped: int | None = field(default=None, metadata=_OMIT_IF_EMPTY)
    stop_was_on: int | None = field(default=None, metadata=_OMIT_IF_EMPTY)


@dataclass(frozen=True)
class Judgement:
    """Whether all went as the events ask, with a sentence for each thing that did not; None where there are no events."""

    passed: bool | None
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Latency:
    """Percentiles of the network's time for a frame, ms; None where it was never asked."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True)
class RankingFigures:
    """Scores of frames in events against those of clean ones; larger = more OoD. None where a kind of frames is missing."""

    clean_frames: int
    clean_above_threshold: float | None
    ood_frames: int
    ood_above_threshold: float | None
    auroc: float | None
    aupr: float | None
    fpr_at_95tpr: float | None


@dataclass(frozen=True)
class CameraFigures:
    """Counts of one camera; ``faults`` are alarms without a verdict."""

    images: int
    false_alarms: int
    faults: int


@dataclass(frozen=True)
class SilenceFigures:
    """A stretch in which the alarm of a silent camera was raised, from its first message to its last."""

    camera: str
    start_s: float
    end_s: float
    alarms: int
    recording: str = field(default="", metadata=_OMIT_IF_EMPTY)


@dataclass(frozen=True)
class StopReason:
    """Why a vehicle stands.

    Attributes:
        camera: whose alarm it is; None where no single camera is to blame.
        start_s: when it came up.
        reason: a sentence, as it was when it came up.
        cause: name of the ``CauseKind`` at its root.
    """

    camera: str | None
    start_s: float
    reason: str
    cause: str


@dataclass(frozen=True)
class Stop:
    """A stretch under STOP.

    Attributes:
        start_s: where it begins.
        end_s: where another command, or the end of the recording, ends it.
        start_up: it is the one with which every drive begins, and was soon released.
        reasons: in the order in which they came up.
    """

    start_s: float
    end_s: float
    start_up: bool
    reasons: tuple[StopReason, ...]


@dataclass(frozen=True)
class ClipAlarm:
    """An alarm that a vehicle kept a clip of, and what the evaluation made of it; its stamp is 0 of a silent camera.

    Attributes:
        camera: whose alarm it was.
        stamp_ns: of its frame.
        score: of its frame; None where it could not be judged.
        fault: why not.
        raised_again: the evaluation raised an alarm at that stamp; of a silent camera at any time.
        score_again: of that alarm.
        fault_again: of that alarm.
        same: score or fault are equal.
    """

    camera: str
    stamp_ns: int
    score: float | None
    fault: str
    raised_again: bool
    score_again: float | None
    fault_again: str
    same: bool


@dataclass(frozen=True)
class ClipComparison:
    """A clip's alarms, and the bundle under which the vehicle raised them."""

    alarms: tuple[ClipAlarm, ...]
    bundle_sha256: str
    same_bundle: bool


@dataclass(frozen=True)
class Rule:
    """One limit held against its figure; ``sentence`` has what was measured, and what is accepted."""

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True)
class AcceptanceResult:
    """Rules of an acceptance file; ``passed`` is None without one, and where a recording that could break it is missing."""

    passed: bool | None = None
    rules: tuple[Rule, ...] = ()

    @property
    def broken(self) -> list[Rule]:
        """Those that were not kept."""
        return [rule for rule in self.rules if not rule.passed]


@dataclass(frozen=True)
class NetworkFacts:
    """What ran the network."""

    device: str
    engine: str
    precision: str


@dataclass(frozen=True)
class Environment:
    """Machine, GPU where it is used, and versions of the libraries."""

    machine: str
    gpu: str | None
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Provenance:
    """Where figures come from; ``parameters`` are those in force, by node, as in a ROS parameter file."""

    version: str
    network: NetworkFacts
    environment: Environment
    parameters: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class RecordingFacts:
    """Of the files: ``start`` of a bag is UTC, ISO 8601; ``rate_hz`` is that of pictures, given or assumed."""

    path: str
    format: str
    start: str | None
    rate_hz: float | None
    size_bytes: int


@dataclass(frozen=True)
class RecordingProvenance(Provenance):
    """The same, and the recording with its ground truth."""

    recording: RecordingFacts
    events_file: str | None


@dataclass(frozen=True)
class BundleFacts:
    """Identity of the bundle that judged."""

    sha256: str


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What alarms and commands come to against events, of a recording that was replayed, or heard live."""

    duration_s: float
    frames: int
    cameras: tuple[str, ...]
    alarms: AlarmFigures
    decision: DecisionFigures
    events: tuple[EventOutcome, ...]
    judgement: Judgement


@dataclass(frozen=True, kw_only=True)
class LiveSummary(Assessment):
    """Of what was heard of running nodes; their latency is from image to alarm."""

    bundle: BundleFacts
    latency_ms: Latency


@dataclass(frozen=True, kw_only=True)
class Figures(Assessment):
    """What one recording, or several together, come to; what nothing could be judged by is None."""

    truth: str
    bundle: BundleFacts | None
    detector: str | None
    threshold: float | None
    provenance: Provenance | None
    faults: Mapping[str, int]
    fault_count: int
    by_camera: Mapping[str, CameraFigures]
    silences: tuple[SilenceFigures, ...]
    acceptance: AcceptanceResult

    @property
    def has_events(self) -> bool:
        """Whether events were given; without them every alarm counts as false."""
        return self.truth == "events"


@dataclass(frozen=True, kw_only=True)
class Summary(Figures):
    """One recording. ``truncated`` says what of it is not judged; ``request`` is the digest of what was asked for."""

    recording: str
    truncated: str
    bundle: BundleFacts
    detector: str
    threshold: float
    provenance: RecordingProvenance
    latency_ms: Latency
    stops: tuple[Stop, ...]
    ood: RankingFigures
    clip: ClipComparison | None
    request: str

    @property
    def stops_on_the_way(self) -> list[Stop]:
        """Stops without the usual one at the start."""
        return [stop for stop in self.stops if not stop.start_up]


@dataclass(frozen=True)
class PoolEntry:
    """One recording of a set, or why it could not be judged."""

    recording: str
    error: str = ""
    summary: Summary | None = None


@dataclass(frozen=True, kw_only=True)
class PoolSummary(Figures):
    """Several recordings as one."""

    recordings: tuple[PoolEntry, ...]
    failed: int

    @property
    def summaries(self) -> list[Summary]:
        """Of the recordings that could be judged."""
        return [entry.summary for entry in self.recordings if entry.summary is not None]


#: What the summary of a set repeats of each recording.
_POOL_ENTRY_FIELDS = (
    "frames",
    "duration_s",
    "cameras",
    "truth",
    "truncated",
    "alarms",
    "decision",
    "stops",
    "judgement",
    "acceptance",
)


def to_plain(value: Any) -> Any:
    """As ``summary.json`` has it: mappings, lists and plain values."""
    if isinstance(value, EventRate):
        return value.to_dict()
    if isinstance(value, PoolEntry):
        figures = (
            {}
            if value.summary is None
            else {name: to_plain(getattr(value.summary, name)) for name in _POOL_ENTRY_FIELDS}
        )
        return {"recording": value.recording, "folder": value.recording, "error": value.error, **figures}
    if is_dataclass(value):
        known = [(spec, getattr(value, spec.name)) for spec in fields(value)]
        empty = (None, "")
        return {spec.name: to_plain(item) for spec, item in known if not (spec.metadata and item in empty)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def from_plain(kind: type[T], content: Any) -> T:
    """What ``to_plain`` was given. Raises ``KeyError`` or ``TypeError`` for what it did not write."""
    return _read(kind, content)  # type: ignore[no-any-return]  # the type is only known at run time


def _read(kind: Any, content: Any) -> Any:
    arguments = get_args(kind)
    if content is None or kind is Any:
        return content
    if get_origin(kind) in (Union, types.UnionType):
        return _read(next(argument for argument in arguments if argument is not type(None)), content)
    if get_origin(kind) is tuple:
        return tuple(_read(arguments[0], item) for item in content)
    if isinstance(content, Mapping) and arguments:
        return {key: _read(arguments[1], item) for key, item in content.items()}
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        values = {spec.name: content[spec.name] for spec in fields(kind) if not spec.metadata or spec.name in content}
        return kind(**{name: _read(hints[name], item) for name, item in values.items()})  # type: ignore[operator]
    return content


def rounded(value: T, digits: int | None = None) -> T:
    """Times to the microsecond, below which they are the machine's: what stands under a name that ends in _s or _ms."""
    found: Any = value
    if is_dataclass(value) and not isinstance(value, type):
        found = replace(
            value,
            **{spec.name: rounded(getattr(value, spec.name), _digits(spec.name, digits)) for spec in fields(value)},
        )
    elif isinstance(value, tuple):
        found = tuple(rounded(item, digits) for item in value)
    elif isinstance(value, Mapping):
        found = {name: rounded(item, _digits(name, digits)) for name, item in value.items()}
    elif isinstance(value, float) and digits is not None:
        found = round(value, digits)
    return found  # type: ignore[no-any-return]  # of the same type in each branch


def _digits(name: str, outer: int | None) -> int | None:
    return _MICROSECOND if name.endswith("_s") else _MICROSECOND_IN_MS if name.endswith("_ms") else outer
