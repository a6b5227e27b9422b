"""What the pages of one recording and of a set have in common, as HTML: the page itself, and how it says good and bad."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from . import report_tables
from .results import AcceptanceResult, DecisionFigures
from .summary_text import share

UNIT = "\u00a0s"  # a figure and its unit stay on one line
_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 12px; max-width: 1240px;
  color: #1b1b1b; background: #fff }
h1 { font-size: 1.5em; margin: .3em 0; overflow-wrap: anywhere }
h2 { font-size: 1.15em; margin: 1.8em 0 .4em; break-after: avoid }
p { max-width: 60em }
.banner { font-size: 1.15em; padding: 10px 14px; margin: 10px 0; max-width: none; border-left: 6px solid;
  border-radius: 4px; overflow-wrap: anywhere }
.banner.good { background: #e8f5e9 }
.banner.unsure { background: #fff8e1 }
.banner.bad { background: #ffebee }
.note { color: #454545 }
.wide { overflow-x: auto }
.good { color: #1b5e20; font-weight: 600 }
.unsure { color: #5d4037; font-weight: 600 }
.bad { color: #b71c1c; font-weight: 600 }
code { overflow-wrap: anywhere }
code span { display: inline-block; max-width: 100% }
"""


def page(title: str, parts: Iterable[str], style: str = "") -> str:
    """A whole page that needs no other file; ``parts`` are HTML, ``style`` is CSS beside that of all pages."""
    title = html.escape(title)
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width, "
        f"initial-scale=1'><title>{title}</title><link rel=icon href='data:,'><style>{_STYLE}{report_tables.STYLE}{style}"
        f"</style></head><body><h1>{title}</h1>{''.join(parts)}</body></html>\n"
    )


def banner(tone: str, text: str) -> str:
    """The verdict, which is read first (``summary_text.headline``)."""
    return f"<p class='banner {tone}'>{html.escape(text)}</p>"


def command_line(command: str) -> str:
    """A shell command that breaks between its words alone, not within an option."""
    words = re.findall(r"(?:'[^']*'|[^\s'])+", command)
    return f"<code>{' '.join(f'<span>{html.escape(word)}</span>' for word in words)}</code>"


def word(is_good: bool, good: str, bad: str) -> str:
    """One of two texts, in its colour."""
    return f"<span class={'good' if is_good else 'bad'}>{html.escape(good if is_good else bad)}</span>"


def rule_rows(result: AcceptanceResult) -> list[tuple[str, str]]:
    """Whether an acceptance was passed, and of each rule whether it was kept, and what was measured."""
    rows = [] if result.passed is None else [("acceptance", word(result.passed, "PASSED", "BROKEN"))]
    kept = ((rule, word(rule.passed, "kept", "broken")) for rule in result.rules)
    return rows + [(rule.name, f"{verdict} {html.escape(rule.sentence)}") for rule, verdict in kept]


def decision_rows(decision: DecisionFigures) -> list[tuple[str, str]]:
    """Of the stops that events caused."""
    return [
        ("longest time to STOP", seconds(decision.time_to_stop_s)),
        ("of the events' time under STOP", share(decision.hold_ratio)),
        ("longest time to release", seconds(decision.time_to_release_s)),
    ]


def seconds(value: float | None) -> str:
    """A time, or that there is none."""
    return "-" if value is None else f"{value:.2f}{UNIT}"
