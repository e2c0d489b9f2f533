"""Whose session, and where does it work: the procedure, rank by rank."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from fakes import place
from workroot.core.answer import Alternative, Resolution, SessionClaim, Skipped
from workroot.core.pins import pinned_signs
from workroot.core.projects import ConfigProblem, Directory, Place
from workroot.core.reading import read
from workroot.core.resolution import Around, claimed_session, decide, directories_of
from workroot.core.sessions import (
    Alias,
    Owner,
    SessionContext,
    SessionId,
)
from workroot.core.signs import Authority, ClientTraits, Hint, Roots, RootsAnswer, Signs, Source
from workroot.errors import DirectoryError, SignsDisagreeError

HOME = "/home/ada"
PLACES: dict[str, Place | DirectoryError] = {
    "/work/argument": place("/work/argument", project="argument"),
    "/work/pin": place("/work/pin", project="pin"),
    "/work/meta": place("/work/meta", project="meta"),
    "/work/root": place("/work/root", project="root"),
    "/work/root/src": place("/work/root/src", project="root", root="/work/root"),
    "/work/link": place("/work/root", project="root", given="/work/link"),
    "/work/second": place("/work/second", project="second"),
    "/work/connector": place("/work/connector", project="connector"),
    "/work/header": place("/work/header", project="header"),
    "/work/bare": place("/work/bare"),
    "/work/bare2": place("/work/bare2"),
    "/usrlocal": place("/usrlocal"),
    "/home/ada": place("/home/ada"),
    "/": place("/"),
    "/etc": place("/etc"),
    "/usr": place("/usr"),
    "/usr/lib/editor": place("/usr/lib/editor"),
    "/Applications/Editor.app": place("/Applications/Editor.app"),
    "/System/Library": place("/System/Library"),
}
PIN = SessionContext(
    session_id=SessionId("wr_pin"),
    owner=Owner("uid:1000"),
    working_directory=Directory("/work/pin"),
    given_directory="/work/pin",
    set_at=1.0,
    last_used=1.0,
)

META = Hint(Source.META, "workroot/directory", "/work/meta")
CONNECTOR = Hint(Source.CONNECTOR, "--directory", "/work/connector", Authority.USER)
HEADER = Hint(Source.HEADER, "Workroot-Directory", "/work/header")
EVERYTHING = Signs(
    session_id="wr_pin", directory="/work/argument", hints=(META, CONNECTOR, HEADER), roots=Roots(RootsAnswer.GIVEN, ("file:///work/root",))
)  # fmt: skip


def given_roots(*uris: str) -> Roots:
    return Roots(RootsAnswer.GIVEN, uris)


def ask(signs: Signs, session: SessionContext | None = None, *, home: str = HOME) -> Resolution:
    """Decide as a caller does: look at what is asked for, and at nothing else."""
    unusable = "Directory does not exist"
    seen = {each: PLACES.get(each, DirectoryError(each, unusable)) for each in directories_of(signs, session)}
    return decide(signs, session, seen, Around(home=home))


def answer_of(resolution: Resolution) -> tuple[str | None, str, str]:
    return (resolution.place.directory if resolution.place else None, resolution.source, resolution.detail)


# Session


@pytest.mark.parametrize(
    ("signs", "claim"),
    [
        (Signs(), SessionClaim("none")),
        (Signs(alias=Alias("a")), SessionClaim("alias", "a")),
        (Signs(alias=Alias("a"), header_session="h"), SessionClaim("handle", "h")),
        (Signs(alias=Alias("a"), meta_session="m"), SessionClaim("handle", "m")),
        (Signs(meta_session="same", header_session="same"), SessionClaim("handle", "same")),
        (Signs(session_id="s", meta_session="m"), SessionClaim("handle", "s")),
        (Signs(session_id="s", meta_session="m", header_session="h", alias=Alias("a")), SessionClaim("handle", "s")),
        (Signs(session_id="", meta_session="m", alias=Alias("a")), SessionClaim("handle", "")),
        (Signs(meta_session="", alias=Alias("a")), SessionClaim("handle", "")),
        (Signs(header_session="", alias=Alias("a")), SessionClaim("handle", "")),
    ],
)
def test_the_first_sign_of_a_session_counts(signs: Signs, claim: SessionClaim) -> None:
    assert claimed_session(signs) == claim


def test_signs_of_equal_authority_that_disagree_are_an_error() -> None:
    with pytest.raises(SignsDisagreeError, match=r"_meta.*'m'.*Workroot-Session.*'h'"):
        claimed_session(Signs(meta_session="m", header_session="h", alias=Alias("a")))


@pytest.mark.parametrize(
    ("signs", "is_default"),
    [
        (Signs(alias=Alias("a")), True),
        (Signs(session_id="wr_pin", alias=Alias("a")), False),
        (Signs(session_id="wr_pin"), False),
    ],
)
@pytest.mark.parametrize("directory", [None, "/work/argument"])
def test_a_session_that_the_connection_stands_for_is_marked_as_its_default(
    signs: Signs, is_default: bool, directory: str | None
) -> None:
    resolution = ask(replace(signs, directory=directory), PIN)

    assert resolution.session == PIN
    assert resolution.is_default_session is is_default


def test_without_a_session_there_is_none_in_the_answer() -> None:
    resolution = ask(Signs(alias=Alias("a"), hints=(CONNECTOR,)))

    assert resolution.session is None
    assert not resolution.is_default_session


# Directory, rank by rank


@dataclass(frozen=True)
class Rank:
    """A sign, how to take it away, and the answer as long as it is the best there is."""

    answer: tuple[str | None, str, str]
    authority: Authority | None


RANKS = [
    Rank(("/work/argument", "argument", "directory"), Authority.MODEL),
    Rank(("/work/pin", "pin", "set_working_directory"), Authority.MODEL),
    Rank(("/work/meta", "meta", "workroot/directory"), Authority.CLIENT),
    Rank(("/work/root", "roots", "root 1"), Authority.CLIENT),
    Rank(("/work/connector", "connector", "--directory"), Authority.USER),
    Rank(("/work/header", "header", "Workroot-Directory"), Authority.CLIENT),
    Rank((None, "unknown", "no sign names a directory"), None),
]


def without_first(rank: int) -> tuple[Signs, SessionContext | None]:
    """Return all signs but the best *rank* ones."""
    signs = replace(
        EVERYTHING,
        directory=None if rank > 0 else EVERYTHING.directory,
        session_id=None if rank > 1 else EVERYTHING.session_id,
        hints=tuple(hint for hint, last in ((META, 2), (CONNECTOR, 4), (HEADER, 5)) if rank <= last),
        roots=EVERYTHING.roots if rank <= 3 else given_roots(),
    )
    return signs, PIN if rank <= 1 else None


@pytest.mark.parametrize("rank", range(len(RANKS)))
def test_the_best_sign_decides_and_the_others_are_kept_as_alternatives(rank: int) -> None:
    signs, session = without_first(rank)

    resolution = ask(signs, session)

    assert answer_of(resolution) == RANKS[rank].answer
    assert resolution.authority is RANKS[rank].authority
    hints_behind = [each.answer for each in RANKS[max(rank + 1, 2) : -1]] if rank else []
    assert [(each.directory, each.source, each.detail) for each in resolution.alternatives] == hints_behind
    assert resolution.skipped == ()


@pytest.mark.parametrize("rank", range(2, 6))
def test_a_hint_that_leads_nowhere_is_listed_and_the_next_one_decides(rank: int) -> None:
    signs, session = without_first(rank)
    broken = replace(
        signs,
        hints=tuple(
            replace(hint, directory="/gone") if hint.source == RANKS[rank].answer[1] else hint for hint in signs.hints
        ),
        roots=given_roots("file:///gone") if rank == 3 else signs.roots,
    )

    resolution = ask(broken, session)

    assert answer_of(resolution) == RANKS[rank + 1].answer
    _, source, detail = RANKS[rank].answer
    assert resolution.skipped == (Skipped(Source(source), detail, "/gone", "Directory does not exist"),)


@pytest.mark.parametrize(
    "home", ["/", "/etc", "/usr", "/usr/lib/editor", "/Applications/Editor.app", "/System/Library", HOME]
)
@pytest.mark.parametrize("source", [Source.META, Source.ROOTS, Source.CONNECTOR, Source.HEADER])
def test_as_a_hint_a_directory_of_nobodys_project_is_skipped(source: Source, home: str) -> None:
    if source is Source.ROOTS:
        signs = Signs(roots=given_roots(f"file://{home}"))
    else:
        signs = Signs(hints=(Hint(source, "detail", home),))

    resolution = ask(signs)

    assert resolution.place is None
    [skipped] = resolution.skipped
    assert (skipped.source, skipped.directory) == (source, home)
    assert skipped.reason == f"{'the home' if home == HOME else 'a system'} directory says nothing about a project"


def test_a_name_that_only_begins_like_a_system_directory_is_followed() -> None:
    assert answer_of(ask(Signs(hints=(replace(CONNECTOR, directory="/usrlocal"),))))[0] == "/usrlocal"


def test_without_a_home_none_is_skipped() -> None:
    assert answer_of(ask(Signs(hints=(replace(CONNECTOR, directory=HOME),)), home=""))[0] == HOME


@pytest.mark.parametrize("directory", ["/", "/usr", HOME])
def test_as_an_argument_any_directory_is_taken_at_its_word(directory: str) -> None:
    assert answer_of(ask(Signs(directory=directory))) == (directory, "argument", "directory")
    assert answer_of(ask(Signs(), replace(PIN, working_directory=Directory(directory))))[0] == directory


@pytest.mark.parametrize(
    ("signs", "session"),
    [
        (replace(EVERYTHING, directory="/gone"), PIN),
        (replace(EVERYTHING, directory=None), replace(PIN, working_directory=Directory("/gone"))),
    ],
)
def test_an_argument_or_pin_that_leads_nowhere_is_an_error_and_no_hint_replaces_it(
    signs: Signs, session: SessionContext
) -> None:
    with pytest.raises(DirectoryError, match="Directory does not exist: /gone"):
        ask(signs, session)


# Roots


@pytest.mark.parametrize(
    ("roots", "expected"),
    [
        (given_roots("file:///work/root"), ("/work/root", "roots", "root 1")),
        (given_roots("file:///work/root/src", "file:///work/root"), ("/work/root/src", "roots", "root 1")),
        (given_roots("file:///work/%72oot"), ("/work/root", "roots", "root 1")),
        (given_roots("file:///work/link"), ("/work/root", "roots", "root 1")),
        (given_roots("http://example.org/work/root", "file:///work/root"), ("/work/root", "roots", "root 2")),
        (given_roots("file:///gone", "file:///work/root"), ("/work/root", "roots", "root 2")),
        (given_roots("file:///work/bare"), ("/work/bare", "roots", "root 1")),
        (given_roots(), ("/work/connector", "connector", "--directory")),
        (given_roots("http://example.org/work/root"), ("/work/connector", "connector", "--directory")),
        (Roots(), ("/work/connector", "connector", "--directory")),
        (
            given_roots("file:///work/root", "file:///work/second"),
            (None, "roots", "the client's roots lie in several projects"),
        ),
        (
            given_roots("file:///work/root", "file:///work/bare"),
            (None, "roots", "the client's roots lie in several projects"),
        ),
        (
            given_roots("file:///work/bare", "file:///work/bare2"),
            (None, "roots", "the client's roots lie in several projects"),
        ),
        (Roots(RootsAnswer.SILENT), (None, "unknown", "the client did not answer the question for its roots")),
    ],
)
def test_what_a_clients_roots_say(roots: Roots, expected: tuple[str | None, str, str]) -> None:
    assert answer_of(ask(Signs(roots=roots, hints=(CONNECTOR,)))) == expected


@pytest.mark.parametrize("roots", [given_roots("file:///work/root", "file:///work/second"), Roots(RootsAnswer.SILENT)])
def test_what_ranks_before_the_roots_is_not_touched_by_them(roots: Roots) -> None:
    signs = Signs(roots=roots, hints=(META, CONNECTOR))

    assert answer_of(ask(signs))[0] == "/work/meta"
    assert answer_of(ask(signs, PIN))[0] == "/work/pin"
    assert answer_of(ask(replace(signs, directory="/work/argument"), PIN))[0] == "/work/argument"


def test_roots_in_several_projects_are_candidates_and_no_one_elses_sign_is() -> None:
    resolution = ask(Signs(roots=given_roots("file:///work/root", "file:///work/second"), hints=(CONNECTOR,)))

    assert resolution.authority is None
    assert resolution.alternatives == (
        Alternative("/work/root", Source.ROOTS, "root 1", "root"),
        Alternative("/work/second", Source.ROOTS, "root 2", "second"),
    )


def test_while_a_client_is_silent_its_other_signs_are_candidates_each_directory_once() -> None:
    own = Hint(Source.CONNECTOR, "working directory", "/work/connector")
    resolution = ask(Signs(roots=Roots(RootsAnswer.SILENT), hints=(CONNECTOR, own, HEADER)))

    assert resolution.alternatives == (
        Alternative("/work/connector", Source.CONNECTOR, "--directory", "connector"),
        Alternative("/work/header", Source.HEADER, "Workroot-Directory", "header"),
    )


CLAUDE_CODE = Signs(traits=ClientTraits(first_root_is_working_directory=True), hints=(CONNECTOR,))


def test_of_claude_code_the_first_root_is_the_working_directory() -> None:
    resolution = ask(replace(CLAUDE_CODE, roots=given_roots("file:///work/second", "file:///work/root")))

    assert answer_of(resolution) == ("/work/second", "roots", "root 1")
    assert [each.directory for each in resolution.alternatives] == ["/work/root", "/work/connector"]


@pytest.mark.parametrize("first", ["file:///home/ada", "file:///gone", "http://example.org"])
def test_of_claude_code_an_additional_root_never_becomes_the_working_directory(first: str) -> None:
    signs = replace(CLAUDE_CODE, roots=given_roots(first, "file:///work/root", "file:///work/second"))

    resolution = ask(signs)
    assert answer_of(resolution) == ("/work/connector", "connector", "--directory")
    assert [each.directory for each in resolution.alternatives] == ["/work/root", "/work/second"]

    resolution = ask(replace(signs, hints=()))
    assert answer_of(resolution) == (None, "unknown", "no sign names a directory")
    assert [each.directory for each in resolution.alternatives] == ["/work/root", "/work/second"]


# What the answer carries


def test_signs_that_agree_with_the_answer_are_no_alternatives_and_others_are_named_once() -> None:
    hints = (
        META,
        replace(CONNECTOR, directory="/work/link"),
        Hint(Source.CONNECTOR, "PWD", "/work/second"),
        replace(HEADER, directory="/work/second"),
    )

    resolution = ask(Signs(roots=given_roots("file:///work/root"), hints=hints[1:]))
    assert resolution.alternatives == (Alternative("/work/second", Source.CONNECTOR, "PWD", "second"),)

    resolution = ask(Signs(roots=given_roots("file:///work/root"), hints=hints))
    assert [each.directory for each in resolution.alternatives] == ["/work/root", "/work/second"]


def test_an_alternative_that_no_project_owns_has_none() -> None:
    resolution = ask(Signs(hints=(META, replace(CONNECTOR, directory="/work/bare"))))

    assert resolution.alternatives == (Alternative("/work/bare", Source.CONNECTOR, "--directory"),)


def test_a_config_that_cannot_be_used_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = ConfigProblem(path="/work/broken/c.toml", problem="is missing", line=3, field="project.name")
    monkeypatch.setitem(PLACES, "/work/broken", place("/work/broken", problem=problem))
    text = "/work/broken/c.toml:3: project.name: is missing"

    assert ask(Signs(directory="/work/broken")).warnings == (text,)
    assert ask(Signs(hints=(replace(CONNECTOR, directory="/work/broken"),))).warnings == (text,)
    assert ask(Signs(directory="/work/argument")).warnings == ()


def test_each_directory_is_asked_for_once_best_first() -> None:
    signs = replace(EVERYTHING, hints=(*EVERYTHING.hints, Hint(Source.CONNECTOR, "PWD", "/work/connector")))

    assert directories_of(signs, PIN) == (
        "/work/argument",
        "/work/pin",
        "/work/meta",
        "/work/root",
        "/work/connector",
        "/work/header",
    )
    assert directories_of(replace(signs, directory=None), PIN) == directories_of(signs, PIN)[1:]
    assert directories_of(Signs(), None) == ()


def test_a_pin_remembers_every_usable_sign_of_the_client_even_those_that_agree() -> None:
    signs = Signs(
        roots=given_roots("file:///work/root"),
        hints=(
            CONNECTOR,
            replace(CONNECTOR, detail="PWD"),
            replace(CONNECTOR, directory=HOME),
            Hint(Source.HEADER, "Workroot-Directory", "/work/header"),
        ),
    )

    usable = read(signs, PLACES, home=HOME).usable
    assert pinned_signs(place("/work/root/src", project="root", root="/work/root"), usable) == (
        ("roots: root 1", "/work/root", True),
        ("connector: --directory", "/work/connector", False),
        ("connector: PWD", "/work/connector", False),
    )
    assert pinned_signs(place("/work/root"), ()) == ()


def test_a_project_may_lie_where_programs_live() -> None:
    inside, outside = place("/usr/src/app", project="app"), place("/usr/lib/editor")
    hints = tuple(replace(CONNECTOR, directory=directory) for directory in ("/usr/lib/editor", "/usr/src/app"))

    found = decide(Signs(hints=hints), None, {"/usr/src/app": inside, "/usr/lib/editor": outside}, Around(home=HOME))

    assert found.place == inside
    assert [skipped.directory for skipped in found.skipped] == ["/usr/lib/editor"]
