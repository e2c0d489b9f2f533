"""The archive in a running daemon: it gives all of one moment page by page, and takes in beside who changes things."""

from __future__ import annotations

import gc
import json
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import anyio
import pytest

from fakes import ManualClock, place
from workroot.archive.document import records_of
from workroot.archive.pages import Archive
from workroot.archive.records import encode
from workroot.core.allocations import AllocatedSession, SessionStatus
from workroot.core.changes import AliasBound, AllocationSaved, SessionSaved, StoredState
from workroot.core.connections import EndedAlias, KeptConnection
from workroot.core.identities import Identities
from workroot.core.projects import Directory
from workroot.core.sessions import Alias, EndedSession, Ending, Owner, SessionContext, SessionId
from workroot.errors import ArchiveError
from workroot.events import EventBus
from workroot.kept_connections import EXPIRY_SECONDS
from workroot.session_ledger import SessionLedger
from workroot.storage.memory import MemoryStore
from workroot.turns import Turns

NAMESPACE = "5f0c0c7e-6d0b-4e0e-9e57-3a6f6f0f2a11"
ADA = Owner("uid:1000")
EDITOR = Alias("editor")


@pytest.fixture
async def ledger() -> SessionLedger:
    ledger = SessionLedger(MemoryStore(), ManualClock(), identities=Identities())
    await ledger.load()
    return ledger


def session(name: str, directory: str = "/work/there") -> SessionContext:
    return SessionContext.working_in(place(directory), ADA, SessionId(name), now=5.0)


def lent(name: str, deadline: float = 60.0, *, owner: Owner = ADA) -> AllocatedSession:
    return AllocatedSession(
        session_id=SessionId(name), owner=owner, user_id="bob", created_at=5.0, deadline=deadline, last_accessed=5.0
    )


def over(name: str, *, owner: Owner = ADA) -> AllocatedSession:
    return replace(lent(name, 0.0, owner=owner), status=SessionStatus.TERMINATED, ended_at=5.0, revision=2)


def lines_of(state: StoredState) -> list[str]:
    """The lines of an archive, without head and end."""
    return [encode(record) for record in records_of(state, principal="uid:1000")][1:-1]


def rows(archive: Archive) -> list[dict[str, Any]]:
    """All that an archive gives."""
    page = archive.export()
    lines = list(page.lines)
    while page.cursor is not None:
        page = archive.export(page.cursor)
        lines += page.lines
    return [json.loads(line) for line in lines]


async def hold(ledger: SessionLedger, count: int, *, directory: str = "/work/there") -> None:
    sessions = [session(f"wr_{number:06}", directory) for number in range(count)]
    aliases = [AliasBound(ADA, Alias(f"editor {each.session_id}"), each.session_id) for each in sessions]
    await ledger.keep([*(SessionSaved(each, 1.0) for each in sessions), *aliases], lambda: None)


async def test_the_first_page_makes_nothing_of_the_sessions_that_follow(ledger: SessionLedger) -> None:
    """What is made of each at once would hold up everybody else for 90 ms of 100,000 sessions."""
    await hold(ledger, 5_000)
    archive = Archive(ledger, EventBus(), principal="uid:1000")
    gc.collect()
    before = sys.getallocatedblocks()

    page = archive.export()

    assert page.cursor is not None
    assert sys.getallocatedblocks() - before < 2_000


async def test_all_pages_are_of_the_moment_of_the_first(ledger: SessionLedger) -> None:
    await hold(ledger, 500)
    last = ledger.sessions.get(ADA, SessionId("wr_000499"))
    archive = Archive(ledger, EventBus(), principal="uid:1000")
    page = archive.export()
    lines = list(page.lines)

    moved = replace(last, working_directory=Directory("/work/elsewhere"), revision=2)
    later = session("wr_later")
    await ledger.keep(
        [SessionSaved(moved, 2.0), SessionSaved(later, 2.0), AliasBound(ADA, EDITOR, later.session_id)], lambda: None
    )
    await ledger.end([ledger.sessions.get(ADA, SessionId("wr_000498"))], Ending.CLOSED)
    while page.cursor is not None:
        page = archive.export(page.cursor)
        lines += page.lines

    found = [json.loads(line) for line in lines]
    sessions = {row["session_id"]: row for row in found if row["kind"] == "session"}
    assert len(sessions) == len([row for row in found if row["kind"] == "alias"]) == 500
    assert sessions["wr_000499"]["working_directory"] == "/work/there"
    assert [row for row in found if row["kind"] == "ended"] == []
    assert found[-1] == {"kind": "end", "records": 1001}


async def test_a_page_of_sessions_with_long_paths_is_no_longer_than_others(ledger: SessionLedger) -> None:
    directory = "/work" + "/x" * 2000
    await hold(ledger, 100, directory=directory)
    archive = Archive(ledger, EventBus(), principal="uid:1000")

    page, pages = archive.export(), 1
    while page.cursor is not None:
        assert sum(map(len, page.lines)) < 150_000
        page, pages = archive.export(page.cursor), pages + 1

    assert pages > 5
    assert len(rows(archive)) == 202


@pytest.mark.parametrize("count", [0, 197, 198, 199, 200, 398])
async def test_nothing_is_left_out_where_pages_meet(ledger: SessionLedger, count: int) -> None:
    sessions = [session(f"wr_{number:06}") for number in range(count)]
    await ledger.keep([SessionSaved(each, 1.0) for each in sessions], lambda: None)

    found = rows(Archive(ledger, EventBus(), principal="uid:1000"))

    assert len([row for row in found if row["kind"] == "session"]) == count
    assert found[-1] == {"kind": "end", "records": count + 1}


async def test_of_five_exports_that_nobody_ends_the_first_is_given_up(ledger: SessionLedger) -> None:
    await hold(ledger, 300)
    archive = Archive(ledger, EventBus(), principal="uid:1000")
    cursors = [archive.export().cursor for _ in range(5)]

    with pytest.raises(ArchiveError, match="begin it again"):
        archive.export(cursors[0])

    assert archive.export(cursors[1]).lines


async def test_a_session_in_the_middle_of_a_change_stays_as_that_leaves_it(ledger: SessionLedger) -> None:
    """Else memory would show the change, and the store keep what was imported, which has the higher revision."""
    turns = Turns()
    archive = Archive(ledger, EventBus(), principal="uid:1000", turns=turns)
    theirs = replace(session("chat"), revision=7)
    lines = lines_of(
        StoredState(namespace=NAMESPACE, sessions=(theirs,), aliases=(AliasBound(ADA, EDITOR, theirs.session_id),))
    )

    async with turns.take(theirs.key):  # somebody opens a session under this very id
        taken = await archive.take_in(lines)

    assert (taken.taken.total(), +taken.known) == (0, Counter({"session": 1, "alias": 1}))
    assert len(ledger.sessions) == 0


async def test_of_an_ending_the_session_that_is_just_being_opened_stays(ledger: SessionLedger) -> None:
    turns = Turns()
    archive = Archive(ledger, EventBus(), principal="uid:1000", turns=turns)
    gone = EndedSession(
        session_id=SessionId("chat"), owner=ADA, last_directory=Directory("/work"), ending=Ending.CLOSED, ended_at=5.0
    )

    async with turns.take(gone.key):
        taken = await archive.take_in(lines_of(StoredState(namespace=NAMESPACE, ended=(gone,))))

    assert (taken.taken.total(), +taken.known) == (0, Counter({"ended": 1}))


class SlowStore(MemoryStore):
    """Keeps changes when it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = anyio.Event(), anyio.Event()

    async def commit(self, changes: Any) -> None:
        self.asked.set()
        await self.go_on.wait()
        await super().commit(changes)


async def test_two_imports_at_once_take_each_session_in_once() -> None:
    store = SlowStore()
    ledger = SessionLedger(store, ManualClock(), identities=Identities())
    await ledger.load()
    archive = Archive(ledger, EventBus(), principal="uid:1000", turns=Turns())
    lines = lines_of(StoredState(namespace=NAMESPACE, sessions=(session("wr_one"), session("wr_two"))))
    first = []

    async def take_in() -> None:
        first.append(await archive.take_in(lines))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take_in)
            await store.asked.wait()
            second = await archive.take_in(lines)
            store.go_on.set()

    assert (first[0].taken["session"], second.taken["session"], second.known["session"]) == (2, 0, 2)


async def test_room_is_made_after_each_page(ledger: SessionLedger) -> None:
    held: list[int] = []

    async def make_room() -> None:
        held.append(len(ledger.sessions))

    archive = Archive(ledger, EventBus(), principal="uid:1000", make_room=make_room)

    for name in ("wr_one", "wr_two"):
        await archive.take_in(lines_of(StoredState(namespace=NAMESPACE, sessions=(session(name),))))

    assert held == [1, 2]


async def test_what_conversations_left_elsewhere_is_remembered_here_for_as_long_as_if_it_were_of_now() -> None:
    clock = ManualClock()
    ledger = SessionLedger(MemoryStore(), clock, identities=Identities())
    await ledger.load()
    clock.advance(EXPIRY_SECONDS * 2)
    kept = KeptConnection(owner=ADA, alias=EDITOR, is_resumable=True, last_used=5.0)
    over = EndedAlias(ADA, Alias("over"), 5.0)
    lines = lines_of(StoredState(namespace=NAMESPACE, connections=(kept,), ended_aliases=(over,)))

    await Archive(ledger, EventBus(), principal="uid:1000").take_in(lines)

    clock.advance(EXPIRY_SECONDS)
    await ledger.connections.housekeep()
    assert ledger.connections.get(ADA, EDITOR) is not None
    assert ledger.connections.is_over(ADA, over.alias, begun_at=ledger.connections.now())
    clock.advance(1)
    await ledger.connections.housekeep()
    assert len(ledger.connections) == 0
    assert ledger.connections.ended() == ()


async def test_an_allocated_session_goes_on_elsewhere_for_as_long_as_it_had_left(ledger: SessionLedger) -> None:
    there, clock = SessionLedger(MemoryStore(), ManualClock(), identities=Identities()), ManualClock()
    await there.load()
    here = SessionLedger(store := MemoryStore(), clock, identities=Identities())
    await here.load()
    await there.keep([AllocationSaved(lent("on", there.idle.now() + 60.0)), AllocationSaved(over("off"))], lambda: None)
    clock.advance(5_000)

    exported = [json.dumps(row) for row in rows(Archive(there, EventBus(), principal="uid:1000"))][1:-1]
    taken = await Archive(here, EventBus(), principal="uid:1000").take_in(exported)

    now = here.idle.now()
    kept = (await store.load()).allocations
    assert taken.taken["allocation"] == 2
    assert set(here.allocations.all()) == set(kept)
    assert set(kept) == {lent("on", now + 60.0), replace(over("off"), deadline=now, seen=now)}


async def test_allocated_sessions_that_are_known_here_stay(ledger: SessionLedger) -> None:
    archive = Archive(ledger, EventBus(), principal="uid:1000")
    here = [lent("on", 7.0), over("off")]
    await ledger.keep([AllocationSaved(each) for each in here], lambda: None)
    theirs = (over("on"), lent("off"), lent("new"))

    taken = [await archive.take_in(lines_of(StoredState(namespace=NAMESPACE, allocations=theirs))) for _ in range(2)]

    assert [(each.taken["allocation"], each.known["allocation"]) for each in taken] == [(1, 2), (0, 3)]
    assert {each.session_id for each in ledger.allocations.all()} == {"on", "off", "new"}
    assert set(here) < set(ledger.allocations.all())


async def test_an_allocated_session_that_somebody_just_allocates_stays_as_that_leaves_it(
    ledger: SessionLedger,
) -> None:
    turns = Turns()
    archive = Archive(ledger, EventBus(), principal="uid:1000", turns=turns)
    theirs = lent("chosen")

    async with turns.take(theirs.key):
        taken = await archive.take_in(lines_of(StoredState(namespace=NAMESPACE, allocations=(theirs,))))

    assert (taken.taken.total(), +taken.known) == (0, Counter({"allocation": 1}))


async def test_what_contradicts_what_is_here_is_not_taken_in(ledger: SessionLedger) -> None:
    """Nobody works under an id that is over or somebody else's, and an import ends nothing that somebody works in."""
    eve = Owner("user:eve")
    archive = Archive(ledger, EventBus(), principal="uid:1000")
    now = ledger.idle.now()
    await ledger.keep(
        [
            *(AllocationSaved(each) for each in (over("over"), lent("late", now), lent("eves", now + 60, owner=eve))),
            *(AllocationSaved(lent("mine", now + 60)), SessionSaved(session("works"), 1.0)),
            *(SessionSaved(session("taken"), 1.0), SessionSaved(session("both"), 1.0)),
        ],
        lambda: None,
    )

    taken = await archive.take_in(
        lines_of(
            StoredState(
                namespace=NAMESPACE,
                sessions=tuple(session(name) for name in ("over", "late", "eves", "mine", "new")),
                allocations=(over("works"), lent("taken", owner=eve), lent("both"), lent("new", owner=eve)),
            )
        )
    )

    assert (taken.taken["session"], taken.taken["allocation"]) == (2, 1)
    assert {each.session_id for each in ledger.sessions.all()} == {"works", "taken", "both", "mine", "new"}
    assert {each.session_id for each in ledger.allocations.all()} == {"over", "late", "eves", "mine", "both"}
