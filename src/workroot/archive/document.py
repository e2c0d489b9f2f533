"""An archive from its first line to its last: written as it goes, and read as it goes, each line checked.

Order is part of the form: a head, the records of `records.py` with sessions before what stands for them, and an end
that counts them, so that an archive cut short is never taken for a whole one.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from workroot import __version__
from workroot.archive.records import (
    LONGEST_LINE,
    OLDEST_VERSION,
    VERSION,
    AliasRecord,
    AllocationRecord,
    ConnectionRecord,
    EndedAliasRecord,
    EndedRecord,
    EndRecord,
    HeadRecord,
    ProjectIdRecord,
    ProjectRecord,
    Record,
    SessionRecord,
    decode,
)
from workroot.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from workroot.core.allocations import AllocatedSession
    from workroot.core.changes import StoredState
    from workroot.core.sessions import SessionContext
    from workroot.held_state import Moment

__all__ = ["check_archive", "read_body", "records_of"]


def records_of(state: StoredState | Moment, *, principal: str, now: float = 0.0) -> Iterator[Record]:
    """Yield the records of all that is held, from head to end.

    Args:
        state: all of it, at one moment.
        principal: of the user whose daemon it is; elsewhere, somebody else's takes its place.
        now: the time of that moment, on the idle clock.
    """
    count = 0
    for record in _head_and_body(state, principal, now):
        count += 1
        yield record
    yield EndRecord(records=count)


def _head_and_body(state: StoredState | Moment, principal: str, now: float) -> Iterator[Record]:
    allocations = tuple(state.allocations)
    yield HeadRecord(
        version=VERSION if allocations else OLDEST_VERSION,
        workroot=__version__,
        written_at=time.time(),
        principal=principal,
        namespace=state.namespace,
    )
    for session in state.sessions:
        yield _session_record(session)
    for ended in state.ended:
        yield EndedRecord(
            **ended.owner._asdict(),
            session_id=ended.session_id,
            last_directory=ended.last_directory,
            ending=ended.ending.value,
            ended_at=ended.ended_at,
        )
    for allocation in allocations:
        yield _allocation_record(allocation, now)
    for bound in state.aliases:
        yield AliasRecord(**bound.owner._asdict(), alias=bound.alias, session_id=bound.session_id)
    for kept in state.connections:
        yield ConnectionRecord(
            **kept.owner._asdict(),
            alias=kept.alias,
            subscriptions=tuple(sorted(kept.subscriptions)),
            log_level=kept.log_level,
            is_resumable=kept.is_resumable,
            last_used=kept.last_used,
        )
    for gone in state.ended_aliases:
        yield EndedAliasRecord(**gone.owner._asdict(), alias=gone.alias, ended_at=gone.ended_at)
    for seen in state.projects:
        project = seen.project
        yield ProjectRecord(
            **seen.owner._asdict(),
            project_id=project.project_id,
            name=project.name,
            root=project.root,
            worktree_of=project.worktree_of,
            seen_at=project.seen_at,
        )
    for known in state.project_ids:
        yield ProjectIdRecord(
            repository=known.key.repository,
            path=known.key.path,
            project_id=known.project_id,
            name=known.name,
            root=known.root,
            is_joined=known.is_joined,
        )


def _session_record(session: SessionContext) -> SessionRecord:
    return SessionRecord(
        **session.owner._asdict(),
        session_id=session.session_id,
        working_directory=session.working_directory,
        given_directory=session.given_directory,
        config_path=session.config_path,
        project_id=session.project_id,
        project_root=session.project_root,
        project_name=session.project_name,
        signs=tuple((sign.sign, sign.directory, sign.agreed) for sign in session.signs),
        set_at=session.set_at,
        last_used=session.last_used,
        revision=session.revision,
    )


def _allocation_record(allocation: AllocatedSession, now: float) -> AllocationRecord:
    is_over = allocation.status.is_final
    return AllocationRecord(
        **allocation.owner._asdict(),
        session_id=allocation.session_id,
        user_id=allocation.user_id,
        created_at=allocation.created_at,
        remaining_seconds=0.0 if is_over else max(0.0, allocation.deadline - now),
        last_accessed=allocation.last_accessed,
        metadata=allocation.metadata,
        status=allocation.status.value,
        ended_at=allocation.ended_at,
        revision=allocation.revision,
    )


def check_archive(file: IO[bytes], name: str) -> HeadRecord:
    """Read a whole archive and return its head.

    Args:
        file: at its beginning.
        name: of the archive, for errors.

    Raises:
        ArchiveError: it is not right to its last line; the text says where, and why.
    """
    head: HeadRecord | None = None
    sessions: set[tuple[str, str]] = set()
    allocated: set[tuple[str, str]] = set()
    for number, record in _records(file, name):
        match record:
            case HeadRecord():
                head = record
            case SessionRecord() | EndedRecord():
                if (record.sandbox, record.session_id) in sessions:
                    raise ArchiveError(name, f"session {record.session_id[:11]} is there twice", line=number)
                sessions.add((record.sandbox, record.session_id))
            case AllocationRecord():
                if (record.sandbox, record.session_id) in allocated:
                    raise ArchiveError(name, f"allocated session {record.session_id[:11]} is there twice", line=number)
                allocated.add((record.sandbox, record.session_id))
            case AliasRecord():
                if (record.sandbox, record.session_id) not in sessions:
                    problem = f"it names session {record.session_id[:11]}, which no line before it is about"
                    raise ArchiveError(name, problem, line=number)
            case _:
                pass
    if head is None:
        raise ArchiveError(name, "it is empty")
    return head


def read_body(file: IO[bytes], name: str) -> Iterator[Record]:
    """Yield the records between head and end.

    Raises:
        ArchiveError: as `check_archive`; the file may have changed since.
    """
    for _, record in _records(file, name):
        if not isinstance(record, HeadRecord | EndRecord):
            yield record


def _records(file: IO[bytes], name: str) -> Iterator[tuple[int, Record]]:
    """Yield each record with the number of its line, from the head to the end."""
    count, is_ended = 0, False
    for number, line in _numbered_lines(file, name):
        if is_ended:
            raise ArchiveError(name, "something follows the end", line=number)
        if count == 0:
            _check_head(line, name)
        try:
            record = decode(line)
        except ValueError as error:
            raise ArchiveError(name, str(error), line=number) from None
        if isinstance(record, HeadRecord) != (count == 0):
            raise ArchiveError(name, "only the first line says what the archive is", line=number)
        if isinstance(record, EndRecord):
            is_ended = True
            if record.records != count:
                problem = f"{count} lines come before the end, and {record.records} were written"
                raise ArchiveError(name, problem, line=number)
        count += 1
        yield number, record
    if count and not is_ended:
        raise ArchiveError(name, f"it is cut short after {count} lines: export it again")


def _numbered_lines(file: IO[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise ArchiveError(name, f"it is longer than {LONGEST_LINE // 1024} KiB", line=number)
        yield number, line


def _check_head(line: bytes, name: str) -> None:
    """Say of a file that is none of ours what it is, before its fields are looked at."""
    try:
        head: object = json.loads(line)
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or head.get("kind") != "workroot-archive":
        raise ArchiveError(name, "this is not an archive that `workroot export` wrote", line=1)
    version = head.get("version")
    if isinstance(version, int) and version > VERSION:
        problem = f"a newer workroot ({head.get('workroot')}) wrote it, in form {version}; this one reads {VERSION}"
        raise ArchiveError(name, f"{problem}: upgrade workroot here", line=1)
