"""What the commands share: one rich bar on stderr, so that stdout stays for results, and a JSON file for machines."""

from __future__ import annotations

import json
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from ..errors import ConfigError

#: What matplotlib draws and people open.
PICTURES = (".png", ".svg", ".pdf", ".jpg")
#: As a file for ``--json``: standard output.
STDOUT = Path("-")

console = Console()
errors = Console(stderr=True)


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Yield ``update(done, note="")`` for a task of ``total`` steps (None: unknown)."""
    with progress_lines({title: total}) as update:
        yield partial(update, title)


@contextmanager
def progress_lines(totals: Mapping[str, int | None]) -> Iterator[Callable[..., None]]:
    """Yield ``update(title, done, note="", is_last=False)`` for several tasks, a line each.

    The last word on a task makes its line a full one; what another machine said before, and comes later, is not shown.
    """
    columns = (
        _Title(),
        BarColumn(),
        MofNCompleteColumn(table_column=_rigid(2 * max(len(str(total or 0)) for total in totals.values()) + 1)),
        TimeElapsedColumn(table_column=_rigid(len("0:00:00"))),
        TextColumn("left"),
        TimeRemainingColumn(table_column=_rigid(len("0:00:00"))),
        TextColumn("{task.fields[note]}"),
    )
    ended: set[str] = set()
    lock = threading.Lock()  # a cluster tells its progress in a thread of its own
    with Progress(*columns, console=errors) as progress:
        tasks = {
            title: progress.add_task(title, total=total, note="", start=len(totals) == 1)
            for title, total in totals.items()
        }

        def update(title: str, done: int, note: str = "", is_last: bool = False) -> None:
            with lock:
                if title in ended:
                    return
                progress.start_task(tasks[title])  # its clock, at the first word of it
                progress.update(tasks[title], completed=done, note=note, total=done if is_last else None)
                if is_last:
                    ended.add(title)

        yield update


def _rigid(width: int) -> Column:
    """A column for figures, which say nothing when they are cut; title and bar give way to them."""
    return Column(no_wrap=True, min_width=width)


class _Title(ProgressColumn):
    """The task's name on one line, as much of it as there is room for."""

    def render(self, task: Task) -> Text:
        """Its text."""
        return Text(task.description, style="bold", no_wrap=True, overflow="ellipsis")


def reproduce_command(words: Sequence[str]) -> str:
    """A shell command that gives these words in the folder where they were given."""
    return f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join(words)}"


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


@contextmanager
def text_beside_json(path: Path | None) -> Iterator[None]:
    """Within it, whatever a command prints goes to stderr where ``--json -`` asks for standard output."""
    console.stderr = path == STDOUT
    try:
        yield
    finally:
        console.stderr = False


def write_json(path: Path | None, content: Mapping[str, object]) -> None:
    """Write the file that ``--json`` asks for, ``-`` = standard output; nothing when it was not asked for."""
    if path is None:
        return
    text = json.dumps(content, indent=2) + "\n"
    if path == STDOUT:
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")
