"""Whatever a client says: it is answered as a slow, obvious model of the procedure answers it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st
from section_model import (
    HOME,
    KINDS,
    LITERAL,
    PATHS,
    ROOT_STYLES,
    ROOTS_OF_PROJECTS,
    WORK,
    Answer,
    KnownRoots,
    Model,
    Root,
    Said,
    World,
    remembered,
    usable,
)

from workroot.core.answer import Outcome, Resolution, Verdict
from workroot.core.pins import pinned_signs
from workroot.core.projects import Place
from workroot.core.reading import read
from workroot.core.resolution import Around, claimed_session, decide, directories_of
from workroot.core.sessions import Alias, Owner, SessionContext, SessionId
from workroot.core.signs import ClientTraits, ConnectorFacts, Hint, Signs, Source, connector_hints
from workroot.errors import SignsDisagreeError, StrictModeError, WorkrootError

ADA = Owner("uid:1000")
LIKELY = ["roots", "header", "own", "query", "pwd"]  # drawn most often, the first ones most of all
FIELDS = [*LIKELY, *(each.name for each in fields(Said) if each.name not in ("argument", *LIKELY))]
RANKED = (Source.META, Source.ROOTS, Source.CONNECTOR, Source.TURN_METADATA, Source.HEADER, Source.PROCESS)


def run(is_full: bool, test: Callable[[], None]) -> None:
    """Run a property at its stated count."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    settings(max_examples=10_000 if is_full else 200, deadline=None, suppress_health_check=slow)(test)()


# What there is, and what is said


@st.composite
def worlds(draw: st.DrawFn) -> World:
    roots = st.sampled_from([*ROOTS_OF_PROJECTS, "/w/a", "/w/b", "/w/b-fix"])
    return World(draw(st.dictionaries(roots, st.sampled_from([*KINDS, "plain", "strict"]), min_size=1, max_size=5)))


def changed_worlds(world: World) -> st.SearchStrategy[World]:
    """Mostly the same one: a project or a directory came, changed or went."""
    kinds = st.none() | st.sampled_from(KINDS)
    changes = st.dictionaries(st.sampled_from(ROOTS_OF_PROJECTS), kinds, max_size=1)

    def changed(change: dict[str, str | None], gone: set[str]) -> World:
        projects = {root: kind for root, kind in (world.projects | change).items() if kind is not None}
        return World(projects, gone)

    return st.just(world) | st.just(world) | st.builds(changed, changes, st.sets(st.sampled_from(WORK[1:]), max_size=1))


def values(name: str, some_path: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """What a field of `Said` may hold."""
    if name in ("is_silent", "first_root_counts", "shares_process"):
        return st.booleans()
    if name == "roots":
        styles = st.sampled_from([*ROOT_STYLES[:3]] * 3 + [*ROOT_STYLES])
        return st.lists(st.builds(Root, styles, some_path), max_size=3).map(tuple)
    if name in ("folders", "workspaces"):
        return st.lists(some_path, max_size=2, unique=True).map(tuple)
    return some_path


@st.composite
def said(draw: st.DrawFn, some_path: st.SearchStrategy[str], before: Said | None = None) -> Said:
    """What a call says; with *before* that again, but for a few signs."""
    least, most = (2, 5) if before is None else (0, 1)
    names = draw(st.lists(st.sampled_from(FIELDS), min_size=least, max_size=most, unique=True))
    if before is not None:
        spoken = [name for name in FIELDS if getattr(before, name) != getattr(Said(), name)]
        names += draw(st.lists(st.sampled_from(spoken), max_size=2, unique=True)) if spoken else []
    new = {name: draw(values(name, some_path)) for name in names}
    if before is not None and draw(st.booleans()):
        new = {name: value if draw(st.integers(0, 3)) else getattr(Said(), name) for name, value in new.items()}
    return replace(before or Said(), **new)


@st.composite
def some_paths(draw: st.DrawFn) -> st.SearchStrategy[str]:
    """A few paths, so that signs often name the same one."""
    some = draw(st.lists(st.sampled_from(PATHS), max_size=2, unique=True))
    likely = draw(st.lists(st.sampled_from(WORK), min_size=2, max_size=4, unique=True))
    return st.sampled_from([*likely, *likely, *some])


def session_in(place: Place, signs: Said, world: World, *, project: bool = True) -> SessionContext:
    owner = place.project if project else None
    return SessionContext(
        session_id=SessionId("wr_1"),
        owner=ADA,
        working_directory=place.directory,
        given_directory=place.given,
        config_path=place.config_path,
        project_id=owner.project_id if owner else None,
        project_root=owner.root if owner else None,
        project_name=owner.name if owner else None,
        signs=remembered(place, usable(world, signs)),
        set_at=0,
        last_used=0,
    )


@st.composite
def cases(draw: st.DrawFn) -> Model:
    """A call, and a session that may have been set before, when the client said something else in another world."""
    then, some_path = draw(worlds()), draw(some_paths())
    before = draw(said(some_path))
    spoken = [path for _, _, path in before.spoken()]
    pinned = then.look(draw(some_path if not spoken else some_path | st.sampled_from(spoken)))
    pinned = pinned if draw(st.integers(0, 2)) else None
    session = session_in(pinned, before, then, project=draw(st.booleans())) if pinned is not None else None
    now = draw(said(some_path, before if session is not None else None))
    return Model(
        world=draw(changed_worlds(then)),
        said=replace(now, argument=draw(some_path) if draw(st.integers(0, 3)) == 3 else None),
        session=session,
        known=draw(st.sets(st.sampled_from(ROOTS_OF_PROJECTS), max_size=4)),
        reach=draw(st.sampled_from(["anywhere", "anywhere", "known", "roots"])),
    )


# What is answered


def decided(case: Model, signs: Signs | None = None) -> Resolution:
    signs = signs if signs is not None else case.said.signs()
    looked = {each: case.world.find(each) for each in directories_of(signs, case.session)}
    around = Around(home=HOME, reach=case.reach, known=KnownRoots(tuple(case.known)))
    return decide(signs, case.session, looked, around)


def answered(case: Model) -> Answer:
    try:
        found = decided(case)
    except WorkrootError as error:
        return Answer(error.code)
    place, switch = found.place, found.switch
    becomes = None
    if switch is not None:
        project = switch.place.project
        becomes = (switch.place.directory, project.root if project else None, switch.signs)
    return Answer(
        str(found.outcome),
        place.directory if place else None,
        str(found.source),
        place.project.root if place and place.project else None,
        frozenset(other.directory for other in found.alternatives),
        becomes,
    )


def moved(pin: str, then: list[str], now: list[str]) -> Model:
    """Return a call of a client whose roots have changed since its session was set."""
    world = World({"/w/a": "plain", "/w/a/sub": "plain", "/w/b": "plain"})
    place = world.look(pin)
    assert place is not None
    before, after = (Said(roots=tuple(Root("plain", path) for path in paths)) for paths in (then, now))
    return Model(world, after, session_in(place, before, world))


def test_every_call_is_answered_as_the_procedure_says(is_full: bool) -> None:
    # Seldom drawn: a root that was there and not meant, one that came beside it, a project in another one.
    @example(case=moved("/w/a", ["/w/a", "/w/b"], ["/w/b"]))
    @example(case=moved("/w/a", ["/w/a", "/w/notes"], ["/w/notes", "/w/b"]))
    @example(case=moved("/w/a/sub", ["/w/b"], ["/w/a"]))
    @example(case=Model(World(), Said(header=LITERAL, process="/w/a")))
    @given(case=cases())
    def check(case: Model) -> None:
        answer, expected = answered(case), case.answer()
        event(f"{expected.outcome} by {expected.source}, {'changes' if expected.becomes else 'stays'}")
        assert answer == expected

    run(is_full, check)


def test_a_pin_remembers_the_signs_of_ranks_two_to_four_and_whether_it_agreed(is_full: bool) -> None:
    @given(case=cases(), pin=st.sampled_from(PATHS))
    def check(case: Model, pin: str) -> None:
        place, signs = case.world.look(pin), case.said.signs()
        assume(place is not None)
        assert place is not None
        looked = {each: case.world.find(each) for each in directories_of(signs, None)}
        found = read(signs, looked, home=HOME).usable
        assert pinned_signs(place, found) == remembered(place, usable(case.world, case.said))

    run(is_full, check)


some_name = st.none() | st.sampled_from(["", "one", "two"])


def test_the_session_is_the_first_that_is_claimed(is_full: bool) -> None:
    @given(argument=some_name, meta=some_name, header=some_name, own=some_name, alias=some_name, shares=st.booleans())
    def check(
        argument: str | None, meta: str | None, header: str | None, own: str | None, alias: str | None, shares: bool
    ) -> None:
        signs = Signs(
            session_id=argument,
            meta_session=meta,
            header_session=header,
            conversation=None if own is None else Alias(own),
            alias=None if alias is None else Alias(alias),
            traits=ClientTraits(shares_process=shares),
        )
        ranks = (
            ("handle", {argument} - {None}),
            ("handle", {meta, header} - {None}),
            ("conversation", {own} - {None}),
            ("alias", {alias} - {None} if not shares else set()),
        )
        by, names = next(((by, names) for by, names in ranks if names), ("none", {None}))
        if len(names) > 1:
            with pytest.raises(SignsDisagreeError):
                claimed_session(signs)
        else:
            [name] = names
            claim = claimed_session(signs)
            assert (claim.by, claim.name) == (by, name)

    run(is_full, check)


# What does not matter


def test_in_which_order_signs_of_different_ranks_were_gathered_does_not_matter(is_full: bool) -> None:
    @given(case=cases(), seed=st.integers(0, 1000))
    def check(case: Model, seed: int) -> None:
        signs = case.said.signs()
        by_rank = {source: [hint for hint in signs.hints if hint.source is source] for source in RANKED}
        kinds = [hint.source for hint in random.Random(seed).sample(signs.hints, len(signs.hints))]
        mixed = tuple(by_rank[kind].pop(0) for kind in kinds)
        first, second = outcome_of(case, replace(signs, hints=mixed)), outcome_of(case, signs)
        assert str(first) == str(second)
        assert first == second or isinstance(first, WorkrootError)

    run(is_full, check)


def test_in_which_order_a_connector_names_its_facts_does_not_matter(is_full: bool) -> None:
    names = ("CLAUDE_PROJECT_DIR", "WORKSPACE_FOLDER_PATHS", "PWD", "HOME")
    environments = st.lists(st.tuples(st.sampled_from(names), st.sampled_from(PATHS)), unique_by=lambda pair: pair[0])

    @given(own=st.none() | st.sampled_from(PATHS), environment=environments, seed=st.integers(0, 1000))
    def check(own: str | None, environment: list[tuple[str, str]], seed: int) -> None:
        mixed = random.Random(seed).sample(environment, len(environment))
        one, other = (
            connector_hints(ConnectorFacts(own_directory=own, environment=dict(each))) for each in (environment, mixed)
        )
        assert one == other

    run(is_full, check)


def test_a_worse_sign_never_changes_where_a_better_one_led(is_full: bool) -> None:
    @given(case=cases(), worse=st.sampled_from(RANKED), path=st.sampled_from(PATHS))
    def check(case: Model, worse: Source, path: str) -> None:
        signs = case.said.signs()
        before = outcome_of(case, signs)
        assume(isinstance(before, Resolution) and before.place is not None)
        assert isinstance(before, Resolution)
        if before.source is Source.PIN:  # what it remembers it is compared with
            assume(worse in RANKED[3:])
        elif before.source is not Source.ARGUMENT:
            assume(RANKED.index(worse) > RANKED.index(before.source))
        added = replace(signs, hints=(*signs.hints, Hint(worse, "added", path)))
        if worse is Source.ROOTS:
            added = replace(signs, roots=replace(signs.roots, uris=(*signs.roots.uris, f"file://{path}")))
        after = outcome_of(case, added)
        if before.source is Source.ARGUMENT and isinstance(after, StrictModeError):
            return  # the sign leads into a project that answers for nothing outside of it
        assert isinstance(after, Resolution)
        assert (after.place, after.outcome, after.source) == (before.place, before.outcome, before.source)
        assert after.switch == before.switch or before.source is not Source.PIN

    run(is_full, check)


def test_a_sign_that_is_skipped_changes_nothing_but_what_is_told_of_it(is_full: bool) -> None:
    # Headers are left out: two that differ are an error, wherever they lead.
    ranks = [source for source in RANKED if source is not Source.HEADER]
    skipped = st.sampled_from(["/gone", "relative", HOME, "/", "${folder}", "/w/home"])

    @given(case=cases(), rank=st.sampled_from(ranks), path=skipped, is_first=st.booleans())
    def check(case: Model, rank: Source, path: str, is_first: bool) -> None:
        signs = case.said.signs()
        assume(not signs.traits.first_root_is_working_directory or rank is not Source.ROOTS)
        if rank is Source.ROOTS:
            added = replace(signs, roots=replace(signs.roots, uris=(*signs.roots.uris, f"file://{path}")))
        else:
            hint = Hint(rank, "added", path)
            added = replace(signs, hints=(hint, *signs.hints) if is_first else (*signs.hints, hint))
        before, after = outcome_of(case, signs), outcome_of(case, added)
        if not isinstance(before, Resolution) or not isinstance(after, Resolution):
            assert str(before) == str(after)
            return
        assert replace(after, steps=(), warnings=()) == replace(before, steps=(), warnings=())
        assert warnings_but_for_what_is_told(after) == warnings_but_for_what_is_told(before)
        [step] = [step for step in after.steps if step not in before.steps] or [after.steps[0]]
        assert step.verdict is Verdict.SKIPPED or step in before.steps

    run(is_full, check)


def told_of(found: Resolution) -> tuple[str, ...]:
    """Return what has to be told of the signs that were sent on purpose, and that lead nowhere."""
    deliberate = [
        f"passed over: {step.directory} ({step.source}, {step.detail}): {step.reason}"
        for step in found.steps
        if step.verdict is Verdict.SKIPPED
        and (step.source in (Source.META, Source.ROOTS, Source.HEADER) or step.detail == "--directory")
    ]
    if found.source is Source.ARGUMENT:
        return ()
    more = [f"passed over: {len(deliberate) - 3} more; `workroot why --last` shows all"] if deliberate[3:] else []
    return (*deliberate[:3], *more)


def warnings_but_for_what_is_told(found: Resolution) -> tuple[str, ...]:
    """Return an answer's other warnings; what is told of signs that were passed over has to be exactly that."""
    told = told_of(found)
    others = found.warnings[: len(found.warnings) - len(told)]
    assert found.warnings == (*others, *told)
    assert not [warning for warning in others if warning.startswith("passed over: ")]
    return others


def test_of_signs_that_are_passed_over_those_sent_on_purpose_are_told_unless_a_directory_was_asked_about(
    is_full: bool,
) -> None:
    @given(case=cases())
    def check(case: Model) -> None:
        found = outcome_of(case, case.said.signs())
        assume(isinstance(found, Resolution))
        assert isinstance(found, Resolution)
        warnings_but_for_what_is_told(found)
        event(f"{len(told_of(found))} told")

    run(is_full, check)


def test_each_sign_is_told_once_and_at_most_one_of_them_decides(is_full: bool) -> None:
    @given(case=cases())
    def check(case: Model) -> None:
        found = outcome_of(case, case.said.signs())
        assume(isinstance(found, Resolution))
        assert isinstance(found, Resolution)
        deciding = [step for step in found.steps if step.verdict is Verdict.DECIDES]
        assert len(deciding) == (found.place is not None)
        if found.outcome is not Outcome.DECIDED and found.place is None:
            assert found.authority is None
            assert Verdict.AGREES not in {step.verdict for step in found.steps}
        before_the_signs = found.source in (Source.ARGUMENT, Source.PIN) and found.place is not None
        hints = len(case.said.signs().hints) + len(case.said.signs().roots.uris)
        assert len(found.steps) == hints + before_the_signs

    run(is_full, check)


def outcome_of(case: Model, signs: Signs) -> Resolution | WorkrootError:
    try:
        return decided(case, signs)
    except WorkrootError as error:
        return error
