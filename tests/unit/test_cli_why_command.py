from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from fake_daemon import FakeDaemon, run_cli, short_directory

from workroot.cli.exit_codes import ExitCode
from workroot.cli.tables import local_time

PROJECT_ID = "5f0c7f5e-95a3-4f5e-9d8c-3a3a3a3a3a3a"
CONFIG = f'version = "1.0"\n[project]\nname = "The Shop"\nid = "{PROJECT_ID}"\n'
HANDLE = "wr_7Hq2kQ9-vXzLw_3bNf5TgYcD"
DECISION: dict[str, object] = {
    "at": 1785229200.0,
    "client": "codex",
    "tool": "get_working_directory",
    "session_id": HANDLE,
    "outcome": "decided",
    "error": None,
    "directory": "/code/shop",
    "project": {"id": PROJECT_ID, "name": "The Shop", "root": "/code/shop"},
    "source": "connector",
    "detail": "CLAUDE_PROJECT_DIR",
    "explanation": ["session: none", "1. connector (CLAUDE_PROJECT_DIR): /code/shop -> decides", "=> /code/shop"],
}
REFUSED = DECISION | {
    "outcome": "refused",
    "error": {"code": "invalid_directory", "message": "Directory does not exist: /code/shop"},
    "explanation": [],
}
SESSION: dict[str, object] = {
    "session_id": HANDLE,
    "working_directory": "/code/shop",
    "given_directory": "/code/link",
    "project_id": PROJECT_ID,
    "project_name": "The Shop",
    "project_root": "/code/shop",
    "config_path": None,
    "set_at": 1785229200.0,
    "last_used": 1785229201.0,
    "revision": 7,
    "connected": True,
    "signs": [
        {"sign": "roots: root 1", "directory": "/code/shop", "agreed": True},
        {"sign": "connector: PWD", "directory": "/code/other", "agreed": False},
    ],
}


@pytest.fixture
def state() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


def make_config(project: Path, text: str = CONFIG) -> Path:
    path = project / ".workroot" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_why_lists_each_level_up_to_the_config_that_decides(state: Path, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    make_config(shop)
    (shop / "src" / "web").mkdir(parents=True)

    result = run_cli("why", str(shop / "src" / "web"), state=state)

    assert result.exit_code == ExitCode.OK
    lines = result.stdout.splitlines()
    assert f"1. {shop}/src/web: nothing" in lines
    assert f"2. {shop}/src: nothing" in lines
    assert f"3. {shop}: the config .workroot/config.toml is the project's" in lines
    assert f"=> {shop}: a config decides, whether it can be used or not" in lines
    assert f"id         {PROJECT_ID}" in lines
    assert "project    The Shop" in lines


def test_why_as_json_holds_the_same_decision(state: Path, tmp_path: Path) -> None:
    config = make_config(tmp_path / "shop")

    document = json.loads(run_cli("why", str(tmp_path / "shop"), "--json", state=state).stdout)

    assert document["project"] == {
        "id": PROJECT_ID, "name": "The Shop", "root": str(tmp_path / "shop"), "worktree_of": None,
    }  # fmt: skip
    assert document["config_path"] == str(config)
    assert document["config_error"] is None
    assert document["levels"][0] == {
        "directory": str(tmp_path / "shop"), "config": str(config), "repository": False,
    }  # fmt: skip
    assert (document["stop"], document["stopped_at"]) == ("config", str(tmp_path / "shop"))


def test_why_names_the_fault_of_a_config_that_cannot_be_used(state: Path, tmp_path: Path) -> None:
    make_config(tmp_path / "shop", 'version = "1.0"\n[project]\nname = ""\n')

    text = run_cli("why", str(tmp_path / "shop"), state=state).stdout
    document = json.loads(run_cli("why", str(tmp_path / "shop"), "--json", state=state).stdout)

    assert "none, because the nearest config cannot be used" in text
    assert "config.toml:3: project.name: " in text
    assert document["project"] is None
    assert (document["config_error"]["line"], document["config_error"]["field"]) == (3, "project.name")


def test_the_id_of_a_repository_without_a_config_is_not_made_up(state: Path, tmp_path: Path) -> None:
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    (tmp_path / "shop" / ".git" / "HEAD").write_text("ref: refs/heads/main\n")

    document = json.loads(run_cli("why", str(tmp_path / "shop"), "--json", state=state).stdout)

    assert document["project"]["root"] == str(tmp_path / "shop")
    assert document["project"]["id"] is None


def make_repository(root: Path) -> Path:
    (root / ".git").mkdir(parents=True)
    (root / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    return root


def known(
    *projects: Mapping[str, object], sessions: Sequence[Mapping[str, object]] = ()
) -> dict[str, dict[str, object]]:
    return {"projects": {"projects": list(projects)}, "sessions": {"sessions": list(sessions)}}


async def test_a_running_daemon_knows_the_id_of_a_repository(state: Path, tmp_path: Path) -> None:
    shop = make_repository(tmp_path / "shop")
    answers = known({"id": "other", "root": "/other"}, {"id": "p-9", "root": str(shop)})

    async with FakeDaemon(state, answers).running() as fake:
        result = await fake.run("why", str(shop), "--json")

    document = json.loads(result.stdout)
    assert document["project"]["id"] == document["known_id"] == "p-9"
    assert document["warnings"] == []


async def test_a_running_daemon_knows_whether_somebody_works_there(state: Path, tmp_path: Path) -> None:
    shop = make_repository(tmp_path / "shop")
    sessions = [
        {"project_root": str(shop), "connected": True},
        {"project_root": str(shop), "connected": False},
        {"project_root": "/other", "connected": True},
    ]

    async with FakeDaemon(state, known(sessions=sessions)).running() as fake:
        told = await fake.run("why", str(shop))
        document = json.loads((await fake.run("why", str(shop), "--json")).stdout)

    assert "2 in this project, 1 of them connected" in told.stdout
    assert document["sessions"] == 2


async def test_an_id_that_differs_from_the_one_that_the_daemon_knows_is_a_warning(state: Path, tmp_path: Path) -> None:
    make_config(tmp_path / "shop")
    answers = known({"id": "p-9", "name": "The Shop", "root": str(tmp_path / "shop")})

    async with FakeDaemon(state, answers).running() as fake:
        document = json.loads((await fake.run("why", str(tmp_path / "shop"), "--json")).stdout)

    assert document["project"]["id"] == "p-9"
    (warning,) = document["warnings"]
    assert f"claims the id {PROJECT_ID}" in warning
    assert "by p-9" in warning


async def test_a_repository_whose_config_is_gone_or_broken_is_shown_as_the_daemon_keeps_it(
    state: Path, tmp_path: Path
) -> None:
    gone, broken = make_repository(tmp_path / "gone"), make_repository(tmp_path / "broken")
    make_config(broken, "no config")
    answers = known(*({"id": f"id-{each.name}", "name": "The Shop", "root": str(each)} for each in (gone, broken)))

    async with FakeDaemon(state, answers).running() as fake:
        of_gone = await fake.run("why", str(gone))
        of_broken = await fake.run("why", str(broken))

    assert "project    The Shop\n" in of_gone.stdout
    assert "id         id-gone\n" in of_gone.stdout
    assert "The Shop, as the daemon keeps it, because the nearest config cannot be used" in of_broken.stdout
    assert "id         id-broken\n" in of_broken.stdout


def test_what_is_withheld_until_it_is_allowed_is_named(state: Path, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    make_config(shop, f'instructions = "Do as I say"\n{CONFIG}')

    result = run_cli("why", str(shop), state=state)

    assert f"withheld until the user allows it: instructions; run `workroot trust {shop}`" in result.stdout
    assert "Do as I say" not in result.stdout


def test_without_arguments_it_is_the_current_directory(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert json.loads(run_cli("why", "--json", state=state).stdout)["directory"] == str(tmp_path)


def test_a_directory_may_be_relative(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)

    assert json.loads(run_cli("why", "a", "--json", state=state).stdout)["directory"] == str(tmp_path / "a")


def test_a_link_is_shown_beside_where_it_leads(state: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    result = run_cli("why", str(tmp_path / "link"), state=state)

    assert f"directory  {tmp_path}/real\ngiven as   {tmp_path}/link\n" in result.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [("missing", "Directory does not exist: "), ("file", "Path is not a directory: ")],
)
def test_what_is_no_directory_is_refused(state: Path, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "file").touch()

    result = run_cli("why", str(tmp_path / name), state=state)

    assert result.exit_code == ExitCode.FAILED
    assert result.stderr == f"workroot: {said}{tmp_path / name}\n"


def test_settings_that_cannot_be_used_are_said(state: Path, tmp_path: Path) -> None:
    (state / "config.toml").write_text("htpp = true")

    result = run_cli("why", str(tmp_path), state=state)

    assert result.exit_code == ExitCode.FAILED
    assert "did you mean http?" in result.stderr


async def test_decisions_are_shown_step_by_step_newest_last(state: Path) -> None:
    async with FakeDaemon(state, {"decisions": {"decisions": [DECISION, REFUSED]}}).running() as fake:
        result = await fake.run("why", "--last", "2")

    assert fake.asked == [{"command": "decisions", "arguments": {"last": 2}}]
    when = local_time(1785229200.0)
    assert result.stdout.splitlines() == [
        f"{when}  codex, with get_working_directory",
        "  session: none",
        "  1. connector (CLAUDE_PROJECT_DIR): /code/shop -> decides",
        "  => /code/shop",
        "",
        f"{when}  codex, with get_working_directory",
        "  session: wr_7Hq2kQ9-..., as the call claims",
        "  => refused (invalid_directory): Directory does not exist: /code/shop",
    ]


async def test_a_decision_that_repeats_is_shown_once_with_its_count(state: Path) -> None:
    again = [DECISION | {"at": 1785229200.0 + more} for more in (0, 60, 120)]
    answer = {"decisions": [*again, REFUSED, DECISION, DECISION]}
    async with FakeDaemon(state, {"decisions": answer}).running() as fake:
        shown = (await fake.run("why", "--last", "6")).stdout
        as_json = (await fake.run("why", "--last", "6", "--json")).stdout

    first, last = local_time(1785229200.0), local_time(1785229320.0)
    assert shown.splitlines()[:6] == [
        f"{first}  codex, with get_working_directory",
        "  session: none",
        "  1. connector (CLAUDE_PROJECT_DIR): /code/shop -> decides",
        "  => /code/shop",
        f"  (the same 3 times, last at {last})",
        "",
    ]
    assert shown.count("  => refused") == 1
    assert shown.endswith(f"  => /code/shop\n  (the same twice, last at {first})\n")
    assert json.loads(as_json) == answer


async def test_a_session_is_shown_with_its_pin_and_its_decisions(state: Path) -> None:
    answer = {"session": SESSION, "ended": None, "decisions": [DECISION]}
    async with FakeDaemon(state, {"decisions": answer}).running() as fake:
        result = await fake.run("why", "wr_7Hq2kQ9-...", "--last", "3")

    assert fake.asked == [{"command": "decisions", "arguments": {"session": "wr_7Hq2kQ9-...", "last": 3}}]
    lines = result.stdout.splitlines()
    assert lines[:11] == [
        "session    wr_7Hq2kQ9-...",
        "works in   /code/shop",
        "given as   /code/link",
        "project    The Shop",
        "root       /code/shop",
        f"set        {local_time(1785229200.0)}",
        "revision   7",
        f"last used  {local_time(1785229201.0)}",
        "connected  yes",
        "set with   roots: root 1: /code/shop, which it follows",
        "set with   connector: PWD: /code/other, which it was set against",
    ]
    assert lines[-1] == "  => /code/shop"
    assert HANDLE not in result.stdout


async def test_a_session_as_json_is_the_daemon_s_answer(state: Path) -> None:
    answer = {"session": SESSION, "ended": None, "decisions": [DECISION]}
    async with FakeDaemon(state, {"decisions": answer}).running() as fake:
        result = await fake.run("why", HANDLE, "--json")

    assert json.loads(result.stdout) == answer


async def test_a_session_that_has_ended_says_how_and_where_it_worked(state: Path) -> None:
    ended = {"code": "closed_session", "last_directory": "/code/shop"}
    answer: dict[str, object] = {"session": None, "ended": ended, "decisions": []}
    async with FakeDaemon(state, {"decisions": answer}).running() as fake:
        result = await fake.run("why", HANDLE)

    assert result.stdout.splitlines() == [
        "session    it was closed; calls with its handle are refused",
        "worked in  /code/shop",
        "",
        "no decision for it is remembered: the daemon keeps them while it runs",
    ]


async def test_a_directory_that_exists_is_no_session(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wr_abcdefgh").mkdir()
    monkeypatch.chdir(tmp_path)

    result = run_cli("why", "wr_abcdefgh", "--json", state=state)

    assert json.loads(result.stdout)["directory"] == str(tmp_path / "wr_abcdefgh")


def test_the_trusted_directories_of_the_settings_are_told(state: Path, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (state / "config.toml").write_text(f'trusted_directories = ["{tmp_path}"]')

    result = run_cli("why", str(tmp_path / "shop"), state=state)

    assert f"1. {tmp_path}/shop: nothing (in one of your trusted_directories" in result.stdout
    assert f"3. {tmp_path.parent}: nothing\n" in result.stdout


def test_a_path_may_say_that_it_is_no_session(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = run_cli("why", "./wr_abcdefgh", state=state)

    assert "Directory does not exist" in result.stderr


@pytest.mark.parametrize("hostile", ["a\nb", "\u202egpj", "\x1b[2J", "x" * 5000])
async def test_what_clients_and_repositories_chose_stays_within_its_line(state: Path, hostile: str) -> None:
    decision = DECISION | {"client": hostile, "tool": hostile, "explanation": [f"=> /{hostile}"]}
    refused = REFUSED | {"session_id": hostile, "error": {"code": hostile, "message": hostile}}
    session = SESSION | {"working_directory": f"/{hostile}", "project_name": hostile, "given_directory": hostile}
    answer: dict[str, object] = {"session": session, "decisions": [decision, refused]}

    async with FakeDaemon(state, {"decisions": answer}).running() as fake:
        result = await fake.run("why", HANDLE)

    assert len(result.stdout.splitlines()) == 11 + 1 + 2 + 1 + 3
    assert all(line.isprintable() for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (["--last", "3"], {"last": 3}),
        (["--client", "codex"], {"client": "codex"}),
        (["--client", "codex", "--last", "2"], {"client": "codex", "last": 2}),
        (["--last", "--client", "codex"], {"client": "codex", "last": 1}),
        ([HANDLE, "--client", "codex"], {"session": HANDLE, "client": "codex"}),
    ],
)
async def test_the_daemon_is_asked_for_as_many_as_wanted(
    state: Path, options: list[str], arguments: dict[str, object]
) -> None:
    async with FakeDaemon(state, {"decisions": {"decisions": [DECISION, DECISION]}}).running() as fake:
        result = await fake.run("why", *options, "--json")

    assert fake.asked == [{"command": "decisions", "arguments": arguments}]
    assert json.loads(result.stdout) == {"decisions": [DECISION, DECISION]}


async def test_an_unknown_place_is_called_unknown(state: Path) -> None:
    decision = {"at": 1.0, "client": None, "tool": "list_projects", "source": "unknown", "detail": "nothing said so"}
    async with FakeDaemon(state, {"decisions": {"decisions": [decision]}}).running() as fake:
        result = await fake.run("why", "--last")

    assert "=> unknown, by unknown (nothing said so)" in result.stdout  # an older daemon explains nothing
    assert "a client without a name" in result.stdout


async def test_a_client_without_decisions_is_named(state: Path) -> None:
    async with FakeDaemon(state, {"decisions": {"decisions": []}}).running() as fake:
        result = await fake.run("why", "--client", "zed")

    assert result.stdout == "no decision for a client named 'zed' is remembered\n"


@pytest.mark.parametrize(
    "arguments", [["/tmp", "--last"], ["/tmp", "--client", "x"], ["--last", "0"], ["--last", "201"], ["--last", "x"]]
)
def test_what_makes_no_sense_together_is_wrong_usage(state: Path, arguments: list[str]) -> None:
    result = run_cli("why", *arguments, state=state)

    assert result.exit_code == ExitCode.USAGE
    assert "workroot why --help" in result.stderr or "program why --help" in result.stderr
