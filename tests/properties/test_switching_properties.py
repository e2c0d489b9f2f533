"""Whatever clients, projects and restarts do, in any order: each session works where its own client led it.

After each step the sessions shown are compared with what the model of the procedure makes of those before
it: a change is one revision and one event, and everybody else's session is as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from section_model import (
    HOME,
    KINDS,
    LINKS,
    PATHS,
    ROOTS_OF_PROJECTS,
    WORK,
    Answer,
    Model,
    Root,
    Said,
    World,
    remembered,
    usable,
)

from fakes import HeldStore, ManualClock
from workroot.core.answer import Resolution
from workroot.core.ports import PlaceFinder
from workroot.core.projects import Directory, Place
from workroot.core.reach import Reach
from workroot.core.sessions import Alias, Owner, PinnedSign, SessionContext, SessionId, SessionKey
from workroot.core.signs import Signs, Source
from workroot.errors import DirectoryError, StoreUnavailableError, WorkrootError
from workroot.events import Event, SessionEnded, SessionMoved
from workroot.session_context import SessionContextManager
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore

_T = TypeVar("_T")

ADA, EVE, ADA_ELSEWHERE = Owner("uid:1000"), Owner("uid:1001"), Owner("uid:1000", "other")


class Client(NamedTuple):
    """Who calls: its connection's name in the handshake era, its conversation's if it sends one."""

    owner: Owner
    alias: str | None = None
    conversation: str | None = None


CLIENTS = {
    "editor": Client(ADA, alias="connection"),
    "its other conversation": Client(ADA, alias="connection", conversation="threadId:2"),
    "modern agent": Client(ADA),
    "eve's editor": Client(EVE, alias="connection"),
    "editor in another sandbox": Client(ADA_ELSEWHERE, alias="connection"),
}
some_client = st.sampled_from(sorted(CLIENTS))
some_work = st.sampled_from(["/w/b-fix", "/w/b", "/w/a", "/w/a/src", "/w"])
some_path = st.one_of(some_work, some_work, st.sampled_from(PATHS))
some_handle = st.sampled_from([None, "own", "own", "own", 0, 1, 2, 3])
is_rare = st.sampled_from([False, False, False, False, False, True])
some_roots = st.lists(st.builds(Root, st.just("plain"), some_path), min_size=1, max_size=2).map(tuple)
signs_said = st.one_of(
    st.tuples(st.just("roots"), some_roots),
    st.tuples(st.just("roots"), some_roots),
    st.tuples(st.sampled_from(["own", "meta", "pwd", "header", "option"]), st.none() | some_work),
    st.tuples(st.sampled_from(["is_silent", "first_root_counts", "shares_process"]), is_rare),
)

Handle = int | str | None
"""The number of somebody's handle, `own` for the last one that this client opened, or None for a call without one."""

Kept = tuple[str, str | None, tuple[PinnedSign, ...]]


def kept(session: SessionContext) -> Kept:
    return session.working_directory, session.project_root, session.signs


CHANGED = "its config has changed since"


def owned(session: SessionContext) -> tuple[object, object]:
    return session.project_id, session.project_root


def what_changed(before: SessionContext) -> str:
    """Return what the next answer has to tell of a session that moved while nobody called."""
    was = f"project {before.project_name!r}" if before.project_name is not None else "no project"
    return f"{before.working_directory} was in {was} at the last call, and {CHANGED}"


class Places(PlaceFinder):
    """Looks at the world as it is now."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def find(self, directory: str) -> Place:
        found = self.world.find(directory)
        if isinstance(found, DirectoryError):
            raise found
        return found


class Sessions(RuleBasedStateMachine):
    """A manager, its store, its clients, and the world that they work in."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = World()
        self.memory = MemoryStore()
        self.store = HeldStore(self.memory)
        self.clock = ManualClock()
        self.events: list[Event] = []
        self.said = {name: Said() for name in CLIENTS}
        self.aliases: dict[tuple[Owner, str], str] = {}
        self.passed: set[SessionKey] = set()  # whose handle somebody has passed since the start
        self.handles: list[str] = []
        self.own: dict[str, str] = {}
        self.ended: dict[SessionKey, Owner] = {}
        self.untold: dict[SessionKey, SessionContext] = {}
        self.reach: Reach = "anywhere"

    def run(self, work: Awaitable[_T]) -> _T:
        async def bounded() -> _T:
            async with asyncio.timeout(5):
                return await work

        return self.runner.run(bounded())

    @initialize(
        reach=st.sampled_from(["anywhere", "anywhere", "anywhere", "known", "roots"]),
        places=st.lists(st.tuples(some_work, some_work), min_size=len(CLIENTS), max_size=len(CLIENTS)),
    )
    def begin(self, reach: Reach, places: list[tuple[str, str]]) -> None:
        """Each client names a directory, and works there or somewhere else."""
        self.reach = reach
        self.world.projects.update({"/w/a": "plain", "/w/b": "repository", "/w/b-fix": "repository"})
        self.start()
        for client, (said, path) in zip(CLIENTS, places, strict=True):
            self.said[client] = Said(roots=(Root("plain", said),))
            self.enter(client, None, path, False, False)

    def start(self) -> None:
        self.manager = SessionContextManager(
            self.store, Places(self.world), clock=self.clock, home=HOME, rules=SessionRules(model_may_move=self.reach)
        )
        self.run(self.manager.start())
        self.manager.events.subscribe(self.events.append)

    def teardown(self) -> None:
        self.run(self.manager.stop())
        self.runner.close()

    # The world and the clients move

    @rule(root=st.sampled_from(ROOTS_OF_PROJECTS), kind=st.none() | st.sampled_from(KINDS))
    def config_changes(self, root: str, kind: str | None) -> None:
        self.world.projects.pop(root, None)
        if kind is not None:
            self.world.projects[root] = kind

    @rule(directory=st.sampled_from(WORK), is_there=st.booleans())
    def directory_comes_or_goes(self, directory: str, is_there: bool) -> None:
        (self.world.gone.discard if is_there else self.world.gone.add)(directory)

    @rule(client=some_client, said=signs_said)
    def client_moves(self, client: str, said: tuple[str, Any]) -> None:
        self.said[client] = replace(self.said[client], **{said[0]: said[1]})
        self.resolve(client, "own", None, False)

    # Calls

    @rule(client=some_client, handle=some_handle, argument=st.none() | st.none() | some_path, is_away=is_rare)
    def resolve(self, client: str, handle: Handle, argument: str | None, is_away: bool) -> None:
        owner, said = CLIENTS[client].owner, replace(self.said[client], argument=argument)
        signs = self.signs(client, handle, argument)
        before, known = self.shown(), self.manager.projects.known(owner)
        session = self.claimed(client, handle)
        self.note_passed(session, handle)
        expected = Answer(session) if isinstance(session, str) else self.model(client, said, session).answer()

        found = self.attempt(lambda: self.manager.resolve(owner, signs), is_away=is_away)

        if isinstance(found, WorkrootError):
            assert found.code == expected.outcome
            self.check_changes(before, {})
            return
        assert not isinstance(session, str)
        assert argument is None or self.manager.projects.known(owner) == known
        self.check_answer(found, expected, said, session)
        is_moved = expected.becomes is not None and not is_away
        changed = {session.key: expected.becomes} if session is not None and is_moved else {}
        self.check_changes(before, changed)
        untold = self.untold.pop(session.key, None) if session is not None and argument is None else None
        now = found.session
        if untold is not None and now is not None and owned(now) == owned(untold):
            untold = None  # it went and came back, or has another name only
        previous = untold or (session if expected.becomes is not None else None)
        assert (found.previous is None) == (previous is None)
        assert found.previous is None or previous is None or kept(found.previous) == kept(previous)
        assert [told for told in found.warnings if CHANGED in told] == (
            [] if untold is None else [what_changed(untold)]
        )
        if changed:
            self.holds_from_now_on(owner, signs, found)

    def check_answer(self, found: Resolution, expected: Answer, said: Said, session: SessionContext | None) -> None:
        directory = found.place.directory if found.place else None
        project = found.place.project if found.place else None
        outcome = str(found.outcome)
        assert (outcome, directory, str(found.source)) == expected[:3]
        assert (project.root if project else None) == expected.root
        assert (session is None) == (found.session is None)
        # What may never be, whatever the model says:
        led = [path for _, _, path in said.spoken()] + [said.argument or ""]
        led += [session.working_directory] if session is not None else []
        assert directory is None or directory in {LINKS.get(path, path) for path in led}
        if found.source not in (Source.ARGUMENT, Source.PIN):
            assert directory not in (HOME, "/")
        if session is not None:
            assert found.session is not None
            assert found.session.key == session.key
            assert found.session.owner == session.owner

    def holds_from_now_on(self, owner: Owner, signs: Signs, found: Resolution) -> None:
        before = self.shown()
        again = self.run(self.manager.resolve(owner, signs))
        assert found.session is not None
        assert found.place is not None
        assert again.place is not None
        assert (again.source, again.previous) == (Source.PIN, None)
        assert not [told for told in again.warnings if CHANGED in told]
        assert again.place.directory == found.place.directory == found.session.working_directory
        assert again.place.project == found.place.project
        self.check_changes(before, {})

    @rule(client=some_client, handle=some_handle, path=some_path, is_project=st.booleans(), is_away=is_rare)
    def enter(self, client: str, handle: Handle, path: str, is_project: bool, is_away: bool) -> None:
        owner, said = CLIENTS[client].owner, self.said[client]
        before, session = self.shown(), self.claimed(client, handle)
        self.note_passed(session, handle)
        place = self.world.look(path)
        is_project = is_project and place is not None and place.project is not None
        project = place.project.root if is_project and place is not None and place.project is not None else None
        model = self.model(client, said, None)
        refusal = None
        becomes: Kept | None = None
        if isinstance(session, str):
            refusal = session
        elif place is None:
            refusal = "invalid_directory"
        elif not model.is_reached(place):
            refusal = "move_refused"
        else:
            becomes = self.arrived(session, place, is_project, remembered(place, usable(self.world, said)))
            refusal = "store_unavailable" if becomes is not None and is_away else None

        found = self.attempt(
            lambda: self.manager.enter(owner, self.signs(client, handle, None), path, project=project),
            is_away=is_away,
        )

        if isinstance(found, WorkrootError):
            assert found.code == refusal
            self.check_changes(before, {})
            return
        assert refusal is None
        assert not isinstance(session, str)
        assert found.is_made == (becomes is not None)
        if becomes is None:
            self.check_changes(before, {})
            return
        now = found.resolution.session
        assert now is not None
        assert (found.before is None) == (session is None)
        assert found.before is None or session is None or found.before.key == session.key
        assert found.before is None or session is None or kept(found.before) == kept(session)
        assert found.resolution.place is not None
        assert found.resolution.place.directory == becomes[0]
        self.untold.pop(now.key, None)
        is_somebodys = session is not None and session.key in self.passed
        is_default_replaced = handle is None and CLIENTS[client].conversation is None and is_somebodys
        if session is None or is_default_replaced:
            assert now.key not in before
            assert now.key not in self.ended
            self.handles.append(now.session_id)
            self.own[client] = now.session_id
            name = CLIENTS[client].conversation or CLIENTS[client].alias
            if name is not None and not (said.shares_process and CLIENTS[client].conversation is None):
                self.aliases[owner, name] = now.session_id
        else:
            assert now.key == session.key
        self.check_changes(before, {now.key: becomes})

    @rule(owner=st.sampled_from([ADA, EVE]), name=st.sampled_from(["one", "two"]), path=some_path)
    def set_as_a_library_does(self, owner: Owner, name: str, path: str) -> None:
        before = self.shown()
        key = SessionKey(owner.sandbox, SessionId(name))
        session, place = before.get(key), self.world.look(path)
        refusal, becomes = None, None
        if session is not None and session.owner != owner:
            refusal = "unknown_session"
        elif key in self.ended:
            refusal = "closed_session" if self.ended[key] == owner else "unknown_session"
        elif place is None:
            refusal = "invalid_directory"
        else:
            becomes = self.arrived(session, place, False, ())
            refusal = "dry_run" if becomes is None else None

        found = self.attempt(lambda: self.manager.set_working_directory(name, path, owner=owner))

        assert (found.code if isinstance(found, WorkrootError) else None) == refusal
        if becomes is not None:
            self.untold.pop(key, None)
        if becomes is not None and session is None:
            self.handles.append(name)
        self.check_changes(before, {key: becomes} if becomes is not None else {})

    @rule(client=some_client, handle=st.integers(0, 5))
    def get(self, client: str, handle: int) -> None:
        before, session = self.shown(), self.claimed(client, handle)
        expected = session.working_directory if isinstance(session, SessionContext) else None
        session_id = self.handle(client, handle)
        assert self.run(self.manager.get_working_directory(session_id, owner=CLIENTS[client].owner)) == expected
        self.check_changes(before, {})

    @rule(client=some_client, handle=st.integers(0, 8), is_away=is_rare)
    def close(self, client: str, handle: int, is_away: bool) -> None:
        owner, before, session = CLIENTS[client].owner, self.shown(), self.claimed(client, handle)

        found = self.attempt(
            lambda: self.manager.close_session(self.handle(client, handle), owner=owner), is_away=is_away
        )

        if isinstance(session, str):
            assert isinstance(found, WorkrootError)
            assert found.code == session
            self.check_changes(before, {})
        elif is_away:
            assert isinstance(found, StoreUnavailableError)
            self.check_changes(before, {})
        else:
            assert session is not None
            self.ended[session.key] = owner
            self.aliases = {name: each for name, each in self.aliases.items() if each != session.session_id}
            self.check_changes(before, {}, closed=session)

    @rule(owner=st.sampled_from([ADA, EVE]), directory=st.sampled_from(WORK))
    def the_watcher_looks_again(self, owner: Owner, directory: str) -> None:
        before, place = self.shown(), self.world.look(directory)
        changed = {}
        for session in before.values():
            if session.owner == owner and session.working_directory == directory and place is not None:
                model = Model(self.world, Said(), session)
                changed[session.key] = model.there(place, "pin", (), session.signs).becomes
                if changed[session.key] is not None:
                    self.untold.setdefault(session.key, session)

        self.run(self.manager.refresh(owner, Directory(directory)))

        self.check_changes(before, {key: becomes for key, becomes in changed.items() if becomes is not None})

    @rule(client=some_client, kind=st.none() | st.sampled_from(KINDS))
    def config_changes_where_somebody_works(self, client: str, kind: str | None) -> None:
        """The watcher hears of it, and the next call is told, once."""
        session = self.claimed(client, "own")
        if isinstance(session, SessionContext) and session.project_root is not None:
            self.config_changes(session.project_root, kind)
            self.the_watcher_looks_again(session.owner, session.working_directory)
            self.resolve(client, "own", None, False)

    @rule()
    def restart(self) -> None:
        before = self.shown()
        self.run(self.manager.stop())
        self.start()
        assert self.shown() == before
        self.events.clear()
        self.untold.clear()
        self.passed.clear()

    # What always holds

    @invariant()
    def what_is_kept_is_what_is_shown(self) -> None:
        state = self.run(self.memory.load())
        stored = {session.key: replace(session, last_used=0) for session in state.sessions}
        assert stored == {key: replace(session, last_used=0) for key, session in self.shown().items()}
        assert {(bound.owner, bound.alias): bound.session_id for bound in state.aliases} == self.aliases
        assert {each.key: each.owner for each in state.ended} == self.ended

    # Within

    def shown(self) -> dict[SessionKey, SessionContext]:
        return {session.key: session for session in self.manager.all_sessions()}

    def check_changes(
        self,
        before: dict[SessionKey, SessionContext],
        changed: dict[SessionKey, Kept | None],
        closed: SessionContext | None = None,
    ) -> None:
        """Each of these sessions is now as it has to be, one revision later and told once; all others are as before."""
        after = self.shown()
        moved = [event for event in self.events if isinstance(event, SessionMoved)]
        ended = [event.ended.key for event in self.events if isinstance(event, SessionEnded)]
        self.events.clear()
        assert sorted(event.session.key for event in moved) == sorted(changed)
        assert ended == ([closed.key] if closed is not None else [])
        assert set(after) == (set(before) | set(changed)) - set(ended)
        for key, session in after.items():
            if key in changed:
                [event] = [event for event in moved if event.session.key == key]
                assert kept(session) == changed[key]
                assert session.revision == (before[key].revision + 1 if key in before else 1)
                assert replace(event.session, last_used=0) == replace(session, last_used=0)
                assert event.before == before.get(key)
            else:
                assert replace(session, last_used=0) == replace(before[key], last_used=0)

    def attempt(self, call: Callable[[], Awaitable[_T]], *, is_away: bool = False) -> _T | WorkrootError:
        """Return what a call returns, or its error, while the store may be away."""
        if is_away:
            self.store.fail(*[StoreUnavailableError("away")] * 8)
        try:
            return self.run(call())
        except WorkrootError as error:
            return error
        finally:
            self.store.fail_no_more()

    def handle(self, client: str, handle: Handle) -> str:
        if handle == "own":
            return self.own.get(client, "wr_nobodys")
        number = int(handle or 0)
        return self.handles[number] if number < len(self.handles) else "wr_nobodys"

    def signs(self, client: str, handle: Handle, argument: str | None) -> Signs:
        _, alias, conversation = CLIENTS[client]
        return replace(
            replace(self.said[client], argument=argument).signs(),
            session_id=None if handle is None else self.handle(client, handle),
            alias=None if alias is None else Alias(alias),
            conversation=None if conversation is None else Alias(conversation),
        )

    def note_passed(self, session: SessionContext | str | None, handle: Handle) -> None:
        if handle is not None and isinstance(session, SessionContext):
            self.passed.add(session.key)

    def claimed(self, client: str, handle: Handle) -> SessionContext | str | None:
        """Return the session that a call is in, None for none, or the code of the error that it is refused with."""
        owner, alias, conversation = CLIENTS[client]
        if handle is not None:
            key = SessionKey(owner.sandbox, SessionId(self.handle(client, handle)))
            session = self.shown().get(key)
            if session is not None and session.owner == owner:
                return session
            return "closed_session" if self.ended.get(key) == owner else "unknown_session"
        name = conversation or (None if self.said[client].shares_process else alias)
        session_id = self.aliases.get((owner, name)) if name is not None else None
        return self.shown()[SessionKey(owner.sandbox, SessionId(session_id))] if session_id is not None else None

    def model(self, client: str, said: Said, session: SessionContext | None) -> Model:
        known = {each.root for each in self.manager.projects.known(CLIENTS[client].owner)}
        return Model(self.world, said, session, known, self.reach)

    def arrived(
        self, session: SessionContext | None, place: Place, is_project: bool, signs: tuple[PinnedSign, ...]
    ) -> Kept | None:
        """Return what a session becomes that is set to a place; None if that is only reported."""
        if place.project is None:
            return place.directory, None, signs
        kind = self.world.projects[place.project.root]
        is_inside = session is not None and session.project_id == place.project.project_id
        if kind == "dry_run" and not is_inside:
            return None
        is_withheld = "auto_switch off" in kind and not is_project and not is_inside
        return place.directory, None if is_withheld else place.project.root, signs


def test_each_session_works_where_its_own_client_led_it(is_full: bool) -> None:
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    count, steps = (10_000, 30) if is_full else (200, 15)
    run_state_machine_as_test(
        Sessions,
        settings=settings(max_examples=count, stateful_step_count=steps, deadline=None, suppress_health_check=slow),
    )
