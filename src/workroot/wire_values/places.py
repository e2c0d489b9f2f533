"""Values that tell which project owns a directory: places, projects with their configs, and those that are known."""

from __future__ import annotations

from workroot.core.projects import (
    ConfigProblem,
    Directory,
    DirectoryNode,
    KnownId,
    KnownProject,
    Place,
    Project,
    ProjectConfig,
    ProjectId,
    ProjectKey,
    ServerDeclaration,
    StopReason,
)
from workroot.wire_values.codec import (
    BOOLEAN,
    INTEGER,
    REAL,
    TEXT,
    Codec,
    enumeration,
    known_as,
    optional,
    record,
    texts_of,
    tuple_of,
)

__all__ = ["DIRECTORY", "KNOWN_PROJECT", "PLACE", "PROJECT_ID"]

DIRECTORY: Codec[Directory] = known_as(TEXT, Directory)
PROJECT_ID: Codec[ProjectId] = known_as(TEXT, ProjectId)

_MAYBE_TEXT = optional(TEXT)
_TEXTS = tuple_of(TEXT)
_PAIRS = tuple_of(texts_of(2))

_SERVER = record(
    ServerDeclaration,
    {
        "name": TEXT,
        "command": _MAYBE_TEXT,
        "args": _TEXTS,
        "environment": _PAIRS,
        "url": _MAYBE_TEXT,
        "headers": _PAIRS,
        "enabled": BOOLEAN,
    },
)
_CONFIG = record(
    ProjectConfig,
    {
        "name": TEXT,
        "version": TEXT,
        "project_id": optional(PROJECT_ID),
        "description": _MAYBE_TEXT,
        "created_at": _MAYBE_TEXT,
        "updated_at": _MAYBE_TEXT,
        "auto_switch": BOOLEAN,
        "strict_mode": BOOLEAN,
        "dry_run": BOOLEAN,
        "instructions": _MAYBE_TEXT,
        "commands": _PAIRS,
        "servers": tuple_of(_SERVER),
        "digest": TEXT,
        "ignored": _TEXTS,
    },
)
_PROBLEM = record(ConfigProblem, {"path": TEXT, "problem": TEXT, "line": optional(INTEGER), "field": _MAYBE_TEXT})
_PROJECT = record(
    Project,
    {
        "project_id": PROJECT_ID,
        "name": TEXT,
        "root": DIRECTORY,
        "worktree_of": optional(DIRECTORY),
        "config_path": _MAYBE_TEXT,
        "config": optional(_CONFIG),
    },
)
_KEY = record(ProjectKey, {"repository": TEXT, "path": TEXT})
_NODE = record(DirectoryNode, {"device": INTEGER, "inode": INTEGER})
_KNOWN_ID = record(
    KnownId,
    {
        "key": _KEY,
        "project_id": PROJECT_ID,
        "name": TEXT,
        "root": DIRECTORY,
        "is_joined": BOOLEAN,
        "node": optional(_NODE),
    },
)
PLACE: Codec[Place] = record(
    Place,
    {
        "directory": DIRECTORY,
        "given": TEXT,
        "project": optional(_PROJECT),
        "config_path": _MAYBE_TEXT,
        "config_error": optional(_PROBLEM),
        "stopped_at": DIRECTORY,
        "stop": enumeration(StopReason),
        "key": optional(_KEY),
        "known_id": optional(_KNOWN_ID),
        "displaced": tuple_of(_KNOWN_ID),
        "identities_seen": optional(INTEGER),
        "warnings": _TEXTS,
        "rests_on": _TEXTS,
    },
)
KNOWN_PROJECT: Codec[KnownProject] = record(
    KnownProject,
    {
        "project_id": PROJECT_ID,
        "name": TEXT,
        "root": DIRECTORY,
        "worktree_of": optional(DIRECTORY),
        "seen_at": REAL,
    },
)
