"""`workroot projects`: what it asks of the daemon, and what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_daemon import Answer, FakeDaemon, run_cli, short_directory

from workroot.cli.exit_codes import ExitCode

SHOP = {"id": "p-1", "name": "The Shop", "root": "/code/shop", "worktree_of": None, "seen_at": 1785229200.0}
JOINED = {"project": {"id": "p-1", "name": "The Shop", "root": "/code/copy"}, "joined": True}


@pytest.fixture
def state() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


def daemon(state: Path, **answers: Answer) -> FakeDaemon:
    return FakeDaemon(state, answers)


# Listing


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ((), {}),
        (("shop",), {"query": "shop"}),
        (("list",), {}),
        (("list", "shop"), {"query": "shop"}),
        (("list", "join"), {"query": "join"}),
        (("--", "-x"), {"query": "-x"}),
    ],
)
async def test_projects_lists_by_default(state: Path, words: tuple[str, ...], asked: dict[str, str]) -> None:
    async with daemon(state, projects={"projects": [SHOP]}).running() as fake:
        result = await fake.run("projects", *words)

    assert result.exit_code == ExitCode.OK
    assert "/code/shop" in result.stdout
    assert [request["arguments"] for request in fake.asked] == [asked]


@pytest.mark.parametrize("words", [("--json",), ("--json", "shop"), ("shop", "--json"), ("list", "--json")])
async def test_a_list_as_json_is_what_the_daemon_said(state: Path, words: tuple[str, ...]) -> None:
    async with daemon(state, projects={"projects": [SHOP]}).running() as fake:
        result = await fake.run("projects", *words)

    assert json.loads(result.stdout) == {"projects": [SHOP]}


@pytest.mark.parametrize(
    ("words", "said"),
    [(("zebra",), "no known project matches 'zebra'\n"), ((), "no known projects yet\n")],
)
async def test_an_empty_list_says_so(state: Path, words: tuple[str, ...], said: str) -> None:
    async with daemon(state, projects={"projects": []}).running() as fake:
        result = await fake.run("projects", *words)

    assert result.stdout == said


@pytest.mark.parametrize("words", [("--jsn",), ("shop", "toy"), ("join", "a", "b"), ("list", "a", "b")])
def test_what_cannot_be_understood_exits_2(state: Path, words: tuple[str, ...]) -> None:
    assert run_cli("projects", *words, state=state).exit_code == ExitCode.USAGE


# Joining


async def test_join_asks_for_the_directory_as_an_absolute_path(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with daemon(state, join_project=JOINED).running() as fake:
        for words in ((), ("sub",), ("/code/copy",)):
            await fake.run("projects", "join", *words)

    assert [request["arguments"] for request in fake.asked] == [
        {"directory": str(tmp_path)},
        {"directory": str(tmp_path / "sub")},
        {"directory": "/code/copy"},
    ]


async def test_join_says_what_is_one_now(state: Path) -> None:
    async with daemon(state, join_project=JOINED).running() as fake:
        result = await fake.run("projects", "join", "/code/copy")

    assert result.stdout == "The Shop at /code/copy is one project now with the others that have the id p-1\n"


async def test_joining_what_needs_no_join_says_so(state: Path) -> None:
    async with daemon(state, join_project={**JOINED, "joined": False}).running() as fake:
        result = await fake.run("projects", "join", "/code/copy")

    assert result.exit_code == ExitCode.OK
    assert result.stdout == "The Shop at /code/copy needs no joining: its id p-1 is not disputed\n"


@pytest.mark.parametrize("words", [("join", "/code/copy", "--json"), ("--json", "join", "/code/copy")])
async def test_a_join_as_json_is_what_the_daemon_said(state: Path, words: tuple[str, ...]) -> None:
    async with daemon(state, join_project=JOINED).running() as fake:
        result = await fake.run("projects", *words)

    assert json.loads(result.stdout) == JOINED


async def test_a_join_that_is_refused_says_why_and_fails(state: Path) -> None:
    refusal = b'{"error":{"code":"cannot_join","message":"/code/copy cannot be joined"}}\n'
    async with daemon(state, join_project=refusal).running() as fake:
        said = await fake.run("projects", "join", "/code/copy")
        as_json = await fake.run("projects", "join", "/code/copy", "--json")

    assert (said.exit_code, said.stderr) == (ExitCode.FAILED, "workroot: /code/copy cannot be joined\n")
    assert json.loads(as_json.stdout)["error"]["code"] == "cannot_join"


async def test_a_name_from_a_repository_cannot_break_out_of_the_line(state: Path) -> None:
    answer = {"project": {"id": "p", "name": "x\x1b[2J\nforged", "root": "/r"}, "joined": True}
    async with daemon(state, join_project=answer).running() as fake:
        result = await fake.run("projects", "join", "/r")

    assert result.stdout.startswith(r"x\x1b[2J\nforged at /r")


def test_without_a_daemon_join_says_so(state: Path) -> None:
    assert run_cli("projects", "join", "/r", state=state).exit_code == ExitCode.NOT_RUNNING
