"""What a set of recordings leaves beside their folders: ``summary.json``, ``junit.xml`` and an index, ``report.html``."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .evaluate import JUNIT, REPORT, SUMMARY, put_in_place
from .gate import WHOLE, Rule
from .junit import junit_suite, write_junit
from .words import stops_on_the_way

#: The test suite of the set; those of its recordings have their names.
SUITE = "all recordings"
_UNFINISHED = ".pool"
_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 12px; max-width: 1240px; color: #1b1b1b;
  background: #fff }
h1 { font-size: 1.5em; margin: .3em 0 }
h2 { font-size: 1.15em; margin: 1.8em 0 .4em }
.wide { overflow-x: auto }
table { border-collapse: collapse }
td, th { padding: 3px 14px 3px 0; text-align: left; vertical-align: top; overflow-wrap: anywhere; min-width: 5em }
th[scope=col] { overflow-wrap: normal }
.reasons { min-width: 16em }
.good { color: #1b5e20; font-weight: 600 }
.bad { color: #b71c1c; font-weight: 600 }
code { overflow-wrap: anywhere }
"""
_S = "\u00a0s"  # a figure and its unit stay on one line


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
    title = f"Evaluation of {count} recordings"
    head = ("recording", "verdict", "images", "alarms", "stops", "longest time to STOP", "STOP in clean driving")
    parts = [
        f"<h1>{title}</h1>",
        _table(_together(pooled)),
        "<h2>Recordings</h2>",
        _list(head, [_row(one) for one in pooled["recordings"]]),
        f"<h2>Make it again</h2><p><code>{html.escape(command)}</code></p>",
    ]
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width, "
        f"initial-scale=1'><title>{title}</title><link rel=icon href='data:,'><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _together(pooled: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the set."""
    alarms, decision = pooled["alarms"], pooled["decision"]
    rows = []
    if (passed := pooled["gate"]["passed"]) is not None:
        rows.append(("gate", _word(passed, "PASSED", "BROKEN")))
    if missing := _missing(pooled):
        rows.append(("not judged", _word(False, "", missing)))
    rows += [(rule["name"], _kept(rule)) for rule in pooled["gate"]["rules"]]
    if alarms["events"]:
        rows.append(("events detected", f"{alarms['detected']} of {alarms['events']}"))
    return [
        *rows,
        ("longest time to STOP", _seconds(decision["time_to_stop_s"])),
        ("longest time to resume", _seconds(decision["time_to_resume_s"])),
        ("false alarms" if pooled["truth"] == "events" else "alarms", _rate(alarms)),
        ("STOP in clean driving", _false_stop(decision)),
        ("alarms without a verdict", _counts(pooled["faults"])),
        *((f"camera {name}", html.escape(_of_camera(one))) for name, one in pooled["by_camera"].items()),
        ("judged", f"{pooled['frames']} images, {pooled['duration_s']:.1f}{_S}"),
        ("ground truth", html.escape(pooled["truth"])),
    ]


def _row(one: Mapping[str, Any]) -> list[str]:
    """A recording: its name leads to its report."""
    name = html.escape(one["recording"])
    if one["error"]:
        return [name, _word(False, "", f"not judged: {one['error']}"), "-", "-", "-", "-", "-"]
    alarms, decision = one["alarms"], one["decision"]
    return [
        f"<a href='{quote(one['folder'])}/{REPORT}'>{name}</a>",
        _verdict(one),
        f"{one['frames']}, {one['duration_s']:.1f}{_S}",
        f"{alarms['false']}{' false' if one['truth'] == 'events' else ''}",
        str(len(stops_on_the_way(one))),
        _seconds(decision["time_to_stop_s"]),
        _false_stop(decision),
    ]


def _verdict(one: Mapping[str, Any]) -> str:
    """Of the gate, or without one of the judgement by the events; with each reason, and what is damaged."""
    lines = []
    broken = [rule for rule in one["gate"]["rules"] if not rule["passed"]]
    if one["gate"]["passed"] is not None:
        lines.append(_word(not broken, "passed", "broken"))
        lines += [html.escape(f"{rule['name']}: {rule['sentence']}") for rule in broken]
    elif one["truth"] == "events":
        lines.append(_word(one["judgement"]["passed"], "as the events demand", "not as the events demand"))
        lines += [html.escape(failure) for failure in one["judgement"]["failures"]]
    if one["truncated"] and WHOLE not in {rule["name"] for rule in broken}:
        lines.append(_word(False, "", one["truncated"]))
    return f"<div class=reasons>{'<br>'.join(lines) or '-'}</div>"


def _kept(rule: Mapping[str, Any]) -> str:
    return f"{_word(rule['passed'], 'kept', 'broken')} {html.escape(rule['sentence'])}"


def _word(is_good: bool, good: str, bad: str) -> str:
    return f"<span class={'good' if is_good else 'bad'}>{html.escape(good if is_good else bad)}</span>"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}{_S}"


def _rate(alarms: Mapping[str, Any]) -> str:
    rate = alarms["false_per_hour"]
    if rate is None:
        return f"{alarms['false']}; no clean driving to measure a rate on"
    return (
        f"{alarms['false']} in {rate['hours']:.3g} h of clean driving: {rate['per_hour']:.1f} an hour, 95 % interval "
        f"{rate['low']:.1f} to {rate['high']:.1f}"
    )


def _false_stop(decision: Mapping[str, Any]) -> str:
    return f"{decision['false_stop_s']:.2f}{_S} of {decision['clean_s']:.1f}{_S}"


def _of_camera(one: Mapping[str, int]) -> str:
    return f"{one['images']} images, false alarms {one['false_alarms']}, alarms without a verdict {one['faults']}"


def _counts(counts: Mapping[str, int]) -> str:
    return html.escape(", ".join(f"{name} {count}" for name, count in counts.items())) or "none"


def _table(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values; the values are HTML."""
    lines = "".join(f"<tr><th scope=row>{html.escape(name)}</th><td>{value}</td></tr>" for name, value in rows)
    return f"<div class=wide><table>{lines}</table></div>"


def _list(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a heading; the cells are HTML."""
    titles = "".join(f"<th scope=col>{title}</th>" for title in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class=wide><table><tr>{titles}</tr>{lines}</table></div>"
