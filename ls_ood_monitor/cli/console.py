"""Console output of all commands: results on stdout, progress and warnings on stderr, JSON files."""

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

#: Suffixes of the pictures that matplotlib writes.
PICTURES = (".png", ".svg", ".pdf", ".jpg")
#: The file name that stands for standard output in ``--json``.
STDOUT = Path("-")

console = Console()
errors = Console(stderr=True)


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Show a progress bar for ``total`` steps (None = unknown); yields ``update(done, note="")``."""
    with progress_lines({title: total}) as update:
        yield partial(update, title)


@contextmanager
def progress_lines(totals: Mapping[str, int | None], screen: Console = errors) -> Iterator[Callable[..., None]]:
    """Show a progress bar for each task; yields ``update(title, done, note="", is_last=False)``.

    ``is_last`` completes the bar of a task. Later updates of that task are ignored: messages of a cluster may arrive out
    of order.
    """
    columns = (
        _Title(),
        BarColumn(),
        MofNCompleteColumn(table_column=_fixed(2 * max(len(str(total or 0)) for total in totals.values()) + 1)),
        TimeElapsedColumn(table_column=_fixed(len("0:00:00"))),
        TextColumn("left"),
        TimeRemainingColumn(table_column=_fixed(len("0:00:00"))),
        TextColumn("{task.fields[note]}"),
    )
    ended: set[str] = set()
    lock = threading.Lock()  # a cluster reports its progress from another thread
    with Progress(*columns, console=screen) as progress:
        tasks = {
            title: progress.add_task(title, total=total, note="", start=len(totals) == 1)
            for title, total in totals.items()
        }

        def update(title: str, done: int, note: str = "", is_last: bool = False) -> None:
            with lock:
                if title in ended:
                    return
                progress.start_task(tasks[title])  # its clock starts with the first update
                progress.update(tasks[title], completed=done, note=note, total=done if is_last else None)
                if is_last:
                    ended.add(title)

        yield update


def _fixed(width: int) -> Column:
    """A column that is never cut; title and bar shrink instead."""
    return Column(no_wrap=True, min_width=width)


class _Title(ProgressColumn):
    """The name of the task on one line, cut to the width that is left."""

    def render(self, task: Task) -> Text:
        """The text of the column."""
        return Text(task.description, style="bold", no_wrap=True, overflow="ellipsis")


def reproduce_command(arguments: Sequence[str]) -> str:
    """A shell command that repeats these arguments in the current folder."""
    return f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join(arguments)}"


def warn(message: str) -> None:
    """Print a note to stderr."""
    errors.print(f"note: {message}", style="yellow", highlight=False, soft_wrap=True)


def require_file_place(option: str, path: Path | None, suffixes: tuple[str, ...] = ()) -> None:
    """Refuse an output path that cannot be written, before the work begins. Raises ``ConfigError``."""
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"{option} is {path}; it must be a file in a folder that exists.")
    if suffixes and path.suffix.lower() not in suffixes:
        raise ConfigError(f"{option} is {path}; its name must end in {', '.join(suffixes)}.")


@contextmanager
def text_beside_json(path: Path | None) -> Iterator[None]:
    """Send printed text to stderr inside the context if ``--json -`` uses stdout."""
    console.stderr = path == STDOUT
    try:
        yield
    finally:
        console.stderr = False


def write_json(path: Path | None, content: Mapping[str, object]) -> None:
    """Write ``content`` to the file of ``--json``; ``-`` is standard output, None writes nothing."""
    if path is None:
        return
    text = json.dumps(content, indent=2) + "\n"
    if path == STDOUT:
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")
