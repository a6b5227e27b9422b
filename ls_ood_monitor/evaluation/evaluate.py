"""One recording from request to result: the same in this process, in another one, and on another machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from .. import __version__
from ..bundle import load_bundle
from ..errors import BundleError, DataError, MonitorError
from ..monitor import OodMonitor
from ..recordings.events import Event, clip_events
from ..recordings.recording import Recording, identity_of
from .acceptance import check_acceptance
from .evidence_clip import compare_with_clip, read_clip
from .frames_table import write_frames
from .junit import junit_suite, write_junit
from .provenance import provenance
from .replay import Replay
from .replay_tables import ReplayRecorder, ReplayTables
from .report import write_report
from .request import Request, Result
from .results import AcceptanceResult, BundleFacts, EventCheck, Summary, from_plain, to_plain
from .score_cache import CachedScorer
from .summary import summarise_replay
from .timeline import draw_timeline
from .worst_frames import WorstFrames

SUMMARY, FRAMES, TIMELINE, REPORT, JUNIT = "summary.json", "frames.csv", "timeline.png", "report.html", "junit.xml"
#: Within the folder of a recording: what an interruption leaves, removed when the result is there.
UNFINISHED = ".unfinished"
#: Each picture that is being judged takes some hundred MB.
_AT_ONCE = 8
#: Called with the images done, and a note on speed.
OnProgress = Callable[[int, str], None]


def evaluate(request: Request, on_progress: OnProgress = lambda done, note: None, threads: int = 1) -> Result:
    """Judge the recording and write its folder; whatever goes wrong with it is part of the result.

    The folder holds the former result until the new one is whole. ``on_progress`` is called after each image. On a CPU the
    network may judge ``threads`` pictures at a time; the figures do not depend on it.
    """
    try:
        known = finished(request) if request.resume else None
        return known or _evaluate(request, on_progress, threads)
    except MonitorError as error:
        return request.failed(str(error))
    except OSError as error:  # a full disk does not say which file it was
        return request.failed(f"{error.filename or request.out} cannot be used: {error.strerror or error!r}.")
    except Exception as error:  # a defect must not take the other recordings with it
        return request.failed(repr(error), traceback.format_exc())


def finished(request: Request) -> Result | None:
    """The result in the request's folder, if it is that of the very same request."""
    try:
        content = json.loads((request.out / SUMMARY).read_text(encoding="utf-8"))
        is_whole = all((request.out / name).is_file() for name in (FRAMES, TIMELINE, REPORT))
        if not is_whole or content["request"] != request.digest:
            return None
        return Result(request.name, from_plain(Summary, content), ("finished before, not done again.",))
    except (OSError, ValueError, KeyError, TypeError):  # none, or not one of this version
        return None


@lru_cache(maxsize=1)
def _monitor_of(
    bundle: Path | None, bundle_id: str, device: str, detector: str | None, engine: str, precision: str
) -> OodMonitor:
    """The bundle, loaded once a process. Its network gets one thread: there is a picture for each."""
    monitor = load_bundle(bundle, device=device, detector=detector, engine=engine, precision=precision, threads=1)
    if monitor.bundle_id != bundle_id:
        raise BundleError(
            f"the bundle {bundle or 'of the package'} on {platform.node()} is {monitor.bundle_id[:12]}, but "
            f"{bundle_id[:12]} was asked for; give every worker the same files."
        )
    return monitor


def _require_same_files(request: Request) -> None:
    """Another process or machine must see what the one that asks has seen."""
    where = f"on {platform.node()}"
    if request.version != __version__:
        raise DataError(
            f"ls_ood_monitor {where} is {__version__}, but {request.version} asks; install the same version."
        )
    shared = "every worker must see recordings, bundle and --out under the same paths (a shared disk)."
    for path in (request.recording.path, *([request.bundle] if request.bundle else []), request.out):
        if not path.exists():
            raise DataError(f"there is no {path} {where}; {shared}")
    if identity_of(request.recording.path) != request.recording.identity:
        raise DataError(f"{request.recording.path} {where} is not the recording that was asked for; {shared}")


def _evaluate(request: Request, on_progress: OnProgress, threads: int) -> Result:
    _require_same_files(request)
    recording = request.recording
    monitor = _monitor_of(
        request.bundle, request.bundle_id, request.device, request.detector, request.engine, request.precision
    )
    unfinished = request.out / UNFINISHED
    unfinished.mkdir(exist_ok=True)
    device = monitor.device.type
    at_once = min(threads, _AT_ONCE) if device == "cpu" else 1
    scores, key = unfinished / "network.jsonl", f"{request.digest} {device} {monitor.engine_name}"
    with CachedScorer(monitor, scores, key, request.run, request.resume, at_once) as network:
        replay = Replay(monitor, recording.cameras, request.vehicle, recording.begin_ns, network.judge)
        worst = WorstFrames(network.with_map)
        broken_off = _judge_all(recording, network, replay, worst, on_progress)
        truncated, end_s = _truncated(recording, replay.recorder, broken_off)
        replay.finish(recording.begin_ns + round(end_s * 1e9))
        beyond = _events_after_end(request.events or (), end_s)
        not_judged = " ".join([truncated, *beyond]) if truncated else ""
        tables = replay.recorder.tables()
        summary = _summarise(request, monitor, tables, end_s, not_judged)
        _write(request, monitor, summary, tables, worst, unfinished / "files")
    shutil.rmtree(unfinished)
    notes = [f"{truncated} The rest is judged."] if truncated else []
    return Result(recording.name, summary, (*notes, *beyond))


def _events_after_end(events: Sequence[Event], end_s: float) -> list[str]:
    """Which events lie behind the end of what is judged, a sentence each."""
    notes = []
    for event in events:
        named = f"{event.label} on {event.camera}, {event.start_s:g} to {event.end_s:g} s,"
        if event.start_s >= end_s:
            notes.append(f"{named} begins after the end at {end_s:.1f} s, and does not count.")
        elif event.end_s > end_s:
            notes.append(f"{named} lasts beyond the end at {end_s:.1f} s, and is judged until there.")
    return notes


def _judge_all(
    recording: Recording, network: CachedScorer, replay: Replay, worst: WorstFrames, on_progress: OnProgress
) -> str:
    """Why the reading broke off, in a sentence; empty where it did not."""
    started, recorder = time.monotonic(), replay.recorder
    try:
        for record in replay.run(network.prefetch(recording.read())):
            worst.add(record)
            rate = recorder.images / max(1e-9, time.monotonic() - started)
            on_progress(recorder.images, f"{rate:.1f} frames/s, {replay.speed:.1f} times real time")
    except DataError as error:
        if not recorder.images:
            raise
        return str(error)
    if not recorder.images:
        cameras = ", ".join(recording.cameras) or "any camera"
        raise DataError(f"{recording.path} holds no image message on {cameras}.")
    return ""


def _truncated(recording: Recording, recorder: ReplayRecorder, broken_off: str) -> tuple[str, float]:
    """What of the recording is not judged, in a sentence, and where it ends, seconds from its start."""
    # What a video says of its length is a guess, and it ends with its last picture.
    is_bag = recording.topics is not None
    lost = recording.images - recorder.images if is_bag else 0
    # The silence of a part that is lost is not the cameras'.
    end_s = recording.duration_s if is_bag and not broken_off and lost <= 0 else recorder.last_image_s
    parts = [part for part in (recording.damage, broken_off) if part]
    if lost > 0:
        cause = "" if parts else ": damaged"
        total = f"{lost} of the {recording.images} images that {recording.name} should hold"
        parts.append(f"{total} cannot be read{cause}.")
    elif parts and is_bag:
        parts.append("How many images are lost is not known.")
    if parts:
        parts.append(f"What can be read ends at {recorder.last_image_s:.1f} s.")
    return " ".join(parts), end_s


def _summarise(
    request: Request, monitor: OodMonitor, tables: ReplayTables, duration_s: float, truncated: str
) -> Summary:
    """All figures, judged by the events and held against the acceptance."""
    truth = request.events or ()
    optional = request.vehicle.optional_cameras
    figures = summarise_replay(tables, clip_events(truth, duration_s), duration_s, request.limits, optional)
    clip = read_clip(request.recording.path)
    summary = Summary(
        **vars(figures) | {"judgement": _judgement(figures.judgement, truth, duration_s)},
        recording=request.name,
        truth="none: every alarm counts as false" if request.events is None else "events",
        truncated=truncated,
        bundle=BundleFacts(monitor.bundle_id),
        detector=monitor.detector,
        threshold=monitor.threshold,
        clip=None if clip is None else compare_with_clip(clip, tables.alarms, monitor.bundle_id),
        provenance=provenance(request, monitor),
        request=request.digest,
        acceptance=AcceptanceResult(),
    )
    if request.acceptance is None:
        return summary
    rules = check_acceptance(request.acceptance, summary, truncated, request.of_set)
    return replace(summary, acceptance=AcceptanceResult(all(rule.passed for rule in rules), rules))


def _judgement(of_events: EventCheck, truth: Sequence[Event], end_s: float) -> EventCheck:
    """What the events ask, and that each could be judged: one in a part that is lost was not seen to raise its alarm."""
    lost = [f"{event.label} on {event.camera} at {event.start_s:g} s" for event in truth if event.start_s >= end_s]
    failures = (*of_events.failures, *(f"{event} could not be judged" for event in lost))
    return EventCheck(of_events.passed and not lost, failures)


def _write(
    request: Request, monitor: OodMonitor, summary: Summary, tables: ReplayTables, worst: WorstFrames, folder: Path
) -> None:
    """Write all files into a folder beside the former ones, then put each into its place."""
    events = clip_events(request.events or (), summary.duration_s)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_frames(folder / FRAMES, tables)
    title = f"{summary.recording}, replayed"
    draw_timeline(folder / TIMELINE, events, tables.alarms, tables.decisions, summary.duration_s, title)
    content = (folder / REPORT, summary, tables, events, worst.frames, request.command)
    write_report(*content, limits=request.limits, monitor=monitor, note=request.note)
    if request.acceptance is not None:
        suite = junit_suite(summary.recording, summary.acceptance.rules, note=summary.truncated)
        write_junit(folder / JUNIT, suite)
    (folder / SUMMARY).write_text(json.dumps(to_plain(summary), indent=2) + "\n", encoding="utf-8")
    put_in_place(folder, request.out)


def put_in_place(folder: Path, out: Path) -> None:
    """Each file of a result takes the place of its namesake; one that is not there any more is removed.

    The former summary goes first, and the new one comes last: a summary stands for a whole result.
    """
    (out / SUMMARY).unlink(missing_ok=True)
    for name in (FRAMES, TIMELINE, REPORT, JUNIT, SUMMARY):
        if (folder / name).exists():
            os.replace(folder / name, out / name)
        else:
            (out / name).unlink(missing_ok=True)
