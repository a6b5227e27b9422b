"""The report's tables, as HTML. On a phone names stand above their values, and what files and messages bring breaks anywhere."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

MAX_ROWS = 30
STYLE = """
table { border-collapse: collapse }
td, th { padding: 3px 14px 3px 0; text-align: left; vertical-align: top }
th[scope=row], .facts td { overflow-wrap: anywhere }
th[scope=row] { min-width: 11em; max-width: 22em }
.name { overflow-wrap: anywhere; min-width: 4em }
.text { overflow-wrap: anywhere; min-width: 9em }
tbody.stop { border-top: 1px solid #b0bec5 }
@media (max-width: 600px) {
  td, th { padding-right: 5px }
  .name { min-width: 3em }
  .cards thead { display: none }
  .cards tr, .cards td { display: block; padding-right: 0 }
  .cards tr { border-top: 1px solid #b0bec5; padding: 5px 0 }
  .cards td::before { content: attr(data-title) ": "; color: #454545 }
  .cards td:first-child::before { content: none }
  .facts tr, .facts th, .facts td { display: block; padding-right: 0; max-width: none }
  .facts td { padding-bottom: 7px }
}
"""


def facts_table(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values; the values are HTML."""
    lines = "".join(f"<tr><th scope=row>{html.escape(name)}</th><td>{value}</td></tr>" for name, value in rows)
    return f"<div class=wide><table class=facts>{lines}</table></div>"


def list_table(
    head: Mapping[str, str], rows: Sequence[Sequence[str]], most: int = MAX_ROWS, cards: bool = False
) -> str:
    """A table with a heading; the cells are HTML. Of more rows than ``most`` the first.

    ``head`` are titles, and whether a column breaks anywhere: ``name`` and ``text`` do, which files and messages bring.
    With ``cards`` a phone has each row as a list under its first cell, for a table that is too wide for it.
    """
    marks = [
        (f" data-title='{title}'" if cards else "") + (f" class={kind}" if kind else "") for title, kind in head.items()
    ]
    lines = "".join(
        f"<tr>{''.join(f'<td{mark}>{cell}</td>' for mark, cell in zip(marks, row, strict=True))}</tr>"
        for row in rows[:most]
    )
    return f"{with_head(tuple(head), lines, 'cards' if cards else '')}{first_of(len(rows), most)}"


def with_head(head: Sequence[str], lines: str, kind: str = "") -> str:
    """Groups of rows, as HTML, under their titles."""
    titles = "".join(f"<th scope=col>{title}</th>" for title in head)
    mark = f" class={kind}" if kind else ""
    return f"<div class=wide><table{mark}><thead><tr>{titles}</tr></thead>{lines}</table></div>"


def first_of(count: int, most: int = MAX_ROWS) -> str:
    """A note where there are more rows than are shown."""
    return f"<p class=note>The first {most} of {count}.</p>" if count > most else ""
