"""Judges what the nodes published during a demo, and evaluates the demo's recording offline."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from pathlib import Path

from ..errors import DataError
from ..evaluation.evaluate import REPORT, evaluate
from ..evaluation.live import ModeSample, ScoreSample, StopSample
from ..evaluation.request import Request
from ..evaluation.timespans import Limits
from ..monitor import OodMonitor
from ..parameter_file import VehicleSettings
from ..recordings.recording import open_recording
from ..ros.live_replay import on_recording_time
from ..ros.observer import MonitorObserver
from ..street.scenario import Scenario
from ..workers.processes import cores
from .console import reproduce_command


def live_samples(
    observer: MonitorObserver, begin_ns: int, duration_s: float
) -> tuple[list[ScoreSample], list[ModeSample], list[StopSample]]:
    """What an observer received until the end of a recording that began at ``begin_ns`` of the monotonic clock."""
    alarms = on_recording_time(observer.alarms(), begin_ns, duration_s)
    scores = [
        ScoreSample(
            time_s,
            heard.alarm.camera,
            heard.alarm.state,
            heard.alarm.score,
            heard.alarm.threshold,
            heard.latency_ms,
            heard.alarm.lasting_score,
            heard.alarm.lasting_threshold,
        )
        for time_s, heard in alarms
        if time_s >= 0.0 and isfinite(heard.alarm.score)
    ]
    decisions = on_recording_time(observer.decisions(), begin_ns, duration_s)
    stops = on_recording_time(observer.stops(), begin_ns, duration_s)
    return (
        scores,
        [ModeSample(time_s, heard.mode, heard.reason) for time_s, heard in decisions],
        [StopSample(time_s, heard.stop) for time_s, heard in stops],
    )


def write_report(
    out: Path,
    bag: Path,
    scenario: Scenario,
    monitor: OodMonitor,
    bundle: Path | None,
    detector: str | None,
    device: str,
    progress: Callable[[int, str], None],
) -> Path:
    """Evaluate the demo's recording offline, as ``ls-ood evaluate`` does; returns the path of the report.

    ``events.yaml`` lies beside the bag. ``monitor`` was loaded from ``bundle`` (None = the embedded one), ``detector``
    None is the bundle's, and ``progress`` is called with the number of images judged, and a note. Raises ``DataError``
    if the recording cannot be evaluated.
    """
    report_folder = out / "evaluation"
    report_folder.mkdir(exist_ok=True)
    events_file = bag.with_name("events.yaml")
    options = [("--events", events_file), ("--bundle", bundle), ("--detector", detector), ("--out", report_folder)]
    words = [str(word) for option in options if option[1] for word in option]
    request = Request(
        recording=open_recording(bag),
        events=tuple(scenario.events),
        bundle=bundle and bundle.absolute(),
        bundle_id=monitor.bundle_id,
        detector=detector,
        device=device,
        vehicle=VehicleSettings(),
        acceptance=None,
        limits=Limits(),
        out=report_folder.absolute(),
        command=reproduce_command(["ls-ood", "evaluate", str(bag), *words]),
        run="demo",
        events_file=events_file.absolute(),
        note="The street is procedural: everything here is synthetic. This is the offline evaluation of the recording that "
        "'ls-ood demo' played to the running nodes; their live results are in summary.json and timeline.png.",
    )
    result = evaluate(request, progress, cores())
    if result.summary is None:
        raise DataError(f"the demo's recording cannot be evaluated: {result.error}")
    return report_folder / REPORT
