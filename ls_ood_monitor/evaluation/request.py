"""What one evaluation is asked for, and what it answers: plain values, for this process, another one, or another machine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import __version__
from ..parameter_file import VehicleSettings
from ..recordings.events import Event
from ..recordings.recording import Recording
from .acceptance import Acceptance
from .results import Summary
from .timespans import Limits


@dataclass(frozen=True)
class Request:
    """One recording to judge.

    Attributes:
        recording: to be judged.
        events: ground truth; None where there is none.
        bundle: folder of the bundle, an absolute path; None = the embedded one.
        bundle_id: SHA-256 that the bundle must have, hex.
        detector: that raises the alarm; None = the bundle's.
        device: ``auto``, ``cpu``, ``cuda``.
        vehicle: settings of the nodes.
        acceptance: limits to hold the figures against.
        limits: when a stop is due, and when none is.
        out: folder to write, an absolute path; it exists.
        command: that was typed, for the report.
        run: names the command; what it left unfinished goes on when a recording is tried again.
        engine: as in ``engines.ENGINES``.
        precision: as in ``engines.PRECISIONS``.
        resume: what an earlier command finished is not done again, and what it left unfinished goes on.
        version: of the package that asks.
        note: to stand at the head of the report.
        events_file: that the ground truth was read from; None where there is none.
        of_set: others are judged with it; limits an hour are theirs together (``acceptance.check_acceptance``).
    """

    recording: Recording
    events: tuple[Event, ...] | None
    bundle: Path | None
    bundle_id: str
    detector: str | None
    device: str
    vehicle: VehicleSettings
    acceptance: Acceptance | None
    limits: Limits
    out: Path
    command: str
    run: str
    engine: str = "auto"
    precision: str = "fp32"
    resume: bool = False
    version: str = __version__
    note: str = ""
    events_file: Path | None = None
    of_set: bool = False

    @property
    def digest(self) -> str:
        """SHA-256, hex, of all that decides the result, the package's version included: equal digests, equal results."""
        facts = {
            "recording": [self.recording.name, self.recording.identity, self.recording.topics, self.recording.rate_hz],
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
    """What one evaluation came to.

    Attributes:
        name: of the recording.
        summary: its figures; None where there is no result.
        notes: what the user should know beside it, a sentence each.
        error: why there is no result, in a sentence.
        trace: traceback of a defect; empty where the error is one that the user can cure.
    """

    name: str
    summary: Summary | None
    notes: tuple[str, ...] = ()
    error: str = ""
    trace: str = ""
