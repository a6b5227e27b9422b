"""Record a test drive with disturbances at known times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..anomalies import ANOMALIES, apply_anomaly
from ..errors import ConfigError, DataError
from ..recordings.bags import FrameBagWriter
from ..recordings.events import Event, write_events
from . import CAMERAS
from .shots import DEMO_DRIVE, Shot, render_shots


@dataclass(frozen=True)
class Scenario:
    """A drive to record, its cameras, and its disturbances."""

    drive: int = DEMO_DRIVE  # seed, >= 0
    cameras: tuple[str, ...] = ("front", "left")
    duration_s: float = 24.0
    rate_hz: float = 5.0  # frames a second of each camera
    events: tuple[Event, ...] = ()  # disturbances; their label names the anomaly

    def __post_init__(self) -> None:
        if self.drive < 0:
            raise ConfigError(f"drive is {self.drive}; it must be 0 or larger.")
        unknown = sorted(set(self.cameras) - set(CAMERAS))
        if unknown or not self.cameras:
            raise ConfigError(
                f"cameras {', '.join(unknown) or '(none)'} are not in the street; it has {', '.join(CAMERAS)}."
            )
        if len(set(self.cameras)) != len(self.cameras):
            raise ConfigError(f"cameras names one camera twice: {', '.join(self.cameras)}.")
        if not 0.1 <= self.rate_hz <= 60.0 or not 0.0 < self.duration_s <= 3600.0:
            raise ConfigError(
                f"rate {self.rate_hz} Hz and duration {self.duration_s} s must lie within [0.1, 60] and (0, 3600]."
            )
        for event in self.events:
            if event.camera not in self.cameras:
                raise ConfigError(
                    f"event {event.label} is on camera {event.camera!r}; it must be one of {', '.join(self.cameras)}."
                )
            if event.label not in ANOMALIES:
                raise ConfigError(f"event label is {event.label!r}; it must be one of {', '.join(ANOMALIES)}.")
            if not 1 <= event.severity <= 5:
                raise ConfigError(f"event {event.label} has severity {event.severity}; it must lie within [1, 5].")
            if not 0.0 <= event.start_s < event.end_s <= self.duration_s:
                raise ConfigError(
                    f"event {event.label} lasts from {event.start_s} to {event.end_s} s; it must start before it "
                    f"ends and fit into {self.duration_s} s."
                )

    @property
    def stamps_s(self) -> list[float]:
        """Capture times, seconds from the start."""
        return [index / self.rate_hz for index in range(round(self.duration_s * self.rate_hz))]


#: The recording of ``ls-ood demo``: fog on the front camera, then mud on the left one. It ends before a vehicle passes
#: so close to the left camera that three clean frames in a row lie just above the threshold.
DEMO_SCENARIO = Scenario(duration_s=22.0, events=(Event("front", 7.0, 11.0, "fog"), Event("left", 15.0, 19.0, "mud")))

#: Stamp of the first frame; a fixed date keeps recordings reproducible.
START_NS = 1_700_000_000_000_000_000


def record_scenario(
    scenario: Scenario,
    bag: Path,
    events_file: Path,
    *,
    storage: str = "sqlite3",
    compressed: bool = False,
    labels: bool = False,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Render a scenario into a new ROS 2 bag (``/<camera>/image``) and write its events file (YAML).

    ``storage`` is ``sqlite3`` or ``mcap``. ``compressed`` writes JPEG images to ``/<camera>/image/compressed`` instead,
    and ``labels`` also the class ids of the clean scene to ``/<camera>/labels``. ``progress`` is called with the number
    of frames done. Raises ``DataError`` if the bag exists already.
    """
    if bag.exists():
        raise DataError(f"{bag} exists already; remove it or choose another path.")
    shots = [Shot(scenario.drive, camera, time) for time in scenario.stamps_s for camera in scenario.cameras]
    with FrameBagWriter(bag, storage=storage) as writer:
        for rendered in render_shots(shots, progress=progress):
            image, shot = rendered.image, rendered.shot
            for number, event in enumerate(scenario.events):
                if event.camera == shot.camera and event.start_s <= shot.time_s < event.end_s:
                    image = apply_anomaly(event.label, image, event.severity, seed=number)
            stamp_ns = START_NS + round(shot.time_s * 1e9)
            writer.write(shot.camera, image, stamp_ns, compressed=compressed)
            if labels:
                writer.write_labels(shot.camera, rendered.labels, stamp_ns)
    write_events(scenario.events, events_file)
