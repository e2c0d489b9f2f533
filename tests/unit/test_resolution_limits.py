"""Where a decision ends without a project, or is not allowed one: rivals, settings and a project's own rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from fakes import place
from workroot.core.answer import Outcome, Resolution, SessionClaim, Switch, Verdict
from workroot.core.pins import pinned_signs
from workroot.core.projects import Directory, KnownProject, Place, ProjectConfig, ProjectId
from workroot.core.reach import Reach
from workroot.core.reading import is_below
from workroot.core.resolution import Around, claimed_session, decide, directories_of
from workroot.core.sessions import Alias, Owner, SessionContext, SessionId
from workroot.core.signs import ClientTraits, Hint, Roots, RootsAnswer, Signs, Source
from workroot.errors import DirectoryError, MoveRefusedError, ProjectNeededError, SignsDisagreeError, StrictModeError

HOME = "/home/ada"
SHOP, BLOG = place("/shop", project="shop"), place("/blog", project="blog")
PLACES: dict[str, Place] = {
    each.directory: each for each in (SHOP, BLOG, place("/code"), place("/shop/src", project="shop", root="/shop"))
}

OWN = Hint(Source.CONNECTOR, "working directory", "/shop")
HEADER = Hint(Source.HEADER, "Workroot-Directory", "/shop")
QUERY = Hint(Source.HEADER, "?directory=", "/blog")


@dataclass(frozen=True)
class Known:
    """The projects that somebody has worked in."""

    roots: tuple[str, ...] = ()

    def below(self, directory: str) -> Sequence[KnownProject]:
        return [_known(root) for root in self.roots if root != directory and is_below(root, directory)]

    def holds(self, directory: str) -> KnownProject | None:
        return next((_known(root) for root in self.roots if is_below(directory, root)), None)


def _known(root: str) -> KnownProject:
    name = root.rpartition("/")[2]
    return KnownProject(project_id=ProjectId(name), name=name, root=Directory(root), worktree_of=None, seen_at=0)


def ask(
    signs: Signs,
    session: SessionContext | None = None,
    *,
    places: Mapping[str, Place] = PLACES,
    reach: Reach = "anywhere",
    known: Known = Known(),
) -> Resolution:
    seen = {
        each: places.get(each, DirectoryError(each, "Directory does not exist"))
        for each in directories_of(signs, session)
    }
    return decide(signs, session, seen, Around(home=HOME, reach=reach, known=known))


def pinned_to(there: Place, *signs: tuple[Hint, Place]) -> SessionContext:
    project = there.project
    return SessionContext(
        session_id=SessionId("wr_1"),
        owner=Owner("uid:1000"),
        working_directory=there.directory,
        given_directory=there.given,
        config_path=there.config_path,
        project_id=project.project_id if project else None,
        project_root=project.root if project else None,
        project_name=project.name if project else None,
        signs=pinned_signs(there, signs),
        set_at=0,
        last_used=0,
    )


def roots(*uris: str) -> Roots:
    return Roots(RootsAnswer.GIVEN, uris)


# Signs that are passed over


def test_the_signs_that_carry_least_are_believed_last() -> None:
    turn = Hint(Source.TURN_METADATA, "workspaces", "/shop")
    process = Hint(Source.PROCESS, "process 7 (agent)", "/shop/src")
    signs = (process, QUERY, turn, replace(OWN, directory="/code"))

    assert ask(Signs(hints=signs)).source is Source.CONNECTOR
    assert ask(Signs(hints=signs[:3])).source is Source.TURN_METADATA
    assert ask(Signs(hints=signs[:2])).source is Source.HEADER
    assert ask(Signs(hints=signs[:1])).source is Source.PROCESS


def test_a_sign_that_cannot_be_followed_is_named_with_its_reason() -> None:
    literal = Hint(Source.CONNECTOR, "--directory", "${workspaceFolder}")
    wrong = Hint(Source.META, "agent-working-dir", "", problem="is a number, not text")

    resolution = ask(Signs(hints=(wrong, literal), roots=roots("http://example.org/shop")))

    assert [(each.detail, each.reason) for each in resolution.skipped] == [
        ("agent-working-dir", "is a number, not text"),
        ("root 1", "is not the file: URI of a directory here"),
        ("--directory", "was not expanded by the client"),
    ]


@pytest.mark.parametrize(
    "directory", ["/opt/editor", "/var/lib/app", "/snap/code/1", f"{HOME}/.config/app", f"{HOME}/.local/share"]
)
def test_where_programs_keep_their_files_says_nothing_about_a_project(directory: str) -> None:
    found = ask(Signs(hints=(replace(OWN, directory=directory),)), places={directory: place(directory)})
    assert found.place is None

    owned = {directory: place(directory, project="mine")}
    assert ask(Signs(hints=(replace(OWN, directory=directory),)), places=owned).place == owned[directory]


def test_of_a_client_that_serves_several_windows_with_one_process_only_the_option_counts() -> None:
    shared = ClientTraits(shares_process=True)
    option = replace(OWN, detail="--directory", directory="/blog")
    signs = Signs(alias=Alias("a"), hints=(OWN, replace(OWN, detail="PWD")), traits=shared)

    assert ask(signs).place is None
    assert {each.reason for each in ask(signs).skipped} == {
        "tells of one window, and one process of this client serves several"
    }
    assert ask(replace(signs, hints=(option, OWN))).place == BLOG
    assert claimed_session(signs) == SessionClaim("none"), "its connection is nobody's conversation"


def test_a_conversation_of_the_clients_own_goes_before_the_connection() -> None:
    signs = Signs(conversation=Alias("threadId:1"), alias=Alias("a"))

    assert claimed_session(signs) == SessionClaim("conversation", "threadId:1")
    assert claimed_session(replace(signs, meta_session="wr_1")) == SessionClaim("handle", "wr_1")
    assert not ask(signs, pinned_to(SHOP)).is_default_session


# Rivals


def test_headers_that_name_two_directories_are_an_error_if_they_would_decide() -> None:
    with pytest.raises(SignsDisagreeError, match=r"Workroot-Directory says '/shop', \?directory= says '/blog'"):
        ask(Signs(hints=(HEADER, QUERY)))
    with pytest.raises(SignsDisagreeError):
        ask(Signs(hints=(HEADER, replace(QUERY, directory="/gone"))))

    assert ask(Signs(hints=(OWN, HEADER, QUERY))).place == SHOP
    assert ask(Signs(hints=(HEADER, QUERY)), pinned_to(BLOG)).place == BLOG


def test_headers_that_spell_one_directory_differently_agree() -> None:
    linked = {**PLACES, "/link": replace(SHOP, given="/link")}

    assert ask(Signs(hints=(HEADER, replace(QUERY, directory="/link"))), places=linked).place == SHOP


def test_a_directory_of_nobodys_above_several_known_projects_is_ambiguous() -> None:
    above = Signs(hints=(replace(OWN, directory="/code"),))

    resolution = ask(above, known=Known(("/code/a", "/code/b", "/other")))

    assert resolution.outcome is Outcome.AMBIGUOUS
    assert [(each.directory, each.source, each.project) for each in resolution.alternatives] == [
        ("/code/a", Source.REGISTRY, "a"),
        ("/code/b", Source.REGISTRY, "b"),
    ]
    with pytest.raises(ProjectNeededError, match=r"several known ones lie below it.*one of: /code/a; /code/b"):
        resolution.required_project()
    assert ask(above, known=Known(("/code/a",))).outcome is Outcome.DECIDED


def test_a_monorepos_root_is_itself_and_what_is_nested_in_it_is_an_alternative() -> None:
    resolution = ask(Signs(hints=(OWN,)), known=Known(("/shop", "/shop/api", "/shop/web")))

    assert (resolution.outcome, resolution.place) == (Outcome.DECIDED, SHOP)
    assert [each.directory for each in resolution.alternatives] == ["/shop/api", "/shop/web"]
    assert resolution.required_project() == SHOP.project


def test_alternatives_are_not_without_end() -> None:
    many = Known(tuple(f"/code/{number}" for number in range(500)))

    assert len(ask(Signs(hints=(replace(OWN, directory="/code"),)), known=many).alternatives) == 20


def test_roots_that_were_left_out_are_said() -> None:
    warnings = ask(Signs(roots=Roots(RootsAnswer.GIVEN, ("file:///shop",), left_out=3))).warnings

    assert warnings == ("3 of the client's roots were not looked at: they are too many",)


# What the answer says of each sign


def test_every_sign_is_told_with_what_became_of_it() -> None:
    signs = Signs(
        hints=(OWN, replace(OWN, detail="PWD", directory="/gone"), QUERY),
        roots=roots("file:///shop", "file:///shop/src"),
    )

    assert [(step.detail, step.verdict, step.project) for step in ask(signs).steps] == [
        ("root 1", Verdict.DECIDES, "shop"),
        ("root 2", Verdict.DIFFERS, "shop"),
        ("working directory", Verdict.AGREES, "shop"),
        ("PWD", Verdict.SKIPPED, None),
        ("?directory=", Verdict.DIFFERS, "blog"),
    ]
    assert [step.verdict for step in ask(replace(signs, roots=roots("file:///shop", "file:///blog"))).steps[:2]] == [
        Verdict.CANDIDATE,
        Verdict.CANDIDATE,
    ]


@pytest.mark.parametrize(
    ("session", "directory"), [(pinned_to(BLOG), None), (None, "/blog"), (pinned_to(SHOP), "/blog")]
)
def test_what_goes_before_the_signs_is_told_first(session: SessionContext | None, directory: str | None) -> None:
    first, second = ask(Signs(directory=directory, hints=(OWN,)), session).steps

    assert first.source is (Source.ARGUMENT if directory else Source.PIN)
    assert (first.directory, first.verdict) == ("/blog", Verdict.DECIDES)
    assert (second.detail, second.verdict) == ("working directory", Verdict.DIFFERS)


# Sessions that move


def test_a_session_whose_client_moved_becomes_what_it_moved_to() -> None:
    session = pinned_to(SHOP, (OWN, SHOP))

    resolution = ask(Signs(hints=(replace(OWN, directory="/blog"),)), session)

    assert (resolution.place, resolution.source) == (BLOG, Source.CONNECTOR)
    assert resolution.switch == Switch(BLOG, pinned_signs(BLOG, [(replace(OWN, directory="/blog"), BLOG)]))
    assert resolution.warnings == (
        "the client moved from /shop (connector: working directory), and this session, which worked in /shop, "
        "follows it",
    )


def test_a_stale_session_is_nowhere_until_an_argument_decides_and_names_both_candidates() -> None:
    session = pinned_to(BLOG, (OWN, SHOP))
    moved = Signs(hints=(replace(OWN, directory="/code"),))

    resolution = ask(moved, session)

    assert (resolution.outcome, resolution.place, resolution.source) == (Outcome.STALE, None, Source.PIN)
    assert [each.directory for each in resolution.alternatives] == ["/blog", "/code"]
    with pytest.raises(ProjectNeededError, match=r"was set to /blog while the client named /shop"):
        resolution.required_project()
    assert ask(replace(moved, directory="/shop"), session).place == SHOP
    assert ask(Signs(hints=(OWN,)), session).place == BLOG, "the sign is back where it was"


def test_a_session_whose_project_changed_around_it_becomes_that() -> None:
    renamed = {**PLACES, "/shop": place("/shop", project="shop2")}

    resolution = ask(Signs(), pinned_to(SHOP), places=renamed)

    assert resolution.switch == Switch(renamed["/shop"], ())
    assert ask(Signs(), pinned_to(SHOP)).switch is None


def test_a_pin_whose_directory_is_gone_is_an_error_unless_it_follows() -> None:
    session = pinned_to(place("/shop-fix", project="fix"), (OWN, place("/shop-fix", project="fix")))

    with pytest.raises(DirectoryError, match="Directory does not exist: /shop-fix"):
        ask(Signs(), session)
    assert ask(Signs(hints=(OWN,)), session).place == SHOP


# What may not be reached


@pytest.mark.parametrize(
    ("reach", "directory", "is_allowed"),
    [
        ("anywhere", "/elsewhere", True),
        ("known", "/elsewhere", False),
        ("known", "/known/src", True),
        ("known", "/shop/src", True),
        ("roots", "/known/src", False),
        ("roots", "/shop/src", True),
        ("roots", "/shopping", False),
    ],
)
def test_how_far_an_argument_reaches(reach: Reach, directory: str, is_allowed: bool) -> None:
    signs = Signs(directory=directory, hints=(replace(OWN, directory="/shop/src"),))
    places = {**PLACES, directory: PLACES.get(directory, place(directory))}

    if is_allowed:
        assert ask(signs, places=places, reach=reach, known=Known(("/known",))).place == places[directory]
    else:
        with pytest.raises(MoveRefusedError, match=rf"model_may_move = '{reach}'.*: /shop;") as refused:
            ask(signs, places=places, reach=reach, known=Known(("/known",)))
        assert refused.value.candidates == ("/shop",)


def with_config(there: Place, config: ProjectConfig) -> dict[str, Place]:
    assert there.project is not None
    return {**PLACES, there.directory: replace(there, project=replace(there.project, config=config))}


@pytest.mark.parametrize("by", ["sign", "pin"])
def test_from_inside_a_strict_project_nothing_outside_is_answered(by: str) -> None:
    places = with_config(SHOP, ProjectConfig(name="shop", strict_mode=True))
    session = pinned_to(SHOP) if by == "pin" else None
    signs = Signs(hints=(OWN,) if by == "sign" else ())

    with pytest.raises(StrictModeError):
        ask(replace(signs, directory="/blog"), session, places=places)
    assert ask(replace(signs, directory="/shop/src"), session, places=places).place == PLACES["/shop/src"]
    assert ask(Signs(directory="/blog"), places=places).place == BLOG, "who is nowhere is in no strict project"


@pytest.mark.parametrize(
    "config", [ProjectConfig(name="shop", auto_switch=False), ProjectConfig(name="shop", dry_run=True)]
)
def test_what_arrives_in_a_project_that_does_not_want_that_is_in_none(config: ProjectConfig) -> None:
    places = with_config(SHOP, config)

    resolution = ask(Signs(hints=(OWN,)), places=places)

    assert resolution.place == replace(places["/shop"], project=None)
    assert len(resolution.warnings) == 1
    with pytest.raises(ProjectNeededError, match=r"auto_switch|dry_run"):
        resolution.required_project()
    assert ask(Signs(directory="/shop"), places=places).place == places["/shop"], "asking about it is not arriving"


def test_a_session_that_follows_into_a_project_without_auto_switch_leaves_the_one_before() -> None:
    places = with_config(SHOP, ProjectConfig(name="shop", auto_switch=False))

    switch = ask(Signs(hints=(OWN,)), pinned_to(BLOG, (OWN, BLOG)), places=places).switch

    assert switch is not None
    assert switch.place == replace(places["/shop"], project=None)


def test_a_session_does_not_follow_into_a_project_with_dry_run_and_is_not_answered_with_the_one_before() -> None:
    places = with_config(SHOP, ProjectConfig(name="shop", dry_run=True))

    resolution = ask(Signs(hints=(OWN,)), pinned_to(BLOG, (OWN, BLOG)), places=places)

    assert resolution.switch is None
    assert resolution.place == replace(places["/shop"], project=None)
