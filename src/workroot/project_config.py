"""What a project's config file says: its bytes become a `ProjectConfig`, or a `ConfigProblem` that says where.

A problem names the line and field, in words of our own: the words of parsers and validators may quote the file,
and a file found in a repository may turn out to be a link to somebody's key.

The parsers are protected from files made to stall them. `tomllib` takes a time that grows with the square of a dotted
key's length (62 KiB: 6 s), so long lines and deep keys never reach it.
"""

from __future__ import annotations

import json
import re
import tomllib
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Annotated, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from workroot.core.projects import ConfigProblem, ProjectConfig, ProjectId

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["MAX_CONFIG_BYTES", "parse_config"]

MAX_CONFIG_BYTES = 64 * 1024

_MAX_LINE_BYTES = 4096
_MAX_KEY_DEPTH = 16

_VERSION = re.compile(r"([0-9]+)\.[0-9]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TOML_PLACE = re.compile(r"(?s)(?P<text>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)")

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

_TOKENS = re.compile(
    r'''(?sx)
    (?P<atom> """ (?: \\. | (?!""") . )*+ (?: """ )?
            | \'\'\' (?: (?!\'\'\') . )*+ (?: \'\'\' )?
            | " (?: \\[^\n] | [^"\\\n] )*+ "?
            | ' [^'\n]*+ '?
            | [A-Za-z0-9_-]++ )
  | (?P<dot> \. )
  | (?P<space> [ \t]++ )
  | (?P<comment> \# [^\n]*+ )
  | (?P<other> . )'''
)


def parse_config(content: bytes, path: str) -> ProjectConfig | ConfigProblem:
    """Return what a config says, or what is wrong with it.

    Args:
        content: of the file; more than `MAX_CONFIG_BYTES` of it is a problem by itself.
        path: of the file: `.toml` is read as TOML, everything else as JSON.
    """
    if len(content) > MAX_CONFIG_BYTES:
        return ConfigProblem(path=path, problem=f"is larger than {MAX_CONFIG_BYTES // 1024} KiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return ConfigProblem(path=path, problem="is not valid UTF-8", line=content.count(b"\n", 0, error.start) + 1)
    is_toml = path.endswith(".toml")
    try:
        fields = _parse_toml(text) if is_toml else _parse_json(text)
    except _UnusableTextError as error:
        merge = re.search(r"^<{7} ", text, re.MULTILINE)
        if merge is not None:
            problem = "holds the marks of an unfinished merge"
            return ConfigProblem(path=path, problem=problem, line=text.count("\n", 0, merge.start()) + 1)
        return ConfigProblem(path=path, problem=error.problem, line=error.line)
    try:
        said = _ConfigFile.model_validate(fields)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=True, include_input=False)[0]
        keys = [str(key) for key in fault["loc"]]
        is_missing = fault["type"] == "missing"
        line = _line_of(keys[:-1] if is_missing else keys, text, is_toml=is_toml)
        return ConfigProblem(path=path, problem=_in_our_words(fault), line=line, field=".".join(keys) or None)
    return ProjectConfig(
        name=said.project.name,
        version=said.version,
        project_id=ProjectId(said.project.id) if said.project.id is not None else None,
        description=said.description,
        created_at=said.created_at,
        updated_at=said.updated_at,
        auto_switch=said.auto_switch,
        strict_mode=said.strict_mode,
        dry_run=said.dry_run,
    )


# The fields


def _check_version(version: str) -> str:
    match = _VERSION.fullmatch(version)
    if match is None:
        raise PydanticCustomError("version", 'must be two numbers with a dot between them, such as "1.0"')
    if match[1] != "1":
        raise PydanticCustomError("version", "is not a version that this workroot reads (1.0)")
    return version


def _check_uuid(text: str) -> str:
    if not _UUID.fullmatch(text):
        raise PydanticCustomError("uuid", "must be a UUID, such as 123e4567-e89b-42d3-a456-426614174000")
    return text.lower()


def _time_as_text(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime | date | time) else value


_Time = Annotated[str | None, BeforeValidator(_time_as_text)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, hide_input_in_errors=True)


class _ProjectTable(_Strict):
    name: Annotated[str, Field(min_length=1, max_length=255)]
    id: Annotated[str, AfterValidator(_check_uuid)] | None = None


class _ConfigFile(_Strict):
    version: Annotated[str, AfterValidator(_check_version)]
    project: _ProjectTable
    description: str | None = None
    created_at: _Time = None
    updated_at: _Time = None
    auto_switch: bool = True
    strict_mode: bool = False
    dry_run: bool = False


_WORDS = {
    "bool_type": "must be true or false",
    "missing": "is missing",
    "model_type": "must be a table",
    "string_too_long": "must have at most 255 characters",
    "string_too_short": "must not be empty",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
}


def _in_our_words(fault: ErrorDetails) -> str:
    if fault["type"] in ("version", "uuid"):
        return fault["msg"]
    return _WORDS.get(fault["type"], "is not valid")


def _line_of(keys: list[str], text: str, *, is_toml: bool) -> int | None:
    """Return the line where a field stands, or else its table; None where neither is found.

    A search, not a parse: of two places that look like the field it takes the first.
    """
    start, found = 0, None
    for key in keys:
        pattern = rf"""(?:^|[.{{,\[])[ \t]*["']?{key}["']?[ \t]*[\].=]""" if is_toml else rf'"{key}"\s*:'
        match = re.compile(pattern, re.MULTILINE).search(text, start)
        if match is None:
            break
        start, found = match.start(), text.count("\n", 0, match.start()) + 1
    return found


# The formats


class _UnusableTextError(Exception):
    def __init__(self, problem: str, line: int | None = None) -> None:
        self.problem, self.line = problem, line
        super().__init__(problem)


def _parse_toml(text: str) -> object:
    _check_lines(text)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.fullmatch(str(error))
        if place is None:
            raise _UnusableTextError("is not valid TOML") from None
        line = int(place["line"]) if place["line"] else text.count("\n") + 1
        raise _UnusableTextError(f"is not valid TOML{_sayable(place['text'])}", line) from None
    except (RecursionError, ValueError):  # nested too deep; a number too long
        raise _UnusableTextError("is not valid TOML") from None


def _parse_json(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _UnusableTextError(f"is not valid JSON{_sayable(error.msg)}", error.lineno) from None
    except (RecursionError, ValueError):
        raise _UnusableTextError("is not valid JSON") from None


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError


def _sayable(words: str) -> str:
    return f": {words[0].lower()}{words[1:]}" if words in _SAYABLE else ""


def _check_lines(text: str) -> None:
    """Refuse what would stall the TOML parser.

    Raises:
        _UnusableTextError: a line is too long, or a key has too many parts.
    """
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if len(line.encode()) > _MAX_LINE_BYTES:
            raise _UnusableTextError(f"has a line longer than {_MAX_LINE_BYTES // 1024} KiB", number)
    if all(line.count(".") < _MAX_KEY_DEPTH for line in lines):
        return
    dots = 0
    for token in _TOKENS.finditer(text):
        if token.lastgroup == "dot":
            dots += 1
        elif token.lastgroup not in ("atom", "space"):
            dots = 0
        if dots >= _MAX_KEY_DEPTH:
            line_number = text.count("\n", 0, token.start()) + 1
            raise _UnusableTextError(f"has a key of more than {_MAX_KEY_DEPTH} parts", line_number)
