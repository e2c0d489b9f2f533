"""What `docs/which-project.md` says is so: its examples are played, its steps are taken, its tables are right."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult
from readme_document import ROOT, Block, blocks, code, codes, find, headings, inline_code, links, steps
from real_daemon import DEADLINE_SECONDS, ERAS, LEGACY, MODERN, Home, answer_of, error_of, open_home, text_of
from test_client_signs import Speaker
from test_project_ids import commit, git
from test_roots import Window
from transcripts import AS_DEFAULT, BECAME_DEFAULT, BY_HANDLE, Transcript, comparable

from workroot.core.answer import Outcome
from workroot.core.projects import StopReason
from workroot.core.signs import Authority
from workroot.identity import TokenFile

PAGE = "docs/which-project.md"
WHERE = "Whose session, and where does a call work?"
OWNER = "Which project owns a directory?"
SHOP_ID = "5b2f3f6e-8f0e-4a51-9d0c-3f7c1c0a9b11"
EXAMPLES = [pytest.param(each, id=str(each).replace(" ", "-")) for each in blocks(PAGE) if each.kind == "text"]

_Test = TypeVar("_Test", bound=Callable[..., Any])
_taken: set[tuple[str, int]] = set()

eras = pytest.mark.parametrize("era", ERAS)


def takes(section: str, *numbers: int) -> Callable[[_Test], _Test]:
    """Note that a test shows these steps of the page."""
    _taken.update((section, number) for number in numbers)
    return lambda test: test


# The page itself


def test_every_step_is_shown_by_a_test() -> None:
    assert set(steps(PAGE)) == _taken
    assert {section for section, _ in _taken} == {WHERE, OWNER}


def test_links_lead_somewhere() -> None:
    anchors = {
        heading.lower().replace(" ", "-").translate({ord(each): None for each in "?,"}) for heading in headings(PAGE)
    }

    for link in links(PAGE):
        assert link.removeprefix("#") in anchors if link.startswith("#") else (ROOT / "docs" / link).is_file(), link


@pytest.mark.parametrize("example", EXAMPLES)
@eras
async def test_an_example_is_what_happens(home: Home, era: str, example: Block) -> None:
    played = await Transcript(home, era).play(example.text)

    assert comparable(played).splitlines() == comparable(example.text).splitlines()


@pytest.mark.parametrize("era", [LEGACY])
async def test_sessions_of_a_connection_are_named_as_the_page_says(shared: Home, era: str) -> None:
    directory = shared.repository("of-a-connection")

    async with shared.open_client(era, directory) as client:
        first = text_of(await client.call_tool("set_working_directory", {"directory": str(directory)}))
        second = text_of(await client.call_tool("get_working_directory", {}))

    assert first.endswith(f"{AS_DEFAULT} Note: {BECAME_DEFAULT}")
    assert second.endswith(AS_DEFAULT)
    assert {AS_DEFAULT, BECAME_DEFAULT, BY_HANDLE} <= set(inline_code(PAGE))


async def test_the_fields_of_an_answer_are_those_of_the_tables(shared: Home) -> None:
    answer, meta = (find("table", "What an answer says", number, document=PAGE) for number in (1, 2))

    async with shared.open_client(MODERN, shared.repository("fields")) as client:
        result = await client.call_tool("get_working_directory", {})

    assert result.structured_content is not None
    assert result.meta is not None
    assert [name for row in answer.rows for name in codes(row[0])] == list(result.structured_content)
    assert {name for row in meta.rows for name in codes(row[0])} == set(result.meta["workroot/resolution"])
    assert set(result.structured_content["project_info"]) == {"id", "name", "root", "worktree_of"}
    assert codes(meta.rows[1][1]) == ["decided", "unknown", "ambiguous", "stale"] == [each.value for each in Outcome]
    assert set(codes(answer.rows[5][1])) == {*Authority, "--directory"}


def test_a_search_ends_for_the_reasons_of_the_table(home: Home) -> None:
    said = {code(row[0]): row[1] for row in find("table", OWNER, 1, document=PAGE).rows}
    assert set(said) == set(StopReason)
    top = Path(home.environment["HOME"])
    (top / "code" / "open").mkdir(parents=True)
    (top / "code" / "open").chmod(0o777)
    deep = top.joinpath(*["d"] * 64)
    deep.mkdir(parents=True)
    where = {
        "config": (home.configured("home/code/shop", name="Shop", project_id=SHOP_ID), None),
        "repository": (home.repository("home/code/atlas"), None),
        "home": (top / "code", None),
        "filesystem_root": (Path("/"), None),
        "owner": (top / "code" / "open", top / "code" / "open"),
        "depth": (deep, None),
        **({"mount": (Path("/sys/kernel"), Path("/"))} if sys.platform == "linux" else {}),
    }

    for stop, (directory, barrier) in where.items():
        ended = why(home, directory)
        assert (ended["stop"], ended["barrier"]) == (stop, str(barrier) if barrier else None)
        assert ended["explanation"][-1].endswith(f": {said[stop].replace('LEVEL', str(barrier))}")


# Where a call works


@takes(WHERE, 1)
@eras
async def test_a_handle_names_the_session_wherever_it_stands(shared: Home, era: str) -> None:
    one, two, start = (shared.repository(f"{name}-{era}") for name in ("handle-one", "handle-two", "handle-start"))

    async with shared.open_client(era, start) as client:
        first = (await answer_of(client, "set_working_directory", directory=str(one)))["session_id"]
        await answer_of(client, "get_working_directory", session_id=first)
        second = (await answer_of(client, "set_working_directory", directory=str(two)))["session_id"]
        in_meta = await answer_of(client, "get_working_directory", meta={"workroot/session": second})
        argument_first = await answer_of(
            client, "get_working_directory", meta={"workroot/session": second}, session_id=first
        )
        await answer_of(client, "close_session", session_id=first)
        closed = await client.call_tool("get_working_directory", {"session_id": first})
        unknown = await client.call_tool("get_working_directory", {"session_id": "wr_nobodys"})
    async with open_http(shared, MODERN, {"Workroot-Session": second}) as client:
        by_header = await answer_of(client, "get_working_directory")
        differs = await client.call_tool("get_working_directory", {}, meta={"workroot/session": first})  # type: ignore[arg-type] # any keys are allowed
    async with shared.open_http_client(MODERN, f"eve-handle-{era}") as eve:
        strange = await eve.call_tool("get_working_directory", {"session_id": second})

    assert in_meta["working_directory"] == by_header["working_directory"] == str(two)
    assert argument_first["working_directory"] == str(one)
    assert code_of(closed) == "closed_session"
    assert str(one) in text_of(closed)
    assert code_of(unknown) == code_of(strange) == "unknown_session"
    assert code_of(differs) == "signs_disagree"


@takes(WHERE, 2)
@eras
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("codex-mcp-client", "threadId"),
        ("codex-mcp-client", "sessionId"),
        ("any", "vscode.conversationId"),
        ("any", "agent-session-id"),
    ],
)
async def test_a_conversation_stands_for_a_session(shared: Home, era: str, name: str, key: str) -> None:
    assert key in inline_code(PAGE)
    directory, start = (shared.repository(f"{part}-{key}-{era}") for part in ("conversation", "before"))

    async with shared.open_client(era, name=name) as client:
        opened = await answer_of(client, "set_working_directory", meta={key: f"1 {era}"}, directory=str(start))
        moved = await answer_of(client, "set_working_directory", meta={key: f"1 {era}"}, directory=str(directory))
        other = await answer_of(client, "get_working_directory", meta={key: f"2 {era}"})
    async with shared.open_client(era, name=name) as client:
        goes_on = await answer_of(client, "get_working_directory", meta={key: f"1 {era}"})

    assert goes_on["working_directory"] == str(directory)
    assert goes_on["session_id"] == moved["session_id"] == opened["session_id"]
    assert other["working_directory"] is None


@takes(WHERE, 3)
@eras
@pytest.mark.parametrize(
    ("options", "name"), [((), "ada"), (("--no-default-session",), "ada"), ((), "cursor-vscode")], ids=str
)
async def test_a_connection_has_a_default_session_only_in_the_older_era(
    shared: Home, era: str, options: tuple[str, ...], name: str
) -> None:
    directory = shared.repository(f"default-{era}-{name}-{len(options)}")
    has_one = era == LEGACY and not options and name == "ada"

    async with shared.open_client(era, None, *options, name=name) as client:
        await answer_of(client, "set_working_directory", directory=str(directory))
        result = await client.call_tool("get_working_directory", {})

    assert result.structured_content is not None
    assert result.structured_content["working_directory"] == (str(directory) if has_one else None)
    assert resolution(result)["is_default_session"] is has_one


@takes(WHERE, 3)
@pytest.mark.parametrize("is_passed", [False, True])
async def test_a_default_session_moves_until_somebody_has_passed_its_handle(shared: Home, is_passed: bool) -> None:
    one, two = shared.repository(f"default-one-{is_passed}"), shared.repository(f"default-two-{is_passed}")

    async with shared.open_client(LEGACY) as client:
        first = await answer_of(client, "set_working_directory", directory=str(one))
        if is_passed:
            await answer_of(client, "get_working_directory", session_id=first["session_id"])
        result = await client.call_tool("set_working_directory", {"directory": str(two)})
        default = await answer_of(client, "get_working_directory")
        by_handle = await answer_of(client, "get_working_directory", session_id=first["session_id"])

    assert result.structured_content is not None
    assert default["session_id"] == result.structured_content["session_id"]
    assert (default["session_id"] != first["session_id"]) is is_passed
    assert default["working_directory"] == str(two)
    assert by_handle["working_directory"] == str(one if is_passed else two)
    assert first["previous"] is None
    assert result.structured_content["previous"]["working_directory"] == str(one)
    assert resolution(result)["previous"] == result.structured_content["previous"]
    assert f"{AS_DEFAULT} Note: {BECAME_DEFAULT}; before, it worked in {one}" in text_of(result)


@takes(WHERE, 4)
@eras
async def test_only_setting_opens_a_session(shared: Home, era: str) -> None:
    directory, before = shared.repository(f"opens-{era}"), set(shared.sessions())

    async with shared.open_client(era, directory) as client:
        asked = await answer_of(client, "get_working_directory")
        await answer_of(client, "list_projects")
        assert set(shared.sessions()) == before
        opened = await answer_of(client, "set_working_directory", directory=str(directory))

    assert asked["session_id"] is None
    assert set(shared.sessions()) - before == {opened["session_id"]}


@takes(WHERE, 5)
@eras
async def test_an_argument_is_taken_at_its_word(shared: Home, era: str) -> None:
    window = Window([shared.repository(f"word-{era}").as_uri()])

    async with shared.open_client(era, roots=window) as client:
        for directory in (shared.environment["HOME"], "/usr", "/"):
            answer = await answer_of(client, "get_working_directory", directory=directory)
            assert (answer["working_directory"], answer["source"]) == (str(Path(directory).resolve()), "argument")
            assert answer["authority"] == "model"
        missing = await error_of(client, "get_working_directory", directory="/does/not/exist")

    assert missing.splitlines()[0] == "Directory does not exist: /does/not/exist"


@takes(WHERE, 5)
@eras
async def test_to_ask_about_a_directory_changes_nothing(home: Home, era: str) -> None:
    start, asked = home.repository("start"), home.repository("asked")

    async with home.open_client(era, start) as client:
        answer = await answer_of(client, "get_working_directory", directory=str(asked))
        now = await answer_of(client, "get_working_directory")
        known = await answer_of(client, "list_projects")

    assert (answer["working_directory"], answer["project_info"]["root"]) == (str(asked), str(asked))
    assert now["working_directory"] == str(start)
    assert [each["root"] for each in known["projects"]] == [str(start)]
    assert home.sessions() == {}


@takes(WHERE, 5)
@pytest.mark.parametrize(("reach", "may"), [("anywhere", 3), ("known", 2), ("roots", 1)])
async def test_how_far_an_argument_reaches_is_a_setting(reach: str, may: int) -> None:
    with open_home(WORKROOT_MODEL_MAY_MOVE=reach) as home:
        named, known, other = (home.repository(name) for name in ("named", "known", "other"))
        async with home.open_client(MODERN, known) as client:
            await answer_of(client, "get_working_directory")
        async with home.open_client(MODERN, roots=Window([named.as_uri()])) as client:
            results = [
                await client.call_tool(tool, {"directory": str(directory)})
                for directory in (named, known, other)
                for tool in ("get_working_directory", "set_working_directory")
            ]

    assert [not result.is_error for result in results] == [True] * may * 2 + [False] * (3 - may) * 2
    assert all(code_of(result) == "move_refused" for result in results if result.is_error)


@takes(WHERE, 6)
@eras
async def test_a_pin_holds_follows_or_becomes_stale(shared: Home, era: str) -> None:
    one, two, three = (shared.repository(f"pin-{number}-{era}") for number in ("one", "two", "three"))
    window = Window([one.as_uri()])

    async with shared.open_client(era, shared.directory(f"pin-start-{era}"), roots=window) as client:

        async def set_to(directory: Path) -> str:
            return str((await answer_of(client, "set_working_directory", directory=str(directory)))["session_id"])

        async def ask(session: str) -> tuple[Any, ...]:
            result = await client.call_tool("get_working_directory", {"session_id": session})
            answer = result.structured_content
            assert answer is not None
            return answer["working_directory"], resolution(result)["outcome"], answer

        agreeing = await set_to(one)
        assert (await ask(agreeing))[0] == str(one)
        window.folders = []
        assert (await ask(agreeing))[0] == str(one), "it holds if the client names nothing"
        window.folders = [two.as_uri()]
        directory, outcome, answer = await ask(agreeing)
        assert (directory, outcome) == (str(two), "decided")
        assert answer["previous"]["working_directory"] == str(one)
        assert f"the client moved from {one}" in answer["warnings"][0]
        assert shared.sessions()[agreeing]["revision"] == 2, "one revision"
        against = await set_to(three)
        assert (await ask(against))[0] == str(three)
        window.folders = [one.as_uri()]
        directory, outcome, answer = await ask(against)
        assert (directory, outcome) == (None, "stale")
        assert [each["directory"] for each in answer["alternatives"]] == [str(three), str(one)]
        window.folders = [three.as_uri()]
        assert (await ask(against))[:2] == (str(three), "decided")
        window.folders = [two.as_uri()]
        assert (await ask(against))[0] == str(two), "since it agreed, it follows"


@takes(WHERE, 6)
@eras
async def test_a_pin_follows_only_to_what_is_new_and_in_one_project(shared: Home, era: str) -> None:
    one, two, three, four = (shared.repository(f"new-{number}-{era}") for number in ("one", "two", "three", "four"))
    window = Window([one.as_uri(), two.as_uri()])

    async with shared.open_client(era, shared.directory(f"new-start-{era}"), roots=window) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(two)))["session_id"]
        said = []
        for folders in ([two, three], [one], [three, four], [one, three]):
            window.folders = [each.as_uri() for each in folders]
            result = await client.call_tool("get_working_directory", {"session_id": session})
            assert result.structured_content is not None
            said.append((result.structured_content["working_directory"], resolution(result)["outcome"]))

    beside, was_there_before, several, one_is_new = said
    assert beside == (str(two), "decided")
    assert was_there_before == several == (None, "stale")
    assert one_is_new == (str(three), "decided")


@takes(WHERE, 6)
@eras
async def test_to_agree_is_to_mean_the_same_project(shared: Home, era: str) -> None:
    outer, later = shared.repository(f"outer-{era}"), shared.repository(f"later-{era}")
    above = shared.directory(f"above-{era}")
    nested = shared.configured(f"outer-{era}/nested", name="Nested", project_id="")
    config = nested / ".workroot" / "config.toml"
    config.write_text(config.read_text().replace('id = ""\n', ""))
    window = Window([])
    cases = {
        nested: (outer, None),
        shared.directory(f"outer-{era}/src"): (outer, str(later)),
        shared.directory(f"above-{era}/below"): (above, str(later)),
    }

    async with shared.open_client(era, shared.directory(f"agree-start-{era}"), roots=window) as client:
        for pinned, (named, follows_to) in cases.items():
            window.folders = [named.as_uri()]
            session = (await answer_of(client, "set_working_directory", directory=str(pinned)))["session_id"]
            window.folders = [later.as_uri()]
            answer = await answer_of(client, "get_working_directory", session_id=session)
            assert answer["working_directory"] == follows_to, pinned


@takes(WHERE, 6)
@eras
async def test_a_pinned_directory_that_is_gone_is_an_error_with_what_the_signs_name(shared: Home, era: str) -> None:
    gone, start = shared.repository(f"gone-{era}"), shared.repository(f"gone-start-{era}")

    async with shared.open_client(era, start) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(gone)))["session_id"]
        shutil.rmtree(gone)
        said = await error_of(client, "get_working_directory", session_id=session)

    assert said.startswith(f"Directory does not exist: {gone}\n")
    assert str(start) in said


@takes(WHERE, 7)
@eras
async def test_meta_names_the_directory_before_the_roots(shared: Home, era: str) -> None:
    first, second, third, root = (shared.repository(f"meta-{number}-{era}") for number in range(4))
    meta: dict[str, object] = {
        "workroot/directory": str(first),
        "codex/sandbox-state-meta": {"sandboxCwd": second.as_uri()},
        "agent-working-dir": str(third),
    }
    window = Window([root.as_uri()])

    async with shared.open_client(era, roots=window) as client:
        for expected in (first, second, third):
            answer = await answer_of(client, "get_working_directory", meta=meta)
            assert (answer["working_directory"], answer["source"]) == (str(expected), "meta")
            del meta[next(iter(meta))]
        assert window.asked == 0, "they are not asked for if _meta has decided"
        assert (await answer_of(client, "get_working_directory"))["working_directory"] == str(root)


@takes(WHERE, 8)
@eras
@pytest.mark.parametrize("name", ["ada", "claude-code", "gemini-cli-mcp-client"])
async def test_of_several_roots_the_first_counts_for_those_who_mean_it_so(shared: Home, era: str, name: str) -> None:
    one, two = shared.repository(f"roots-one-{era}-{name}"), shared.repository(f"roots-two-{era}-{name}")

    async with shared.open_client(era, roots=Window([one.as_uri(), two.as_uri()]), name=name) as client:
        result = await client.call_tool("get_working_directory", {})

    assert result.structured_content is not None
    if name == "ada":
        assert resolution(result)["outcome"] == "ambiguous"
        assert [each["directory"] for each in result.structured_content["alternatives"]] == [str(one), str(two)]
    else:
        assert result.structured_content["working_directory"] == str(one)


@takes(WHERE, 9)
@eras
async def test_of_what_the_connector_of_a_shared_process_saw_only_the_option_counts(shared: Home, era: str) -> None:
    started, named = shared.repository(f"started-{era}"), shared.repository(f"named-{era}")

    async with shared.open_client(era, started, name="cursor-vscode") as client:
        assert (await answer_of(client, "get_working_directory"))["working_directory"] is None
    async with shared.open_client(era, started, "--directory", str(named), name="cursor-vscode") as client:
        answer = await answer_of(client, "get_working_directory")

    assert (answer["working_directory"], answer["source"], answer["authority"]) == (str(named), "connector", "user")


@takes(WHERE, 9)
@eras
async def test_a_relative_option_begins_where_the_connector_runs(shared: Home, era: str) -> None:
    inner = shared.directory(f"relative-{era}/inner")

    async with shared.open_client(era, inner.parent, "--directory", "inner") as client:
        answer = await answer_of(client, "get_working_directory")

    assert (answer["working_directory"], answer["authority"]) == (str(inner), "user")


@takes(WHERE, 5)
async def test_an_unknown_project_nested_in_a_known_one_is_not_known() -> None:
    with open_home(WORKROOT_MODEL_MAY_MOVE="known") as home:
        known = home.repository("known")
        async with home.open_client(MODERN, known) as client:
            await answer_of(client, "get_working_directory")
        nested, plain = home.repository("known/nested"), home.directory("known/plain")
        async with home.open_client(MODERN) as client:
            refused = await client.call_tool("set_working_directory", {"directory": str(nested)})
            inside = await answer_of(client, "set_working_directory", directory=str(plain))

    assert code_of(refused) == "move_refused"
    assert inside["working_directory"] == str(plain)


@takes(WHERE, 10)
@eras
async def test_a_turn_that_is_about_one_workspace_names_it(shared: Home, era: str) -> None:
    one, two, start = (shared.repository(f"turn-{name}-{era}") for name in ("one", "two", "start"))
    about: dict[str, object] = {"x-codex-turn-metadata": {"workspaces": {str(one): {}}}}
    about_two: dict[str, object] = {"x-codex-turn-metadata": {"workspaces": {str(one): {}, str(two): {}}}}

    async with shared.open_client(era) as client:
        answer = await answer_of(client, "get_working_directory", meta=about)
        assert (answer["working_directory"], answer["source"]) == (str(one), "turn_metadata")
        assert (await answer_of(client, "get_working_directory", meta=about_two))["working_directory"] is None
    async with shared.open_client(era, start) as client:
        assert (await answer_of(client, "get_working_directory", meta=about))["source"] == "connector"


@takes(WHERE, 11)
@eras
async def test_header_and_url_are_equals(shared: Home, era: str) -> None:
    one, two = shared.repository(f"header-{era}"), shared.repository(f"url-{era}")

    async with open_http(shared, era, {"Workroot-Directory": str(one)}) as client:
        by_header = await answer_of(client, "get_working_directory")
    async with open_http(shared, era, {}, directory=str(two)) as client:
        by_url = await answer_of(client, "get_working_directory")
    async with open_http(shared, era, {"Workroot-Directory": str(one)}, directory=str(two)) as client:
        both = await client.call_tool("get_working_directory", {})
        better = await answer_of(client, "get_working_directory", meta={"workroot/directory": str(two)})

    assert (by_header["working_directory"], by_header["source"]) == (str(one), "header")
    assert (by_url["working_directory"], by_url["source"]) == (str(two), "header")
    assert code_of(both) == "signs_disagree"
    assert better["working_directory"] == str(two)


@pytest.fixture
def anywhere() -> Iterator[None]:
    """Come back to where the tests run."""
    before = Path.cwd()
    yield
    os.chdir(before)


@takes(WHERE, 12)
@pytest.mark.usefixtures("anywhere")
@eras
async def test_over_http_the_process_is_where_it_is(shared: Home, era: str) -> None:
    os.chdir(directory := shared.repository(f"process-{era}"))

    async with open_http(shared, era, {}) as client:
        answer = await answer_of(client, "get_working_directory")
    async with open_http(shared, era, {"Via": "1.1 relay"}) as client:
        relayed = await answer_of(client, "get_working_directory")
    async with shared.open_http_client(era, f"eve-process-{era}") as eve:
        of_somebody_else = await answer_of(eve, "get_working_directory")

    assert (answer["working_directory"], answer["source"]) == (str(directory), "process")
    assert relayed["working_directory"] is None
    assert of_somebody_else["working_directory"] is None


@takes(WHERE, 13)
@pytest.mark.parametrize("is_withheld", [False, True])
async def test_who_is_nowhere_is_told_so_with_five_recent_projects(is_withheld: bool) -> None:
    with open_home(WORKROOT_SHOW_RECENT_PROJECTS=str(not is_withheld)) as home:
        async with home.open_client(MODERN) as client:
            for number in range(6):
                meta = {"workroot/directory": str(home.repository(f"recent-{number}"))}
                await answer_of(client, "get_working_directory", meta=meta)
            result = await client.call_tool("get_working_directory", {})

    answer = result.structured_content
    assert answer is not None
    assert (answer["working_directory"], answer["project_info"], answer["source"]) == (None, None, "unknown")
    assert "Call set_working_directory" in text_of(result)
    recent = [Path(each["directory"]).name for each in answer["alternatives"]]
    assert recent == ([] if is_withheld else [f"recent-{number}" for number in (5, 4, 3, 2, 1)])


@eras
async def test_what_is_passed_over_is_listed_with_the_reason(shared: Home, era: str) -> None:
    file = shared.directory(f"passed-{era}") / "file"
    file.touch()
    name, home = f"over-{era}", shared.environment["HOME"]
    (Path(home) / ".config").mkdir(exist_ok=True)
    reasons = {
        "file:///does/not/exist": "Directory does not exist",
        file.as_uri(): "Path is not a directory",
        "https://example.org/": "is not the file: URI of a directory here",
        Path(home).as_uri(): "the home directory says nothing about a project",
        "file:///": "a system directory says nothing about a project",
        "file:///usr": "a system directory says nothing about a project",
        (Path(home) / ".config").as_uri(): "a directory of programs' own files says nothing about a project",
    }

    async with shared.open_raw_connector() as client:
        speaker = await Speaker.begin(client, era, name, list(reasons))
        assert await speaker.where({}) is None
    [decision] = json.loads(shared.run("why", "--client", name, "--json").stdout)["decisions"]

    said = [step["reason"] for step in decision["steps"] if step["source"] == "roots"]
    assert said == list(reasons.values())


@eras
async def test_what_is_not_filled_in_is_passed_over_where_people_write_it(shared: Home, era: str) -> None:
    strange, start = shared.repository(f"strange-${{name}}-{era}"), shared.repository(f"filled-{era}")

    async with shared.open_client(era, start, "--directory", str(strange)) as client:
        by_connector = await answer_of(client, "get_working_directory")
        by_meta = await answer_of(client, "get_working_directory", meta={"workroot/directory": str(strange)})

    assert by_connector["working_directory"] == str(start)
    assert by_connector["warnings"] == [
        f"passed over: {strange} (connector, --directory): was not expanded by the client"
    ]
    assert by_meta["working_directory"] == str(strange)


@eras
async def test_what_was_sent_on_purpose_and_passed_over_is_a_warning(shared: Home, era: str) -> None:
    window, start = Window(["file:///usr", "file:///gone"]), shared.repository(f"purpose-{era}")
    meta = {"workroot/directory": "/nowhere"}

    async with shared.open_client(era, start, "--directory", "/gone", roots=window) as client:
        result = await client.call_tool("get_working_directory", {}, meta=meta)  # type: ignore[arg-type] # any keys are allowed
        asked = await answer_of(client, "get_working_directory", meta=meta, directory=str(start))
    async with shared.open_client(era, Path(shared.environment["HOME"])) as client:
        by_chance = await answer_of(client, "get_working_directory")

    assert result.structured_content is not None
    assert result.structured_content["working_directory"] == str(start)
    expected = [
        "passed over: /nowhere (meta, workroot/directory): Directory does not exist",
        "passed over: /usr (roots, root 1): a system directory says nothing about a project",
        "passed over: /gone (roots, root 2): Directory does not exist",
        "passed over: 1 more; `workroot why --last` shows all",
    ]
    assert result.structured_content["warnings"] == resolution(result)["warnings"] == expected
    assert text_of(result).splitlines()[2:] == [f"Note: {'; '.join(expected)}"]
    assert asked["warnings"] == []
    assert by_chance["warnings"] == ["no sign names a directory"]


@eras
async def test_a_directory_above_several_known_projects_is_ambiguous(home: Home, era: str) -> None:
    for name in ("all/one", "all/two"):
        home.configured(name, name=name, project_id=SHOP_ID.replace("5b", f"{ord(name[4]):x}"))
    above = home.top / "all"

    async with home.open_client(era, above) as client:
        for name in ("one", "two"):
            await answer_of(client, "get_working_directory", meta={"workroot/directory": str(above / name)})
        results = [
            await client.call_tool("get_working_directory", arguments) for arguments in ({}, {"directory": str(above)})
        ]

    for result in results:
        answer = result.structured_content
        assert answer is not None
        assert (answer["working_directory"], resolution(result)["outcome"]) == (str(above), "ambiguous")
        assert {each["directory"] for each in answer["alternatives"]} == {str(above / "one"), str(above / "two")}
        assert resolution(result)["alternatives"] == answer["alternatives"]


# What an answer says


@eras
async def test_the_third_line_has_the_session_and_the_notes(shared: Home, era: str) -> None:
    one, two, three = (shared.repository(f"line-{number}-{era}") for number in ("one", "two", "three"))
    window = Window([one.as_uri()])

    async with shared.open_client(era, two, roots=window) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(two)))["session_id"]
        arguments = {"directory": str(three), "session_id": session}
        moved = text_of(await client.call_tool("set_working_directory", arguments))
        window.folders = [shared.repository(f"line-four-{era}").as_uri(), "file:///usr"]
        nowhere = text_of(await client.call_tool("get_working_directory", {"session_id": session}))

    rivals = f"roots (root 1) names {one}; connector (working directory) names {two}"
    assert moved.splitlines()[2:] == [f"Session: {session} {BY_HANDLE} Note: before, it worked in {two}; {rivals}"]
    passed_over = "passed over: /usr (roots, root 2): a system directory says nothing about a project"
    assert nowhere.startswith("Working directory: unknown (")
    assert nowhere.splitlines()[2:] == [f"Session: {session} {BY_HANDLE} Note: {passed_over}"]


@pytest.mark.parametrize("change", ["another id", "deleted"])
async def test_a_session_that_is_in_another_project_is_told_so_once(home: Home, change: str) -> None:
    shop = home.configured("shop", name="Shop", project_id=SHOP_ID)
    config = shop / ".workroot" / "config.toml"
    another = SHOP_ID.replace("5b", "6c")

    async with home.open_client(MODERN, shop) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(shop)))["session_id"]
        async with client.listen(resource_subscriptions=[f"workroot://sessions/{session}"]) as subscription:
            if change == "deleted":
                config.unlink()
            else:
                config.write_text(config.read_text().replace(SHOP_ID, another))
            with anyio.fail_after(DEADLINE_SECONDS):
                await anext(subscription)
        first, second = [await answer_of(client, "get_working_directory", session_id=session) for _ in range(2)]

    [documented] = [each for each in inline_code(PAGE) if each.startswith("DIR was in project")]
    assert first["warnings"] == [documented.replace("DIR", str(shop)).replace("NAME", "Shop")]
    assert first["previous"] == {"working_directory": str(shop), "project_id": SHOP_ID}
    assert (first["project_info"] and first["project_info"]["id"]) == (None if change == "deleted" else another)
    assert first["project_info"] == second["project_info"]
    assert (second["warnings"], second["previous"]) == ([], None)


@eras
async def test_an_error_says_the_next_call_and_the_candidates(home: Home, era: str) -> None:
    shop = home.configured("shop", name="Shop", project_id=SHOP_ID)

    async with home.open_client(era, shop) as client:
        await answer_of(client, "get_working_directory")
        unknown = await client.call_tool("set_working_directory", {"project": "Bank"})
        missing = await client.call_tool("get_working_directory", {"directory": "/does/not/exist"})

    for result in (unknown, missing):
        assert result.meta is not None
        error = result.meta["workroot/error"]
        assert list(error) == ["code", "message", "next", "candidates"]
        assert text_of(result).startswith(error["message"])
    assert unknown.meta is not None
    assert unknown.meta["workroot/error"]["candidates"] == [{"directory": str(shop), "name": "Shop", "id": SHOP_ID}]
    assert missing.meta is not None
    assert text_of(missing).splitlines()[1:] == [f"Next: {missing.meta['workroot/error']['next']}."]


# Which project owns a directory


@takes(OWNER, 1)
@eras
async def test_a_path_has_to_lead_to_a_directory(shared: Home, era: str) -> None:
    shop = shared.repository(f"path-{era}")
    (shop / "notes.txt").touch()
    (link := shop.with_name(f"link-{era}")).symlink_to(shop)
    rows = find("table", OWNER, 2, document=PAGE).rows
    paths = ["code/shop", str(shop / "nothing"), str(shop / "notes.txt"), f"{shop}\0", "/".ljust(4096, "d")]
    paths.append(str(shop) + f"/../{shop.name}" * 128)

    async with shared.open_client(era) as client:
        for path, (_, problem) in zip(paths, rows, strict=True):
            said = await error_of(client, "get_working_directory", directory=path)
            assert said.startswith(f"{problem}: ")
        answer = await answer_of(client, "get_working_directory", directory=str(link))

    assert answer["working_directory"] == answer["project_info"]["root"] == str(shop)


@takes(OWNER, 2)
@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what another user owns")
async def test_what_another_user_owns_is_looked_into_if_it_is_trusted(trusted: bool) -> None:
    with open_home() as home:
        if trusted:
            home.environment["WORKROOT_TRUSTED_DIRECTORIES"] = str(home.top / "theirs")
        theirs = home.configured("theirs/shop", name="Shop", project_id=SHOP_ID)
        for path in (theirs, *theirs.rglob("*")):
            os.chown(path, 65534, 65534)
        explained = why(home, theirs)
        async with home.open_client(MODERN, theirs) as client:
            answer = await answer_of(client, "get_working_directory")

    assert (explained["stop"], answer["project_info"] is not None) == (
        ("config", True) if trusted else ("owner", False)
    )


@takes(OWNER, 2)
def test_a_level_that_others_may_write_to_is_not_looked_into(home: Home) -> None:
    shop = home.configured("open/shop", name="Shop", project_id=SHOP_ID)
    outer = home.with_config("open/.workroot-outer", "")  # something beside it
    (home.top / "open" / ".workroot").mkdir()
    (home.top / "open" / ".workroot" / "config.toml").write_text('version = "1.0"\nproject = { name = "Trap" }\n')
    (home.top / "open").chmod(0o777)

    assert why(home, shop)["project"]["name"] == "Shop"
    assert why(home, outer.parent)["project"] is None
    assert why(home, outer.parent)["barrier"] == str(home.top / "open")


@takes(OWNER, 3)
def test_the_nearest_config_decides_usable_or_not(home: Home) -> None:
    names = [".workroot/config.toml", ".workroot/config.json", ".workflow-mcp/config.json", ".codebase-mcp/config.json"]
    shop = home.repository("shop")
    for name in reversed(names):
        (shop / name).parent.mkdir(exist_ok=True)
        (shop / name).write_text(
            f'version = "1.0"\nproject = {{ name = "{name}" }}\n'
            if name.endswith("toml")
            else json.dumps({"version": "1.0", "project": {"name": name}})
        )
        assert why(home, shop)["project"]["name"] == name
    (shop / "inner" / ".workroot").mkdir(parents=True)
    (shop / "inner" / ".workroot" / "config.toml").write_text('version = "1.0"\n[project]\nname = 5\n')
    broken = why(home, shop / "inner")

    assert broken["project"] is None
    assert (broken["config_error"]["line"], broken["config_error"]["field"]) == (3, "project.name")
    assert codes((ROOT / PAGE).read_text("utf-8").partition("3. **A config**")[2])[:5] == [*names, "config_names"]


@takes(OWNER, 4, 7)
def test_version_control_roots_end_the_search(home: Home) -> None:
    top = Path(home.environment["HOME"])
    (outer := top / "outer").mkdir()
    (outer / ".workroot").mkdir()
    (outer / ".workroot" / "config.toml").write_text('version = "1.0"\nproject = { name = "Outer" }\n')
    for name in ("hg", "jj"):
        (outer / name / f".{name}").mkdir(parents=True)
    git(outer, "init", "git")
    git(outer, "init", "--bare", "bare.git")
    git(outer, "init", "part")
    (outer / "part" / "README").touch()
    commit(outer / "part", "begin")
    git(outer / "git", "-c", "protocol.file.allow=always", "submodule", "add", str(outer / "part"), "sub")
    commit(outer / "git", "begin")
    git(outer / "git", "worktree", "add", "../tree")
    (outer / "liar").mkdir()
    (outer / "liar" / ".git").write_text(f"gitdir: {outer}/git/.git/worktrees/tree\n")

    roots = {name: why(home, outer / name) for name in ("hg", "jj", "git", "bare.git", "git/sub", "tree", "liar")}

    assert {each["stop"] for each in roots.values()} == {"repository"}
    assert [each["project"]["root"] for each in roots.values()] == [str(outer / name) for name in roots]
    assert [each["project"]["name"] for each in roots.values()] == ["hg", "jj", "git", "bare", "sub", "git", "liar"]
    assert [name for name, each in roots.items() if each["project"]["worktree_of"]] == ["tree"]
    (own := outer / "git" / ".workroot").mkdir()
    (own / "config.toml").write_text('version = "1.0"\nproject = { name = "Own" }\n')
    assert why(home, outer / "git")["project"]["name"] == "Own", "its own config included"


@takes(OWNER, 5, 6)
def test_home_ends_the_search_and_there_is_no_default_project(home: Home) -> None:
    above = home.top / ".workroot"
    above.mkdir()
    (above / "config.toml").write_text('version = "1.0"\nproject = { name = "Above" }\n')
    top = Path(home.environment["HOME"])
    (top / "code").mkdir()

    nothing = why(home, top / "code")
    (top / ".workroot").mkdir()
    (top / ".workroot" / "config.toml").write_text('version = "1.0"\nproject = { name = "Home" }\n')

    assert (nothing["project"], nothing["stop"], nothing["config_error"]) == (None, "home", None)
    assert why(home, top / "code")["project"]["name"] == "Home", "its own config still counts"


@takes(OWNER, 7, 8, 9)
@eras
async def test_projects_are_told_apart_by_id_not_by_name(home: Home, era: str) -> None:
    one, two = (home.configured(name, name="Shop", project_id="") for name in ("one/shop", "two/shop"))
    for each in (one, two):
        config = each / ".workroot" / "config.toml"
        config.write_text(config.read_text().replace('id = ""\n', ""))

    async with home.open_client(era, one) as client:
        answers = [
            await answer_of(client, "get_working_directory", meta={"workroot/directory": str(each)})
            for each in (one, two)
        ]
        ids = [answer["project_info"]["id"] for answer in answers]
        ambiguous = await client.call_tool("set_working_directory", {"project": "Shop"})
        by_id = await answer_of(client, "set_working_directory", project=ids[1])
        by_root = await answer_of(client, "set_working_directory", project=str(one))

    assert ids[0] != ids[1]
    assert code_of(ambiguous) == "unknown_project"
    assert all(str(each) in text_of(ambiguous) for each in (one, two))
    assert (by_id["working_directory"], by_root["working_directory"]) == (str(two), str(one))


@takes(OWNER, 9)
@eras
async def test_a_project_is_named_by_any_path_in_it(home: Home, era: str) -> None:
    start, shop = home.repository("start"), home.repository("shop")
    (inner := shop / "src").mkdir()

    async with home.open_client(era, start) as client:
        entered = await answer_of(client, "set_working_directory", project=str(inner))
        by_name = await answer_of(client, "set_working_directory", project="shop")
        in_none = await client.call_tool("set_working_directory", {"project": str(home.directory("nobodys"))})
        (shop / ".workroot").mkdir()
        (shop / ".workroot" / "config.toml").write_text('version = "1.0"\nproject = { name = "Another" }\n')
        is_another = await client.call_tool("set_working_directory", {"project": "shop"})

    assert entered["working_directory"] == by_name["working_directory"] == str(shop)
    assert code_of(in_none) == code_of(is_another) == "unknown_project"


@takes(OWNER, 10)
@eras
async def test_auto_switch_off_leaves_those_who_arrive_in_no_project(home: Home, era: str) -> None:
    start, shop = home.repository("start"), with_switch(home, "auto_switch = false")

    async with home.open_client(era, start) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(start)))["session_id"]
        arrived = await answer_of(client, "set_working_directory", directory=str(shop), session_id=session)
        what_is_said = project_named_in(arrived["warnings"][0])
        entered = await answer_of(client, "set_working_directory", project=what_is_said, session_id=session)
        stays = await answer_of(client, "get_working_directory", session_id=session)

    assert (arrived["working_directory"], arrived["project_info"]) == (str(shop), None)
    assert what_is_said == str(shop)
    assert entered["project_info"]["id"] == stays["project_info"]["id"] == SHOP_ID


@takes(OWNER, 10)
@eras
async def test_auto_switch_off_leaves_those_who_start_there_in_no_project(home: Home, era: str) -> None:
    shop = with_switch(home, "auto_switch = false")

    async with home.open_client(era, shop) as client:
        result = await client.call_tool("get_working_directory", {})
        answer = result.structured_content
        assert answer is not None
        entered = await answer_of(client, "set_working_directory", project=project_named_in(answer["warnings"][0]))

    assert (answer["working_directory"], answer["project_info"]) == (str(shop), None)
    assert "cannot be used" not in text_of(result)
    assert entered["project_info"]["id"] == SHOP_ID


@takes(OWNER, 10)
@eras
async def test_dry_run_reports_a_switch_and_does_not_make_it(home: Home, era: str) -> None:
    start, shop = home.repository("start"), with_switch(home, "dry_run = true")

    async with home.open_client(era, start) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(start)))["session_id"]
        reported = await answer_of(client, "set_working_directory", directory=str(shop), session_id=session)
        stays = await answer_of(client, "get_working_directory", session_id=session)

    assert reported["working_directory"] == stays["working_directory"] == str(start)
    assert "dry_run" in reported["warnings"][0]


@takes(OWNER, 10)
@eras
async def test_strict_mode_answers_for_nothing_outside_and_lets_everybody_out(home: Home, era: str) -> None:
    outside, shop = home.repository("outside"), with_switch(home, "strict_mode = true")

    async with home.open_client(era, shop) as client:
        refused = await client.call_tool("get_working_directory", {"directory": str(outside)})
        inside = await answer_of(client, "get_working_directory", directory=str(shop / ".workroot"))
        left = await answer_of(client, "set_working_directory", directory=str(outside))

    assert code_of(refused) == "strict_mode"
    assert inside["project_info"]["id"] == SHOP_ID
    assert left["working_directory"] == str(outside)


@takes(OWNER, 11)
@eras
async def test_what_a_config_could_do_is_withheld_and_named(home: Home, era: str) -> None:
    shop = with_switch(home, 'instructions = "Obey"')

    async with home.open_client(era, shop) as client:
        answer = await answer_of(client, "get_working_directory")

    assert answer["project_info"]["id"] == SHOP_ID
    assert f"workroot trust {shop}" in answer["warnings"][0]
    assert "Obey" not in json.dumps(answer)


# Helpers


def why(home: Home, directory: Path) -> dict[str, Any]:
    """Return what `workroot why DIR --json` says."""
    ended = home.run("why", str(directory), "--json")
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def project_named_in(warning: str) -> str:
    """Return what a warning says to call `set_working_directory` with."""
    assert "auto_switch is off" in warning
    [project] = re.findall(r"set_working_directory\(project='(.*?)'\)", warning)
    return str(project)


def with_switch(home: Home, line: str) -> Path:
    return home.with_config("shop", f'version = "1.0"\n{line}\n[project]\nname = "Shop"\nid = "{SHOP_ID}"\n')


def resolution(result: CallToolResult) -> Mapping[str, Any]:
    assert result.meta is not None
    found: Mapping[str, Any] = result.meta["workroot/resolution"]
    return found


def code_of(result: CallToolResult) -> str:
    """Return the code of an error."""
    assert result.is_error, result
    assert result.meta is not None
    return str(result.meta["workroot/error"]["code"])


@asynccontextmanager
async def open_http(home: Home, era: str, headers: Mapping[str, str], **query: str) -> AsyncIterator[Client]:
    """Open a client over HTTP that acts for the user and sends these headers."""
    tokens = TokenFile(home.state / "tokens.json")
    token = tokens.create(f"t{len(tokens.list())}")
    url = httpx2.URL(home.ask("status")["http"]["url"]).copy_merge_params(dict(query))
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}", **headers}) as http:
        transport = streamable_http_client(str(url), http_client=http)
        async with Client(transport, mode=era, read_timeout_seconds=DEADLINE_SECONDS) as client:
            yield client
