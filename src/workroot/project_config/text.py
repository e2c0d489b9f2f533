"""Reads the text of a config, TOML or JSON. The text decides neither how long that takes nor what is said of it.

Parsers can be stalled: `tomllib` takes a time that grows with the square of a dotted key's length (62 KiB: 6 s), and
nesting ends in a `RecursionError` that no caller expects. So lines, keys and nesting are measured before a
parser sees the text, in one pass. What parsers say may quote the text; only such words of theirs are
passed on as are the same whatever it holds.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_DEPTH", "MAX_LINE_BYTES", "UnusableTextError", "line_of", "parse_text"]

MAX_LINE_BYTES = 4096
"""Of a line of TOML; JSON is often written on one."""

MAX_DEPTH = 16
"""Parts of a dotted key, and brackets that are open at a time."""

_TOML_PLACE = re.compile(r"(?s)(?P<text>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)")
_MERGE_MARK = re.compile(r"^<{7} ", re.MULTILINE)

_SAYABLE = frozenset(
    {
        "Expected '=' after a key in a key/value pair",
        "Expected ']' at the end of a table declaration",
        "Expected ']]' at the end of an array declaration",
        "Expected newline or end of document after a statement",
        "Expecting ',' delimiter",
        "Expecting ':' delimiter",
        "Expecting property name enclosed in double quotes",
        "Expecting value",
        "Extra data",
        "Illegal trailing comma before end of object",
        "Illegal trailing comma before end of array",
        "Invalid date or datetime",
        "Invalid initial character for a key part",
        "Invalid statement",
        "Invalid value",
        "Unclosed array",
        "Unclosed inline table",
        "Unterminated string",
        "Unterminated string starting at",
    }
)
"""Words of the parsers that are the same whatever the file holds."""

_SAID_TWICE = re.compile(r"(?s)Cannot (?:declare|overwrite|redefine|mutate) .*|Duplicate inline table key .*")
_TWICE = "has a key twice in one table"

_TOML_TOKENS = re.compile(
    r'''(?sx)
    (?P<atom> """ (?: \\. | (?!""") . )*+ (?: """ )?
            | \'\'\' (?: (?!\'\'\') . )*+ (?: \'\'\' )?
            | " (?: \\[^\n] | [^"\\\n] )*+ "?
            | ' [^'\n]*+ '?
            | [A-Za-z0-9_-]++ )
  | (?P<dot> \. )
  | (?P<space> [ \t]++ )
  | (?P<open> [\[{] )
  | (?P<close> [\]}] )
  | (?P<comment> \# [^\n]*+ )
  | (?P<other> . )'''
)
_JSON_TOKENS = re.compile(r'(?s)(?P<atom>"(?:\\.|[^"\\])*+"?)|(?P<open>[\[{])|(?P<close>[\]}])|(?P<other>[^"\[{\]}]++)')


class UnusableTextError(Exception):
    """A text cannot be used.

    Attributes:
        problem: holds nothing of the text.
        line: 1-based, or None where it is not known.
    """

    def __init__(self, problem: str, line: int | None = None) -> None:
        self.problem, self.line = problem, line
        super().__init__(problem)


def parse_text(text: str, *, is_toml: bool) -> object:
    """Return what a TOML document or else a JSON document holds.

    Raises:
        UnusableTextError: it is not valid, it says a thing twice, or it is made to stall a parser.
    """
    try:
        return _parse_toml(text) if is_toml else _parse_json(text)
    except UnusableTextError:
        if (merge := _MERGE_MARK.search(text)) is not None:
            raise UnusableTextError("holds the marks of an unfinished merge", _line(text, merge.start())) from None
        raise


def line_of(keys: Sequence[str | int], text: str, *, is_toml: bool) -> int | None:
    """Return the line where a field stands, or else its table; None where neither is found.

    A search, not a parse: of two places that look like the field it takes the first.
    """
    start, found = 0, None
    for key in keys:
        if isinstance(key, int):
            break
        name = re.escape(key)
        pattern = rf"""(?:^|[.{{,\[])[ \t]*["']?{name}["']?[ \t]*[\].=]""" if is_toml else rf'"{name}"\s*:'
        match = re.compile(pattern, re.MULTILINE).search(text, start)
        if match is None:
            break
        start, found = match.start(), _line(text, match.start())
    return found


def _parse_toml(text: str) -> object:
    for number, line in enumerate(text.split("\n"), 1):
        if len(line.encode()) > MAX_LINE_BYTES:
            raise UnusableTextError(f"has a line longer than {MAX_LINE_BYTES // 1024} KiB", number)
    _check_depth(text, _TOML_TOKENS)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.fullmatch(str(error))
        if place is None:
            raise UnusableTextError("is not valid TOML") from None
        where = int(place["line"]) if place["line"] else text.count("\n") + 1
        if _SAID_TWICE.fullmatch(place["text"]):
            raise UnusableTextError(_TWICE, where) from None
        raise UnusableTextError(f"is not valid TOML{_sayable(place['text'])}", where) from None
    except (RecursionError, ValueError):  # a number too long; called from too deep
        raise UnusableTextError("is not valid TOML") from None


def _parse_json(text: str) -> object:
    _check_depth(text, _JSON_TOKENS)
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_table_of)
    except _TwiceError as error:
        places = [match.start() for match in re.finditer(rf"{re.escape(json.dumps(error.key))}\s*:", text)]
        second = _line(text, places[1]) if len(places) == 2 else None  # of more, it could be any
        raise UnusableTextError(_TWICE, second) from None
    except json.JSONDecodeError as error:
        raise UnusableTextError(f"is not valid JSON{_sayable(error.msg)}", error.lineno) from None
    except (RecursionError, ValueError):
        raise UnusableTextError("is not valid JSON") from None


class _TwiceError(Exception):
    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__()


def _table_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table: dict[str, object] = {}
    for key, value in pairs:
        if key in table:
            raise _TwiceError(key)
        table[key] = value
    return table


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError


def _sayable(words: str) -> str:
    return f": {words[0].lower()}{words[1:]}" if words in _SAYABLE else ""


def _check_depth(text: str, tokens: re.Pattern[str]) -> None:
    """Refuse keys of too many parts, and brackets nested too deep. The pattern gives each character one token."""
    if text.count("[") + text.count("{") <= MAX_DEPTH and all(line.count(".") < MAX_DEPTH for line in text.split("\n")):
        return  # most texts: two quick looks instead of a token at a time
    dots = depth = 0
    for token in tokens.finditer(text):
        kind = token.lastgroup
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(0, depth - 1)
        dots = dots + 1 if kind == "dot" else dots if kind in ("atom", "space") else 0
        if dots >= MAX_DEPTH:
            raise UnusableTextError(f"has a key of more than {MAX_DEPTH} parts", _line(text, token.start()))
        if depth > MAX_DEPTH:
            raise UnusableTextError(f"is nested deeper than {MAX_DEPTH} levels", _line(text, token.start()))


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
