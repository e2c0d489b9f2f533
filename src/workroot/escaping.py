"""Text of unknown origin, made fit for one line of a terminal or a log.

Names and paths come from repositories and clients. A newline in one would forge a log record, an
escape sequence would drive the reader's terminal, a direction mark would show a path as another.
"""

from __future__ import annotations

import unicodedata

__all__ = ["escaped", "shown"]

_HARMFUL_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Controls, formats (direction marks among them), surrogates, and the two separators of lines."""


def escaped(text: str) -> str:
    r"""Return *text* with all that could break out of its line written as `\n`, `\x1b`, `\u202e`.

    A backslash is doubled where something was escaped, so that the original can be told from the result.
    """
    if text.isprintable():
        return text
    harmful = {character for character in text if unicodedata.category(character) in _HARMFUL_CATEGORIES}
    if not harmful:
        return text
    table = {ord(character): _escape(character) for character in harmful}
    return text.translate(table | {ord("\\"): "\\\\"})


def shown(text: str, limit: int = 200) -> str:
    """Return what a project says of itself on one line, cut after *limit* characters of it."""
    return escaped(text if len(text) <= limit else f"{text[: limit - 1]}…")


def _escape(character: str) -> str:
    if character in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character]
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
