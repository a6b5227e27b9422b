"""What a set of recordings leaves beside their folders: ``summary.json``, ``junit.xml`` and an index, ``report.html``."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .acceptance import WHOLE, Rule
from .evaluate import JUNIT, REPORT, SUMMARY, put_in_place
from .junit import junit_suite, write_junit
from .report_page import UNIT, banner, command_line, counts, kept, page, seconds, word
from .report_provenance import environment_part, parameters_part
from .report_tables import facts_table, list_table
from .summary_text import pool_verdict, share, stops_on_the_way

#: The test suite of the set; those of its recordings have their names.
SUITE = "all recordings"
_UNFINISHED = ".pool"
#: Of a recording, behind its name and verdict.
_COLUMNS = ("images", "alarms", "stops", "longest time to STOP", "STOP in clean driving")


def remove_pool(out: Path) -> None:
    """Take away what a former set has left: it must not speak for recordings that are judged again."""
    for name in (SUMMARY, REPORT, JUNIT):
        (out / name).unlink(missing_ok=True)


def write_pool(out: Path, pooled: Mapping[str, Any], command: str, has_gate: bool) -> None:
    """Write all files, then put each into its place.

    Args:
        out: the folder that holds those of the recordings.
        pooled: figures of the set (``pool.pool``).
        command: that makes it again.
        has_gate: then there is a ``junit.xml``.
    """
    folder = out / _UNFINISHED
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / REPORT).write_text(_page(pooled, command), encoding="utf-8")
    if has_gate:
        suites = [_suite(one) for one in pooled["recordings"]]
        write_junit(folder / JUNIT, *suites, junit_suite(SUITE, _rules(pooled), said=_missing(pooled)))
    (folder / SUMMARY).write_text(json.dumps(pooled, indent=2) + "\n", encoding="utf-8")
    put_in_place(folder, out)
    folder.rmdir()


def _suite(recording: Mapping[str, Any]) -> Any:
    if recording["error"]:
        return junit_suite(recording["recording"], [], recording["error"])
    return junit_suite(recording["recording"], _rules(recording), said=recording["truncated"])


def _rules(figures: Mapping[str, Any]) -> list[Rule]:
    return [Rule(**rule) for rule in figures["gate"]["rules"]]


def _missing(pooled: Mapping[str, Any]) -> str:
    """Which recordings could not be judged, in a sentence; empty where all were."""
    names = [one["recording"] for one in pooled["recordings"] if one["error"]]
    if not names:
        return ""
    return f"{len(names)} of {len(pooled['recordings'])} recordings could not be judged: {', '.join(names)}."


def _page(pooled: Mapping[str, Any], command: str) -> str:
    count = len(pooled["recordings"])
    head = {"recording": "name", "verdict": "text", **dict.fromkeys(_COLUMNS, "")}
    parts = [
        banner(*pool_verdict(pooled)),
        facts_table(_together(pooled)),
        "<h2>Recordings</h2>",
        "<p class=note>A name leads to the report of its recording, in the folder beside this file; pass them on together.</p>",
        list_table(head, [_row(one) for one in pooled["recordings"]], most=count, cards=True),
    ]
    if facts := pooled["provenance"]:
        parts += ["<h2>Bundle</h2>", facts_table(_bundle(pooled))]
        parts += ["<h2>Parameters</h2>", parameters_part(facts["parameters"])]
        parts += ["<h2>Environment</h2>", environment_part(facts)]
    parts.append(f"<h2>Make it again</h2><p>{command_line(command)}</p>")
    return page(f"Evaluation of {count} recordings", parts)


def _bundle(pooled: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("identity", f"<code>sha256 {pooled['bundle']['sha256']}</code>"),
        ("detector", f"{html.escape(pooled['detector'])}, threshold {pooled['threshold']:.4g}"),
    ]


def _together(pooled: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the set."""
    alarms, decision = pooled["alarms"], pooled["decision"]
    rows = []
    if (passed := pooled["gate"]["passed"]) is not None:
        rows.append(("gate", word(passed, "PASSED", "BROKEN")))
    if missing := _missing(pooled):
        rows.append(("not judged", word(False, "", missing)))
    rows += [(rule["name"], kept(rule)) for rule in pooled["gate"]["rules"]]
    if alarms["events"]:
        rows.append(("events detected", f"{alarms['detected']} of {alarms['events']}"))
    return [
        *rows,
        ("longest time to STOP", seconds(decision["time_to_stop_s"])),
        ("of the events' time under STOP", share(decision["hold_ratio"])),
        ("longest time to resume", seconds(decision["time_to_resume_s"])),
        ("false alarms" if pooled["truth"] == "events" else "alarms", _rate(alarms)),
        ("STOP in clean driving", _false_stop(decision)),
        ("alarms without a verdict", counts(pooled["faults"])),
        *((f"camera {name}", html.escape(_of_camera(one))) for name, one in pooled["by_camera"].items()),
        ("judged", f"{pooled['frames']} images, {pooled['duration_s']:.1f}{UNIT}"),
        ("ground truth", html.escape(pooled["truth"])),
    ]


def _row(one: Mapping[str, Any]) -> list[str]:
    """A recording: its name leads to its report."""
    name = html.escape(one["recording"])
    if one["error"]:
        return [name, word(False, "", f"not judged: {one['error']}"), *("-" for _ in _COLUMNS)]
    alarms, decision = one["alarms"], one["decision"]
    return [
        f"<a href='{quote(one['folder'])}/{REPORT}'>{name}</a>",
        _verdict(one),
        f"{one['frames']}, {one['duration_s']:.1f}{UNIT}",
        f"{alarms['false']}{' false' if one['truth'] == 'events' else ''}",
        str(len(stops_on_the_way(one))),
        seconds(decision["time_to_stop_s"]),
        _false_stop(decision),
    ]


def _verdict(one: Mapping[str, Any]) -> str:
    """Of the gate, or without one of the judgement by the events; with each reason, and what is damaged."""
    lines = []
    broken = [rule for rule in one["gate"]["rules"] if not rule["passed"]]
    if one["gate"]["passed"] is not None:
        lines.append(word(not broken, "passed", "broken"))
        lines += [html.escape(f"{rule['name']}: {rule['sentence']}") for rule in broken]
    elif one["truth"] == "events":
        lines.append(word(one["judgement"]["passed"], "as the events demand", "not as the events demand"))
        lines += [html.escape(failure) for failure in one["judgement"]["failures"]]
    if one["truncated"] and WHOLE not in {rule["name"] for rule in broken}:
        lines.append(word(False, "", one["truncated"]))
    return "<br>".join(lines) or "-"


def _rate(alarms: Mapping[str, Any]) -> str:
    rate = alarms["false_per_hour"]
    if rate is None:
        return f"{alarms['false']}; no clean driving to measure a rate on"
    return (
        f"{alarms['false']} in {rate['hours']:.3g} h of clean driving: {rate['per_hour']:.1f} an hour, 95 % interval "
        f"{rate['low']:.1f} to {rate['high']:.1f}"
    )


def _false_stop(decision: Mapping[str, Any]) -> str:
    return f"{decision['false_stop_s']:.2f}{UNIT} of {decision['clean_s']:.1f}{UNIT}"


def _of_camera(one: Mapping[str, int]) -> str:
    return f"{one['images']} images, false alarms {one['false_alarms']}, alarms without a verdict {one['faults']}"
