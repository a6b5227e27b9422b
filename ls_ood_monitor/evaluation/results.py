"""What an evaluation finds: dataclasses from which JSON, terminal, report and JUnit are made.

Names and units are those of ``summary.json`` (docs/evaluation.md). Times end in ``_s``, those of the network in ``_ms``.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Union, get_args, get_origin, get_type_hints

from ..core.intervals import EventRate

#: Digits that are kept of a number, by the unit at the end of its name: to the microsecond.
_DIGITS = {"s": 6, "ms": 3}
#: Only of several recordings, or only of one; left out of the JSON of the other.
_OMIT_IF_EMPTY = {"is_omitted_if_empty": True}


@dataclass(frozen=True)
class EventOutcome:
    """How one event went. A delay counts from its start, and is None where the thing never happened."""

    camera: str
    label: str
    start_s: float
    end_s: float  # the end of the recording at most
    alarm_delay_s: float | None  # to the alarm of its camera
    stop_delay_s: float | None  # to the stop command; 0 where it was on already
    alarm_was_on: bool = False  # the alarm was raised already when the event began
    stop_was_on: bool = False  # STOP was on already when the event began; its delay says nothing
    recording: str = field(default="", metadata=_OMIT_IF_EMPTY)  # that holds the event; only in a set


@dataclass(frozen=True)
class Delays:
    """Of all events that raised their alarm; None where there are none."""

    median: float | None
    max: float | None


@dataclass(frozen=True)
class AlarmFigures:
    """Alarms against events.

    ``false`` counts bursts (``core/bursts.py``) outside the events of their camera, also while another camera's event lasts.
    """

    events: int
    detected: int
    raised: int
    false: int
    delay_s: Delays
    detected_share: float | None
    false_per_hour: EventRate | None


@dataclass(frozen=True)
class DecisionFigures:
    """Commands against events."""

    time_to_stop_s: float | None  # from the start of an event, the longest; without those that begin under STOP
    false_stop_s: float  # under STOP in clean driving
    clean_s: float  # clean driving
    false_stop_ratio: float | None  # false_stop_s / clean_s
    held_s: float  # time of the events under STOP
    event_s: float  # time of the events, those that overlap counted once
    hold_ratio: float | None  # held_s / event_s
    time_to_release_s: float | None  # from the end of an event to NOMINAL, the longest
    not_released: int  # events after which NOMINAL never came
    messages: int | None = field(default=None, metadata=_OMIT_IF_EMPTY)  # decisions
    not_stopped: int | None = field(default=None, metadata=_OMIT_IF_EMPTY)  # events without a stop
    stop_was_on: int | None = field(default=None, metadata=_OMIT_IF_EMPTY)  # events that began under STOP


@dataclass(frozen=True)
class EventCheck:
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
    auroc: float | None = None
    aupr: float | None = None
    fpr_at_95tpr: float | None = None


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
    """Why a vehicle stands."""

    camera: str | None  # whose alarm it is; None where no single camera is to blame
    start_s: float  # when it came up
    reason: str  # a sentence, as it was when it came up
    cause: str  # name of the ``CauseKind`` at its root


@dataclass(frozen=True)
class Stop:
    """A stretch under STOP, until another command or the end of the recording."""

    start_s: float
    end_s: float
    start_up: bool  # it is the one with which every drive begins, and was soon released
    reasons: tuple[StopReason, ...]  # in the order in which they came up


@dataclass(frozen=True)
class ClipAlarm:
    """An alarm that a vehicle kept a clip of, and what the evaluation made of it; its stamp is 0 of a silent camera."""

    camera: str
    stamp_ns: int  # of its frame
    score: float | None  # of its frame; None where it could not be judged
    fault: str  # why not
    raised_again: bool  # the evaluation raised an alarm at that stamp; of a silent camera at any time
    score_again: float | None
    fault_again: str
    same: bool  # score or fault are equal


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
    """Rules of an acceptance file; ``passed`` is None without one, and if all rules hold but a recording was not judged."""

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
    judgement: EventCheck


@dataclass(frozen=True, kw_only=True)
class LiveSummary(Assessment):
    """Of what was heard of running nodes; their latency is from image to alarm."""

    bundle: BundleFacts
    latency_ms: Latency


@dataclass(frozen=True, kw_only=True)
class Figures(Assessment):
    """What one recording, or several together, come to; what no recording could give is None."""

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
    """One recording. ``truncated`` says what of it is not judged; ``request`` is the digest of inputs and options."""

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
_REPEATED = [
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
]


def to_plain(value: Any) -> Any:
    """As ``summary.json`` has it: mappings, lists and plain values."""
    if isinstance(value, EventRate):
        return value.to_dict()
    if isinstance(value, PoolEntry):
        figures = {name: to_plain(getattr(value.summary, name)) for name in _REPEATED} if value.summary else {}
        return {"recording": value.recording, "folder": value.recording, "error": value.error, **figures}
    if is_dataclass(value):
        known = [(spec, getattr(value, spec.name)) for spec in fields(value)]
        return {spec.name: to_plain(item) for spec, item in known if not (spec.metadata and item in (None, ""))}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def from_plain(kind: Any, content: Any) -> Any:
    """A value of type ``kind`` from what ``to_plain`` made of it. Raises ``KeyError`` or ``TypeError`` for other content."""
    arguments = get_args(kind)
    if content is None or kind is Any:
        return content
    if get_origin(kind) in (Union, types.UnionType):
        return from_plain(next(argument for argument in arguments if argument is not type(None)), content)
    if get_origin(kind) is tuple:
        return tuple(from_plain(arguments[0], item) for item in content)
    if isinstance(content, Mapping) and arguments:
        return {key: from_plain(arguments[1], item) for key, item in content.items()}
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        names = [spec.name for spec in fields(kind) if not spec.metadata or spec.name in content]
        return kind(**{name: from_plain(hints[name], content[name]) for name in names})  # type: ignore[operator]
    return content


def rounded(value: Any, digits: int | None = None) -> Any:
    """The same, with each time, and all below its name, to the microsecond: smaller digits differ between machines."""
    if is_dataclass(value) and not isinstance(value, type):
        known = vars(value).items()
        return replace(
            value, **{name: rounded(item, _DIGITS.get(name.rpartition("_")[2], digits)) for name, item in known}
        )
    if isinstance(value, tuple):
        return tuple(rounded(item, digits) for item in value)
    return round(value, digits) if isinstance(value, float) and digits is not None else value
