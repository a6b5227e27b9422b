"""What a set of recordings leaves beside their folders: ``summary.json``, ``junit.xml`` and an index, ``report.html``."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path
from urllib.parse import quote
from xml.etree.ElementTree import Element

from .acceptance import WHOLE
from .evaluate import JUNIT, REPORT, SUMMARY, put_in_place
from .junit import junit_suite, write_junit
from .report_page import UNIT, banner, command_line, decision_rows, page, rule_rows, seconds, word
from .report_provenance import bundle_rows, environment_part, parameters_part
from .report_tables import facts_table, list_table
from .results import AlarmFigures, CameraFigures, DecisionFigures, PoolEntry, PoolSummary, Summary, to_plain
from .summary_text import counts, pool_headline

#: The test suite of the set; those of its recordings have their names.
SUITE = "all recordings"
_UNFINISHED = ".pool"
#: Of a recording, behind its name and verdict.
_COLUMNS = ("images", "alarms", "stops", "longest time to STOP", "STOP in clean driving")


def remove_pool(out: Path) -> None:
    """Remove what a former set has left: it must not speak for recordings that are judged again."""
    for name in (SUMMARY, REPORT, JUNIT):
        (out / name).unlink(missing_ok=True)


def write_pool(out: Path, pooled: PoolSummary, command: str, has_acceptance: bool) -> None:
    """Write all files, then put each into its place in ``out``, which holds the folders of the recordings.

    ``command`` makes them again. Without an acceptance there is no ``junit.xml``.
    """
    folder = out / _UNFINISHED
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / REPORT).write_text(_page(pooled, command), encoding="utf-8", errors="replace")
    if has_acceptance:
        of_set = junit_suite(SUITE, pooled.acceptance.rules, note=_missing(pooled))
        write_junit(folder / JUNIT, *map(_suite, pooled.recordings), of_set)
    (folder / SUMMARY).write_text(json.dumps(to_plain(pooled), indent=2) + "\n", encoding="utf-8")
    put_in_place(folder, out)
    folder.rmdir()


def _suite(entry: PoolEntry) -> Element:
    if (summary := entry.summary) is None:
        return junit_suite(entry.recording, [], entry.error)
    return junit_suite(entry.recording, summary.acceptance.rules, note=summary.truncated)


def _missing(pooled: PoolSummary) -> str:
    """Which recordings could not be judged, in a sentence; empty where all were."""
    names = [entry.recording for entry in pooled.recordings if entry.error]
    count = f"{len(names)} of {len(pooled.recordings)} recordings"
    return f"{count} could not be judged: {', '.join(names)}." if names else ""


def _page(pooled: PoolSummary, command: str) -> str:
    count = len(pooled.recordings)
    head = {"recording": "name", "verdict": "text", **dict.fromkeys(_COLUMNS, "")}
    note = "A name leads to the report of its recording, in the folder beside this file; pass them on together."
    parts = [
        banner(*pool_headline(pooled)),
        f"{facts_table(_set_rows(pooled))}<h2>Recordings</h2><p class=note>{note}</p>",
        list_table(head, [_recording_row(entry) for entry in pooled.recordings], most=count, cards=True),
    ]
    if pooled.summaries:
        first, facts = pooled.summaries[0], pooled.summaries[0].provenance
        parts += ["<h2>Bundle</h2>", facts_table(bundle_rows(first.bundle, first.detector, first.threshold))]
        parts += ["<h2>Parameters</h2>", parameters_part(facts.parameters)]
        parts += ["<h2>Environment</h2>", environment_part(facts)]
    parts.append(f"<h2>Make it again</h2><p>{command_line(command)}</p>")
    return page(f"Evaluation of {count} recordings", parts)


def _set_rows(pooled: PoolSummary) -> list[tuple[str, str]]:
    alarms, decision, missing = pooled.alarms, pooled.decision, _missing(pooled)
    return [
        *rule_rows(pooled.acceptance),
        *([("not judged", word(False, "", missing))] if missing else []),
        *([("events detected", f"{alarms.detected} of {alarms.events}")] if alarms.events else []),
        *decision_rows(decision),
        ("false alarms" if pooled.has_events else "alarms", _rate(alarms)),
        ("STOP in clean driving", _false_stop(decision)),
        ("alarms without a verdict", html.escape(counts(pooled)) or "none"),
        *((f"camera {name}", _of_camera(camera)) for name, camera in pooled.by_camera.items()),
        ("judged", f"{pooled.frames} images, {pooled.duration_s:.1f}{UNIT}"),
        ("ground truth", html.escape(pooled.truth)),
    ]


def _recording_row(entry: PoolEntry) -> list[str]:
    """A recording: its name leads to its report."""
    name, summary = html.escape(entry.recording), entry.summary
    if summary is None:
        return [name, word(False, "", f"not judged: {entry.error}"), *("-" for _ in _COLUMNS)]
    return [
        f"<a href='{quote(entry.recording)}/{REPORT}'>{name}</a>",
        _verdict(summary),
        f"{summary.frames}, {summary.duration_s:.1f}{UNIT}",
        f"{summary.alarms.false}{' false' if summary.has_events else ''}",
        str(len(summary.stops_on_the_way)),
        seconds(summary.decision.time_to_stop_s),
        _false_stop(summary.decision),
    ]


def _verdict(summary: Summary) -> str:
    """By the acceptance, or without one by the events; with each reason, and what is damaged."""
    lines, broken = [], summary.acceptance.broken
    if summary.acceptance.passed is not None:
        lines.append(word(not broken, "passed", "broken"))
        lines += [html.escape(f"{rule.name}: {rule.sentence}") for rule in broken]
    elif summary.has_events:
        passed = bool(summary.judgement.passed)
        lines.append(word(passed, "as the events demand", "not as the events demand"))
        lines += [html.escape(failure) for failure in summary.judgement.failures]
    if summary.truncated and WHOLE not in {rule.name for rule in broken}:
        lines.append(word(False, "", summary.truncated))
    return "<br>".join(lines) or "-"


def _rate(alarms: AlarmFigures) -> str:
    rate = alarms.false_per_hour
    if rate is None:
        return f"{alarms.false}; no clean driving to measure a rate on"
    return (
        f"{alarms.false} in {rate.hours:.3g} h of clean driving: {rate.per_hour:.1f} an hour, 95 % interval "
        f"{rate.low:.1f} to {rate.high:.1f}"
    )


def _false_stop(decision: DecisionFigures) -> str:
    return f"{decision.false_stop_s:.2f}{UNIT} of {decision.clean_s:.1f}{UNIT}"


def _of_camera(camera: CameraFigures) -> str:
    return f"{camera.images} images, false alarms {camera.false_alarms}, alarms without a verdict {camera.faults}"
