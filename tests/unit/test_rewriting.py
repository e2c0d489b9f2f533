"""All that is kept, written at once: nothing of it is missing, nothing else is left, and it is of one idle clock."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from fakes import place
from workroot.core.allocations import AllocatedSession, SessionStatus
from workroot.core.changes import AliasBound, IdleMark, ProjectSeen, StoredState
from workroot.core.connections import EndedAlias, KeptConnection
from workroot.core.projects import Directory, DirectoryNode, KnownId, KnownProject, ProjectId, ProjectKey
from workroot.core.sessions import Alias, EndedSession, Ending, Owner, SessionContext, SessionId
from workroot.storage.loading import read_state
from workroot.storage.memory_only import open_in_memory
from workroot.storage.rewriting import united, unknown_part, write_state
from workroot.storage.schema import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

ADA = Owner("uid:1000")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made, _ = open_in_memory("/nowhere", migrations=MIGRATIONS)
    with closing(made):
        yield made


def lent(name: str, deadline: float = 0.0, *, ended: float | None = None, owner: Owner = ADA) -> AllocatedSession:
    """Return an allocated session of *name*; *ended*: when it did, on the idle clock."""
    return AllocatedSession(
        session_id=SessionId(name),
        owner=owner,
        user_id="bob",
        created_at=5.0,
        deadline=deadline,
        last_accessed=5.0,
        metadata='{"a":1}',
        status=SessionStatus.ACTIVE if ended is None else SessionStatus.EXPIRED,
        ended_at=None if ended is None else 5.0,
        seen=ended or 0.0,
    )


def state_of(name: str, at: float) -> StoredState:
    """Return a state with one of everything, of *name*; all of it was seen at *at*, when the idle clock was noted."""
    session = SessionContext.working_in(place(f"/work/{name}"), ADA, SessionId(f"wr_{name}"), now=5.0)
    root = Directory(f"/work/{name}")
    project_id = ProjectId(f"id of {name}")
    return StoredState(
        namespace=f"namespace of {name}",
        sessions=(session,),
        seen={session.key: at},
        ended=(
            EndedSession(
                session_id=SessionId(f"wr_ended_{name}"),
                owner=ADA,
                last_directory=root,
                ending=Ending.CLOSED,
                ended_at=5.0,
                seen=at,
            ),
        ),
        aliases=(AliasBound(ADA, Alias(f"alias {name}"), session.session_id),),
        projects=(
            ProjectSeen(ADA, KnownProject(project_id=project_id, name=name, root=root, worktree_of=None, seen_at=5.0)),
        ),
        project_ids=(
            KnownId(key=ProjectKey("", root), project_id=project_id, name=name, root=root, node=DirectoryNode(1, 2)),
        ),
        connections=(KeptConnection(owner=ADA, alias=Alias(f"connection {name}"), last_used=5.0, seen=at),),
        ended_aliases=(EndedAlias(ADA, Alias(f"ended alias {name}"), 5.0, at),),
        allocations=(lent(f"lent_ended_{name}", at, ended=at), lent(f"lent_{name}", at + 60.0)),
        idle_mark=IdleMark(at, 1_000.0, 10.0),
    )


def rows(state: StoredState) -> dict[str, Any]:
    return {
        each.name: frozenset(value) if isinstance(value := getattr(state, each.name), tuple) else value
        for each in fields(state)
        if each.name not in ("seen", "idle_mark")
    }


def test_what_is_written_is_all_that_is_there_and_nothing_else(connection: sqlite3.Connection) -> None:
    write_state(connection, state_of("theirs", 9.0))

    write_state(connection, state_of("ours", 3.0))

    assert read_state(connection) == state_of("ours", 3.0)


def test_a_mark_of_another_idle_clock_does_not_stay(connection: sqlite3.Connection) -> None:
    """Else all that was seen on this clock would count as idle for as long as the other one is ahead."""
    write_state(connection, state_of("theirs", 90_000.0))

    write_state(connection, replace(state_of("ours", 3.0), idle_mark=None))

    assert read_state(connection).idle_mark is None


def test_what_fails_half_way_leaves_what_was_there(connection: sqlite3.Connection) -> None:
    write_state(connection, state_of("theirs", 9.0))
    ours = state_of("ours", 3.0)

    with pytest.raises(sqlite3.IntegrityError):
        write_state(connection, replace(ours, sessions=()))  # an alias stands for nothing

    assert read_state(connection) == state_of("theirs", 9.0)


def test_all_that_was_not_known_is_united_with_what_is_held() -> None:
    theirs, ours = state_of("theirs", 9.0), state_of("ours", 9.0)

    both = united(unknown_part(theirs, ours), ours)

    expected = {
        name: found | rows(ours)[name] if isinstance(found, frozenset) else found
        for name, found in rows(theirs).items()
    }
    assert rows(both) == expected
    assert both.namespace == theirs.namespace
    assert (both.seen, both.idle_mark) == (ours.seen, ours.idle_mark)


@pytest.mark.parametrize("has_mark", [False, True])
def test_what_is_united_is_on_the_idle_clock_of_what_is_held(has_mark: bool) -> None:
    """Else the next daemon would begin where theirs stood, and all of ours would count as idle since long ago."""
    theirs, ours = state_of("theirs", 89_000.0), state_of("ours", 50.0)
    if has_mark:
        theirs = replace(theirs, idle_mark=IdleMark(90_000.0, 1_000.0, 10.0))
    else:
        ours = replace(ours, idle_mark=None)
    age = 1_000.0 if has_mark else 0.0

    both = united(theirs, ours)

    assert {each.session_id: each.seen for each in both.ended} == {"wr_ended_theirs": 50.0 - age, "wr_ended_ours": 50.0}
    assert [each.seen for each in both.connections] == [50.0 - age, 50.0]
    assert [each.seen for each in both.ended_aliases] == [50.0 - age, 50.0]
    assert {each.session_id: (each.deadline, each.seen) for each in both.allocations} == {
        "lent_theirs": (110.0 - age, 0.0),
        "lent_ended_theirs": (50.0 - age, 50.0 - age),
        "lent_ours": (110.0, 0.0),
        "lent_ended_ours": (50.0, 50.0),
    }


def test_the_end_of_an_allocated_session_tells_where_an_idle_clock_stood() -> None:
    theirs = StoredState(namespace="theirs", allocations=(lent("over", 40.0, ended=40.0), lent("on", 100.0)))

    both = united(theirs, StoredState(namespace="ours"))

    assert [(each.deadline, each.seen) for each in both.allocations] == [(0.0, 0.0), (60.0, 0.0)]


def test_what_contradicts_an_allocated_session_stays_unknown() -> None:
    """A session that is held goes on, and the owner of an id that is allocated stays its only one."""
    eve = Owner("uid:1001")

    def working(name: str) -> SessionContext:
        return SessionContext.working_in(place("/work"), ADA, SessionId(name), now=5.0)

    found = StoredState(
        namespace="theirs",
        sessions=(working("over"), working("eves"), working("own")),
        allocations=(
            *(lent("closed", ended=1.0), lent("taken", owner=eve), lent("kept", 9.0)),
            *(lent("same", 9.0), lent("over", 9.0)),
        ),
    )
    held = StoredState(
        namespace="ours",
        sessions=(working("closed"), working("taken"), working("kept")),
        allocations=(lent("over", ended=1.0), lent("eves", owner=eve), lent("own"), lent("same")),
    )

    unknown = unknown_part(found, held)

    assert [each.session_id for each in unknown.sessions] == ["own"]
    assert [each.session_id for each in unknown.allocations] == ["kept"]


def test_a_conversation_of_an_older_schema_is_on_no_clock() -> None:
    theirs, ours = state_of("theirs", 9.0), state_of("ours", 50.0)
    (kept,) = theirs.connections

    both = united(replace(theirs, connections=(replace(kept, seen=None),)), ours)

    assert [each.seen for each in both.connections] == [None, 50.0]


def test_nothing_that_is_held_is_unknown() -> None:
    ours = state_of("ours", 9.0)
    others = replace(state_of("ours", 99.0), namespace="namespace of theirs")

    unknown = unknown_part(others, ours)

    assert rows(united(unknown, ours)) == rows(replace(ours, namespace="namespace of theirs"))
    assert not unknown.seen
