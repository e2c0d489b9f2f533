"""The corners of a decision: small changes of its rules that no other test would notice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from fakes import FakePlaces, ManualClock, place
from workroot.core.answer import Outcome, Resolution
from workroot.core.pins import PinState, judge_pin, pinned_signs
from workroot.core.projects import ConfigProblem, Directory, KnownProject, Place, ProjectConfig, ProjectId
from workroot.core.reach import Reach
from workroot.core.reading import is_below
from workroot.core.resolution import Around, decide, directories_of
from workroot.core.sessions import Owner, SessionContext, SessionId
from workroot.core.signs import ClientTraits, ConnectorFacts, Hint, Roots, RootsAnswer, Signs, Source, connector_hints
from workroot.errors import DirectoryError, MoveRefusedError, StrictModeError
from workroot.session_context import SessionContextManager
from workroot.storage.memory import MemoryStore

HOME = "/home/ada"
ADA = Owner("uid:1000")
SHOP, SHOP_SRC = place("/shop", project="shop"), place("/shop/src", project="shop", root="/shop")
BLOG, BLOG_SRC = place("/blog", project="blog"), place("/blog/src", project="blog", root="/blog")
MONO, API = place("/mono", project="mono"), place("/mono/api", project="api")
BROKEN = ConfigProblem(path="/c.toml", problem="is broken")

ROOT, SECOND_ROOT = Hint(Source.ROOTS, "root 1", ""), Hint(Source.ROOTS, "root 2", "")
OWN = Hint(Source.CONNECTOR, "working directory", "/shop")
TURN = Hint(Source.TURN_METADATA, "x-codex-turn-metadata.workspaces", "/blog")
HEADER = Hint(Source.HEADER, "Workroot-Directory", "/shop")
QUERY = Hint(Source.HEADER, "?directory=", "/blog")


def configured(there: Place, config: ProjectConfig) -> Place:
    assert there.project is not None
    return replace(there, project=replace(there.project, config=config))


STRICT = configured(SHOP, ProjectConfig(name="shop", strict_mode=True))
DRY = configured(SHOP, ProjectConfig(name="shop", dry_run=True))


class Known:
    """The projects that somebody has worked in."""

    def __init__(self, *roots: str) -> None:
        self._roots = [
            KnownProject(project_id=ProjectId(root), name=root, root=Directory(root), worktree_of=None, seen_at=0)
            for root in roots
        ]

    def below(self, directory: str) -> Sequence[KnownProject]:
        return [each for each in self._roots if each.root != directory and is_below(each.root, directory)]

    def holds(self, directory: str) -> KnownProject | None:
        return next((each for each in self._roots if is_below(directory, each.root)), None)


def ask(
    signs: Signs,
    session: SessionContext | None = None,
    *others: Place,
    home: str = HOME,
    reach: Reach = "anywhere",
    known: Known | None = None,
) -> Resolution:
    there: Mapping[str, Place] = {each.given: each for each in (SHOP, SHOP_SRC, BLOG, BLOG_SRC, MONO, API, *others)}
    looked = {
        each: there.get(each, DirectoryError(each, "Directory does not exist"))
        for each in directories_of(signs, session)
    }
    return decide(signs, session, looked, Around(home=home, reach=reach, known=known or Known()))


def pinned_to(there: Place, *signs: tuple[Hint, Place]) -> SessionContext:
    return SessionContext(
        session_id=SessionId("wr_1"),
        owner=ADA,
        working_directory=there.directory,
        given_directory=there.given,
        config_path=there.config_path,
        project_id=there.project.project_id if there.project else None,
        project_root=there.project.root if there.project else None,
        project_name=there.project.name if there.project else None,
        signs=pinned_signs(there, signs),
        set_at=0,
        last_used=0,
    )


def roots(*directories: str) -> Roots:
    return Roots(RootsAnswer.GIVEN, tuple(f"file://{directory}" for directory in directories))


def directory_of(resolution: Resolution) -> str | None:
    return resolution.place.directory if resolution.place else None


# Pins


def test_a_pin_forgets_the_signs_that_carry_least() -> None:
    assert pinned_signs(SHOP, [(TURN, SHOP), (HEADER, SHOP)]) == ()
    assert directory_of(ask(Signs(hints=(TURN,)), pinned_to(SHOP, (TURN, SHOP)))) == "/shop"


def test_folders_removed_beside_a_pin_that_was_set_against_all_of_them_make_it_stale() -> None:
    session = pinned_to(MONO, (ROOT, SHOP), (SECOND_ROOT, BLOG))

    verdict = judge_pin(session, MONO, [(ROOT, SHOP)], first_root_counts=False)

    assert verdict.state is PinState.STALE


def test_a_pin_agrees_with_roots_of_which_one_is_its_own() -> None:
    session = pinned_to(BLOG, (ROOT, SHOP))

    verdict = judge_pin(session, BLOG, [(ROOT, MONO), (SECOND_ROOT, BLOG)], first_root_counts=False)

    assert verdict.state is PinState.HOLDS
    assert verdict.signs == (("roots: root 1", "/mono", False), ("roots: root 2", "/blog", True))


def test_a_pin_that_agreed_follows_within_its_project_too() -> None:
    assert judge_pin(pinned_to(SHOP, (ROOT, SHOP)), SHOP, [(ROOT, SHOP_SRC)], first_root_counts=False).state is (
        PinState.FOLLOWS
    )


def test_when_the_folder_that_a_pin_works_in_is_removed_the_pin_does_not_go_into_one_that_was_there() -> None:
    session = pinned_to(API, (ROOT, MONO), (SECOND_ROOT, API))

    verdict = judge_pin(session, API, [(ROOT, MONO)], first_root_counts=False)

    assert verdict.state is PinState.STALE


def test_a_pin_that_follows_remembers_the_signs_that_did_not_change_too() -> None:
    session = pinned_to(SHOP, (ROOT, SHOP), (OWN, SHOP))

    verdict = judge_pin(session, SHOP, [(ROOT, BLOG), (OWN, SHOP)], first_root_counts=False)

    assert verdict.signs == (("roots: root 1", "/blog", True), ("connector: working directory", "/shop", False))


def test_a_session_follows_to_the_first_of_several_roots_in_one_project() -> None:
    moved = Signs(roots=roots("/blog/src", "/blog"))

    assert directory_of(ask(moved, pinned_to(SHOP, (ROOT, SHOP)))) == "/blog/src"


def test_a_stale_session_whose_directory_is_gone_is_stale_and_names_what_there_is() -> None:
    gone = place("/gone", project="gone")

    resolution = ask(Signs(hints=(replace(OWN, directory="/blog"),)), pinned_to(gone, (OWN, SHOP)))

    assert resolution.outcome is Outcome.STALE
    assert [each.directory for each in resolution.alternatives] == ["/blog"]


# Signs


def test_the_file_systems_root_is_above_everything() -> None:
    assert is_below("/shop", "/")
    assert not is_below("/shop", "/sho")


def test_a_connectors_value_of_several_folders_keeps_that_reason_when_one_was_not_expanded() -> None:
    facts = ConnectorFacts(environment={"WORKSPACE_FOLDER_PATHS": "${folder}:/blog"})

    [step] = ask(Signs(hints=connector_hints(facts))).steps

    assert step.reason == "names several folders"


@pytest.mark.parametrize(
    ("directory", "is_followed"),
    [(f"{HOME}/Library/x", False), (f"{HOME}/Library", False), (f"{HOME}/Library2", True), (f"{HOME}/code", True)],
)
def test_which_directories_below_home_are_the_programs_own(directory: str, is_followed: bool) -> None:
    found = ask(Signs(hints=(replace(OWN, directory=directory),)), None, place(directory))

    assert directory_of(found) == (directory if is_followed else None)


def test_without_a_home_nothing_is_below_it() -> None:
    assert directory_of(ask(Signs(hints=(replace(OWN, directory="/.box"),)), None, place("/.box"), home="")) == "/.box"


@pytest.mark.parametrize("directory", ["/", HOME])
def test_the_home_and_the_root_say_nothing_even_where_they_are_projects(directory: str) -> None:
    hint = replace(OWN, directory=directory)

    assert directory_of(ask(Signs(hints=(hint,)), None, place(directory, project="dotfiles"))) is None
    assert directory_of(ask(Signs(directory=directory), None, place(directory, project="dotfiles"))) == directory


def test_a_link_to_the_home_directory_says_nothing_either() -> None:
    link = place(HOME, given="/work/home")

    assert directory_of(ask(Signs(hints=(replace(OWN, directory="/work/home"),)), None, link)) is None


def test_a_broken_config_is_followed_even_where_programs_live_since_a_better_sign_must_not_be_lost() -> None:
    broken = place("/opt/app", problem=BROKEN)

    found = ask(Signs(hints=(replace(OWN, directory="/opt/app"), HEADER)), None, broken)

    assert directory_of(found) == "/opt/app"
    assert found.warnings == ("/c.toml: is broken",)


def test_a_silent_client_with_no_other_sign_is_said_to_be_silent() -> None:
    assert ask(Signs(roots=Roots(RootsAnswer.SILENT))).detail == "the client did not answer the question for its roots"


def test_a_header_that_was_not_expanded_disagrees_with_nobody() -> None:
    literal = replace(QUERY, directory="${workspaceFolder}")

    assert directory_of(ask(Signs(hints=(HEADER, literal)))) == "/shop"


def test_one_root_that_was_left_out_is_said_too() -> None:
    found = ask(Signs(roots=Roots(RootsAnswer.GIVEN, ("file:///shop",), left_out=1)))

    assert len(found.warnings) == 1


def test_of_a_client_whose_first_root_counts_other_signs_still_count_after_it() -> None:
    traits = ClientTraits(first_root_is_working_directory=True)
    signs = Signs(hints=(HEADER,), roots=roots("/gone", "/blog"), traits=traits)

    assert directory_of(ask(signs)) == "/shop"


# Ambiguous, or not


@pytest.mark.parametrize(
    ("there", "outcome"),
    [
        (place("/code"), Outcome.AMBIGUOUS),
        (place("/code", project="code"), Outcome.DECIDED),
        (place("/code", problem=BROKEN), Outcome.DECIDED),
    ],
    ids=["nobody's", "a monorepo", "a broken config"],
)
@pytest.mark.parametrize("by", ["sign", "pin"])
def test_only_what_nobody_owns_is_ambiguous(there: Place, outcome: Outcome, by: str) -> None:
    session = pinned_to(there) if by == "pin" else None
    signs = Signs(hints=(replace(OWN, directory="/code"),) if by == "sign" else ())

    assert ask(signs, session, there, known=Known("/code/a", "/code/b")).outcome is outcome


def test_a_repository_without_a_config_above_known_projects_is_itself() -> None:
    owned = place("/code", project="code")
    there = replace(owned, config_path=None)

    found = ask(Signs(hints=(replace(OWN, directory="/code"),)), None, there, known=Known("/code/a", "/code/b"))

    assert (found.outcome, found.place) == (Outcome.DECIDED, there)


def test_a_nested_project_that_a_sign_names_is_offered_once() -> None:
    signs = Signs(hints=(replace(OWN, directory="/mono"), replace(HEADER, directory="/mono/api")))

    assert [each.directory for each in ask(signs, known=Known("/mono/api")).alternatives] == ["/mono/api"]


# Links do not lead past a rule


def test_a_link_out_of_a_strict_project_is_refused_and_one_into_it_is_not() -> None:
    out, into = place("/blog", project="blog", given="/shop/link"), replace(SHOP_SRC, given="/blog/link")
    here = Signs(hints=(OWN,))

    with pytest.raises(StrictModeError):
        ask(replace(here, directory="/shop/link"), None, STRICT, out)
    assert directory_of(ask(replace(here, directory="/blog/link"), None, STRICT, into)) == "/shop/src"


@pytest.mark.parametrize("reach", ["known", "roots"])
def test_a_link_does_not_reach_what_it_could_not_name_itself(reach: Reach) -> None:
    out, into = place("/blog", project="blog", given="/shop/link"), replace(SHOP_SRC, given="/blog/link")
    here = Signs(hints=(OWN,))

    with pytest.raises(MoveRefusedError):
        ask(replace(here, directory="/shop/link"), None, out, reach=reach, known=Known("/shop"))
    assert directory_of(ask(replace(here, directory="/blog/link"), None, into, reach=reach)) == "/shop/src"


def test_a_link_into_a_known_project_reaches_it() -> None:
    into = replace(SHOP_SRC, given="/elsewhere/link")

    assert directory_of(ask(Signs(directory="/elsewhere/link"), None, into, reach="known", known=Known("/shop")))


def test_a_nested_project_is_within_the_reach_of_the_project_around_it() -> None:
    here = Signs(directory="/mono/api", hints=(replace(OWN, directory="/mono"),))

    assert directory_of(ask(here, reach="roots")) == "/mono/api"


def test_a_refusal_names_at_most_five_directories() -> None:
    hints = tuple(Hint(Source.CONNECTOR, f"fact {number}", f"/p{number}") for number in range(9))

    with pytest.raises(MoveRefusedError) as refused:
        ask(
            Signs(directory="/blog", hints=hints),
            None,
            *(place(f"/p{number}") for number in range(9)),
            reach="roots",
        )

    assert len(refused.value.candidates) == 5


@pytest.mark.parametrize(
    ("signs", "session"),
    [(Signs(), pinned_to(place("/gone", project="gone"))), (Signs(hints=(HEADER, QUERY)), None)],
    ids=["a pin that is gone", "headers that disagree"],
)
def test_who_is_nowhere_can_still_ask_about_a_directory(signs: Signs, session: SessionContext | None) -> None:
    assert directory_of(ask(replace(signs, directory="/mono"), session)) == "/mono"


# Sessions


async def test_what_the_watcher_moves_is_still_compared_with_what_its_client_said() -> None:
    places = FakePlaces({each.directory: each for each in (SHOP, BLOG)})
    async with SessionContextManager(MemoryStore(), places, clock=ManualClock(), home=HOME) as manager:
        session = (await manager.enter(ADA, Signs(roots=roots("/shop")), "/shop")).resolution.session
        assert session is not None
        places.known["/shop"] = place("/shop", project="renamed")

        await manager.refresh(ADA, Directory("/shop"))

        moved = Signs(session_id=session.session_id, roots=roots("/blog"))
        assert directory_of(await manager.resolve(ADA, moved)) == "/blog"


async def test_what_the_watcher_moves_keeps_the_spelling_that_was_given() -> None:
    link = place("/shop", project="shop", given="/link")
    places = FakePlaces({"/shop": SHOP, "/link": link})
    async with SessionContextManager(MemoryStore(), places, clock=ManualClock(), home=HOME) as manager:
        session = (await manager.enter(ADA, Signs(), "/link")).resolution.session
        assert session is not None
        places.known["/shop"] = place("/shop", project="renamed")

        await manager.refresh(ADA, Directory("/shop"))

        moved = manager.get_session(session.session_id, owner=ADA)
        assert (moved.project_name, moved.given_directory) == ("renamed", "/link")


async def test_the_watcher_makes_no_switch_that_is_only_to_be_reported() -> None:
    places = FakePlaces({"/shop": place("/shop")})
    async with SessionContextManager(MemoryStore(), places, clock=ManualClock(), home=HOME) as manager:
        session = (await manager.enter(ADA, Signs(), "/shop")).resolution.session
        assert session is not None
        places.known["/shop"] = DRY

        await manager.refresh(ADA, Directory("/shop"))

        assert manager.get_session(session.session_id, owner=ADA).revision == session.revision


# What the procedure says otherwise than the code; each mark goes when its rule is mended


def test_a_root_that_is_really_called_like_a_variable_is_followed() -> None:
    literal = place("/work/${name}", project="template")

    found = ask(Signs(hints=(OWN,), roots=roots("/work/${name}")), None, literal)

    assert directory_of(found) == "/work/${name}"


def test_an_argument_that_names_what_nobody_owns_is_ambiguous_with_candidates() -> None:
    found = ask(Signs(directory="/code"), None, place("/code"), known=Known("/code/a", "/code/b"))

    assert found.outcome is Outcome.AMBIGUOUS
    assert [each.directory for each in found.alternatives] == ["/code/a", "/code/b"]


async def test_a_session_whose_directory_is_gone_hears_of_dry_run() -> None:
    places = FakePlaces({"/shop": DRY, "/blog": BLOG})
    async with SessionContextManager(MemoryStore(), places, clock=ManualClock(), home=HOME) as manager:
        session = (await manager.enter(ADA, Signs(), "/blog")).resolution.session
        assert session is not None
        del places.known["/blog"]

        entered = await manager.enter(ADA, Signs(session_id=session.session_id), "/shop")

        assert not entered.is_made
