"""What the command line asks a running daemon, over the same socket as the editors."""

from __future__ import annotations

import json
import os
import socket
import sys

import pytest
from real_daemon import DEADLINE_SECONDS, ERAS, LEGACY, MODERN, MODERN_META, Home, answer_of

from workroot import __version__, rendezvous
from workroot.errors import ControlError
from workroot.storage.schema import MIGRATIONS


@pytest.mark.parametrize(
    ("command", "arguments", "code"),
    [
        ("no such", {}, "unknown_command"),
        ("status", {"verbose": True}, "invalid_request"),
        ("decisions", {"last": "three"}, "invalid_request"),
        ("projects", {"query": 7}, "invalid_request"),
    ],
)
def test_a_command_that_there_is_not_is_refused_and_the_connection_goes_on(
    shared: Home, command: str, arguments: dict[str, object], code: str
) -> None:
    with shared.control() as client:
        with pytest.raises(ControlError) as caught:
            client.ask(command, **arguments)

        assert caught.value.daemon_code == code
        assert client.ask("status")["version"] == __version__


@pytest.mark.parametrize(
    "line", [b"no json\n", b"[]\n", b"{}\n", b'{"command": "status"}\n', b'{"command": [], "arguments": {}}\n']
)
def test_a_line_that_is_no_request_is_refused_and_the_connection_goes_on(shared: Home, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(DEADLINE_SECONDS)
        connection.connect(shared.socket_path)
        with connection.makefile("rwb") as lines:
            lines.write(rendezvous.hello_line(role="control", version="1"))
            lines.flush()
            assert "pid" in json.loads(lines.readline())
            lines.write(line)
            lines.flush()
            assert json.loads(lines.readline())["error"]["code"] == "invalid_request"
            lines.write(b'{"command": "status", "arguments": {}}\n')
            lines.flush()
            assert "result" in json.loads(lines.readline())


def test_status_names_the_daemon_and_its_places(home: Home) -> None:
    daemon = home.start()

    with home.control() as client:
        status = client.ask("status")
        assert client.daemon["pid"] == status["pid"]
        assert client.daemon["boot"] == status["boot"]

    assert status["pid"] == daemon.pid
    assert (status["state_directory"], status["socket"]) == (str(home.state), home.socket_path)
    assert (status["database"], status["log"]) == (
        str(home.state / "workroot.db"),
        str(home.state / "log" / "daemon.log"),
    )
    assert all(os.path.exists(str(status[name])) for name in ("socket", "database", "log"))
    assert status["http"] is None
    assert (status["sessions"], status["ended_sessions"], status["projects"]) == (0, 0, 0)


def test_a_backup_says_where_it_is_and_how_to_run_what_made_it(home: Home) -> None:
    home.start()

    made = home.ask("backup")

    assert os.path.dirname(made["path"]) == rendezvous.backup_directory(str(home.state))
    assert os.path.getsize(made["path"]) > 0
    assert made["version"] == __version__
    assert os.path.dirname(made["python"]) == os.path.dirname(sys.executable)  # python or python3: it is one program
    assert made["schema"] == len(MIGRATIONS)


def test_a_hello_names_the_installation_and_the_protocols_it_knows(shared: Home) -> None:
    with shared.control() as client:
        said = client.daemon

    assert said["installation"] == rendezvous.installation()
    assert (said["oldest"], said["workroot"]) == (rendezvous.OLDEST_WIRE_VERSION, rendezvous.WIRE_VERSION)


@pytest.mark.parametrize("era", ERAS)
async def test_sessions_tell_who_works_where_and_who_is_connected(home: Home, era: str) -> None:
    home.start()
    project = home.repository("app")
    link = home.top / "link"
    link.symlink_to(project)

    async with home.open_client(era) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(link)))["session_id"]
        during = home.sessions()[session]
        await answer_of(client, "set_working_directory", directory=str(project), session_id=session)
        moved = home.sessions()[session]
    await home.wait_until_async(lambda: home.ask("status")["connections"] == 0, what="the client has left")
    after = home.sessions()[session]

    assert (during["working_directory"], during["given_directory"]) == (str(project), str(link))
    assert (during["project_root"], during["config_path"], during["revision"]) == (str(project), None, 1)
    assert during["principal"] == f"uid:{os.geteuid()}"
    assert (moved["revision"], moved["given_directory"]) == (2, str(project))
    assert moved["set_at"] >= during["set_at"]
    assert (during["connected"], after["connected"]) == (era == LEGACY, False)


async def test_projects_are_found_by_part_of_their_name(home: Home) -> None:
    home.start()
    main = home.repository("atlas")
    worktree = home.worktree(main, "atlas-fix")
    other = home.repository("harbor")

    async with home.open_client(MODERN) as client:
        for directory in (main, worktree, other):
            await answer_of(client, "get_working_directory", meta={"workroot/directory": str(directory)})

    everything = home.ask("projects")["projects"]
    assert {row["root"] for row in everything} == {str(main), str(worktree), str(other)}
    found = home.ask("projects", query="ATLAS")["projects"]
    assert {(row["root"], row["worktree_of"]) for row in found} == {(str(main), None), (str(worktree), str(main))}
    assert len({row["id"] for row in found}) == 1


@pytest.mark.parametrize("era", ERAS)
async def test_decisions_tell_which_sign_decided_for_which_client(home: Home, era: str) -> None:
    home.start()
    project, other = home.repository("app"), home.repository("other")

    async with home.open_client(era, project, name="ada") as one, home.open_client(era, other, name="bob") as two:
        await answer_of(one, "get_working_directory")
        await answer_of(two, "get_working_directory")
        moved = await answer_of(one, "set_working_directory", directory=str(other))
        await answer_of(one, "get_working_directory", session_id=moved["session_id"])

    decisions = home.ask("decisions", client="ada")["decisions"]
    assert [(each["tool"], each["source"], each["directory"]) for each in decisions] == [
        ("get_working_directory", "connector", str(project)),
        ("set_working_directory", "pin", str(other)),
        ("get_working_directory", "pin", str(other)),
    ]
    assert {each["client"] for each in decisions} == {"ada"}
    assert decisions[-1]["session_id"] == moved["session_id"]
    assert [each["directory"] for each in decisions[-1]["alternatives"]] == [str(project)]
    assert len(home.ask("decisions")["decisions"]) == 4
    assert home.ask("decisions", last=1)["decisions"] == decisions[-1:]
    assert home.ask("decisions", client="nobody")["decisions"] == []


async def test_a_call_under_way_when_the_daemon_is_stopped_is_answered(home: Home) -> None:
    project = home.repository("under-way")

    async with home.open_raw_connector() as client:
        await client.initialize(roots=True)
        await client.send_call(1, "get_working_directory")
        question = await client.receive()  # the call waits for our roots
        home.ask("stop")
        await client.send(id=question["id"], result={"roots": [{"uri": project.as_uri()}]})
        answer = await client.receive()

    assert answer["id"] == 1
    assert answer["result"]["structuredContent"]["working_directory"] == str(project)


async def test_a_stranger_s_sessions_are_listed_for_the_user_whose_daemon_it_is(shared: Home) -> None:
    project = shared.repository("stranger")

    async with shared.open_http_client(MODERN, "eve") as stranger:
        session = (await answer_of(stranger, "set_working_directory", directory=str(project)))["session_id"]

    assert shared.sessions()[session]["principal"] == "user:eve"
    assert str(project) not in {row["root"] for row in shared.ask("projects")["projects"]}
    assert session not in {each["session_id"] for each in shared.ask("decisions")["decisions"]}


async def test_editors_may_not_ask_what_the_command_line_may(shared: Home) -> None:
    async with shared.open_raw_socket(environment={}) as client:
        await client.send_bytes(b'{"command": "stop", "arguments": {}}\n')
        refused = await client.receive()
        answered = await client.call(1, "get_working_directory", meta=MODERN_META)

    assert refused["error"]["code"] == -32600
    assert "result" in answered
