"""What a project's config file says: its bytes become a `ProjectConfig`, or a `ConfigProblem` that says where.

A problem names the line and field, in words of our own: the words of parsers and validators may quote the file,
and a file found in a repository may turn out to be a link to somebody's key.

Unknown keys mean nothing, so that a newer config can be read. Some are reported all the same (`ignored`): those that
only the user may set, those that stand in the wrong table, and slips of the pen, since a misspelt `strict_mode` would
be off without a word.
"""

from __future__ import annotations

import hashlib
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from pydantic import ValidationError

from workroot.core.projects import ConfigProblem, ProjectConfig, ProjectId, ServerDeclaration
from workroot.escaping import shown
from workroot.project_config.fields import ConfigFile, ServerTable
from workroot.project_config.forms import OURS
from workroot.project_config.remembered import RememberedConfigs
from workroot.project_config.text import UnusableTextError, line_of, parse_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

__all__ = ["MAX_CONFIG_BYTES", "USER_ONLY", "parse_config"]

MAX_CONFIG_BYTES = 64 * 1024

USER_ONLY = frozenset(
    {
        "body_seconds",
        "config_names",
        "drain_seconds",
        "ended_session_days",
        "header_seconds",
        "http",
        "http_port",
        "http_session_idle_seconds",
        "idle_exit_seconds",
        "log_level",
        "max_allocated_sessions",
        "max_connections",
        "max_connections_per_user",
        "max_database_mib",
        "max_ended_sessions",
        "max_http_sessions",
        "max_listens",
        "max_listens_per_client",
        "max_projects",
        "max_requests_in_flight",
        "max_sessions",
        "model_may_move",
        "otel_endpoint",
        "rate_limit_burst",
        "rate_limit_per_second",
        "request_burst",
        "requests_per_second",
        "session_idle_seconds",
        "show_recent_projects",
        "state_directory",
        "sweep_interval_seconds",
        "trusted_directories",
        "write_behind_seconds",
        "write_seconds",
    }
)
"""The names of the user's own settings."""

_GRANTING_WORDS = frozenset(
    {"allow", "allowed", "approve", "approved", "deny", "denied", "grant", "granted", "permissions", "trust", "trusted"}
)
"""A key with one of these words in it wants to decide what the project may do."""

_MISPLACED = {
    **dict.fromkeys(("id", "name"), "belongs into project"),
    **dict.fromkeys(
        ("auto_switch", "strict_mode", "dry_run", "instructions", "commands", "servers"), "belongs outside of project"
    ),
}
"""Keys that do something, but not in the other table. In TOML, all that follows `[project]` is in it."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_NEAR = 0.75
"""How alike two keys must be for one to be taken for a slip of the other."""

_MAX_COMPARED = 100
"""Unknown keys of one table that are compared with the known ones; that takes 50 us a key."""

_MAX_IGNORED = 20
"""Reports about one file."""

_MAX_SHOWN = 64
"""Characters of a key in a report."""

_remembered = RememberedConfigs(max_entries=64, max_bytes=64 * MAX_CONFIG_BYTES)


def parse_config(content: bytes, path: str) -> ProjectConfig | ConfigProblem:
    """Return what a config says, or what is wrong with it; for equal bytes at one path mostly the same object.

    Any thread may call it.

    Args:
        content: of the file; more than `MAX_CONFIG_BYTES` of it is a problem by itself.
        path: of the file: `.toml` is read as TOML, everything else as JSON.
    """
    if len(content) > MAX_CONFIG_BYTES:
        return ConfigProblem(path=path, problem=f"is larger than {MAX_CONFIG_BYTES // 1024} KiB")
    digest = hashlib.sha256(content)
    known = _remembered.get(digest.digest(), path)
    if known is not None:
        return known
    return _remembered.put(digest.digest(), path, _parsed(content, path, digest.hexdigest()), len(content))


def _parsed(content: bytes, path: str, digest: str) -> ProjectConfig | ConfigProblem:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return ConfigProblem(path=path, problem="is not valid UTF-8", line=content.count(b"\n", 0, error.start) + 1)
    is_toml = path.endswith(".toml")
    try:
        said = ConfigFile.model_validate(parse_text(text, is_toml=is_toml))
    except UnusableTextError as error:
        return ConfigProblem(path=path, problem=error.problem, line=error.line)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=True, include_input=False)[0]
        return _problem(fault, path, text, is_toml=is_toml)
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
        instructions=said.instructions if said.instructions and not said.instructions.isspace() else None,
        commands=tuple(said.commands.items()),
        servers=tuple(_declaration(name, one) for name, one in said.servers.items() if not one.model_extra),
        digest=digest,
        ignored=_shortened(_ignored(said)),
    )


def _declaration(name: str, server: ServerTable) -> ServerDeclaration:
    return ServerDeclaration(
        name=name,
        command=server.command,
        args=tuple(server.args),
        environment=tuple(server.env.items()),
        url=server.url,
        headers=tuple(server.headers.items()),
        enabled=server.enabled,
    )


# What is wrong

_WORDS = {
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "list_type": "must be a list",
    "missing": "is missing",
    "model_type": "must be a table",
    "string_too_long": "must have at most 255 characters",
    "string_too_short": "must not be empty",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
}


def _problem(fault: ErrorDetails, path: str, text: str, *, is_toml: bool) -> ConfigProblem:
    keys = named = sought = fault["loc"]
    if keys[-1:] == ("[key]",):
        named, sought = keys[:-2], keys[:-1]  # a name that breaks the rule is looked for, and not repeated
    elif fault["type"] == "missing":
        sought = keys[:-1]
    problem = fault["msg"] if fault["type"] == OURS else _WORDS.get(fault["type"], "is not valid")
    if fault["type"] == "too_long":
        problem = f"must have at most {fault['ctx']['max_length']} entries"
    return ConfigProblem(
        path=path,
        problem=problem,
        line=line_of(sought, text, is_toml=is_toml),
        field=".".join(str(key) for key in named) or None,
    )


# What is reported and has no effect


def _ignored(said: ConfigFile) -> Iterator[str]:
    """Yield the keys that have no effect although somebody may count on them, each with the reason."""
    yield from _reports(said, "")
    yield from _reports(said.project, "project.")
    for name, server in said.servers.items():
        for key in list(server.model_extra or {})[:1]:
            near = _near(key, server)
            meant = f"; did you mean {near}?" if near else ""
            yield f"servers.{name} (left out, for its unknown key {shown(key, _MAX_SHOWN)}{meant})"


def _reports(table: BaseModel, prefix: str) -> Iterator[str]:
    for position, key in enumerate(table.model_extra or {}):
        if _is_for_the_user(key):
            reason = "only your own settings can say this"
        elif key in _MISPLACED:
            reason = _MISPLACED[key]
        elif position < _MAX_COMPARED and (near := _near(key, table)) is not None:
            reason = f"did you mean {near}?"
        else:
            continue
        yield f"{prefix}{shown(key, _MAX_SHOWN)} ({reason})"


def _is_for_the_user(key: str) -> bool:
    lowered = key.lower().replace("-", "_")
    return lowered in USER_ONLY or not _GRANTING_WORDS.isdisjoint(word.lower() for word in _WORD.findall(key))


def _near(key: str, table: BaseModel) -> str | None:
    known = [field.alias or name for name, field in type(table).model_fields.items()]
    return next(iter(get_close_matches(key.lower(), known, n=1, cutoff=_NEAR)), None)


def _shortened(reports: Iterable[str]) -> tuple[str, ...]:
    every = tuple(reports)
    if len(every) <= _MAX_IGNORED:
        return every
    return (*every[: _MAX_IGNORED - 1], f"and {len(every) - _MAX_IGNORED + 1} more")
