"""Two values out of a repository's own git config, read as data: no include is followed, nothing is run.

Enough of git-config(1)'s syntax to see what git itself writes there; what is written otherwise counts as not said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["CoreSettings", "core_settings"]

_SECTION = re.compile(r'\[\s*([A-Za-z0-9.-]+)\s*(?:"(?:[^"\\]|\\.)*"\s*)?\]\s*')
_VARIABLE = re.compile(r"([A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(.*))?$")
_PART = re.compile(r'"((?:[^"\\]|\\.)*)"|([^"#;\\]+)|(\\.)|[#;].*')
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n", r"\t": "\t", r"\b": "\b"}
_TRUE = ("true", "yes", "on", "1")


@dataclass(frozen=True, slots=True)
class CoreSettings:
    """What `[core]` says.

    Attributes:
        worktree: the directory that is checked out, as it is written; None if it is not said.
        is_bare: nothing is checked out beside it.
    """

    worktree: str | None = None
    is_bare: bool = False


def core_settings(text: str) -> CoreSettings:
    """Return what the config says; the last word on something counts."""
    found: dict[str, str | None] = {}
    in_core = False
    for written in text.splitlines():
        line = written.strip()
        if (section := _SECTION.match(line)) is not None:
            in_core = section[1].lower() == "core" and '"' not in section[0]
            line = line[section.end() :]
        if in_core and (variable := _VARIABLE.match(line)) is not None:
            value = variable[2]
            found[variable[1].lower()] = "true" if value is None else _unquoted(value)
    return CoreSettings(
        worktree=found.get("worktree") or None,
        is_bare=(found.get("bare") or "").lower() in _TRUE,
    )


def _unquoted(value: str) -> str | None:
    parts: list[str] = []
    position = 0
    while position < len(value):
        part = _PART.match(value, position)
        if part is None:
            return None  # a quote that is not closed, a line that goes on
        quoted, plain, escaped = part.groups()
        if quoted is None and plain is None and escaped is None:
            parts = [*parts[:-1], parts[-1].rstrip()] if parts else parts  # a comment ends it
            break
        parts.append(plain if plain is not None else re.sub(r"\\.", _unescaped, quoted or escaped or ""))
        position = part.end()
    return "".join(parts)


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0], match[0])
