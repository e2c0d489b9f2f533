"""Text that a project or a stranger wrote, made safe to show to people and models."""

from __future__ import annotations

import unicodedata

__all__ = ["shown"]

_UNSAFE = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}  # controls, bidirectional and invisible marks, line separators


def shown(text: str, limit: int = 200) -> str:
    """Return *text* on one line, at most *limit* characters, with what cannot be seen written as an escape."""
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(_escaped(letter) if unicodedata.category(letter) in _UNSAFE else letter for letter in cut)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
