"""The fields of a project's config: their types, defaults and meaning, said once.

The parser, the JSON Schema that editors use and the test of the documentation all take them from here. Types are
strict: `"true"` is not `true`. What one of these models refuses, it says in words of our own (`forms.OURS`).
"""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from workroot.project_config.forms import (
    OURS,
    Argument,
    Command,
    Header,
    HeaderValue,
    Name,
    ProjectName,
    Url,
    Uuid,
    Variable,
    Version,
)

__all__ = ["MAX_ENTRIES", "MAX_SERVERS", "ConfigFile", "ProjectTable", "ServerTable"]

MAX_ENTRIES = 256
"""Of each list and table but `servers`: what 64 KiB can hold beyond takes twenty times the file's size in memory."""

MAX_SERVERS = 64


def _time_as_text(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime | date | time) else value


_Time = Annotated[str | None, BeforeValidator(_time_as_text)]


class _Table(BaseModel):
    """Unknown keys are kept aside for a report (`model_extra`), and mean nothing."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, hide_input_in_errors=True)


class ProjectTable(_Table):
    """Who the project is."""

    model_config = ConfigDict(title="project")

    name: Annotated[ProjectName, Field(description="What people call the project: 1 to 255 characters.")]
    id: Annotated[
        Uuid | None,
        Field(description="What the project is known by, on every machine: a UUID. `workroot init` makes one."),
    ] = None


class ServerTable(_Table):
    """An MCP server of the project: a program to start, or a URL to call.

    One with a key that is not known here is left out as a whole: half of what was declared is not what was meant. The
    schema calls it not valid, so that an editor marks it.
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

    command: Annotated[Command | None, Field(description="The program; it gets `args` as they are, no shell.")] = None
    args: Annotated[list[Argument], Field(max_length=MAX_ENTRIES, description="What the program is given.")] = []
    env: Annotated[
        dict[Variable, Argument], Field(max_length=MAX_ENTRIES, description="Variables that the program gets.")
    ] = {}
    url: Annotated[Url | None, Field(description="Where a server that runs already is called, instead.")] = None
    headers: Annotated[
        dict[Header, HeaderValue], Field(max_length=MAX_ENTRIES, description="Headers of each call to `url`.")
    ] = {}
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
    version: Annotated[Version, Field(description='Of the format: "1.0".')]
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
        dict[Name, Command],
        Field(
            max_length=MAX_ENTRIES,
            description="Command lines by name, such as `test`. Withheld until the user has allowed this very file.",
        ),
    ] = {}
    servers: Annotated[
        dict[Name, ServerTable],
        Field(
            max_length=MAX_SERVERS,
            description="MCP servers by name. None starts until the user has allowed this very file.",
        ),
    ] = {}
