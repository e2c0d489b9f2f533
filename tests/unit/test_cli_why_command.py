from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_daemon import FakeDaemon, run_cli, short_directory

from workroot.cli.exit_codes import ExitCode

PROJECT_ID = "5f0c7f5e-95a3-4f5e-9d8c-3a3a3a3a3a3a"
CONFIG = f'version = "1.0"\n[project]\nname = "The Shop"\nid = "{PROJECT_ID}"\n'
DECISION = {
    "at": 1785229200.0,
    "client": "codex",
    "tool": "get_working_directory",
    "session_id": "wr_7Hq2kQ9-vXzLw_3bNf5TgYcD",
    "directory": "/code/shop",
    "project": {"id": PROJECT_ID, "name": "The Shop", "root": "/code/shop"},
    "source": "connector",
    "detail": "CLAUDE_PROJECT_DIR",
    "authority": "client",
    "warnings": ["something is odd"],
    "alternatives": [{"directory": "/code/other", "source": "roots", "detail": "root 1", "project": None}],
    "skipped": [{"directory": "/home/ada", "source": "connector", "detail": "PWD", "reason": "it is the home"}],
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


async def test_a_running_daemon_knows_the_id_of_a_repository(state: Path, tmp_path: Path) -> None:
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    (tmp_path / "shop" / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    known = {"projects": [{"id": "other", "root": "/other"}, {"id": "p-9", "root": str(tmp_path / "shop")}]}

    async with FakeDaemon(state, {"projects": known}).running() as fake:
        result = await fake.run("why", str(tmp_path / "shop"), "--json")

    assert json.loads(result.stdout)["project"]["id"] == "p-9"


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


async def test_a_decision_is_shown_with_its_sign_and_all_that_was_not_followed(state: Path) -> None:
    async with FakeDaemon(state, {"decisions": {"decisions": [DECISION]}}).running() as fake:
        result = await fake.run("why", "--last")

    assert fake.asked == [{"command": "decisions", "arguments": {"last": 1}}]
    for said in (
        "codex, with get_working_directory",
        "/code/shop",
        "The Shop",
        "connector (CLAUDE_PROJECT_DIR), the word of the client",
        "something is odd",
        "/code/other by roots (root 1)",
        "/home/ada by connector (PWD): it is the home",
    ):
        assert said in result.stdout
    assert str(DECISION["session_id"]) not in result.stdout


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (["--last", "3"], {"last": 3}),
        (["--client", "codex"], {"client": "codex"}),
        (["--client", "codex", "--last", "2"], {"client": "codex", "last": 2}),
        (["--last", "--client", "codex"], {"client": "codex", "last": 1}),
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

    assert "directory  unknown" in result.stdout
    assert "a client without a name" in result.stdout


async def test_a_client_without_decisions_is_named(state: Path) -> None:
    async with FakeDaemon(state, {"decisions": {"decisions": []}}).running() as fake:
        result = await fake.run("why", "--client", "zed")

    assert result.stdout == "no decision for a client named 'zed' is remembered\n"


@pytest.mark.parametrize("arguments", [["/tmp", "--last"], ["/tmp", "--client", "x"], ["--last", "0"], ["--last", "x"]])
def test_what_makes_no_sense_together_is_wrong_usage(state: Path, arguments: list[str]) -> None:
    result = run_cli("why", *arguments, state=state)

    assert result.exit_code == ExitCode.USAGE
    assert "workroot why --help" in result.stderr or "program why --help" in result.stderr
