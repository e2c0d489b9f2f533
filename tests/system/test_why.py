"""`workroot why` beside a real daemon: what it says of clients that move, and of calls that were refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from real_daemon import ERAS, LEGACY, MODERN, Home, answer_of, error_of

from workroot.cli.exit_codes import ExitCode
from workroot.errors import ControlError

HOSTILE = "x\n=> /forged \u202egpj \x1b[2J"


@dataclass
class Window:
    """An editor's window: which folders are open in it."""

    folders: list[str] = field(default_factory=list)

    def __call__(self) -> list[str]:
        return self.folders


def decisions_of(home: Home, *arguments: str) -> list[dict[str, Any]]:
    """Return what `workroot why ... --json` shows."""
    found = home.run("why", *arguments, "--json")
    assert found.returncode == ExitCode.OK, found.stderr
    decisions: list[dict[str, Any]] = json.loads(found.stdout)["decisions"]
    return decisions


async def move_about(home: Home, era: str) -> str:
    """Let a client work in one project after another; return its session."""
    one, two, gone = home.repository("one"), home.repository("two"), home.repository("gone")
    window = Window([one.as_uri()])
    async with home.open_client(era, home.directory("start"), name="ada", roots=window) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(one)))["session_id"]
        window.folders = [two.as_uri()]
        await answer_of(client, "get_working_directory", session_id=session)
        await answer_of(client, "get_working_directory", session_id=session, directory=str(one))
        await answer_of(client, "set_working_directory", session_id=session, directory=str(gone))
        remove(gone)
        await vanished(client, session, gone, two)
        await error_of(client, "get_working_directory", session_id=f"{session[:-4]}none")
    return str(session)


async def vanished(client: Client, session: str, gone: Path, two: Path) -> None:
    """Ask where a session works whose directory is gone, and read the error as a model does."""
    first, second, *rest, last = (await error_of(client, "get_working_directory", session_id=session)).splitlines()
    assert first == f"Directory does not exist: {gone}"
    assert second.startswith(
        f"The session was set to work there; without it, your client's signs say: {two}, in project two"
    )
    assert sum(len(line) for line in (second, *rest)) < 400
    assert last == "Next: call set_working_directory(directory=ABSOLUTE PATH)."


def remove(repository: Path) -> None:
    repository.rename(repository.with_name(f"{repository.name}-moved"))


@pytest.mark.parametrize("era", ERAS)
async def test_a_session_s_decisions_are_told_as_its_client_caused_them(home: Home, era: str) -> None:
    home.start()
    session = await move_about(home, era)

    decisions = decisions_of(home, session)
    told = home.run("why", session)

    top = home.top
    assert [(each["tool"], each["outcome"], each["directory"]) for each in decisions] == [
        ("set_working_directory", "decided", f"{top}/one"),
        ("get_working_directory", "decided", f"{top}/two"),
        ("get_working_directory", "decided", f"{top}/one"),
        ("set_working_directory", "decided", f"{top}/gone"),
        ("get_working_directory", "refused", None),
    ]
    followed = decisions[1]
    assert followed["source"] == "roots"
    assert followed["previous"]["directory"] == f"{top}/one"
    first, *rest = [(step["source"], step["verdict"], step["project"]) for step in followed["steps"]]
    assert first == ("roots", "decides", "two")
    assert set(rest) == {("connector", "differs", None)}
    assert f"1. pin (set_working_directory): {top}/one -> gives way: it agreed" in "\n".join(followed["explanation"])
    assert decisions[2]["source"] == "argument"
    assert decisions[4]["error"] == {
        "code": "invalid_directory",
        "message": f"Directory does not exist: {top}/gone",
    }
    assert {each["session_id"] for each in decisions} == {session}
    assert told.stdout.startswith(f"session    {session[:11]}...\nworks in   {top}/gone\nproject    gone\n")
    assert f"set with   roots: root 1: {top}/two, which it was set against\n" in told.stdout
    assert f"  => refused (invalid_directory): Directory does not exist: {top}/gone\n" in told.stdout
    assert session not in told.stdout


async def test_a_call_with_an_unknown_handle_is_among_the_last_decisions_but_of_no_session(home: Home) -> None:
    home.start()
    session = await move_about(home, MODERN)

    last = decisions_of(home, "--last")
    five = decisions_of(home, "--last", "5")
    told = home.run("why", "--last")

    assert len(five) == 5
    assert five[-1:] == last
    assert last[0]["error"]["code"] == "unknown_session"
    assert "  => refused (unknown_session): unknown session " in told.stdout
    assert session not in {each["session_id"] for each in last}
    assert f"{session[:-4]}none" not in told.stdout


@pytest.mark.parametrize("era", ERAS)
async def test_a_session_is_found_by_what_other_commands_show_of_it(home: Home, era: str) -> None:
    home.start()
    session = await move_about(home, era)
    (shown,) = [line.split()[0] for line in home.run("sessions").stdout.splitlines() if line.startswith("wr_")]

    assert shown != session
    assert decisions_of(home, shown) == decisions_of(home, session)
    assert decisions_of(home, session, "--last", "2") == decisions_of(home, session)[-2:]


async def test_the_decisions_for_one_client_are_told_apart(home: Home) -> None:
    home.start()
    project = home.repository("app")
    async with home.open_client(MODERN, project, name="ada") as ada, home.open_client(LEGACY, name="bob") as bob:
        await answer_of(ada, "get_working_directory")
        await answer_of(bob, "get_working_directory")
        await error_of(bob, "get_working_directory", directory="relative")

    told = home.run("why", "--client", "bob")

    assert [each["directory"] for each in decisions_of(home, "--client", "ada")] == [str(project)]
    assert [(each["outcome"], each["directory"]) for each in decisions_of(home, "--client", "bob")] == [
        ("unknown", None),
        ("refused", None),
    ]
    assert "=> unknown: no sign names a directory" in told.stdout
    assert "passed over: the home directory says nothing about a project" in told.stdout
    assert "=> refused (invalid_directory): Directory path must be absolute: relative" in told.stdout


async def test_a_directory_is_told_with_what_the_daemon_knows_of_it(home: Home) -> None:
    home.start()
    project = home.repository("app")
    (project / "src").mkdir()
    before = home.run("why", str(project / "src"))
    async with home.open_client(LEGACY, project) as client:
        answer = await answer_of(client, "set_working_directory", directory=str(project))
        during = json.loads(home.run("why", str(project / "src"), "--json").stdout)

    assert "id         the daemon's own; it is known once somebody has worked there" in before.stdout
    assert "sessions   0 in this project, 0 of them connected" in before.stdout
    assert f"2. {project}: a version-control root" in before.stdout
    assert during["known_id"] == answer["project_info"]["id"]
    assert during["sessions"] == 1
    assert during["explanation"][-1] == f"=> {project}: a version-control root ends the search"


async def test_a_session_that_ended_is_told_with_its_last_decisions(home: Home) -> None:
    home.start()
    project = home.repository("app")
    async with home.open_client(MODERN) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(project)))["session_id"]
        await answer_of(client, "close_session", session_id=session)
        await error_of(client, "get_working_directory", session_id=session)

    document = json.loads(home.run("why", session, "--json").stdout)

    assert document["session"] is None
    assert document["ended"] == {"code": "closed_session", "last_directory": str(project)}
    assert [(each["tool"], each["outcome"]) for each in document["decisions"]] == [
        ("set_working_directory", "decided"),
        ("get_working_directory", "refused"),
    ]


async def test_a_session_that_ended_before_a_restart_is_still_known_by_its_handle(home: Home) -> None:
    daemon = home.start()
    project = home.repository("app")
    async with home.open_client(MODERN) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(project)))["session_id"]
        await answer_of(client, "close_session", session_id=session)
    home.ask("stop")
    daemon.wait(15)
    home.start()

    told = home.run("why", session)

    assert told.returncode == ExitCode.OK
    assert f"worked in  {project}" in told.stdout


async def test_a_stranger_s_session_is_not_told(shared: Home) -> None:
    project = shared.repository("stranger")
    async with shared.open_http_client(MODERN, "eve") as stranger:
        session = (await answer_of(stranger, "set_working_directory", directory=str(project)))["session_id"]

    refused = shared.run("why", session)

    assert refused.returncode == ExitCode.FAILED
    assert "is no session that is remembered" in refused.stderr
    with pytest.raises(ControlError) as caught:
        shared.ask("decisions", session=session)
    assert caught.value.daemon_code == "unclear_session"


def test_what_is_no_session_is_refused(shared: Home) -> None:
    short = shared.run("why", "wr_abc", "--json")
    with pytest.raises(ControlError) as caught:
        shared.ask("decisions", session=7)

    assert short.returncode == ExitCode.FAILED
    assert json.loads(short.stdout)["error"]["code"] == "unclear_session"
    assert caught.value.daemon_code == "invalid_request"


async def test_one_answer_holds_so_many_decisions(home: Home) -> None:
    home.start()
    project = home.repository("app")
    async with home.open_client(MODERN) as client:
        for _ in range(11):
            session = (await answer_of(client, "set_working_directory", directory=str(project)))["session_id"]
            for _ in range(19):
                await answer_of(client, "get_working_directory", session_id=session)

    assert len(home.ask("decisions")["decisions"]) == 200
    assert len(home.ask("decisions", last=1000)["decisions"]) == 200
    assert len(home.ask("decisions", session=session)["decisions"]) == 20


async def test_what_others_chose_stays_within_its_line(home: Home) -> None:
    home.start()
    project = home.repository(HOSTILE)
    long = home.with_config("long", f'version = "1.0"\n[project]\nname = "{"n" * 255}"\n')
    async with home.open_client(MODERN, project, name=HOSTILE) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(project)))["session_id"]
        await answer_of(client, "set_working_directory", directory=str(long), session_id=session)
        await answer_of(client, "set_working_directory", directory=str(project), session_id=session)
        await error_of(client, "get_working_directory", directory=f"{project}/\n{'m' * 5000}", session_id=session)
        await error_of(client, "get_working_directory", session_id="\n" * 5000)

    for arguments in ([session], ["--last", "20"], ["--client", HOSTILE], [str(project)]):
        told = home.run("why", *arguments)
        assert told.returncode == ExitCode.OK
        assert all(line.isprintable() for line in told.stdout.split("\n"))
        assert not any(line.lstrip().startswith("=> /forged") for line in told.stdout.splitlines())
        assert json.loads(home.run("why", *arguments, "--json").stdout)
    assert len(decisions_of(home, session)) == 4
