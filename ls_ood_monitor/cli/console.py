"""What the commands share: one rich bar on stderr, so that stdout stays for results, and a JSON file for machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..errors import ConfigError

#: What matplotlib draws and people open.
PICTURES = (".png", ".svg", ".pdf", ".jpg")

console = Console()
errors = Console(stderr=True)


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Yield ``update(done, note="")`` for a task of ``total`` steps (None: unknown)."""
    with progress_lines({title: total}) as update:
        yield partial(update, title)


@contextmanager
def progress_lines(totals: Mapping[str, int | None]) -> Iterator[Callable[..., None]]:
    """Yield ``update(title, done, note="")`` for several tasks, a line each."""
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=errors) as progress:
        tasks = {
            title: progress.add_task(title, total=total, note="", start=len(totals) == 1)
            for title, total in totals.items()
        }

        def update(title: str, done: int, note: str = "") -> None:
            progress.start_task(tasks[title])  # its clock, at the first word of it
            progress.update(tasks[title], completed=done, note=note)

        yield update


def warn(sentence: str) -> None:
    """A note on stderr that the command goes on after."""
    errors.print(f"note: {sentence}", style="yellow", highlight=False, soft_wrap=True)


def require_file_place(option: str, path: Path | None, suffixes: tuple[str, ...] = ()) -> None:
    """Refuse a place that cannot take a result, before the work is done rather than after."""
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"{option} is {path}; it must be a file in a folder that exists.")
    if suffixes and path.suffix.lower() not in suffixes:
        raise ConfigError(f"{option} is {path}; its name must end in {', '.join(suffixes)}.")


def write_json(path: Path | None, content: Mapping[str, object]) -> None:
    """Write the file that ``--json`` asks for; nothing when it was not asked for."""
    if path is not None:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
