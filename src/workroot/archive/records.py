"""What an archive holds: one record a line, each a JSON object whose `kind` says what it is.

The fields are an interface: archives of this version are read for ever. Bounds are checked here, so that what comes
out of `decode` can be kept as it is.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from workroot.core.allocations import MAX_METADATA_BYTES, as_text
from workroot.core.sessions import DEFAULT_SANDBOX
from workroot.kept_connections import MOST_SUBSCRIPTIONS

__all__ = [
    "LONGEST_LINE",
    "OLDEST_VERSION",
    "VERSION",
    "AliasRecord",
    "AllocationRecord",
    "ConnectionRecord",
    "EndRecord",
    "EndedAliasRecord",
    "EndedRecord",
    "HeadRecord",
    "ProjectIdRecord",
    "ProjectRecord",
    "Record",
    "SessionRecord",
    "decode",
    "encode",
]

VERSION = 2
"""Of the form that may hold allocated sessions."""

OLDEST_VERSION = 1
"""Of the form without them; an archive that holds none is of this one, so that an older workroot reads it."""

LONGEST_LINE = 256 * 1024
"""Bytes. A session with the longest paths and many signs takes a quarter of that."""

_LONGEST_PATH = 4095


def _directory(value: str) -> str:
    if not value.startswith("/") or "\0" in value or len(value.encode(errors="surrogatepass")) > _LONGEST_PATH:
        raise ValueError("an absolute path of at most 4,095 bytes is needed")
    return value


def _metadata(value: str) -> str:
    try:
        return as_text(json.loads(value))
    except (ValueError, RecursionError):
        raise ValueError(f"a JSON object of at most {MAX_METADATA_BYTES} bytes is needed") from None


_Path: TypeAlias = Annotated[str, AfterValidator(_directory)]
_Text: TypeAlias = Annotated[str, Field(max_length=_LONGEST_PATH)]
_Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=255)]
_Alias: TypeAlias = Annotated[str, Field(min_length=1, max_length=1024)]
_SessionId: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
_ProjectId: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
_Seconds: TypeAlias = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]  # up to the year 5138
_Count: TypeAlias = Annotated[int, Field(ge=0, le=10**9)]
_LogLevel: TypeAlias = Annotated[str, Field(pattern="^(debug|info|notice|warning|error|critical|alert|emergency)$")]
_UserId: TypeAlias = Annotated[str, Field(max_length=1024, pattern=r"^\P{Cc}+$")]
_Metadata: TypeAlias = Annotated[str, AfterValidator(_metadata)]
_Sign: TypeAlias = tuple[_Text, _Text, bool]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class _Owned(_Record):
    principal: _Name
    sandbox: _Name = DEFAULT_SANDBOX


class HeadRecord(_Record):
    """The first line.

    Attributes:
        version: of the archive's form.
        workroot: the version that wrote it.
        written_at: in seconds since the Unix epoch.
        principal: of the user whose daemon it was.
        namespace: ids of projects without a config derive from it.
    """

    kind: Literal["workroot-archive"] = "workroot-archive"
    version: Annotated[int, Field(ge=1, le=VERSION)]
    workroot: _Name
    written_at: _Seconds
    principal: _Name
    namespace: _ProjectId


class SessionRecord(_Owned):
    """A session; `workroot.core.sessions.SessionContext` says what the fields mean."""

    kind: Literal["session"] = "session"
    session_id: _SessionId
    working_directory: _Path
    given_directory: _Text
    config_path: _Path | None = None
    project_id: _ProjectId | None = None
    project_root: _Path | None = None
    project_name: _Text | None = None
    signs: tuple[_Sign, ...] = ()
    set_at: _Seconds
    last_used: _Seconds
    revision: Annotated[int, Field(ge=1, le=10**15)] = 1


class EndedRecord(_Owned):
    """How a session ended."""

    kind: Literal["ended"] = "ended"
    session_id: _SessionId
    last_directory: _Path
    ending: Literal["closed", "expired"]
    ended_at: _Seconds


class AllocationRecord(_Owned):
    """An allocated session; `workroot.core.allocations.AllocatedSession` says what the fields mean.

    Attributes:
        remaining_seconds: of its time to live, when the archive was written; of an ended one, 0.
    """

    kind: Literal["allocation"] = "allocation"
    session_id: _SessionId
    user_id: _UserId | None = None
    created_at: _Seconds
    remaining_seconds: _Seconds = 0.0
    last_accessed: _Seconds
    metadata: _Metadata = "{}"
    status: Literal["active", "expired", "invalidated", "terminated"] = "active"
    ended_at: _Seconds | None = None
    revision: Annotated[int, Field(ge=1, le=10**15)] = 1

    @model_validator(mode="after")
    def _check_end(self) -> Self:
        if (self.status == "active") != (self.ended_at is None):
            raise ValueError("an allocated session has ended_at if it has ended, and only then")
        return self


class AliasRecord(_Owned):
    """What stands for a session that comes earlier in the archive."""

    kind: Literal["alias"] = "alias"
    alias: _Alias
    session_id: _SessionId


class ConnectionRecord(_Owned):
    """What a conversation of the handshake era asked for."""

    kind: Literal["connection"] = "connection"
    alias: _Alias
    subscriptions: Annotated[tuple[_Text, ...], Field(max_length=MOST_SUBSCRIPTIONS)] = ()
    log_level: _LogLevel | None = None
    is_resumable: bool = False
    last_used: _Seconds


class EndedAliasRecord(_Owned):
    """A conversation that its client has ended."""

    kind: Literal["ended_alias"] = "ended_alias"
    alias: _Alias
    ended_at: _Seconds


class ProjectRecord(_Owned):
    """A project that somebody has worked in."""

    kind: Literal["project"] = "project"
    project_id: _ProjectId
    name: _Text
    root: _Path
    worktree_of: _Path | None = None
    seen_at: _Seconds


class ProjectIdRecord(_Record):
    """Under which id a project is known, by its repository (empty: none) and the path below that."""

    kind: Literal["project_id"] = "project_id"
    repository: _Text
    path: _Text
    project_id: _ProjectId
    name: _Text
    root: _Path
    is_joined: bool = False


class EndRecord(_Record):
    """The last line: an archive without it is cut short.

    Attributes:
        records: lines before this one, the first one included.
    """

    kind: Literal["end"] = "end"
    records: _Count


Record: TypeAlias = (
    HeadRecord
    | SessionRecord
    | EndedRecord
    | AllocationRecord
    | AliasRecord
    | ConnectionRecord
    | EndedAliasRecord
    | ProjectRecord
    | ProjectIdRecord
    | EndRecord
)

_any: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def encode(record: Record) -> str:
    """Return a record as its line, the newline left out."""
    return record.model_dump_json(exclude_defaults=True).replace("{", f'{{"kind":"{record.kind}",', 1)


def decode(line: str | bytes) -> Record:
    """Return the record of a line.

    Raises:
        ValueError: it is none; the text says which field is wrong, and does not quote the line.
    """
    try:
        return _any.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None
