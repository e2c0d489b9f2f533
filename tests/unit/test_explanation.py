"""Decisions and searches in words: each verdict, each way to end, each reason to stop."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import place
from workroot.core.answer import Alternative, Outcome, Resolution, Step, Verdict
from workroot.core.discovery import Finding, FoundConfig, Rules
from workroot.core.explanation import explain, shortened
from workroot.core.projects import ConfigProblem, Directory, Place, ProjectConfig, Repository, StopReason
from workroot.core.resolution import Around, decide, directories_of
from workroot.core.sessions import Alias, Owner, PinnedSign, SessionContext, SessionId
from workroot.core.signs import Authority, Hint, Roots, RootsAnswer, Signs, Source
from workroot.core.walk import explain_walk
from workroot.errors import DirectoryError

HANDLE = SessionId("wr_7Hq2kQ9-vXzLw_3bNf5TgYcD")
PIN = SessionContext(
    session_id=HANDLE,
    owner=Owner("uid:1000"),
    working_directory=Directory("/work/pin"),
    given_directory="/work/pin",
    set_at=1.0,
    last_used=1.0,
)
META = Hint(Source.META, "workroot/directory", "/work/meta")
CONNECTOR = Hint(Source.CONNECTOR, "CLAUDE_PROJECT_DIR", "/work/connector")
PWD = Hint(Source.CONNECTOR, "PWD", "/home/ada")
HANDED = Signs(session_id=HANDLE)
PLACES = {
    each: place(each, project=each.rpartition("/")[2])
    for each in ("/work/pin", "/work/meta", "/work/connector", "/work/one", "/work/two")
} | {"/home/ada": place("/home/ada"), "/work/bare": place("/work/bare")}


def ask(signs: Signs, session: SessionContext | None = None) -> Resolution:
    """Decide as a caller does."""
    gone = "Directory does not exist"
    seen: dict[str, Place | DirectoryError] = {
        each: PLACES.get(each) or DirectoryError(each, gone) for each in directories_of(signs, session)
    }
    return decide(signs, session, seen, Around(home="/home/ada"))


def why(signs: Signs, session: SessionContext | None = None) -> list[str]:
    return list(explain(ask(signs, session)))


def roots(*directories: str) -> Roots:
    return Roots(RootsAnswer.GIVEN, tuple(f"file://{each}" for each in directories))


# Whose session


def test_a_session_by_a_handle_is_named_without_the_whole_handle() -> None:
    first = why(HANDED, PIN)[0]

    assert first.startswith("session: wr_7Hq2kQ9-..., by ")
    assert HANDLE not in "\n".join(why(HANDED, PIN))


def test_the_default_session_of_a_connection_is_called_so() -> None:
    assert why(Signs(alias=Alias("a")), PIN)[0] == "session: wr_7Hq2kQ9-..., the default of the connection"


def test_a_call_without_a_session_says_so() -> None:
    assert why(Signs())[0].startswith("session: none")


# Each sign


def test_the_sign_that_decides_is_named_with_value_and_project() -> None:
    assert "1. meta (workroot/directory): /work/meta in project meta -> decides" in why(Signs(hints=(META,)))


def test_a_sign_that_agrees_says_so() -> None:
    same = replace(CONNECTOR, directory="/work/meta")

    assert "2. connector (CLAUDE_PROJECT_DIR): /work/meta in project meta -> names the same directory" in why(
        Signs(hints=(META, same))
    )


def test_a_worse_sign_that_names_another_directory_says_so() -> None:
    assert (
        "2. connector (CLAUDE_PROJECT_DIR): /work/connector in project connector"
        " -> names another directory; a better sign decides"
    ) in why(Signs(hints=(META, CONNECTOR)))


def test_a_sign_that_was_passed_over_says_why() -> None:
    lines = why(Signs(hints=(replace(META, directory="/gone"), replace(CONNECTOR, directory="${HOME}"), PWD)))

    assert lines[1:4] == [
        "1. meta (workroot/directory): /gone -> passed over: Directory does not exist",
        "2. connector (CLAUDE_PROJECT_DIR): ${HOME} -> passed over: was not expanded by the client",
        "3. connector (PWD): /home/ada -> passed over: the home directory says nothing about a project",
    ]


def test_signs_are_candidates_where_nothing_can_be_decided() -> None:
    lines = why(Signs(roots=roots("/work/one", "/work/two")))

    assert lines[1:3] == [
        "1. roots (root 1): /work/one in project one -> a candidate, since nothing can be decided",
        "2. roots (root 2): /work/two in project two -> a candidate, since nothing can be decided",
    ]
    assert "candidate: /work/two in project two, by roots (root 2)" in lines
    assert lines[-1] == "=> ambiguous: the client's roots lie in several projects"


def test_the_kinds_of_signs_that_did_not_come_are_listed_in_order() -> None:
    assert "not sent, or not asked for: argument, _meta, roots, connector, turn metadata, header, process" in why(
        Signs()
    )
    assert "not sent, or not asked for: argument, roots, turn metadata, header, process" in why(
        Signs(hints=(META, CONNECTOR))
    )


# What becomes of a pin


def test_a_pin_that_holds_decides_before_all_hints() -> None:
    lines = why(replace(HANDED, hints=(META,)), PIN)

    assert lines[1] == "1. pin (set_working_directory): /work/pin in project pin -> decides"
    assert lines[-1] == ("=> /work/pin, in project pin, by pin (set_working_directory), the word of the model")


def test_an_argument_comes_before_the_pin() -> None:
    lines = why(replace(HANDED, directory="/work/one", hints=(META,)), PIN)

    assert lines[1:4] == [
        "1. argument (directory): /work/one in project one -> decides",
        "2. pin (set_working_directory): /work/pin -> passed over: the argument of this call comes first",
        "3. meta (workroot/directory): /work/meta in project meta -> names another directory; a better sign decides",
    ]


def test_a_pin_that_follows_its_client_gives_way_and_the_move_is_told() -> None:
    pin = replace(PIN, signs=(PinnedSign("meta: workroot/directory", "/work/pin", agreed=True),))

    lines = why(replace(HANDED, hints=(META,)), pin)

    assert lines[1] == (
        "1. pin (set_working_directory): /work/pin -> gives way: "
        "it agreed with the client's signs, and those have changed since"
    )
    assert lines[2].endswith("-> decides")
    assert any(line.startswith("note: the client moved from /work/pin") for line in lines)


def test_a_session_that_was_moved_by_the_call_says_where_it_was() -> None:
    moved = replace(ask(Signs(hints=(META,))), session=replace(PIN, revision=4), previous=replace(PIN, revision=3))

    assert explain(moved)[1] == "before: this session worked in /work/pin (revision 3)"


def test_a_stale_pin_says_what_changed_and_names_both_candidates() -> None:
    pin = replace(PIN, signs=(PinnedSign("meta: workroot/directory", "/work/one"),))

    lines = why(replace(HANDED, hints=(META,)), pin)

    assert lines[1] == (
        "1. pin (set_working_directory): /work/pin -> stale: "
        "it was set against the client's signs, and those have changed since"
    )
    assert [line for line in lines if line.startswith("candidate: ")] == [
        "candidate: /work/pin in project pin, by pin (set_working_directory)",
        "candidate: /work/meta in project meta, by meta (workroot/directory)",
    ]
    assert lines[-1].startswith("=> stale: this session was set to /work/pin while the client named /work/one")


# The answer


def test_an_unknown_directory_says_why() -> None:
    assert why(Signs(hints=(PWD,)))[-1] == "=> unknown: no sign names a directory"


def test_a_directory_that_no_project_owns_says_so() -> None:
    assert why(Signs(hints=(replace(META, directory="/work/bare"),)))[-1] == (
        "=> /work/bare, which no project owns, by meta (workroot/directory), the word of the client"
    )


def test_a_directory_below_its_project_s_root_names_the_root() -> None:
    assert (
        "=> /work/shop/src, in project shop at /work/shop, by"
        in explain(at(place("/work/shop/src", project="shop", root="/work/shop")))[-1]
    )


def test_a_worktree_names_its_main_checkout() -> None:
    fix = place("/work/fix", project="shop", worktree_of="/work/shop")

    assert "in project shop, a worktree of /work/shop, by" in explain(at(fix))[-1]


def test_a_config_that_cannot_be_used_leaves_its_place_in_no_project_and_is_told() -> None:
    problem = ConfigProblem(path="/work/bare/.workroot/config.toml", problem="is missing", line=3, field="version")
    lines = explain(replace(at(place("/work/bare", problem=problem)), warnings=(str(problem),)))

    assert "in no project, because the nearest config cannot be used" in lines[-1]
    assert "note: /work/bare/.workroot/config.toml:3: version: is missing" in lines


def test_projects_below_are_named_beside_a_decided_answer_and_as_candidates_of_an_ambiguous_one() -> None:
    below = Alternative("/work/bare/a", Source.REGISTRY, "known project below", "a")
    decided = replace(at(place("/work/bare")), alternatives=(below,))
    ambiguous = replace(decided, outcome=Outcome.AMBIGUOUS)

    assert "known as well: /work/bare/a in project a, by registry (known project below)" in explain(decided)
    assert "candidate: /work/bare/a in project a, by registry (known project below)" in explain(ambiguous)
    assert explain(ambiguous)[-1].startswith("=> ambiguous: /work/bare, which no project owns")


def test_paths_and_names_without_end_are_cut() -> None:
    long = at(place(f"/{'d' * 5000}", project="n" * 5000))

    assert max(len(line) for line in explain(long)) < 3000


# For an error


def test_the_short_form_says_what_was_looked_at_and_why_it_did_not_do() -> None:
    assert shortened(ask(Signs(hints=(replace(META, directory="/gone"), PWD)))) == (
        "unknown: no sign names a directory",
        "Looked at: meta (workroot/directory) /gone: Directory does not exist; "
        "connector (PWD) /home/ada: the home directory says nothing about a project",
        "Not sent: argument, roots, turn metadata, header, process",
    )


def test_the_short_form_of_a_decision_is_its_answer() -> None:
    assert shortened(ask(Signs(hints=(META,)))) == (
        "/work/meta, in project meta, by meta (workroot/directory), the word of the client",
    )


@pytest.mark.parametrize("length", [1, 99, 100, 101, 300, 5000])
@pytest.mark.parametrize("count", [0, 1, 64])
def test_the_short_form_is_short_whatever_was_sent(length: int, count: int) -> None:
    step = Step(Source.ROOTS, "r" * length, f"/{'d' * length}", Verdict.SKIPPED, "x" * length, "p" * length)
    found = replace(at(place("/work/bare")), place=None, outcome=Outcome.UNKNOWN, detail="y" * length)

    lines = shortened(replace(found, steps=(step,) * count))

    assert 1 <= len(lines) <= 3
    assert sum(len(line) for line in lines) <= 300


def at(where: Place) -> Resolution:
    return Resolution(place=where, outcome=Outcome.DECIDED, source=Source.META, detail="d", authority=Authority.CLIENT)


# A search


def finding(
    stop: StopReason,
    *,
    stopped_at: str = "/a/b",
    barrier: Directory | None = None,
    config: FoundConfig | None = None,
    repository: Repository | None = None,
) -> Finding:
    return Finding(
        directory=Directory("/a/b/c"),
        levels=(Directory("/a/b/c"), Directory("/a/b")),
        stop=stop,
        stopped_at=Directory(stopped_at),
        barrier=barrier,
        config=config,
        repository=repository,
    )


REPOSITORY = Repository(root=Directory("/a/b"), name="b", common_directory=Directory("/a/b/.git"))
CONFIG = FoundConfig(
    root=Directory("/a/b/c"), path="/a/b/c/.workroot/config.toml", content=ProjectConfig(name="Shop")
)  # fmt: skip
BARRIER = Directory("/a")


@pytest.mark.parametrize(
    ("walk", "said"),
    [
        (finding(StopReason.FILESYSTEM_ROOT), "=> /a/b: this is the top of the file system"),
        (finding(StopReason.HOME), "=> /a/b: the home directory ends the search"),
        (finding(StopReason.DEPTH), "=> /a/b: the search ends after so many levels"),
        (
            finding(StopReason.MOUNT, barrier=BARRIER),
            "=> /a/b: /a is on another device, which ends the search",
        ),
        (
            finding(StopReason.OWNER, barrier=BARRIER),
            "=> /a/b: /a belongs to another user or others may write there, which ends the search unless it "
            "is one of your trusted_directories",
        ),
        (
            finding(StopReason.REPOSITORY, repository=REPOSITORY),
            "=> /a/b: a version-control root ends the search",
        ),
        (
            finding(StopReason.CONFIG, config=CONFIG, stopped_at=CONFIG.root),
            "=> /a/b/c: a config decides, whether it can be used or not",
        ),
    ],
    ids=lambda value: value.stop if isinstance(value, Finding) else "",
)
def test_a_search_ends_with_its_reason(walk: Finding, said: str) -> None:
    assert explain_walk(walk)[-1] == said


def test_each_reason_to_stop_has_words() -> None:
    for stop in StopReason:
        assert explain_walk(finding(stop, barrier=BARRIER))[-1].startswith("=> /a/b: ")


def test_each_level_is_told_with_what_was_found_there() -> None:
    worktree = replace(REPOSITORY, main_root=Directory("/main"))

    assert explain_walk(finding(StopReason.REPOSITORY, repository=worktree))[:-1] == (
        "1. /a/b/c: nothing",
        "2. /a/b: a version-control root, a worktree of /main",
    )


def test_a_bare_repository_is_called_so() -> None:
    bare = replace(REPOSITORY, common_directory=REPOSITORY.root)

    assert "2. /a/b: a bare repository" in explain_walk(finding(StopReason.REPOSITORY, repository=bare))


def test_a_level_in_a_trusted_directory_is_called_so() -> None:
    rules = Rules(user_id=1000, trusted=(Directory("/a/b/c"),))

    assert explain_walk(finding(StopReason.HOME), rules)[:-1] == (
        "1. /a/b/c: nothing (in one of your trusted_directories: its owner does not count)",
        "2. /a/b: nothing",
    )


def test_a_config_is_told_and_above_it_only_repositories_are_looked_for() -> None:
    assert explain_walk(finding(StopReason.CONFIG, config=CONFIG))[:-1] == (
        "1. /a/b/c: the config .workroot/config.toml is the project's",
        "2. /a/b: not a version-control root",
    )


@pytest.mark.parametrize(
    ("line", "field", "said"),
    [
        (3, "project.name", "line 3, project.name: is empty"),
        (3, None, "line 3: is empty"),
        (None, "version", "version: is empty"),
        (None, None, "is empty"),
    ],
)
def test_a_config_that_cannot_be_used_is_told_with_line_and_field(
    line: int | None, field: str | None, said: str
) -> None:
    problem = ConfigProblem(path=CONFIG.path, problem="is empty", line=line, field=field)

    lines = explain_walk(finding(StopReason.CONFIG, config=replace(CONFIG, content=problem)))

    assert lines[0] == f"1. /a/b/c: the config .workroot/config.toml cannot be used: {said}"


def test_the_level_that_was_not_looked_into_is_told() -> None:
    assert explain_walk(finding(StopReason.OWNER, barrier=BARRIER))[2] == "3. /a: not looked into"
