"""What an archive brings: it counts as of now, and takes nothing away from what is here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import DAY, ManualClock, place
from workroot.archive.taking_in import TakingIn, keys_of
from workroot.core.changes import AliasBound, Change, ProjectIdKept, SessionSaved, StoredState
from workroot.core.identities import Identities
from workroot.core.projects import Directory, KnownId, ProjectId, ProjectKey
from workroot.core.sessions import Alias, EndedSession, Ending, Owner, SessionContext, SessionId
from workroot.session_ledger import SessionLedger
from workroot.storage.memory import MemoryStore

ADA, EVE = Owner("uid:1000"), Owner("uid:1001")
EDITOR = Alias("editor")


@pytest.fixture
async def ledger() -> SessionLedger:
    clock = ManualClock()
    ledger = SessionLedger(MemoryStore(), clock, identities=Identities())
    await ledger.load()
    clock.advance(DAY)
    return ledger


def session(name: str, owner: Owner = ADA) -> SessionContext:
    return SessionContext.working_in(place("/work/there"), owner, SessionId(name), now=5.0)


def known_id(repository: str, *, is_joined: bool = False) -> KnownId:
    root = Directory(f"{repository}/tree")
    return KnownId(
        key=ProjectKey(repository, ""), project_id=ProjectId("shop"), name="shop", root=root, is_joined=is_joined
    )


def changes_of(ledger: SessionLedger, found: StoredState) -> list[Change]:
    return TakingIn(ledger, found, keys_of(found)).changes


async def test_a_session_is_kept_as_used_now(ledger: SessionLedger) -> None:
    there = session("wr_there")

    changes = changes_of(ledger, StoredState(namespace="", sessions=(there,)))

    assert changes == [SessionSaved(there, ledger.idle.now())]


async def test_an_ending_is_remembered_for_as_long_as_if_it_were_of_now(ledger: SessionLedger) -> None:
    gone = EndedSession(
        session_id=SessionId("wr_gone"), owner=ADA, last_directory=Directory("/"), ending=Ending.CLOSED, ended_at=5.0
    )
    found = StoredState(namespace="", ended=(gone,))

    await ledger.keep(changes_of(ledger, found), lambda: None)

    assert list(ledger.sessions.endings) == [replace(gone, seen=ledger.idle.now())]
    assert ledger.idle.now() > 0


async def test_an_id_that_another_repository_has_here_is_not_taken(ledger: SessionLedger) -> None:
    """Else two repositories would be one project, and nobody has said so."""
    ledger.notes.load([], [known_id("/ours/.git")])
    theirs, joined = known_id("/theirs/.git"), known_id("/joined/.git", is_joined=True)

    taking = TakingIn(ledger, StoredState(namespace="", project_ids=(theirs, joined)), set())

    assert taking.changes == [ProjectIdKept(joined)]
    assert (taking.taken["project_id"], taking.known["project_id"]) == (1, 1)


async def test_an_alias_that_stands_for_no_session_or_for_somebody_else_s_is_not_taken(ledger: SessionLedger) -> None:
    """The store would refuse all that comes with it, or a name of one user's lead to another one's session."""
    here, there = session("wr_here"), session("wr_there")
    await ledger.keep([SessionSaved(here, 1.0)], lambda: None)
    aliases = [AliasBound(owner, EDITOR, each.session_id) for owner in (EVE, ADA) for each in (here, there)]
    nobody_s = AliasBound(ADA, Alias("browser"), SessionId("wr_nobody"))
    found = StoredState(namespace="", sessions=(here, there), aliases=(*aliases, nobody_s))

    taking = TakingIn(ledger, found, keys_of(found))

    assert taking.changes == [SessionSaved(there, ledger.idle.now()), *aliases[2:]]
    assert (taking.taken["alias"], taking.known["alias"]) == (2, 3)
