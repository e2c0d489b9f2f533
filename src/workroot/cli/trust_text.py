"""What a config asks for, as a person is shown it before allowing it: whole, and exactly as it is.

Nothing is cut. What would drive the terminal, turn the direction of text or show nothing at all is written out, and
each line of the project's text begins with a mark, also where a long one is folded: it cannot pass for ours.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import fields
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workroot.core.projects import ProjectConfig, ServerDeclaration

__all__ = ["content_lines", "revealed", "summary", "terminal_width"]

_BLANK_RANGES = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer inherent vowels
    (0x180B, 0x180F),  # Mongolian variation selectors
    (0x2800, 0x2800),  # Braille without dots
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),  # half-width Hangul filler
    (0xE0100, 0xE01EF),  # more variation selectors
)
"""Printable to Unicode, and invisible to people: text can be hidden in them."""

_BEGIN, _FOLDED = "  | ", "  : "
_LEAST_WIDTH = 20
_USUAL_WIDTH = 80


def revealed(text: str) -> str:
    r"""Return *text* on one line, with all that is invisible or drives a terminal written as `\n`, `\u202e`.

    A backslash is doubled where something was escaped, so that the original can be told from the result.
    """
    hidden = {character for character in text if _is_hidden(character)}
    if not hidden:
        return text
    table = {ord(character): character.encode("unicode_escape").decode() for character in hidden}
    return text.translate(table | {ord("\\"): "\\\\"})


def terminal_width(stream: TextIO) -> int:
    """Return the columns of the terminal that *stream* writes to.

    Its own size wins over `COLUMNS`: lines that the terminal folds, and not we, have no mark where they go on.
    """
    try:
        own = os.get_terminal_size(stream.fileno()).columns
    except (ValueError, OSError):  # closed, or no terminal
        return shutil.get_terminal_size().columns
    return own or _USUAL_WIDTH


def content_lines(config: ProjectConfig, width: int) -> Iterator[str]:
    """Yield the lines that show all of *config* that has to be allowed.

    Args:
        config: of the project.
        width: of the terminal, in columns.
    """
    if config.instructions is not None:
        yield "instructions, given to the models that work in this project:"
        for line in config.instructions.split("\n"):
            yield from _marked(revealed(line), width)
    for name, command in config.commands:
        yield f"command {revealed(name)}:"
        yield from _marked(revealed(command), width)
    for server in config.servers:
        yield f"server {revealed(server.name)}:"
        for name, value in _facts(server):
            yield from _marked(f"{name:<12} {revealed(value)}", width)


def summary(config: ProjectConfig) -> str:
    """Return one line that counts what was shown, so that what scrolled away is not overlooked."""
    parts = []
    if config.instructions is not None:
        parts.append(f"instructions ({_count(config.instructions.count(chr(10)) + 1, 'line')})")
    if config.commands:
        parts.append(_count(len(config.commands), "command"))
    if config.servers:
        parts.append(_count(len(config.servers), "server"))
    return ", ".join(parts)


def _facts(server: ServerDeclaration) -> Iterator[tuple[str, str]]:
    """Yield every field that is set, those of later versions too: nothing is allowed unseen."""
    for field in fields(server):
        value = getattr(server, field.name)
        if field.name == "name" or value is None:
            continue
        if isinstance(value, tuple):
            for item in value:
                yield field.name, item if isinstance(item, str) else "=".join(item)
        else:
            yield field.name, {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _marked(line: str, width: int) -> Iterator[str]:
    from rich.cells import chop_cells

    pieces = chop_cells(line, max(_LEAST_WIDTH, width - len(_BEGIN) - 1)) or [""]
    for position, piece in enumerate(pieces):
        yield f"{_FOLDED if position else _BEGIN}{piece}"


def _is_hidden(character: str) -> bool:
    if character < "\x7f" and character >= " ":
        return False
    code = ord(character)
    return not character.isprintable() or any(first <= code <= last for first, last in _BLANK_RANGES)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
