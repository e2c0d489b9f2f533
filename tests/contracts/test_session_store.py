"""What every `SessionStore` promises."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from workroot.core.allocations import AllocatedSession, SessionStatus
from workroot.core.changes import (
    AliasBound,
    AliasEnded,
    AllocationSaved,
    AllocationsForgotten,
    AllocationTouched,
    Change,
    ConnectionForgotten,
    ConnectionSaved,
    EndedAliasesForgotten,
    EndedForgotten,
    EndingForgotten,
    IdleMark,
    IdleMarked,
    ProjectForgotten,
    ProjectIdKept,
    ProjectSeen,
    SessionEnded,
    SessionSaved,
    SessionTouched,
    StoredState,
)
from workroot.core.connections import EndedAlias, KeptConnection
from workroot.core.projects import Directory, DirectoryNode, KnownId, KnownProject, ProjectId, ProjectKey
from workroot.core.sessions import (
    Alias,
    EndedSession,
    Ending,
    Owner,
    PinnedSign,
    SessionContext,
    SessionId,
    SessionKey,
)
from workroot.errors import ChangeRefusedError, StoreError

if TYPE_CHECKING:
    from workroot.core.ports import SessionStore

ADA = Owner("uid:1000")
EVE = Owner("uid:1001")
WORK = SessionContext(
    session_id=SessionId("wr_ada"),
    owner=ADA,
    working_directory=Directory("/home/ada/app/src"),
    given_directory="/home/ada/link/src",
    config_path="/home/ada/app/.workroot/config.toml",
    project_id=ProjectId("5b8f2f0e-6d1c-4b39-9f6e-0d2f4c1f7a11"),
    project_root=Directory("/home/ada/app"),
    project_name="app",
    signs=(PinnedSign("roots: the only root", "/home/ada/app", agreed=True), PinnedSign("connector: PWD", "/home/ada")),
    set_at=1_000.25,
    last_used=1_001.5,
)
BARE = SessionContext(
    session_id=SessionId("wr_bare"),
    owner=ADA,
    working_directory=Directory("/srv"),
    given_directory="/srv",
    set_at=1.0,
    last_used=1.0,
)
APP = KnownProject(
    project_id=ProjectId("5b8f2f0e-6d1c-4b39-9f6e-0d2f4c1f7a11"),
    name="app",
    root=Directory("/home/ada/app"),
    worktree_of=None,
    seen_at=1_000.0,
)
APP_ID = KnownId(
    key=ProjectKey("/home/ada/app/.git", ""),
    project_id=APP.project_id,
    name="app",
    root=APP.root,
    node=DirectoryNode(0, 2**63 - 1),
)

CONN = KeptConnection(
    owner=ADA,
    alias=Alias("conn"),
    subscriptions=frozenset({"workroot://projects", "workroot://sessions/größe"}),
    log_level="info",
    is_resumable=True,
    last_used=1_000.25,
    seen=500.5,
)

LENT = AllocatedSession(
    session_id=SessionId("chosen"),
    owner=ADA,
    user_id="bob@größe",
    created_at=1_000.25,
    deadline=86_400.5,
    last_accessed=1_001.5,
    metadata='{"cart":["🦀",1.5,null],"größe":{}}',
)
OVER = replace(
    LENT, metadata="{}", status=SessionStatus.TERMINATED, ended_at=2_000.25, seen=1_500.5, last_accessed=1.0, revision=2
)


def ended(session: SessionContext, ending: Ending = Ending.CLOSED, at: float = 2_000.0) -> SessionEnded:
    return SessionEnded(
        EndedSession(
            session_id=session.session_id,
            owner=session.owner,
            last_directory=session.working_directory,
            ending=ending,
            ended_at=at,
            seen=at - 500.5,
        )
    )


def bound(name: str, session: SessionContext) -> AliasBound:
    return AliasBound(session.owner, Alias(name), session.session_id)


async def commit(store: SessionStore, *changes: Change) -> None:
    await store.commit(changes)


async def kept(store: SessionStore) -> dict[SessionKey, SessionContext]:
    return {session.key: session for session in (await store.load()).sessions}


async def aliases(store: SessionStore) -> dict[tuple[Owner, Alias], SessionId]:
    return {(each.owner, each.alias): each.session_id for each in (await store.load()).aliases}


# A store that was just made


async def test_a_new_store_holds_nothing_but_its_namespace(store: SessionStore) -> None:
    state = await store.load()

    assert state == StoredState(namespace=state.namespace)
    assert str(uuid.UUID(state.namespace)) == state.namespace
    assert (await store.load()).namespace == state.namespace


async def test_no_changes_are_kept_without_complaint(store: SessionStore) -> None:
    before = await store.load()

    await store.commit([])

    assert await store.load() == before


# Sessions


@pytest.mark.parametrize("session", [WORK, BARE], ids=["every field", "no optional field"])
async def test_a_session_comes_back_as_it_was_saved(store: SessionStore, session: SessionContext) -> None:
    await store.commit([SessionSaved(session)])

    assert (await store.load()).sessions == (session,)


@pytest.mark.parametrize("path", ["/größe/日本/🦀", "/a b\n\t'\";--", "/e\u0301", "/" + "x" * 4_094])
async def test_any_unicode_path_comes_back_unchanged(store: SessionStore, path: str) -> None:
    session = replace(
        WORK, working_directory=Directory(path), given_directory=path, signs=(PinnedSign("roots: r", path),)
    )

    await store.commit([SessionSaved(session)])

    assert (await store.load()).sessions == (session,)


async def test_a_newer_revision_replaces_every_field(store: SessionStore) -> None:
    newer = replace(BARE, session_id=WORK.session_id, revision=2)
    await store.commit([SessionSaved(WORK)])

    await store.commit([SessionSaved(newer)])

    assert (await store.load()).sessions == (newer,)


async def test_an_equal_revision_replaces_what_is_kept(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK)])

    await store.commit([SessionSaved(again := replace(WORK, working_directory=Directory("/elsewhere")))])

    assert (await store.load()).sessions == (again,)


async def test_an_older_revision_changes_nothing(store: SessionStore) -> None:
    await store.commit([SessionSaved(newer := replace(WORK, revision=3))])

    await store.commit([SessionSaved(replace(WORK, revision=2, working_directory=Directory("/old")))])

    assert (await store.load()).sessions == (newer,)


async def test_the_same_id_in_two_sandboxes_is_two_sessions(store: SessionStore) -> None:
    other = replace(WORK, owner=Owner(ADA.principal, "tenant"), working_directory=Directory("/tenant"))
    await store.commit([SessionSaved(WORK), SessionSaved(other), bound("conn", WORK), bound("conn", other)])
    assert await kept(store) == {WORK.key: WORK, other.key: other}

    await store.commit([ended(other)])

    assert await kept(store) == {WORK.key: WORK}
    assert await aliases(store) == {(ADA, Alias("conn")): WORK.session_id}


async def test_nobody_takes_over_the_session_of_another_principal(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK)])

    with pytest.raises(ChangeRefusedError, match="belongs to somebody else"):
        await store.commit([SessionSaved(replace(WORK, owner=EVE, revision=9))])

    assert (await store.load()).sessions == (WORK,)


# Touches


async def test_a_touch_moves_the_last_use_forward_and_nothing_else(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK), SessionSaved(BARE)])

    await store.commit([SessionTouched(WORK.key, 5_000.5)])

    assert await kept(store) == {WORK.key: replace(WORK, last_used=5_000.5), BARE.key: BARE}


async def test_a_touch_never_moves_the_last_use_back(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK)])

    await store.commit([SessionTouched(WORK.key, WORK.last_used - 1)])

    assert (await store.load()).sessions == (WORK,)


async def test_a_touch_of_a_session_that_is_gone_changes_nothing(store: SessionStore) -> None:
    before = await store.load()

    await store.commit([SessionTouched(WORK.key, 5.0)])

    assert await store.load() == before


# The idle clock


async def seen(store: SessionStore) -> dict[SessionKey, float]:
    return dict((await store.load()).seen)


async def test_a_session_comes_back_with_when_it_was_seen(store: SessionStore) -> None:
    other = replace(WORK, owner=Owner(ADA.principal, "tenant"))

    await store.commit([SessionSaved(WORK, 7.25), SessionSaved(other, -3.5), SessionSaved(BARE)])

    assert await seen(store) == {WORK.key: 7.25, other.key: -3.5}


async def test_a_newer_revision_moves_when_it_was_seen_and_one_that_does_not_know_leaves_it(
    store: SessionStore,
) -> None:
    await store.commit([SessionSaved(WORK, 7.0)])

    await store.commit([SessionSaved(replace(WORK, revision=2), 9.0)])
    await store.commit([SessionSaved(replace(WORK, revision=3))])
    await store.commit([SessionSaved(replace(WORK, revision=1), 20.0)])

    assert await seen(store) == {WORK.key: 9.0}


@pytest.mark.parametrize(
    ("before", "touched", "after"),
    [(7.0, 9.0, 9.0), (7.0, 5.0, 7.0), (7.0, None, 7.0), (None, 5.0, 5.0), (None, -5.0, -5.0)],
)
async def test_a_touch_moves_when_a_session_was_seen_forward_only(
    store: SessionStore, before: float | None, touched: float | None, after: float
) -> None:
    await store.commit([SessionSaved(WORK, before), SessionSaved(BARE, 1.0)])

    await store.commit([SessionTouched(WORK.key, 5_000.5, touched)])

    assert await seen(store) == {WORK.key: after, BARE.key: 1.0}
    assert (await kept(store))[WORK.key] == replace(WORK, last_used=5_000.5)


async def test_a_touch_that_knows_of_no_idle_clock_leaves_it_unknown(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK)])

    await store.commit([SessionTouched(WORK.key, 5_000.5)])

    assert await seen(store) == {}


async def test_the_wall_clock_may_go_back_while_the_idle_clock_goes_on(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK, 7.0)])

    await store.commit([SessionTouched(WORK.key, 1.0, 9.0)])

    assert await seen(store) == {WORK.key: 9.0}
    assert await kept(store) == {WORK.key: WORK}


async def test_nothing_is_left_of_when_an_ended_session_was_seen(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK, 7.0), SessionTouched(WORK.key, 5_000.5, 9.0), ended(WORK)])

    assert await seen(store) == {}


async def test_the_idle_mark_noted_last_is_kept(store: SessionStore) -> None:
    await store.commit([IdleMarked(IdleMark(1.0, 1_700_000_000.25, 2.0))])
    await store.commit([IdleMarked(last := IdleMark(0.1 + 0.2, 3.0, 1e-9))])

    assert (await store.load()).idle_mark == last


# Endings


@pytest.mark.parametrize("ending", list(Ending))
async def test_an_ending_removes_the_session_with_its_aliases_and_is_kept(store: SessionStore, ending: Ending) -> None:
    await store.commit(
        [SessionSaved(WORK), SessionSaved(BARE), bound("one", WORK), bound("two", WORK), bound("three", BARE)]
    )

    await store.commit([change := ended(WORK, ending)])

    state = await store.load()
    assert (state.sessions, state.ended) == ((BARE,), (change.ended,))
    assert state.aliases == (bound("three", BARE),)


async def test_what_ended_is_never_saved_again(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK)])
    await store.commit([end := ended(WORK)])

    with pytest.raises(ChangeRefusedError, match="has ended"):
        await store.commit([SessionSaved(replace(WORK, revision=99))])

    state = await store.load()
    assert (state.sessions, state.ended) == ((), (end.ended,))


async def test_a_touch_does_not_bring_back_what_ended(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK), ended(WORK)])

    await store.commit([SessionTouched(WORK.key, 9_999.0)])

    assert (await store.load()).sessions == ()


async def test_the_first_ending_stays(store: SessionStore) -> None:
    await store.commit([first := ended(WORK, Ending.CLOSED, at=2_000.0)])

    await store.commit([ended(WORK, Ending.EXPIRED, at=3_000.0)])

    assert (await store.load()).ended == (first.ended,)


async def test_endings_are_forgotten_that_lie_before_the_given_time(store: SessionStore) -> None:
    old, then, new = (
        ended(replace(BARE, session_id=SessionId(name)), at=at)
        for name, at in [("old", 999.75), ("then", 1_000.0), ("new", 1_000.25)]
    )
    await store.commit([old, then, new])

    await store.commit([EndedForgotten(1_000.0 - 500.5)])

    assert set((await store.load()).ended) == {then.ended, new.ended}


async def test_one_ending_is_forgotten_alone(store: SessionStore) -> None:
    here, there = ended(WORK), ended(replace(WORK, owner=Owner(ADA.principal, "tenant")))
    await store.commit([here, there])

    await store.commit([EndingForgotten(here.ended.key), EndingForgotten(BARE.key)])

    assert (await store.load()).ended == (there.ended,)


async def test_a_key_is_free_again_once_its_ending_is_forgotten(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK), bound("conn", WORK), ended(WORK, at=1.0), EndedForgotten(2.0 - 500.5)])

    await store.commit([SessionSaved(WORK)])

    state = await store.load()
    assert (state.sessions, state.ended, state.aliases) == ((WORK,), (), ())


# Aliases


async def test_an_alias_stands_for_the_session_it_was_bound_to_last(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK), SessionSaved(BARE), bound("conn", WORK)])

    await store.commit([bound("conn", BARE)])
    assert await aliases(store) == {(ADA, Alias("conn")): BARE.session_id}

    await store.commit([ended(WORK)])
    assert await aliases(store) == {(ADA, Alias("conn")): BARE.session_id}


async def test_an_alias_bound_twice_to_one_session_is_one_alias(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK), bound("conn", WORK), bound("conn", WORK)])
    assert (await store.load()).aliases == (bound("conn", WORK),)

    await store.commit([ended(WORK)])
    assert (await store.load()).aliases == ()


async def test_the_same_alias_of_two_principals_is_two_aliases(store: SessionStore) -> None:
    eves = replace(BARE, owner=EVE)

    await store.commit([SessionSaved(WORK), SessionSaved(eves), bound("conn", WORK), bound("conn", eves)])

    assert await aliases(store) == {(ADA, Alias("conn")): WORK.session_id, (EVE, Alias("conn")): eves.session_id}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(bound("conn", BARE), id="never kept"),
        pytest.param(AliasBound(EVE, Alias("conn"), WORK.session_id), id="of another principal"),
        pytest.param(AliasBound(Owner(ADA.principal, "tenant"), Alias("conn"), WORK.session_id), id="other sandbox"),
    ],
)
async def test_an_alias_cannot_stand_for_a_session_that_its_owner_has_not(store: SessionStore, change: Change) -> None:
    await store.commit([SessionSaved(WORK)])

    with pytest.raises(ChangeRefusedError, match="no such session"):
        await store.commit([change])

    assert (await store.load()).aliases == ()


async def test_an_alias_cannot_stand_for_a_session_that_ended(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK), ended(WORK)])

    with pytest.raises(ChangeRefusedError):
        await store.commit([bound("conn", WORK)])

    assert (await store.load()).aliases == ()


# Projects


async def test_a_project_seen_later_replaces_the_row_of_its_root(store: SessionStore) -> None:
    later = replace(APP, name="renamed", project_id=ProjectId("other"), worktree_of=Directory("/main"), seen_at=2_000.0)
    await store.commit([ProjectSeen(ADA, APP)])

    await store.commit([ProjectSeen(ADA, later)])

    assert (await store.load()).projects == (ProjectSeen(ADA, later),)


async def test_a_project_seen_earlier_changes_nothing(store: SessionStore) -> None:
    await store.commit([ProjectSeen(ADA, APP)])

    await store.commit([ProjectSeen(ADA, replace(APP, name="before", seen_at=APP.seen_at - 1))])

    assert (await store.load()).projects == (ProjectSeen(ADA, APP),)


async def test_projects_are_kept_by_owner_and_root(store: SessionStore) -> None:
    seen = [
        ProjectSeen(ADA, APP),
        ProjectSeen(EVE, APP),
        ProjectSeen(Owner(ADA.principal, "tenant"), APP),
        ProjectSeen(ADA, replace(APP, root=Directory("/home/ada/app-2"), worktree_of=APP.root)),
    ]

    await store.commit(seen)

    assert set((await store.load()).projects) == set(seen)


async def test_a_project_that_is_forgotten_is_gone_for_its_owner_alone(store: SessionStore) -> None:
    tenant = Owner(ADA.principal, "tenant")
    await store.commit([ProjectSeen(ADA, APP), ProjectSeen(EVE, APP), ProjectSeen(tenant, APP)])

    await store.commit([ProjectForgotten(ADA, APP.root), ProjectForgotten(ADA, Directory("/unknown"))])

    assert set((await store.load()).projects) == {ProjectSeen(EVE, APP), ProjectSeen(tenant, APP)}


# The ids under which projects were known last


@pytest.mark.parametrize("is_joined", [False, True])
async def test_a_project_id_comes_back_as_it_was_kept(store: SessionStore, is_joined: bool) -> None:
    known = replace(APP_ID, is_joined=is_joined)

    await store.commit([ProjectIdKept(known)])

    assert (await store.load()).project_ids == (known,)


async def test_a_project_id_replaces_all_that_was_kept_under_its_key(store: SessionStore) -> None:
    await store.commit([ProjectIdKept(replace(APP_ID, is_joined=True))])

    again = KnownId(key=APP_ID.key, project_id=ProjectId("other"), name="renamed", root=Directory("/elsewhere"))
    await store.commit([ProjectIdKept(again)])

    assert (await store.load()).project_ids == (again,)


async def test_project_ids_are_kept_by_repository_and_path(store: SessionStore) -> None:
    known = [
        APP_ID,
        replace(APP_ID, key=ProjectKey("/home/ada/app/.git", "packages/web")),
        replace(APP_ID, key=ProjectKey("/home/ada/copy/.git", "")),
        replace(APP_ID, key=ProjectKey("", "/home/ada/app")),
    ]

    await store.commit([ProjectIdKept(each) for each in known])

    assert set((await store.load()).project_ids) == set(known)


# What conversations of the handshake era asked for


@pytest.mark.parametrize(
    "connection", [CONN, KeptConnection(owner=ADA, alias=Alias("bare"), last_used=1.0)], ids=["every field", "bare"]
)
async def test_a_connection_comes_back_as_it_was_saved(store: SessionStore, connection: KeptConnection) -> None:
    await store.commit([ConnectionSaved(connection)])

    assert (await store.load()).connections == (connection,)


async def test_a_connection_replaces_all_that_was_kept_of_it(store: SessionStore) -> None:
    await store.commit([ConnectionSaved(CONN)])

    await store.commit([ConnectionSaved(bare := KeptConnection(owner=ADA, alias=CONN.alias, last_used=1.0))])

    assert (await store.load()).connections == (bare,)


async def test_connections_are_kept_by_owner_and_alias(store: SessionStore) -> None:
    kept = [
        CONN,
        replace(CONN, owner=EVE),
        replace(CONN, owner=Owner(ADA.principal, "tenant")),
        replace(CONN, alias=Alias("other")),
    ]

    await store.commit([ConnectionSaved(each) for each in kept])
    assert set((await store.load()).connections) == set(kept)

    await store.commit([ConnectionForgotten(ADA, CONN.alias)])
    assert set((await store.load()).connections) == set(kept[1:])


async def test_a_connection_that_was_forgotten_may_begin_again(store: SessionStore) -> None:
    await store.commit([ConnectionForgotten(ADA, CONN.alias), ConnectionSaved(CONN)])

    assert (await store.load()).connections == (CONN,)


async def test_an_ended_alias_keeps_nothing_but_its_first_end(store: SessionStore) -> None:
    other = replace(CONN, alias=Alias("other"))
    end = EndedAlias(ADA, CONN.alias, 2_000.0, 500.5)
    await store.commit([ConnectionSaved(CONN), ConnectionSaved(other)])

    await store.commit([AliasEnded(end)])
    await store.commit([AliasEnded(replace(end, ended_at=3_000.0, seen=1_500.5))])

    state = await store.load()
    assert (state.connections, state.ended_aliases) == ((other,), (end,))


async def test_nothing_is_kept_of_a_conversation_that_was_ended(store: SessionStore) -> None:
    await store.commit([AliasEnded(EndedAlias(ADA, CONN.alias, 2_000.0))])

    with pytest.raises(ChangeRefusedError, match="client has ended"):
        await store.commit([ConnectionSaved(CONN)])
    await store.commit([ConnectionSaved(eves := replace(CONN, owner=EVE))])

    assert (await store.load()).connections == (eves,)


async def test_ended_aliases_are_forgotten_that_lie_before_the_given_time(store: SessionStore) -> None:
    old, then, new = (EndedAlias(ADA, Alias(str(at)), -at, at) for at in (999.75, 1_000.0, 1_000.25))
    await store.commit([AliasEnded(each) for each in (old, then, new)])

    await store.commit([EndedAliasesForgotten(1_000.0)])

    assert set((await store.load()).ended_aliases) == {then, new}


async def test_the_end_of_an_alias_leaves_its_session(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK), bound("conn", WORK), AliasEnded(EndedAlias(ADA, Alias("conn"), 1.0))])

    state = await store.load()
    assert (state.sessions, state.aliases) == ((WORK,), (bound("conn", WORK),))


# Allocated sessions


async def allocations(store: SessionStore) -> dict[SessionKey, AllocatedSession]:
    return {each.key: each for each in (await store.load()).allocations}


@pytest.mark.parametrize(
    "allocation",
    [
        LENT,
        AllocatedSession(
            session_id=SessionId("bare"), owner=ADA, user_id=None, created_at=1.0, deadline=-2.5, last_accessed=1.0
        ),
        *(replace(OVER, status=status) for status in SessionStatus if status.is_final),
    ],
    ids=["every field", "bare", "expired", "invalidated", "terminated"],
)
async def test_an_allocated_session_comes_back_as_it_was_saved(
    store: SessionStore, allocation: AllocatedSession
) -> None:
    await store.commit([AllocationSaved(allocation)])

    assert (await store.load()).allocations == (allocation,)


async def test_a_newer_revision_of_an_allocated_session_replaces_what_may_change(store: SessionStore) -> None:
    newer = replace(
        LENT, created_at=2.0, deadline=3.0, last_accessed=4.0, metadata="{}", revision=LENT.revision + 1
    )  # of a session that was used earlier than it is known: clocks are set back
    await store.commit([AllocationSaved(LENT)])

    await store.commit([AllocationSaved(newer)])

    assert (await store.load()).allocations == (newer,)


async def test_an_equal_revision_of_an_allocated_session_replaces_what_is_kept(store: SessionStore) -> None:
    await store.commit([AllocationSaved(LENT)])

    await store.commit([AllocationSaved(again := replace(LENT, metadata='{"again":1}'))])

    assert (await store.load()).allocations == (again,)


@pytest.mark.parametrize("older", [LENT, replace(OVER, revision=1)], ids=["active", "an end"])
async def test_an_older_revision_of_an_allocated_session_changes_nothing(
    store: SessionStore, older: AllocatedSession
) -> None:
    await store.commit([AllocationSaved(newer := replace(LENT, metadata='{"new":1}', revision=3))])

    await store.commit([AllocationSaved(older), ProjectSeen(ADA, APP)])

    state = await store.load()
    assert (state.allocations, state.projects) == ((newer,), (ProjectSeen(ADA, APP),))


async def test_allocated_sessions_are_kept_by_sandbox_and_id(store: SessionStore) -> None:
    saved = [
        LENT,
        replace(LENT, owner=Owner(EVE.principal, "tenant"), user_id="eve"),
        replace(LENT, session_id=SessionId("other"), user_id=None),
    ]

    await store.commit([AllocationSaved(each) for each in saved])
    assert set((await store.load()).allocations) == set(saved)

    await store.commit([AllocationSaved(OVER)])
    assert set((await store.load()).allocations) == {OVER, *saved[1:]}


@pytest.mark.parametrize("kept", [LENT, OVER], ids=["active", "ended"])
@pytest.mark.parametrize("taken", [LENT, OVER], ids=["as active", "as ended"])
@pytest.mark.parametrize(
    ("owner", "user_id"),
    [(EVE, LENT.user_id), (ADA, "eve"), (ADA, None)],
    ids=["another principal", "another user", "no user"],
)
async def test_nobody_takes_over_an_allocated_session(
    store: SessionStore, kept: AllocatedSession, taken: AllocatedSession, owner: Owner, user_id: str | None
) -> None:
    await store.commit([AllocationSaved(kept)])

    with pytest.raises(ChangeRefusedError, match="belongs to somebody else"):
        await store.commit([AllocationSaved(replace(taken, owner=owner, user_id=user_id, revision=9))])

    assert (await store.load()).allocations == (kept,)


async def test_an_allocated_session_of_nobody_in_particular_is_taken_over_by_no_user(store: SessionStore) -> None:
    await store.commit([AllocationSaved(kept := replace(LENT, user_id=None))])

    with pytest.raises(ChangeRefusedError, match="belongs to somebody else"):
        await store.commit([AllocationSaved(replace(LENT, revision=9))])

    assert (await store.load()).allocations == (kept,)


@pytest.mark.parametrize("revision", [1, OVER.revision, 99])
async def test_an_allocated_session_that_ended_is_never_active_again(store: SessionStore, revision: int) -> None:
    await store.commit([AllocationSaved(LENT), AllocationSaved(OVER)])

    with pytest.raises(ChangeRefusedError, match="has ended"):
        await store.commit([AllocationSaved(replace(LENT, revision=revision))])

    assert (await store.load()).allocations == (OVER,)


async def test_the_first_end_of_an_allocated_session_stays(store: SessionStore) -> None:
    await store.commit([AllocationSaved(LENT), AllocationSaved(OVER)])

    await store.commit(
        [
            AllocationSaved(replace(OVER, status=SessionStatus.EXPIRED, ended_at=3.0, seen=9_999.0, revision=99)),
            ProjectSeen(ADA, APP),
        ]
    )

    state = await store.load()
    assert (state.allocations, state.projects) == ((OVER,), (ProjectSeen(ADA, APP),))


@pytest.mark.parametrize(
    ("at", "after"), [(LENT.last_accessed + 0.5, LENT.last_accessed + 0.5), (1.0, LENT.last_accessed)]
)
async def test_a_touch_of_an_allocated_session_moves_its_last_use_forward_only(
    store: SessionStore, at: float, after: float
) -> None:
    other = replace(LENT, owner=Owner(ADA.principal, "tenant"))
    await store.commit([AllocationSaved(LENT), AllocationSaved(other), SessionSaved(WORK)])

    await store.commit([AllocationTouched(LENT.key, at), AllocationTouched(WORK.key, 9_999.0)])

    assert await allocations(store) == {LENT.key: replace(LENT, last_accessed=after), other.key: other}
    assert (await store.load()).sessions == (WORK,)


async def test_a_touch_changes_no_allocated_session_that_has_ended(store: SessionStore) -> None:
    await store.commit([AllocationSaved(OVER)])

    await store.commit([AllocationTouched(OVER.key, 9_999.0)])

    assert (await store.load()).allocations == (OVER,)


async def test_allocated_sessions_are_forgotten_that_ended_before_the_given_time(store: SessionStore) -> None:
    old, then, new = (
        replace(OVER, session_id=SessionId(name), ended_at=-at, seen=at)
        for name, at in [("old", 999.75), ("then", 1_000.0), ("new", 1_000.25)]
    )
    await store.commit([AllocationSaved(each) for each in (LENT, old, then, new)])

    await store.commit([AllocationsForgotten(1_000.0)])

    assert set((await store.load()).allocations) == {LENT, then, new}


async def test_an_id_is_free_for_anybody_once_its_allocated_session_is_forgotten(store: SessionStore) -> None:
    await store.commit([AllocationSaved(OVER), AllocationsForgotten(OVER.seen + 1)])

    await store.commit([AllocationSaved(eves := replace(LENT, owner=EVE, user_id="eve"))])

    assert (await store.load()).allocations == (eves,)


async def test_an_allocated_session_and_who_works_under_its_id_are_kept_each_by_itself(store: SessionStore) -> None:
    """What the end of one means for the other is said by whoever ends it, in one call."""
    working = replace(WORK, session_id=LENT.session_id)
    await store.commit([SessionSaved(working), AllocationSaved(LENT), bound("conn", working)])

    await store.commit([AllocationSaved(OVER)])
    assert (await store.load()).sessions == (working,)

    await store.commit([ended(working)])
    state = await store.load()
    assert (state.sessions, state.aliases, state.allocations) == ((), (), (OVER,))


# One call


async def test_changes_of_one_call_are_kept_in_their_order(store: SessionStore) -> None:
    newer = replace(WORK, revision=2, last_used=3_000.0)

    await store.commit(
        [
            SessionSaved(WORK),
            bound("conn", WORK),
            SessionTouched(WORK.key, 2_000.0),
            SessionSaved(newer),
            SessionSaved(BARE),
            bound("conn", BARE),
            ended(WORK),
        ]
    )

    state = await store.load()
    assert (state.sessions, state.ended) == ((BARE,), (ended(WORK).ended,))
    assert state.aliases == (bound("conn", BARE),)


async def test_a_touch_before_the_save_of_one_call_finds_nothing(store: SessionStore) -> None:
    await store.commit([SessionTouched(WORK.key, 9_999.0), SessionSaved(WORK)])

    assert (await store.load()).sessions == (WORK,)


async def test_a_call_with_one_refused_change_leaves_no_trace(store: SessionStore) -> None:
    gone = replace(BARE, session_id=SessionId("wr_gone"))
    other = replace(BARE, session_id=SessionId("wr_other"))
    await store.commit([SessionSaved(WORK), bound("conn", WORK), ended(gone, at=1.0), ProjectSeen(ADA, APP)])
    await store.commit([ProjectIdKept(APP_ID), ConnectionSaved(CONN)])
    await store.commit([AliasEnded(EndedAlias(EVE, Alias("over"), 1.0)), SessionTouched(WORK.key, 0.0, 4.0)])
    await store.commit([ended(replace(BARE, session_id=SessionId("wr_forgotten")), at=700.0)])
    over = replace(OVER, session_id=SessionId("over"))
    await store.commit([AllocationSaved(LENT), AllocationSaved(over)])
    before = await store.load()

    with pytest.raises(ChangeRefusedError):
        await store.commit(
            [
                SessionSaved(BARE),
                SessionSaved(other),
                SessionTouched(WORK.key, 9_999.0, 9.0),
                IdleMarked(IdleMark(1.0, 2.0, 3.0)),
                EndingForgotten(SessionKey("default", SessionId("wr_forgotten"))),
                bound("conn", BARE),
                bound("new", WORK),
                ProjectSeen(ADA, replace(APP, name="renamed", seen_at=9_999.0)),
                ProjectSeen(EVE, APP),
                ProjectForgotten(ADA, APP.root),
                ProjectIdKept(replace(APP_ID, name="renamed")),
                ProjectIdKept(replace(APP_ID, key=ProjectKey("/other/.git", ""))),
                ended(WORK),
                ended(other, at=3.0),
                EndedForgotten(2.0 - 500.5),
                ConnectionSaved(replace(CONN, log_level=None)),
                ConnectionSaved(replace(CONN, alias=Alias("new"))),
                ConnectionForgotten(ADA, CONN.alias),
                AliasEnded(EndedAlias(ADA, CONN.alias, 3.0)),
                EndedAliasesForgotten(2.0),
                AllocationTouched(LENT.key, 9_999.0),
                AllocationSaved(replace(LENT, metadata="{}", revision=2)),
                AllocationSaved(replace(LENT, session_id=SessionId("new"))),
                AllocationSaved(OVER),
                AllocationsForgotten(9_999.0),
                bound("late", gone),
            ]
        )

    after = await store.load()
    assert set(after.sessions) == set(before.sessions)
    assert set(after.ended) == set(before.ended)
    assert set(after.aliases) == set(before.aliases)
    assert set(after.projects) == set(before.projects)
    assert after.project_ids == before.project_ids
    assert (after.seen, after.idle_mark) == (before.seen, None)
    assert (after.connections, after.ended_aliases) == (before.connections, before.ended_aliases)
    assert set(after.allocations) == set(before.allocations)
    await store.commit([AllocationsForgotten(9_999.0)])  # what had ended is still known as that, and nothing else is
    assert (await store.load()).allocations == (LENT,)
    await store.commit([ended(WORK)])  # the aliases of a session are still known with it
    assert (await store.load()).aliases == ()


@pytest.mark.parametrize(
    "change",
    [
        SessionSaved(replace(WORK, given_directory="/\udcff")),
        SessionSaved(replace(WORK, signs=(PinnedSign("roots: r", "/\ud800"),))),
        ended(replace(WORK, working_directory=Directory("/\udcff"))),
        bound("\udcff", BARE),
        ProjectSeen(ADA, replace(APP, name="\udcff")),
        SessionSaved(replace(WORK, project_name="\udcff")),
        ProjectIdKept(replace(APP_ID, key=ProjectKey("/\udcff", ""))),
        ConnectionSaved(replace(CONN, subscriptions=frozenset({"\udcff"}))),
        AliasEnded(EndedAlias(ADA, Alias("\udcff"), 1.0)),
        AllocationSaved(replace(LENT, session_id=SessionId("\udcff"))),
        AllocationSaved(replace(LENT, user_id="\udcff")),
        AllocationSaved(replace(LENT, metadata='{"a":"\ud800"}')),
    ],
    ids=[
        *("session", "sign", "ending", "alias", "project", "name", "project id", "subscription", "ended alias"),
        *("allocated session", "user", "metadata"),
    ],
)
async def test_text_that_is_not_unicode_is_refused(store: SessionStore, change: Change) -> None:
    await store.commit([SessionSaved(BARE)])
    before = await store.load()

    with pytest.raises(ChangeRefusedError):
        await store.commit([ProjectSeen(EVE, APP), change])

    assert await store.load() == before


# Room


async def test_tidying_changes_nothing_that_is_kept(store: SessionStore) -> None:
    await store.commit([SessionSaved(WORK), ended(BARE), ProjectSeen(ADA, APP)])
    before = await store.load()

    assert await store.tidy() >= 0

    assert await store.load() == before
    await store.commit([SessionSaved(replace(WORK, session_id=SessionId("wr_next")))])
    assert len((await store.load()).sessions) == 2


# Many callers


async def test_a_hundred_changes_at_once_are_all_kept(store: SessionStore) -> None:
    sessions = [replace(WORK, session_id=SessionId(f"wr_{number}")) for number in range(100)]

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for session in sessions:
                tasks.start_soon(commit, store, SessionSaved(session), bound(session.session_id, session))

    state = await store.load()
    assert set(state.sessions) == set(sessions)
    assert len(state.aliases) == 100


async def test_a_refused_caller_does_not_touch_those_who_wait_beside_it(store: SessionStore) -> None:
    await store.commit([ended(BARE)])
    sessions = [replace(WORK, session_id=SessionId(f"wr_{number}")) for number in range(20)]
    refused: list[StoreError] = []

    async def save_what_ended(tag: int) -> None:
        try:
            await store.commit([ProjectSeen(ADA, replace(APP, root=Directory(f"/{tag}"))), SessionSaved(BARE)])
        except ChangeRefusedError as error:
            refused.append(error)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number, session in enumerate(sessions):
                tasks.start_soon(save_what_ended, number)
                tasks.start_soon(store.commit, [SessionSaved(session)])

    state = await store.load()
    assert len(refused) == 20
    assert set(state.sessions) == set(sessions)
    assert state.projects == ()


async def test_a_hundred_sessions_allocated_at_once_are_all_kept(store: SessionStore) -> None:
    allocated = [replace(LENT, session_id=SessionId(f"lent_{number}")) for number in range(100)]
    refused: list[StoreError] = []

    async def take_over(allocation: AllocatedSession) -> None:
        try:
            await store.commit([AllocationSaved(replace(allocation, owner=EVE, revision=2))])
        except ChangeRefusedError as error:
            refused.append(error)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for allocation in allocated:
                tasks.start_soon(store.commit, [AllocationSaved(allocation)])
                tasks.start_soon(take_over, allocation)

    assert set((await store.load()).allocations) == set(allocated)
    assert len(refused) == 100


async def test_the_newest_of_many_racing_revisions_is_kept(store: SessionStore) -> None:
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for revision in (*range(50, 100), *range(1, 50)):
                tasks.start_soon(store.commit, [SessionSaved(replace(WORK, revision=revision))])

    assert [session.revision for session in (await store.load()).sessions] == [99]


@pytest.mark.parametrize("steps", range(12))
async def test_a_commit_cancelled_at_any_step_leaves_the_store_usable(store: SessionStore, steps: int) -> None:
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(commit, store, SessionSaved(WORK), bound("conn", WORK))
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

        await store.commit([SessionSaved(newer := replace(WORK, revision=2))])

    state = await store.load()
    assert state.sessions == (newer,)
    assert state.aliases in ((), (bound("conn", WORK),))


async def test_cancelled_callers_do_not_touch_the_commits_of_others(store: SessionStore) -> None:
    sessions = [replace(WORK, session_id=SessionId(f"wr_{number}")) for number in range(50)]

    with anyio.fail_after(5):
        async with anyio.create_task_group() as staying, anyio.create_task_group() as leaving:
            for session in sessions:
                staying.start_soon(store.commit, [SessionSaved(session)])
                gone = replace(session, session_id=SessionId(f"{session.session_id}_gone"))
                leaving.start_soon(commit, store, SessionSaved(gone), bound(gone.session_id, gone))
            await anyio.lowlevel.checkpoint()
            leaving.cancel_scope.cancel()

    state = await store.load()
    assert set(sessions) <= set(state.sessions)
    assert {each.session_id for each in state.aliases} == {
        each.session_id for each in state.sessions if each.session_id.endswith("_gone")
    }
