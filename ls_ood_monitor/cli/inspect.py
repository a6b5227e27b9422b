"""ls-ood inspect: what is in a recording, what of it cannot be used, and how to use the rest."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from ..errors import DataError
from .console import console, errors, progress_bar, write_json

if TYPE_CHECKING:
    from ..recordings.inspection import RecordingReport, TopicReport

DESCRIPTION = """\
Reads recordings and states what is in them: topics with type, encoding, bit depth, size, rate and counts; gaps, clock
steps, stamps against the time of reception; black, saturated, frozen and unreadable pictures by the vehicle's own checks;
topics with several drivers; what is missing or damaged; and the --topic options for calibrate and evaluate.

  ls-ood inspect drive/bag
  ls-ood inspect monday.mcap pictures/ clip.mp4 --json report.json
  ls-ood inspect drive/bag --all                                 (checks every picture, not a sample of 200 a topic)

Of a damaged bag what can be read is inspected. Nothing is written beside the recording. Exit code 1: something is
wrong or missing; 2: a recording cannot be read at all.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("recordings", nargs="+", type=Path, metavar="RECORDING", help="bag, video or folder of pictures")
    add("--all", action="store_true", help="check every picture, not a sample; of videos and folders read all")


def run(args: argparse.Namespace) -> int:
    """Inspect each recording and print its report."""
    from dataclasses import asdict

    from ..recordings.inspection import count_messages, inspect_recording

    reports: list[RecordingReport] = []
    failed: dict[str, str] = {}
    for path in args.recordings:
        try:
            with progress_bar(f"Reading {path.name}", count_messages(path)) as update:
                found = inspect_recording(path, args.all, update)
        except DataError as error:
            failed[str(path)] = str(error)
            errors.print(f"ls-ood inspect: {error}", markup=False, highlight=False, soft_wrap=True)
            continue
        for report in found:
            _print(report)
        reports += found
    write_json(args.json, {"recordings": [asdict(report) for report in reports], "failed": failed})
    if failed:
        return 2
    return 1 if any(report.findings for report in reports) else 0


def _print(report: RecordingReport) -> None:
    console.print(f"[bold]{escape(report.path)}[/]: {report.kind}, {report.duration_s:.1f} s", soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("topic", "type", "encoding", "bits", "size", "Hz", "messages", "faulty"):
        is_number = title in ("bits", "size", "Hz", "messages")
        table.add_column(title, justify="right" if is_number else "left", overflow="fold", no_wrap=is_number)
    for topic in report.topics:
        table.add_row(*map(escape, _cells(topic)))
    console.print(table)
    for finding in report.findings:
        console.print(f"[bold red]![/] {escape(finding)}", highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"  {escape(note)}", highlight=False, soft_wrap=True)
    if report.options:
        console.print(
            f"  for calibrate and evaluate: [bold]{escape(report.options)}[/]", highlight=False, soft_wrap=True
        )
    if not report.findings:
        console.print("  [green]nothing is wrong or missing[/]")


def _cells(topic: TopicReport) -> list[str]:
    """A row of the table."""
    messages = str(topic.promised) if topic.read is None else str(topic.read)
    if topic.read is not None and topic.promised > topic.read:
        messages = f"{topic.read} of {topic.promised}"
    name = topic.topic if topic.writers < 2 else f"{topic.topic} ({topic.writers} drivers)"
    images = topic.images
    if images is None:
        return [name, topic.type_name, "", "", "", "", messages, ""]
    faults = ", ".join(f"{count / images.checked:.0%} {kind}" for kind, count in images.faults.items())
    return [
        name,
        topic.type_name.rsplit("/", 1)[-1],
        ", ".join(images.layouts),
        str(images.bits or ""),
        ", ".join(images.sizes),
        "" if images.rate_hz is None else f"{images.rate_hz:.1f}",
        messages,
        faults or "0",
    ]
