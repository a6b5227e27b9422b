"""What one evaluation is asked for, and what it answers: plain values, for this process, another one, or another machine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .. import __version__
from ..parameter_file import VehicleSettings
from ..recordings.events import Event
from ..recordings.recording import Recording
from .acceptance import Acceptance
from .results import Summary
from .timespans import Limits


@dataclass(frozen=True, kw_only=True)
class Request:
    """One recording to judge, and where to."""

    recording: Recording
    bundle_id: str  # SHA-256 that the bundle must have, hex
    out: Path  # folder to write, an absolute path; it exists
    command: str  # that was typed, for the report
    run: str  # names the command; what it left unfinished goes on when a recording is tried again
    events: tuple[Event, ...] | None = None  # ground truth; None where there is none
    bundle: Path | None = None  # folder of the bundle, an absolute path; None = the embedded one
    detector: str | None = None  # that raises the alarm; None = the bundle's
    device: str = "auto"  # ``auto``, ``cpu``, ``cuda``
    vehicle: VehicleSettings = field(default_factory=VehicleSettings)
    acceptance: Acceptance | None = None  # limits to hold the figures against
    limits: Limits = field(default_factory=Limits)  # when a stop is due, and when none is
    engine: str = "auto"
    precision: str = "fp32"
    resume: bool = False  # what an earlier command finished is not done again, and what it left unfinished goes on
    version: str = __version__  # of the package that asks
    note: str = ""  # to stand at the head of the report
    events_file: Path | None = None  # that the ground truth was read from
    of_set: bool = (
        False  # others are judged with it; limits an hour are theirs together (``acceptance.check_acceptance``)
    )

    @property
    def name(self) -> str:
        """That of the recording."""
        return self.recording.name

    def failed(self, error: str, trace: str = "") -> Result:
        """The answer that there is no result, and why."""
        return Result(self.name, None, error=error, trace=trace)

    @property
    def digest(self) -> str:
        """SHA-256, hex, of all that decides the result, the package's version included: equal digests, equal results."""
        facts = {
            "recording": [self.name, self.recording.identity, self.recording.topics, self.recording.rate_hz],
            "events": None if self.events is None else [asdict(event) for event in self.events],
            "bundle": [self.bundle_id, self.detector, self.device, self.engine, self.precision],
            "vehicle": asdict(self.vehicle),
            "acceptance": None if self.acceptance is None else [asdict(self.acceptance), self.of_set],
            "limits": asdict(self.limits),
            "version": self.version,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Result:
    """What one evaluation came to."""

    name: str  # of the recording
    summary: Summary | None  # its figures; None where there is no result
    notes: tuple[str, ...] = ()  # what the user should know beside it, a sentence each
    error: str = ""  # why there is no result, in a sentence
    trace: str = ""  # traceback of a defect; empty where the error is one that the user can cure
