"""The fields of a project's config: their types, defaults and meaning, said once.

The parser, the JSON Schema that editors use and the test of the documentation all take them from here. Types are
strict: `"true"` is not `true`. What one of these models refuses, it says in words of our own (`OURS`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError, core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

__all__ = ["OURS", "ConfigFile", "ProjectTable", "ServerTable"]

OURS = "workroot"
"""Type of the faults whose message is ours, and holds nothing of the file."""


@dataclass(frozen=True, slots=True)
class _Form:
    """What a string has to look like, for the check and for the schema.

    Attributes:
        pattern: of the whole string, in the language that Python's `re` and ECMA-262 share.
        problem: what is said of a string that does not match.
    """

    pattern: str
    problem: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}

    def _check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise PydanticCustomError(OURS, "{problem}", {"problem": self.problem})
        return text


def _check_version(version: str) -> str:
    numbers = re.fullmatch(r"([0-9]+)\.[0-9]+", version)
    if numbers is None:
        raise PydanticCustomError(OURS, 'must be two numbers with a dot between them, such as "1.0"')
    if numbers[1] != "1":
        raise PydanticCustomError(OURS, "is not a version that this workroot reads (1.0)")
    return version


def _check_visible(text: str) -> str:
    if not any(character.isprintable() and not character.isspace() for character in text):
        raise PydanticCustomError(OURS, "must have a visible character")
    return text


def _check_url(url: str) -> str:
    try:
        is_usable = bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:  # a port or an IPv6 address that is none
        is_usable = False
    if not is_usable:
        raise PydanticCustomError(OURS, "must be a URL with a host")
    return url


def _time_as_text(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime | date | time) else value


_Version = Annotated[str, Field(json_schema_extra={"pattern": r"^1\.[0-9]+$"}), AfterValidator(_check_version)]
_Uuid = Annotated[
    str,
    _Form(
        r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
        "must be a UUID, such as 123e4567-e89b-42d3-a456-426614174000",
    ),
    AfterValidator(str.lower),
]
_ProjectName = Annotated[
    str,
    Field(min_length=1, max_length=255, json_schema_extra={"pattern": r"\S"}),
    AfterValidator(_check_visible),
]
_Time = Annotated[str | None, BeforeValidator(_time_as_text)]
_Name = Annotated[
    str,
    _Form(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        "has a name that is not 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
    ),
]
_Command = Annotated[
    str, Field(min_length=1), _Form(r"[^\u0000]*", "must not hold NUL"), AfterValidator(_check_visible)
]
_Argument = Annotated[str, _Form(r"[^\u0000]*", "must not hold NUL")]
_Variable = Annotated[
    str,
    _Form(
        r"[A-Za-z_][A-Za-z0-9_]{0,127}",
        "has a variable whose name is not 1 to 128 of A-Z, a-z, 0-9 and '_', beginning with no digit",
    ),
]
_Header = Annotated[
    str, _Form(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", "has a header whose name is none that HTTP allows")
]
_HeaderValue = Annotated[str, _Form(r"[^\u0000\r\n]*", "must not hold line ends or NUL")]
_Url = Annotated[
    str,
    _Form(r"https?://[!-~]+", "must be an http:// or https:// URL, in ASCII and without spaces"),
    AfterValidator(_check_url),
]


class _Table(BaseModel):
    """Unknown keys are kept aside for a report (`model_extra`), and mean nothing."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, hide_input_in_errors=True)


class ProjectTable(_Table):
    """Who the project is."""

    model_config = ConfigDict(title="project")

    name: Annotated[_ProjectName, Field(description="What people call the project: 1 to 255 characters.")]
    id: Annotated[
        _Uuid | None,
        Field(description="What the project is known by, on every machine: a UUID. `workroot init` makes one."),
    ] = None


class ServerTable(_Table):
    """An MCP server of the project: a program to start, or a URL to call.

    One with a key that is not known here is left out as a whole: half of what was declared is not what was meant.
    """

    model_config = ConfigDict(
        title="server",
        json_schema_extra={
            "additionalProperties": False,
            "oneOf": [
                {
                    "required": ["command"],
                    "properties": {
                        "command": {"type": "string"},
                        "url": {"type": "null"},
                        "headers": {"maxProperties": 0},
                    },
                },
                {
                    "required": ["url"],
                    "properties": {
                        "url": {"type": "string"},
                        "command": {"type": "null"},
                        "args": {"maxItems": 0},
                        "env": {"maxProperties": 0},
                    },
                },
            ],
        },
    )

    command: Annotated[_Command | None, Field(description="The program; it gets `args` as they are, no shell.")] = None
    args: Annotated[list[_Argument], Field(description="What the program is given.")] = []
    env: Annotated[dict[_Variable, _Argument], Field(description="Variables that the program gets.")] = {}
    url: Annotated[_Url | None, Field(description="Where a server that runs already is called, instead.")] = None
    headers: Annotated[dict[_Header, _HeaderValue], Field(description="Headers of each call to `url`.")] = {}
    enabled: Annotated[bool, Field(description="False: the server is declared and not used.")] = True

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise PydanticCustomError(OURS, "must have either command or url")
        if self.url is not None and (self.args or self.env):
            raise PydanticCustomError(OURS, "has a url, to which args and env do not apply")
        if self.command is not None and self.headers:
            raise PydanticCustomError(OURS, "has a command, to which headers do not apply")
        return self


class ConfigFile(_Table):
    """What a project says of itself to workroot."""

    model_config = ConfigDict(title="A project's config for workroot")

    schema_url: Annotated[
        str | None, Field(alias="$schema", description="Where an editor finds this schema; not read by workroot.")
    ] = None
    version: Annotated[_Version, Field(description='Of the format: "1.0".')]
    project: Annotated[ProjectTable, Field(description="Who the project is.")]
    description: Annotated[str | None, Field(description="What the project is, for people.")] = None
    created_at: Annotated[_Time, Field(description="When the file was made.")] = None
    updated_at: Annotated[_Time, Field(description="When `workroot init` changed the file last.")] = None
    auto_switch: Annotated[
        bool,
        Field(
            description="False: a session that arrives here is in no project until "
            "`set_working_directory(project=...)` says so."
        ),
    ] = True
    strict_mode: Annotated[
        bool,
        Field(
            description="True: inside this project, answers for directories outside its root are refused. "
            "Moving out never is."
        ),
    ] = False
    dry_run: Annotated[bool, Field(description="True: a switch into this project is reported, not made.")] = False
    instructions: Annotated[
        str | None, Field(description="Text for a model. Withheld until the user has allowed this very file.")
    ] = None
    commands: Annotated[
        dict[_Name, _Command],
        Field(description="Command lines by name, such as `test`. Withheld until the user has allowed this very file."),
    ] = {}
    servers: Annotated[
        dict[_Name, ServerTable],
        Field(description="MCP servers by name. None starts until the user has allowed this very file."),
    ] = {}
