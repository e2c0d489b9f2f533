"""Tables and times for people. What repositories and clients chose is shown as plain text, never as markup.

rich is loaded by the first table: a command that prints JSON does without.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING

import click

from workroot import redaction
from workroot.escaping import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ago", "local_time", "local_time_of", "print_facts", "print_table", "short_session", "shown_user"]

_ABSENT = "-"
_UNBOUNDED_WIDTH = 10_000  # columns; a pipe has no edge to wrap at, and a wrapped path cannot be searched for
_LEAST_COLUMN = 10  # characters of each column; in fewer nothing can be read, and rich leaves out whole columns
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def print_table(columns: Sequence[str], lines: Sequence[Sequence[str | None]]) -> None:
    """Print *lines* below the headings *columns*; None is shown as a dash.

    On a terminal, cells are folded to its width; elsewhere, and where that is too narrow, each line stays one line.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for line in lines:
        table.add_row(*(Text(escaped(cell)) if cell else Text(_ABSENT, style="dim") for cell in line))
    is_terminal = sys.stdout.isatty()
    console = Console(highlight=False)
    if not is_terminal or console.width < _LEAST_COLUMN * len(columns):
        console.width = _UNBOUNDED_WIDTH
    with console.capture() as captured:
        console.print(table)
    for shown in captured.get().splitlines():
        click.echo(shown.rstrip(), color=is_terminal)  # rich has styled it or not, as NO_COLOR and TERM ask for


def print_facts(facts: Sequence[tuple[str, str | None]]) -> None:
    """Print names with their values, one a line and in two columns; None is shown as a dash."""
    width = max((len(name) for name, _ in facts), default=0)
    for name, value in facts:
        click.echo(f"{name:<{width}}  {escaped(value) if value else _ABSENT}")


def short_session(session_id: str | None) -> str | None:
    """Return a session as the log shows it too; a handle is a capability, so it is whole only in --json."""
    return redaction.short_session(session_id) if session_id is not None else None


def shown_user(principal: str | None) -> str | None:
    """Return whose a session is; the user who asks is `you`, as in the list of tokens."""
    return "you" if principal == f"uid:{os.geteuid()}" else principal


def ago(then: float | None, now: float) -> str | None:
    """Return how long before *now* *then* was, in the largest whole unit; both in seconds since the Unix epoch."""
    if then is None:
        return None
    passed = now - then
    for seconds, unit in _STEPS:
        if passed >= seconds:
            return f"{int(passed // seconds)} {unit} ago"
    return "now"


def local_time(at: float | None) -> str | None:
    """Return a time in seconds since the Unix epoch as the clock on the wall showed it."""
    if at is None:
        return None
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return None


def local_time_of(written: str | None) -> str | None:
    """Return a time that a log wrote (ISO 8601) as `local_time` does; what is no such time, as it is."""
    try:
        return written and (local_time(datetime.fromisoformat(written).timestamp()) or written)
    except (ValueError, OverflowError, OSError):
        return written
