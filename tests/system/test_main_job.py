"""The main job: clients of both eras, each in a project of its own, on one daemon that may die."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from real_daemon import ERAS, LEGACY, MODERN, Home, answer_of, error_of, text_of

HARBOR_ID = "5b2f3f6e-8f0e-4a51-9d0c-3f7c1c0a9b11"
ANSWER_FIELDS = {
    "session_id",
    "working_directory",
    "config_found",
    "config_path",
    "project_info",
    "source",
    "authority",
    "warnings",
    "alternatives",
    "previous",
}


def project_of(answer: dict[str, Any]) -> tuple[str, str] | None:
    info = answer["project_info"]
    return (info["name"], info["root"]) if info else None


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_said_nothing_is_in_the_project_it_was_started_in(shared: Home, era: str) -> None:
    inner = shared.repository(f"quiet-{era}") / "src"
    inner.mkdir()

    async with shared.open_client(era, inner) as client:
        result = await client.call_tool("get_working_directory", {})

    answer = result.structured_content
    assert isinstance(answer, dict)
    assert set(answer) == ANSWER_FIELDS
    assert answer["working_directory"] == str(inner)
    assert project_of(answer) == (f"quiet-{era}", str(inner.parent))
    assert (answer["source"], answer["authority"]) == ("connector", "client")
    assert (answer["session_id"], answer["previous"], answer["alternatives"]) == (None, None, [])
    assert answer["warnings"] == []


@pytest.mark.parametrize("era", ERAS)
async def test_every_answer_says_the_same_as_data_as_text_and_as_metadata(shared: Home, era: str) -> None:
    project = shared.repository(f"said-{era}")

    async with shared.open_client(era, project) as client:
        await client.list_tools()  # from here on the client checks structured content against the output schema
        moved = await client.call_tool("set_working_directory", {"directory": str(project)})
        assert isinstance(moved.structured_content, dict)
        session = moved.structured_content["session_id"]
        asked = await client.call_tool("get_working_directory", {"session_id": session})
        listed = await client.call_tool("list_projects", {"query": f"said-{era}"})
        closed = await client.call_tool("close_session", {"session_id": session})

    for result in (moved, asked):
        assert isinstance(result.structured_content, dict)
        lines = text_of(result).splitlines()
        assert len(lines) == 3
        assert str(project) in lines[0]
        assert f"said-{era}" in lines[1]
        assert session in lines[2]
        assert result.meta is not None
        resolution = result.meta["workroot/resolution"]
        assert resolution["session_id"] == session
        assert resolution["directory"] == str(project)
        assert resolution["project_id"] == result.structured_content["project_info"]["id"]
        assert resolution["project_root"] == str(project)
        assert (resolution["source"], resolution["authority"]) == ("pin", "model")
    for result in (listed, closed):
        assert result.meta is not None
        assert result.meta["workroot/resolution"]["directory"] == str(project)
    assert text_of(closed) == f"Session {session} is closed. It worked in {project}."


@pytest.mark.parametrize("era", ERAS)
async def test_a_worktree_shares_its_repository_s_id_and_keeps_its_own_root(shared: Home, era: str) -> None:
    main = shared.repository(f"tree-{era}")
    worktree = shared.worktree(main, f"tree-{era}-fix")

    async with shared.open_client(era, main) as client:
        here = await answer_of(client, "get_working_directory")
        there = await answer_of(client, "get_working_directory", directory=str(worktree))

    assert there["project_info"]["id"] == here["project_info"]["id"]
    assert there["project_info"]["root"] == str(worktree)
    assert there["project_info"]["worktree_of"] == str(main)
    assert here["project_info"]["worktree_of"] is None
    assert (there["source"], there["authority"]) == ("argument", "model")


async def test_a_handshake_connection_keeps_its_session_without_passing_it(shared: Home) -> None:
    one, two = shared.repository("default-one"), shared.repository("default-two")

    async with shared.open_client(LEGACY, one) as client:
        first = await answer_of(client, "set_working_directory", directory=str(two))
        second = await answer_of(client, "set_working_directory", directory=str(one))
        asked = await answer_of(client, "get_working_directory")

    assert first["previous"] is None
    assert any("default of your whole connection" in warning for warning in first["warnings"])
    assert second["session_id"] == first["session_id"] == asked["session_id"]
    assert second["previous"] == {"working_directory": str(two), "project_id": first["project_info"]["id"]}
    assert (asked["working_directory"], asked["source"]) == (str(one), "pin")


async def test_an_agent_that_passes_its_handle_is_not_moved_by_another_one_on_its_connection(shared: Home) -> None:
    one, two = shared.repository("agent-one"), shared.repository("agent-two")

    async with shared.open_client(LEGACY, one) as client:
        main = await answer_of(client, "set_working_directory", directory=str(one))
        await answer_of(client, "get_working_directory", session_id=main["session_id"])
        sub = await answer_of(client, "set_working_directory", directory=str(two))
        again = await answer_of(client, "get_working_directory", session_id=main["session_id"])
        default = await answer_of(client, "get_working_directory")

    assert sub["session_id"] != main["session_id"]
    assert again["working_directory"] == str(one)
    assert (default["session_id"], default["working_directory"]) == (sub["session_id"], str(two))


async def test_a_modern_client_s_session_counts_only_where_it_is_passed(shared: Home) -> None:
    start, other = shared.repository("minted-start"), shared.repository("minted-other")

    async with shared.open_client(MODERN, start) as client:
        one = await answer_of(client, "set_working_directory", directory=str(other))
        two = await answer_of(client, "set_working_directory", directory=str(other))
        without = await answer_of(client, "get_working_directory")
        with_it = await answer_of(client, "get_working_directory", session_id=one["session_id"])
        moved = await answer_of(client, "set_working_directory", directory=str(start), session_id=one["session_id"])

    assert one["session_id"] != two["session_id"]
    assert (one["warnings"], one["previous"]) == ([], None)
    assert (without["session_id"], without["working_directory"]) == (None, str(start))
    assert (with_it["session_id"], with_it["working_directory"]) == (one["session_id"], str(other))
    assert moved["session_id"] == one["session_id"]
    assert moved["previous"] == {"working_directory": str(other), "project_id": one["project_info"]["id"]}


@pytest.mark.parametrize("era", ERAS)
async def test_signs_that_disagree_with_the_session_are_shown(shared: Home, era: str) -> None:
    started, chosen = shared.repository(f"disagree-{era}"), shared.repository(f"chosen-{era}")

    async with shared.open_client(era, started) as client:
        moved = await answer_of(client, "set_working_directory", directory=str(chosen))
        asked = await answer_of(client, "get_working_directory", session_id=moved["session_id"])

    expected = [
        {
            "directory": str(started),
            "source": "connector",
            "detail": "working directory",
            "project": started.name,
        }
    ]
    assert moved["alternatives"] == asked["alternatives"] == expected


@pytest.mark.parametrize("era", ERAS)
async def test_metadata_names_the_session_as_the_argument_does(shared: Home, era: str) -> None:
    started, chosen = shared.repository(f"meta-{era}"), shared.repository(f"meta-chosen-{era}")

    async with shared.open_client(era, started) as client, shared.open_client(MODERN, started) as other:
        session = (await answer_of(other, "set_working_directory", directory=str(chosen)))["session_id"]
        asked = await answer_of(client, "get_working_directory", meta={"workroot/session": session})
        unknown = await error_of(client, "get_working_directory", meta={"workroot/session": "wr_nobody"})
        argument_wins = await answer_of(
            client, "get_working_directory", meta={"workroot/session": "wr_nobody"}, session_id=session
        )

    assert (asked["session_id"], asked["working_directory"]) == (session, str(chosen))
    assert "unknown session 'wr_nobody'" in unknown
    assert argument_wins["session_id"] == session


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("as_uri", [False, True], ids=["path", "uri"])
async def test_metadata_names_a_directory_for_this_call_alone(shared: Home, era: str, as_uri: bool) -> None:
    started = shared.repository(f"hint-{era}-{as_uri}")
    named = shared.repository(f"hint named-{era}-{as_uri}")
    meta = {"workroot/directory": named.as_uri() if as_uri else str(named)}

    async with shared.open_client(era, started) as client:
        hinted = await answer_of(client, "get_working_directory", meta=meta)
        after = await answer_of(client, "get_working_directory")

    assert (hinted["working_directory"], hinted["source"]) == (str(named), "meta")
    assert after["working_directory"] == str(started)


@pytest.mark.parametrize("era", ERAS)
async def test_a_project_can_be_entered_by_id_and_by_name(shared: Home, era: str) -> None:
    project_id = HARBOR_ID if era == LEGACY else HARBOR_ID.replace("5b2f", "5b30")
    harbor = shared.configured(f"harbor-{era}", name=f"Harbor {era}", project_id=project_id)
    elsewhere = shared.repository(f"elsewhere-{era}")

    async with shared.open_client(era, elsewhere) as client:
        before = await error_of(client, "set_working_directory", project=project_id)
        await answer_of(client, "get_working_directory", meta={"workroot/directory": str(harbor)})
        by_id = await answer_of(client, "set_working_directory", project=project_id.upper())
        by_name = await answer_of(client, "set_working_directory", project=f"Harbor {era}")

    assert "no known project has the id, name or root" in before
    assert "list_projects" in before
    for answer in (by_id, by_name):
        assert answer["working_directory"] == str(harbor)
        assert answer["config_path"] == str(harbor / ".workroot" / "config.toml")
        assert answer["config_found"] is True
        assert answer["project_info"] == {
            "id": project_id,
            "name": f"Harbor {era}",
            "root": str(harbor),
            "worktree_of": None,
        }


async def _known_names(client: Client, query: str) -> list[str]:
    names: list[str] = []
    cursor: str | None = None
    while True:
        page = await answer_of(client, "list_projects", query=query, **({"cursor": cursor} if cursor else {}))
        names += [row["name"] for row in page["projects"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return names


@pytest.mark.parametrize("era", ERAS)
async def test_known_projects_are_listed_latest_first_page_by_page(home: Home, era: str) -> None:
    projects = [home.repository(f"p{number:03}") for number in range(105)]
    home.start()

    async with home.open_client(era) as client:
        empty = await client.call_tool("list_projects", {})
        for project in projects:
            await answer_of(client, "get_working_directory", meta={"workroot/directory": str(project)})
        everything = await _known_names(client, "")
        first_page = await answer_of(client, "list_projects")
        some = await _known_names(client, "P01")
        error = await error_of(client, "list_projects", cursor="next")

    assert text_of(empty) == "No project is known yet."
    assert everything == [project.name for project in reversed(projects)]
    assert len(first_page["projects"]) == 100
    assert some == [f"p{number:03}" for number in range(19, 9, -1)]
    assert "'next' is not a cursor of this list" in error


async def test_both_eras_go_on_after_the_daemon_was_killed(home: Home) -> None:
    atlas = home.repository("atlas")
    fix = home.worktree(atlas, "atlas-fix")
    harbor = home.configured("harbor", name="Harbor", project_id=HARBOR_ID)

    async with home.open_client(MODERN, atlas, name="agent") as agent, home.open_client(LEGACY, harbor) as editor:
        asked = [await answer_of(client, "get_working_directory") for client in (agent, editor)]
        assert [project_of(answer) for answer in asked] == [("atlas", str(atlas)), ("Harbor", str(harbor))]
        moved = await answer_of(agent, "set_working_directory", directory=str(fix))
        await answer_of(editor, "set_working_directory", directory=str(atlas))

        async def where() -> list[dict[str, Any]]:
            return [
                await answer_of(agent, "get_working_directory", session_id=moved["session_id"]),
                await answer_of(editor, "get_working_directory"),
            ]

        before = await where()
        killed = home.kill_daemon()
        after = await where()

    assert [project_of(answer) for answer in before] == [("atlas", str(fix)), ("atlas", str(atlas))]
    assert after == before
    assert home.ask("status")["pid"] != killed


async def test_the_daemon_that_a_connector_starts_belongs_to_no_project(home: Home) -> None:
    project = home.repository("evil")
    (project / "workroot").mkdir()
    (project / "workroot" / "__init__.py").write_text("raise SystemExit('the project ran')\n")
    home.environment |= {"PYTHONPATH": str(project), "SECRET_OF_THE_CLIENT": "1"}

    async with home.open_client(LEGACY, project) as client:
        answer = await answer_of(client, "get_working_directory")

    pid = home.ask("status")["pid"]
    assert answer["working_directory"] == str(project)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    environment = Path(f"/proc/{pid}/environ").read_text()
    assert "SECRET_OF_THE_CLIENT" not in environment
    assert "PYTHONPATH" not in environment
    assert os.getsid(pid) == pid or os.getsid(pid) != os.getsid(0)
