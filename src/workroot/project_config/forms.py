r"""How the strings of a project's config have to look.

One regular expression a form, which both the parser and the JSON Schema go by. It is written in what Python's `re`
shares with ECMA-262: `(?![\s\S])` is the end of the text, for `$` stands before a last line end, too, in Python.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError, core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

__all__ = [
    "OURS",
    "VISIBLE",
    "Argument",
    "Command",
    "Header",
    "HeaderValue",
    "Name",
    "ProjectName",
    "Url",
    "Uuid",
    "Variable",
    "Version",
]

OURS = "workroot"
"""Type of the faults whose message is ours, and holds nothing of the file."""

_INVISIBLE = (
    r"\u0000-\u0020\u007F-\u00A0\u00AD"  # controls and spaces
    r"\u034F\u061C\u115F\u1160\u1680\u17B4\u17B5\u180B-\u180F"
    r"\u2000-\u200F\u2028-\u202F\u205F-\u206F\u2800\u3000\u3164"
    r"\uE000-\uF8FF"  # private use
    r"\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB\uFFFE\uFFFF"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U0010ffff"  # tags, variation selectors, private use
)
"""Inside of brackets, the characters that show nothing: our own list, as Python's grows with its version of Unicode.

Those above U+FFFF stand for themselves, for no escape of theirs is common to both languages.
"""

VISIBLE = rf"[^{_INVISIBLE}]"
"""A character that shows something."""


def _whole(pattern: str) -> str:
    return rf"^(?:{pattern})(?![\s\S])"


@dataclass(frozen=True, slots=True)
class _Form:
    """What a string has to look like, for the check and for the schema.

    Attributes:
        pattern: is searched for in the string.
        problem: what is said of a string that does not match.
        schema_pattern: for the schema, in which the last form of a string stands for all of them; None means *pattern*.
    """

    pattern: str
    problem: str
    schema_pattern: str | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": self.schema_pattern or self.pattern}

    def _check(self, text: str) -> str:
        if not re.search(self.pattern, text):
            raise PydanticCustomError(OURS, "{problem}", {"problem": self.problem})
        return text


def _check_version(version: str) -> str:
    numbers = re.fullmatch(r"([0-9]+)\.[0-9]+", version)
    if numbers is None:
        raise PydanticCustomError(OURS, 'must be two numbers with a dot between them, such as "1.0"')
    if numbers[1] != "1":
        raise PydanticCustomError(OURS, "is not a version that this workroot reads (1.0)")
    return version


def _url() -> str:
    """Return the form of a URL with a host: RFC 3986, 3.2, with the zones of RFC 6874."""
    number = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    ip4 = rf"(?:{number}\.){{3}}{number}"
    group = "[0-9A-Fa-f]{1,4}"
    last = f"(?:{group}:{group}|{ip4})"
    ip6 = "|".join(
        [
            f"(?:{group}:){{6}}{last}",
            f"::(?:{group}:){{5}}{last}",
            *(f"(?:(?:{group}:){{0,{before}}}{group})?::(?:{group}:){{{4 - before}}}{last}" for before in range(5)),
            f"(?:(?:{group}:){{0,5}}{group})?::{group}",
            f"(?:(?:{group}:){{0,6}}{group})?::",
        ]
    )
    characters = "A-Za-z0-9._~!$&'()*+,;=%"
    host = rf"(?:\[(?:{ip6})(?:%25[A-Za-z0-9._~-]+)?\]|[{characters}-]+)"
    port = "0*(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
    return rf"https?://(?:[{characters}:-]*@)?{host}(?::(?:{port})?)?(?:[/?#][!-~]*)?"


_NO_NUL = _Form(_whole(r"[^\u0000]*"), "must not hold NUL")
_ONE_VISIBLE = "must have a visible character"

Version = Annotated[str, Field(json_schema_extra={"pattern": _whole(r"1\.[0-9]+")}), AfterValidator(_check_version)]
Uuid = Annotated[
    str,
    _Form(
        _whole(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
        "must be a UUID, such as 123e4567-e89b-42d3-a456-426614174000",
    ),
    AfterValidator(str.lower),
]
ProjectName = Annotated[str, Field(min_length=1, max_length=255), _Form(VISIBLE, _ONE_VISIBLE)]
Name = Annotated[
    str,
    _Form(
        _whole(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"),
        "has a name that is not 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
    ),
]
Command = Annotated[
    str,
    Field(min_length=1),
    _NO_NUL,
    _Form(VISIBLE, _ONE_VISIBLE, schema_pattern=rf"^(?=[^\u0000]*(?![\s\S]))[{_INVISIBLE}]*{VISIBLE}"),
]
Argument = Annotated[str, _NO_NUL]
Variable = Annotated[
    str,
    _Form(
        _whole(r"[A-Za-z_][A-Za-z0-9_]{0,127}"),
        "has a variable whose name is not 1 to 128 of A-Z, a-z, 0-9 and '_', beginning with no digit",
    ),
]
Header = Annotated[
    str, _Form(_whole(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}"), "has a header whose name is none that HTTP allows")
]
HeaderValue = Annotated[str, _Form(_whole(r"[^\u0000\r\n]*"), "must not hold line ends or NUL")]
Url = Annotated[
    str,
    _Form(_whole("https?://[!-~]+"), "must be an http:// or https:// URL, in ASCII and without spaces"),
    _Form(_whole(_url()), "must be a URL with a host, and with a port from 1 to 65535 if it has one"),
]
