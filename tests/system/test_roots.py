"""The client's roots as signs, in both eras: asked anew within every call that depends on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from real_daemon import DEADLINE_SECONDS, ERAS, LEGACY, MODERN, MODERN_META, Home, RawClient, answer_of, text_of


@dataclass
class Window:
    """An editor's window: which folders are open in it, and how often it was asked."""

    folders: list[str] = field(default_factory=list)
    asked: int = 0

    def __call__(self) -> Sequence[str]:
        self.asked += 1
        return self.folders


@pytest.mark.parametrize("era", ERAS)
async def test_the_only_root_is_where_the_client_works(shared: Home, era: str) -> None:
    project = shared.repository(f"one root é %41 {era}")
    window = Window([project.as_uri()])  # percent-encoded

    async with shared.open_client(era, roots=window) as client:
        answer = await answer_of(client, "get_working_directory")

    assert "%20" in window.folders[0]
    assert (answer["working_directory"], answer["source"]) == (str(project), "roots")
    assert answer["authority"] == "client"


@pytest.mark.parametrize("era", ERAS)
async def test_a_root_outranks_the_directory_that_the_connector_was_started_in(shared: Home, era: str) -> None:
    started, opened = shared.repository(f"started-{era}"), shared.repository(f"opened-{era}")

    async with shared.open_client(era, started, roots=Window([opened.as_uri()])) as client:
        answer = await answer_of(client, "get_working_directory")

    assert (answer["working_directory"], answer["source"]) == (str(opened), "roots")
    assert [other["directory"] for other in answer["alternatives"]] == [str(started)]


@pytest.mark.parametrize("era", ERAS)
async def test_roots_in_two_projects_are_ambiguous(shared: Home, era: str) -> None:
    started = shared.repository(f"ambiguous-{era}")
    one, two = shared.repository(f"ambiguous-one-{era}"), shared.repository(f"ambiguous-two-{era}")

    async with shared.open_client(era, started, roots=Window([one.as_uri(), two.as_uri()])) as client:
        result = await client.call_tool("get_working_directory", {})
        chosen = await answer_of(client, "set_working_directory", directory=str(two))
        after = await answer_of(client, "get_working_directory", session_id=chosen["session_id"])

    answer = result.structured_content
    assert isinstance(answer, dict)
    assert answer["working_directory"] is None
    assert answer["source"] == "roots"
    assert [(other["directory"], other["project"]) for other in answer["alternatives"]] == [
        (str(one), one.name),
        (str(two), two.name),
    ]
    assert str(one) in text_of(result)
    assert str(two) in text_of(result)
    assert after["working_directory"] == str(two)


@pytest.mark.parametrize("era", ERAS)
async def test_roots_in_one_project_are_not_ambiguous(shared: Home, era: str) -> None:
    project = shared.repository(f"one-project-{era}")
    (project / "src").mkdir()

    async with shared.open_client(era, roots=Window([(project / "src").as_uri(), project.as_uri()])) as client:
        answer = await answer_of(client, "get_working_directory")

    assert answer["working_directory"] == str(project / "src")


@pytest.mark.parametrize("era", ERAS)
async def test_the_first_root_of_claude_code_is_where_it_works(shared: Home, era: str) -> None:
    one, two = shared.repository(f"claude-one-{era}"), shared.repository(f"claude-two-{era}")

    async with shared.open_client(era, roots=Window([one.as_uri(), two.as_uri()]), name="claude-code") as client:
        answer = await answer_of(client, "get_working_directory")

    assert answer["working_directory"] == str(one)
    assert [other["directory"] for other in answer["alternatives"]] == [str(two)]


@pytest.mark.parametrize("era", ERAS)
async def test_roots_that_change_are_asked_anew(shared: Home, era: str) -> None:
    one, two = shared.repository(f"change-one-{era}"), shared.repository(f"change-two-{era}")
    window = Window([one.as_uri()])

    async with shared.open_client(era, roots=window) as client:
        first = await answer_of(client, "get_working_directory")
        window.folders = [two.as_uri()]
        second = await answer_of(client, "get_working_directory")

    assert (first["working_directory"], second["working_directory"]) == (str(one), str(two))
    assert window.asked == 2


@pytest.mark.parametrize("era", ERAS)
async def test_an_empty_window_leaves_it_to_the_next_sign(shared: Home, era: str) -> None:
    started = shared.repository(f"empty-{era}")

    async with shared.open_client(era, started, roots=Window()) as client:
        answer = await answer_of(client, "get_working_directory")

    assert (answer["working_directory"], answer["source"]) == (str(started), "connector")


@pytest.mark.parametrize("era", ERAS)
async def test_who_asks_about_another_directory_is_asked_where_it_is_itself(shared: Home, era: str) -> None:
    strict, outside = shared.repository(f"strict-{era}"), shared.repository(f"outside-{era}")
    config = strict / ".workroot" / "config.toml"
    config.parent.mkdir()
    config.write_text('version = "1.0"\nstrict_mode = true\n[project]\nname = "strict"\n')

    async with shared.open_client(era, roots=Window([strict.as_uri()])) as client:
        refused = await client.call_tool("get_working_directory", {"directory": str(outside)})
        inside = await client.call_tool("get_working_directory", {"directory": str(config.parent)})

    assert refused.is_error
    assert (refused.meta or {})["workroot/error"]["code"] == "strict_mode"
    assert not inside.is_error


async def answer_roots(client: RawClient, uris: Sequence[str]) -> None:
    """Take the question for roots of the handshake era, and answer it."""
    question = await client.receive()
    assert question["method"] == "roots/list"
    await client.send(id=question["id"], result={"roots": [{"uri": uri} for uri in uris]})


async def call_with_roots(client: RawClient, era: str, uris: Sequence[str]) -> dict[str, Any]:
    """Call `get_working_directory` of a client that has these roots, as either era does it."""
    if era == LEGACY:
        await client.initialize(roots=True)
        await client.send_call(1, "get_working_directory")
        await answer_roots(client, uris)
        return await client.receive()
    meta = MODERN_META | {"io.modelcontextprotocol/clientCapabilities": {"roots": {}}}
    asked = await client.call(1, "get_working_directory", meta=meta)
    assert asked["result"]["resultType"] == "input_required"
    (key,) = asked["result"]["inputRequests"]
    await client.send(
        id=2,
        method="tools/call",
        params={
            "name": "get_working_directory",
            "arguments": {},
            "inputResponses": {key: {"roots": [{"uri": uri} for uri in uris]}},
            "_meta": meta,
        },
    )
    return await client.receive()


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    "uri",
    ["http://example.com/x", "file://elsewhere/x", "file:///no/such/directory", "vscode-remote://ssh/x", "file:///%00"],
)
async def test_a_root_that_is_no_directory_here_leaves_the_others(shared: Home, era: str, uri: str) -> None:
    project = shared.directory(f"others-{era}-{len(uri)}")

    async with shared.open_raw_connector() as client:
        answer = await call_with_roots(client, era, [uri, project.as_uri()])

    content = answer["result"]["structuredContent"]
    assert (content["working_directory"], content["source"]) == (str(project), "roots")


@pytest.mark.parametrize("era", ERAS)
async def test_roots_that_are_no_list_of_roots_leave_it_to_the_next_sign(shared: Home, era: str) -> None:
    started = shared.repository(f"no-list-{era}")

    async with shared.open_raw_connector(started) as client:
        answer = await call_with_roots(client, era, [""])

    assert answer["result"]["structuredContent"]["working_directory"] == str(started)


async def test_calls_that_overlap_share_one_question(shared: Home) -> None:
    project = shared.repository("overlap")

    async with shared.open_raw_connector() as client:
        await client.initialize(roots=True)
        for number in range(5):
            await client.send_call(number, "get_working_directory")
        await answer_roots(client, [project.as_uri()])
        answers = [await client.receive() for _ in range(5)]

    assert {answer["id"] for answer in answers} == set(range(5))
    assert {answer["result"]["structuredContent"]["working_directory"] for answer in answers} == {str(project)}


async def test_a_client_that_never_answers_is_asked_once(shared: Home) -> None:
    started = shared.repository("mute")

    async with shared.open_raw_connector(started) as client:
        await client.initialize(roots=True)
        await client.send_call(1, "get_working_directory")
        question = await client.receive()
        first = await client.receive()
        while first.get("id") != 1:  # the question may be withdrawn first
            assert first["method"] == "notifications/cancelled"
            first = await client.receive()
        second = await client.call(2, "get_working_directory")

    assert question["method"] == "roots/list"
    for answer in (first, second):
        assert answer["result"]["structuredContent"]["working_directory"] == str(started)
        assert answer["result"]["structuredContent"]["source"] == "connector"


async def test_a_client_that_falls_silent_is_nowhere_that_is_known(shared: Home) -> None:
    started, opened = shared.repository("silent"), shared.repository("silent-opened")

    async with shared.open_raw_connector(started) as client:
        await client.initialize(roots=True)
        await client.send_call(1, "get_working_directory")
        await answer_roots(client, [opened.as_uri()])
        before = await client.receive()
        await client.send_call(2, "get_working_directory")
        answer = await client.receive()
        while answer.get("id") != 2:
            assert answer["method"] in ("roots/list", "notifications/cancelled")
            answer = await client.receive()

    assert before["result"]["structuredContent"]["working_directory"] == str(opened)
    content = answer["result"]["structuredContent"]
    assert (content["working_directory"], content["source"]) == (None, "unknown")
    assert str(started) in [other["directory"] for other in content["alternatives"]]
    assert "did not answer" in answer["result"]["content"][0]["text"]


async def answer_in_silence(client: RawClient, request_id: int) -> tuple[dict[str, Any], bool]:
    """Call `get_working_directory`, answer no question; return its structured content, and whether one was put."""
    await client.send_call(request_id, "get_working_directory")
    was_asked = False
    while (message := await client.receive()).get("id") != request_id:
        assert message["method"] in ("roots/list", "notifications/cancelled")
        was_asked = was_asked or message["method"] == "roots/list"
    return message["result"]["structuredContent"], was_asked


async def answer_with_roots(client: RawClient, request_id: int, uris: Sequence[str]) -> dict[str, Any]:
    """Call `get_working_directory`, answer its question, and return its structured content."""
    await client.send_call(request_id, "get_working_directory")
    await answer_roots(client, uris)
    content = (await client.receive())["result"]["structuredContent"]
    assert isinstance(content, dict)
    return content


async def test_a_client_that_falls_silent_after_a_restart_is_nowhere_that_is_known(home: Home) -> None:
    started, opened = home.repository("restart-silent"), home.repository("restart-opened")

    async with home.open_raw_connector(started) as client:
        await client.initialize(roots=True)
        before = await answer_with_roots(client, 1, [opened.as_uri()])
        home.kill_daemon()
        silent, _ = await answer_in_silence(client, 2)
        after = await answer_with_roots(client, 3, [opened.as_uri()])
        again, _ = await answer_in_silence(client, 4)

    assert before["working_directory"] == after["working_directory"] == str(opened)
    assert (silent["working_directory"], silent["source"]) == (None, "unknown")
    assert (again["working_directory"], again["source"]) == (None, "unknown")


async def test_the_second_silence_in_a_row_after_a_restart_counts_as_never_answering(home: Home) -> None:
    started = home.repository("restart-mute")

    async with home.open_raw_connector(started) as client:
        await client.initialize(roots=True)
        home.kill_daemon()
        answers = [await answer_in_silence(client, number) for number in (1, 2, 3)]

    assert [(answer["working_directory"], was_asked) for answer, was_asked in answers] == [
        (None, True),
        (str(started), True),
        (str(started), False),
    ]


async def test_an_error_about_roots_counts_at_once_after_a_restart_too(home: Home) -> None:
    started = home.repository("restart-error")

    async with home.open_raw_connector(started) as client:
        await client.initialize(roots=True)
        home.kill_daemon()
        await client.send_call(1, "get_working_directory")
        question = await client.receive()
        await client.send(id=question["id"], error={"code": -32601, "message": "Method not found"})
        first = (await client.receive())["result"]["structuredContent"]
        second, was_asked = await answer_in_silence(client, 2)

    assert first["working_directory"] == second["working_directory"] == str(started)
    assert not was_asked


async def test_a_client_that_says_that_its_roots_changed_is_asked_again(shared: Home) -> None:
    started, opened = shared.repository("changed-started"), shared.repository("changed-opened")

    async with shared.open_raw_connector(started) as client:
        await client.initialize(roots=True)
        await client.send_call(1, "get_working_directory")
        question = await client.receive()
        await client.send(id=question["id"], error={"code": -32603, "message": "no window yet"})
        before = (await client.receive())["result"]["structuredContent"]
        _, was_asked = await answer_in_silence(client, 2)
        await client.send(method="notifications/roots/list_changed")
        after = await answer_with_roots(client, 3, [opened.as_uri()])

    assert not was_asked
    assert (before["working_directory"], after["working_directory"]) == (str(started), str(opened))


async def test_a_late_answer_to_an_earlier_daemon_is_dropped(home: Home) -> None:
    project, wrong = home.repository("late"), home.repository("late-wrong")

    async with home.open_raw_connector() as client:
        await client.initialize(roots=True)
        await client.send_call(1, "get_working_directory")
        question = await client.receive()
        home.kill_daemon()
        lost = await client.receive()
        await client.send(id=question["id"], result={"roots": [{"uri": wrong.as_uri()}]})
        await client.send_call(2, "get_working_directory")
        await answer_roots(client, [project.as_uri()])
        answer = await client.receive()

    assert (lost["id"], lost["error"]["data"]) == (1, {"retry": True})
    assert answer["result"]["structuredContent"]["working_directory"] == str(project)


async def test_a_client_s_error_about_roots_leaves_it_to_the_next_sign(shared: Home) -> None:
    started = shared.repository("no-roots-method")

    async with shared.open_raw_connector(started) as client:
        await client.initialize(roots=True)
        await client.send_call(1, "get_working_directory")
        question = await client.receive()
        await client.send(id=question["id"], error={"code": -32601, "message": "Method not found"})
        with anyio.fail_after(DEADLINE_SECONDS):
            answer = await client.receive()

    assert answer["result"]["structuredContent"]["working_directory"] == str(started)


async def test_the_modern_era_keeps_no_roots_between_calls(shared: Home) -> None:
    one = shared.repository("kept")
    window = Window([one.as_uri()])

    async with shared.open_client(MODERN, roots=window) as client:
        for _ in range(3):
            await answer_of(client, "get_working_directory")

    assert window.asked == 3
    assert Path(one).is_dir()


@pytest.mark.parametrize("era", ERAS)
async def test_a_move_away_from_the_roots_shows_what_they_say(shared: Home, era: str) -> None:
    root, elsewhere = shared.repository(f"left-{era}"), shared.repository(f"gone-to-{era}")

    async with shared.open_client(era, roots=lambda: [root.as_uri()]) as client:
        moved = await answer_of(client, "set_working_directory", directory=str(elsewhere))

    assert [(other["directory"], other["source"]) for other in moved["alternatives"]] == [(str(root), "roots")]


@pytest.mark.parametrize("era", ERAS)
async def test_every_tool_s_answer_names_the_place_that_the_roots_name(shared: Home, era: str) -> None:
    root, started_in = shared.repository(f"every-root-{era}"), shared.repository(f"every-start-{era}")

    async with shared.open_client(era, started_in, roots=lambda: [root.as_uri()]) as client:
        listed = await client.call_tool("list_projects", {})

    assert (listed.meta or {})["workroot/resolution"]["directory"] == str(root)


@pytest.mark.parametrize("era", ERAS)
async def test_of_very_many_roots_only_the_first_count(shared: Home, era: str) -> None:
    root = shared.repository(f"many-{era}")
    many = [root.as_uri(), *(f"file:///nowhere/{number}" for number in range(2_000))]

    async with shared.open_client(era, roots=lambda: many) as client:
        answer = await answer_of(client, "get_working_directory")
        await answer_of(client, "set_working_directory", directory=str(root))
        decision = shared.ask("decisions", last=1)["decisions"][0]

    assert answer["working_directory"] == str(root)
    assert len(decision["skipped"]) < 100
