"""What commands print: results on standard output, all else on standard error.

With `--json`, standard output is one JSON document and nothing else, when a command fails too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

import click

from workroot.errors import ControlError, WorkrootError
from workroot.escaping import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["json_option", "print_error", "print_json", "print_line", "print_note"]

_JSON = "workroot.json"

_Command = TypeVar("_Command", bound="Callable[..., object]")


def json_option(command: _Command) -> _Command:
    """Give a command the option `--json`, as the argument `as_json`."""
    option = click.option(
        "--json",
        "as_json",
        is_flag=True,
        callback=_remember,
        help="Print one JSON document instead of text for people.",
    )
    return option(command)


def print_json(document: Mapping[str, object]) -> None:
    """Print the one document of a command that was called with `--json`."""
    click.echo(json.dumps(document, indent=2))


def print_line(text: str = "") -> None:
    """Print a line of the answer; what could break out of the line is escaped."""
    click.echo(escaped(text))


def print_note(text: str) -> None:
    """Print a line for the person at the terminal; never part of the answer."""
    click.echo(escaped(text), err=True)


def print_error(context: click.Context, error: WorkrootError, **known: object) -> None:
    """Say what failed: a line on standard error, and with `--json` a document on standard output.

    Args:
        known: what the command knows all the same; the document begins with it.
    """
    if context.meta.get(_JSON):
        code = error.daemon_code if isinstance(error, ControlError) else error.code
        print_json({**known, "error": {"code": code, "message": str(error)}})
    print_note(f"workroot: {error}")


def _remember(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    context.meta[_JSON] = value
    return value
