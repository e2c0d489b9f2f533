"""What the README says is so: every block and table of it belongs to a test here, and most of its sentences."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import inspect
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import click
import pytest
from attached_clients import stdio_client
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPDeprecationWarning
from readme_document import ROOT, Block, code, codes, find, inline_code, links, section_text, shown, unclaimed
from readme_user import (
    HANDSHAKE,
    MODERN,
    SHOP_ID,
    User,
    ask,
    call,
    http_client,
    install_as_readme_says,
    text_of,
    where,
)
from real_daemon import Home
from test_subscriptions import Heard

import workroot
from workroot import rendezvous
from workroot.cli.exit_codes import ExitCode
from workroot.cli.program import program
from workroot.client_profiles import client_profiles
from workroot.core.discovery import MAX_LEVELS
from workroot.core.projects import CONFIG_NAMES
from workroot.core.signs import ConnectorFacts, Source, connector_hints
from workroot.errors import SettingsError
from workroot.logs import FILE_BYTES, FILE_COUNT
from workroot.providers.choosing import factory_for_env
from workroot.settings import Settings, load_settings
from workroot.storage.sqlite import open_sqlite_store
from workroot.transports.http_port import DEFAULT_PORT

ERAS = [MODERN, HANDSHAKE]
TOOLS = {"get_working_directory", "set_working_directory", "list_projects", "close_session"}


@pytest.fixture(scope="module")
def installation() -> Iterator[Path]:
    """Yield the command of an installation made as the README says."""
    with User.somebody() as user:
        yield install_as_readme_says(user)


@pytest.fixture
def user(installation: Path) -> Iterator[User]:
    """Yield a user with the installed command and nothing else."""
    with User.somebody(installation) as user:
        yield user


@pytest.fixture(scope="module")
def reader(installation: Path) -> Iterator[User]:
    """Yield a user with a project and a daemon that tests share: none of them changes what others look at."""
    with User.somebody(installation) as user:
        user.project()
        yield user


# The page itself


def test_every_block_and_table_belongs_to_a_test() -> None:
    assert unclaimed() == []


@pytest.mark.parametrize("document", ["README.md", "CHANGELOG.md", "docs/which-project.md"])
def test_commands_in_the_text_exist(document: str) -> None:
    said = [one.split() for one in inline_code(document) if re.match(r"workroot [a-z-]", one)]

    assert len(said) >= 1
    for words in said:
        if words[1] == "--version":
            continue
        _, command, rest = resolved(words[1:])
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, words


def test_the_parts_of_the_architecture_are_there() -> None:
    parts = [one for one in inline_code("docs/architecture.md") if re.fullmatch(r"[\w*/]+(\.py|/)", one)]

    assert len(parts) > 30
    assert [one for one in parts if not list((ROOT / "src" / "workroot").glob(one))] == []
    assert [one for one in links("docs/architecture.md") if not (ROOT / "docs" / one).is_file()] == []


def test_the_architecture_says_how_many_may_wait_for_the_store() -> None:
    most = inspect.signature(open_sqlite_store).parameters["waiting_callers"].default

    assert f"When {most:,} callers wait" in " ".join((ROOT / "docs/architecture.md").read_text("utf-8").split())


def test_the_changelog_counts_the_clients_that_are_known() -> None:
    assert f"{len(client_profiles())} clients" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_links_lead_somewhere() -> None:
    documents = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert {*documents, "CHANGELOG.md", "LICENSE"} <= set(links())
    assert [link for link in links() if not (link == "#security" or (ROOT / link.partition("#")[0]).is_file())] == []
    assert "\n## HTTP\n" in (ROOT / "docs/operations.md").read_text("utf-8")  # for #http
    assert section_text("Security")


def test_variables_in_the_text_exist() -> None:
    variables = {word for one in inline_code() for word in re.findall(r"WORKROOT_[A-Z_]+", one)}

    assert variables == {"WORKROOT_HOME"} | {f"WORKROOT_{name.upper()}" for name in everyday()}


def test_the_changelog_keeps_its_form() -> None:
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines() if line.startswith("#")]

    assert headings == ["# Changelog", "## [Unreleased]", "### Added"]


# Try it, the parts, install


@shown("sh", "Try it")
def test_the_two_commands_are_there(block: Block) -> None:
    commands = [line.split("#")[0].strip() for line in block.text.splitlines()]

    assert commands == ["./scripts/demo", "./scripts/test"]
    for command in commands:
        assert os.access(ROOT / command, os.X_OK)
        assert "/_environment.sh" in (ROOT / command).read_text()
    assert "\nmake_environment .venv --editable . --group dev\n" in (ROOT / "scripts/_environment.sh").read_text()
    checks = (ROOT / "scripts/test").read_text()
    for tool in ("ruff format --check", "ruff check", "mypy", "lint-imports", "pytest", "coverage report"):
        assert tool in checks
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"


@shown("text", "The parts")
async def test_the_picture_shows_the_parts_that_are_there(block: Block, user: User) -> None:
    shop = user.project()
    async with user.client(shop) as editor, user.client(user.home) as agent:
        await editor.list_tools()
        await agent.list_tools()
        status = user.json("status")
        serves = [command for command in processes_of(user) if "serve" in command]
        connectors = [command for command in processes_of(user) if "connect" in command]

    assert Path(status["socket"]).name in block.text
    assert Path(status["database"]).name in block.text
    assert status["http"] is None
    assert f"off at first: 127.0.0.1:{DEFAULT_PORT}/mcp" in block.text
    assert status["connections"] == 2
    if sys.platform == "linux":
        assert (len(serves), len(connectors)) == (1, 2)
    for command in ("connect", "serve", "status"):
        assert command in program.commands
        assert f"workroot {command}" in block.text


async def test_a_daemon_that_dies_is_replaced_and_nothing_is_lost(user: User) -> None:
    async with user.client(user.directory("a")) as client:
        handle = {
            "session_id": (await ask(client, "set_working_directory", directory=str(user.project())))["session_id"]
        }
        before = await ask(client, "get_working_directory", **handle)
        first = user.json("status")["pid"]
        os.kill(first, signal.SIGKILL)
        while user.run("status").returncode != 3:  # until the kernel has taken its socket away
            pass

        assert await ask(client, "get_working_directory", **handle) == before
        assert user.json("status")["pid"] != first
        assert user.run("stop").returncode == 0
        assert await ask(client, "get_working_directory", **handle) == before  # an open editor starts it again


@shown("sh", "Install")
def test_what_was_installed_is_on_the_path_and_needs_no_clone(block: Block, installation: Path, user: User) -> None:
    assert user.shell("workroot --version") == f"workroot {workroot.__version__}\n"
    assert installation.resolve().is_relative_to(installation.parents[1] / "share" / "workroot")
    assert "ln -sf ~/.local/share/workroot/bin/workroot ~/.local/bin/workroot" in block.text


# Editors


@shown("sh", "Claude Code", "Codex", "Gemini CLI")
async def test_the_clients_own_commands_add_a_server_that_answers(block: Block, reader: User) -> None:
    given = {
        "claude": ["mcp", "add", "--scope", "user", "workroot", "--"],
        "codex": ["mcp", "add", "workroot", "--"],
        "gemini": ["mcp", "add", "-s", "user", "workroot"],
    }
    words = arguments_of(block.text, reader)
    beginning = given[words[0]]

    assert words[1 : len(beginning) + 1] == beginning
    await check_entry(reader, *words[len(beginning) + 1 :])


@shown("toml", "Codex")
async def test_the_codex_entry_answers(block: Block, reader: User) -> None:
    entry = tomllib.loads(reader.localized(block.text))["mcp_servers"]["workroot"]

    assert entry.keys() == {"command", "args"}
    await check_entry(reader, entry["command"], *entry["args"])


@shown("json", "Gemini CLI")
async def test_the_gemini_entry_answers(block: Block, reader: User) -> None:
    entry = json.loads(reader.localized(block.text))["mcpServers"]["workroot"]

    assert entry.keys() == {"command", "args"}
    await check_entry(reader, entry["command"], *entry["args"])


@shown("json", "VS Code")
async def test_the_vs_code_entry_follows_the_roots_from_the_home_directory(block: Block, reader: User) -> None:
    entry = json.loads(reader.localized(block.text))["servers"]["workroot"]
    shop = reader.shop

    assert (entry.keys(), entry["type"]) == ({"type", "command", "args"}, "stdio")
    async with reader.client(
        reader.home, *entry["args"], command=entry["command"], era=HANDSHAKE, roots=[shop]
    ) as client:
        assert await where(client) == (str(shop), "roots")


@shown("json", "Cursor")
async def test_the_cursor_entry_names_the_project_wherever_it_is_started(block: Block, reader: User) -> None:
    entry = json.loads(reader.localized(block.text))["mcpServers"]["workroot"]
    shop = reader.shop

    assert entry.keys() == {"command", "args"}
    async with reader.client(reader.home, *entry["args"], command=entry["command"], era=HANDSHAKE) as client:
        assert await where(client) == (str(shop), "connector")


# For authors of servers


@shown("python", "For authors of servers")
@pytest.mark.parametrize("era", ERAS)
async def test_the_server_of_another_author_knows_the_project_of_its_caller(
    block: Block, home: Home, tmp_path: Path, era: str
) -> None:
    (program := tmp_path / "notes.py").write_text(block.text)

    async with stdio_client(home, era, home.repository("shop"), program=program) as client:
        said = text_of(await client.call_tool("add", {"text": "sell"}))
        tools = {tool.name for tool in (await client.list_tools()).tools}

    assert said == "shop has 1 notes"
    assert tools == {"add", "get_working_directory", "set_working_directory", "list_projects", "close_session"}


# How it knows


@shown("text", "workroot")
async def test_the_first_example_is_what_a_client_reads(block: Block, reader: User) -> None:
    async with reader.client(reader.shop, name="example") as client:
        said = text_of(await call(client, "get_working_directory"))
    explained = reader.run("why", "--client", "example").stdout

    assert said == reader.localized(block.text).rstrip("\n")
    assert str(reader.shop) in explained


@shown("table", "How it knows where you work")
async def test_the_signs_are_believed_in_the_order_of_the_table(block: Block, reader: User) -> None:
    order = [source for source in Source if source is not Source.REGISTRY]  # that one only names candidates
    assert [(row[0], code(row[1])) for row in block.rows] == [
        (str(number), source.value) for number, source in enumerate(order, start=1)
    ]
    places = {source: reader.directory(f"by-{source}") for source in Source}
    turn: dict[str, object] = {"x-codex-turn-metadata": {"workspaces": {str(places[Source.TURN_METADATA]): {}}}}
    by_meta = {"workroot/directory": str(places[Source.META]), **turn}
    async with reader.client(places[Source.CONNECTOR], roots=[places[Source.ROOTS]]) as all_signs:
        pinned = await ask(all_signs, "set_working_directory", directory=str(places[Source.PIN]))
        handle, argument = {"session_id": pinned["session_id"]}, {"directory": str(places[Source.ARGUMENT])}
        answers = [
            await where(all_signs, by_meta, **handle, **argument),
            await where(all_signs, by_meta, **handle),
            await where(all_signs, by_meta),
            await where(all_signs, turn),
        ]
        others = (await ask(all_signs, "get_working_directory"))["alternatives"]
    async with reader.client(places[Source.CONNECTOR]) as without_roots:
        answers.append(await where(without_roots, turn))
    async with reader.client(reader.home) as without_signs:
        answers.append(await where(without_signs, turn))
        unknown = await ask(without_signs, "get_working_directory")
        said = text_of(await call(without_signs, "get_working_directory"))

    assert answers == [
        (str(places[source]), source.value)
        for source in order
        if source not in (Source.HEADER, Source.PROCESS, Source.UNKNOWN)
    ]
    assert [other["directory"] for other in others] == [str(places[Source.CONNECTOR])]
    assert (unknown["working_directory"], unknown["source"]) == (None, "unknown")
    assert "Call set_working_directory" in said


@shown("table", "How it knows where you work")
def test_the_connector_s_facts_rank_as_the_table_lists_them(block: Block) -> None:
    variables = {"CLAUDE_PROJECT_DIR": "/1", "WORKSPACE_FOLDER_PATHS": "/3", "PWD": "/4"}
    facts = ConnectorFacts(option="/0", own_directory="/2", environment=variables)
    several = ConnectorFacts(environment={"WORKSPACE_FOLDER_PATHS": "/3:/5"})

    assert [hint.detail for hint in connector_hints(facts)] == codes(block.rows[4][2])
    assert [hint.problem for hint in connector_hints(several)] == ["names several folders"]


@shown("table", "How it knows where you work")
async def test_what_clients_put_into_meta_names_the_directory(block: Block, reader: User) -> None:
    directory = reader.directory("by-codex")
    by = {
        "workroot/directory": str(directory),
        "codex/sandbox-state-meta": {"sandboxCwd": directory.as_uri()},
        "agent-working-dir": str(directory),
    }
    assert codes(block.rows[2][2]) == ["_meta", *by]
    async with reader.client(reader.shop) as client:
        for key, value in by.items():
            assert await where(client, {key: value}) == (str(directory), "meta")


@pytest.mark.parametrize("nowhere", ["~", "/", "/usr", "~/.config"])
async def test_where_editors_start_servers_says_nothing(reader: User, nowhere: str) -> None:
    directory = Path(nowhere.replace("~", str(reader.home)))
    if not directory.exists():
        directory.mkdir()
    async with reader.client(directory, roots=[directory]) as client:
        meta = {"workroot/directory": str(directory)}

        assert await where(client, meta) == (None, "unknown")
        assert await where(client, directory=str(directory)) == (str(directory), "argument")


async def test_a_value_that_was_not_filled_in_says_nothing(reader: User) -> None:
    shop = reader.shop
    async with reader.client(shop, "--directory", "${workspaceFolder}") as client:
        answer = await ask(client, "get_working_directory")

    assert answer["working_directory"] == str(shop)
    assert answer["warnings"] == [
        "passed over: ${workspaceFolder} (connector, --directory): was not expanded by the client"
    ]


@pytest.mark.parametrize("era", ERAS)
async def test_roots_in_several_projects_are_ambiguous_but_for_two_clients(reader: User, era: str) -> None:
    roots = [reader.shop, reader.project(f"bank-{era}")]
    async with reader.client(reader.home, roots=roots, era=era) as client:
        answer = await ask(client, "get_working_directory")
    of_others = []
    for name in ("claude-code", "gemini-cli-mcp-client"):
        async with reader.client(reader.home, roots=roots, era=era, name=name) as client:
            of_others.append(await where(client))

    assert answer["working_directory"] is None
    assert [other["directory"] for other in answer["alternatives"]] == [str(root) for root in roots]
    assert of_others == [(str(roots[0]), "roots")] * 2


@pytest.mark.parametrize("era", ERAS)
async def test_a_pin_follows_its_client_or_becomes_stale(reader: User, era: str) -> None:
    first, second, against = (reader.directory(f"{name}-{era}") for name in ("first", "second", "against"))
    roots = [first]
    async with reader.client(reader.home, roots=roots, era=era) as client:
        opened = await ask(client, "set_working_directory", directory=str(first))
        agreed = {"session_id": opened["session_id"]}
        await ask(client, "get_working_directory", **agreed)
        opened = await ask(client, "set_working_directory", directory=str(against))
        other = {"session_id": opened["session_id"]}
        roots[:] = [second]

        assert (await ask(client, "get_working_directory", **agreed))["working_directory"] == str(second)
        stale = await ask(client, "get_working_directory", **other)
        assert stale["working_directory"] is None
        assert [each["directory"] for each in stale["alternatives"]] == [str(against), str(second)]
        await ask(client, "set_working_directory", directory=str(second), **other)
        assert await where(client, **other) == (str(second), "pin")


@pytest.mark.parametrize(
    ("name", "key"),
    [("codex-mcp-client", "threadId"), ("vscode", "vscode.conversationId"), ("goose", "agent-session-id")],
)
async def test_a_client_s_own_conversation_names_a_session(reader: User, name: str, key: str) -> None:
    shop, start = str(reader.shop), reader.directory("start")
    async with reader.client(start, name=name) as client:
        await ask(client, "set_working_directory", {key: "one"}, directory=shop)
        assert await where(client, {key: "one"}) == (shop, "pin")
        assert await where(client, {key: "two"}) == (str(start), "connector")


async def test_a_connection_has_a_session_of_its_own_in_the_older_era_only(reader: User) -> None:
    start, shop = reader.directory("start"), str(reader.shop)
    async with reader.client(start, era=HANDSHAKE) as older, reader.client(start, era=HANDSHAKE) as other:
        await ask(older, "set_working_directory", directory=shop)
        assert await where(older) == (shop, "pin")
        assert await where(other) == (str(start), "connector")
    async with reader.client(start) as newer:
        session = (await ask(newer, "set_working_directory", directory=shop))["session_id"]
        assert await where(newer) == (str(start), "connector")
        assert await where(newer, session_id=session) == (shop, "pin")
        assert await where(newer, {"workroot/session": session}) == (shop, "pin")


async def test_ended_sessions_are_told_from_unknown_ones_and_name_their_directory(user: User) -> None:
    shop = str(user.project())
    user.serve(WORKROOT_SESSION_IDLE_SECONDS="0.001")
    async with user.client(user.home) as client:
        expired = (await ask(client, "set_working_directory", directory=shop))["session_id"]
        assert user.json("sweep")["removed"] == [expired]
        closed = (await ask(client, "set_working_directory", directory=shop))["session_id"]
        await ask(client, "close_session", session_id=closed)
        handles = (expired, closed, "wr_nobodys")
        results = [await call(client, "get_working_directory", session_id=handle) for handle in handles]

    assert [result.is_error for result in results] == [True, True, True]
    assert [shop in text_of(result) for result in results] == [True, True, False]
    assert [re.search("expired|closed|unknown", text_of(result)) is not None for result in results] == [True] * 3
    defaults = Settings(state_directory=user.state)
    assert (defaults.session_idle_seconds, defaults.ended_session_days) == (24 * 3600, 30)


# Projects


def test_the_nearest_config_decides_although_it_is_broken(user: User) -> None:
    outer = user.project()
    inner = user.directory("code/shop/inner")
    (inner / ".workroot").mkdir()
    (inner / ".workroot" / "config.toml").write_text('version = "1.0"\n\n[project]\nname = 5\n')

    found = user.json("why", directory=inner)

    assert found["project"] is None
    assert found["config_error"]["path"] == str(inner / ".workroot" / "config.toml")
    assert found["config_error"]["line"] == 4
    assert user.json("why", directory=outer)["project"]["name"] == "Shop"


def test_the_names_of_configs_are_those_that_are_looked_for() -> None:
    listed = [one for one in codes(section_text("Which project owns a directory")) if one.startswith(".w")]

    assert set(CONFIG_NAMES) <= {*listed, *codes(section_text("Which project owns a directory"))}


def test_a_repository_keeps_its_id_without_its_config_and_shares_it_with_none(user: User) -> None:
    make_repository(shop := user.project(), ".git")
    config, copy = shop / ".workroot" / "config.json", user.directory("code/copy")
    make_repository(copy, ".git")
    shutil.copytree(config.parent, copy / ".workroot")
    user.serve()

    def project(directory: Path) -> Any:
        return asyncio.run(asked_at(user, directory))["project_info"]

    assert project(shop)["id"] == SHOP_ID
    assert project(copy)["id"] != SHOP_ID
    assert user.run("projects", "join", str(copy)).returncode == 0
    assert project(copy)["id"] == SHOP_ID
    config.write_text("<<<<<<< HEAD\n")
    assert project(shop)["id"] == SHOP_ID
    config.unlink()
    assert (project(shop)["id"], project(shop)["name"]) == (SHOP_ID, "Shop")


@pytest.mark.parametrize("kind", [".git", ".hg", ".jj"])
def test_a_version_control_root_is_a_project_without_a_config(user: User, kind: str) -> None:
    repository = user.directory("code/atlas")
    make_repository(repository, kind)

    found = user.json("why", directory=user.directory("code/atlas/src"))

    assert found["project"]["name"] == "atlas"
    assert found["project"]["root"] == str(repository)
    assert found["stop"] == "repository"


async def test_worktrees_share_the_id_and_keep_their_roots(reader: User) -> None:
    atlas, fix = reader.directory("code/atlas"), reader.directory("code/fix")
    make_repository(atlas, ".git")
    administration = reader.directory("code/atlas/.git/worktrees/fix")
    (administration / "HEAD").write_text("ref: refs/heads/fix\n")
    (administration / "commondir").write_text("../..\n")
    (administration / "gitdir").write_text(f"{fix / '.git'}\n")
    (fix / ".git").write_text(f"gitdir: {administration}\n")
    async with reader.client(reader.home) as client:
        of_atlas = (await ask(client, "get_working_directory", directory=str(atlas)))["project_info"]
        of_fix = (await ask(client, "get_working_directory", directory=str(fix)))["project_info"]

    assert of_atlas["id"] == of_fix["id"]
    assert (of_atlas["root"], of_fix["root"], of_fix["worktree_of"]) == (str(atlas), str(fix), str(atlas))


def test_the_search_ends_at_home_at_what_others_may_write_and_at_the_64th_level(user: User) -> None:
    (user.home / ".git").mkdir(mode=0o700)
    open_to_all = user.directory("open")
    open_to_all.chmod(0o777)
    deep = user.directory("/".join(["d"] * 70))

    assert user.json("why", directory=user.directory("code"))["stop"] in ("home", "repository")
    assert user.json("why", directory=user.directory("open/inner"))["barrier"] == str(open_to_all)
    assert user.json("why", directory=deep)["stop"] == "depth"
    assert MAX_LEVELS == 64


@shown("console", "Which project owns a directory")
def test_the_conversation_with_init_and_why_is_a_real_one(block: Block, user: User) -> None:
    user.directory("code/shop/src")
    commands = [line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ ")]
    shown_answer = "".join(line + "\n" for line in block.text.splitlines() if not line.startswith("$ "))

    answer = user.shell("\n".join(commands))

    assert without_ids(answer) == without_ids(user.localized(shown_answer))
    assert len(set(uuids(answer))) == len(set(uuids(shown_answer))) == 1


@shown("toml", "Which project owns a directory")
def test_the_config_by_hand_is_found_and_needs_what_the_text_says(block: Block, user: User) -> None:
    config = user.directory("code/shop/.workroot") / "config.toml"
    fields = tomllib.loads(block.text)

    def problem_with(text: str) -> Any:
        config.write_text(text)
        return user.json("why", directory=config.parents[1])["config_error"]

    assert problem_with(block.text) is None
    found = user.json("why", directory=config.parents[1])["project"]
    assert (found["name"], found["id"]) == (fields["project"]["name"], fields["project"]["id"])
    assert problem_with(re.sub("^version.*", "", block.text, flags=re.MULTILINE))["field"] == "version"
    assert problem_with(re.sub("^name.*", "", block.text, flags=re.MULTILINE))["field"] == "project.name"
    assert problem_with(re.sub("^id.*", "", block.text, flags=re.MULTILINE)) is None
    assert user.json("why", directory=config.parents[1])["project"]["id"] is None  # the daemon's own


# Tools and resources


@pytest.mark.parametrize("era", ERAS)
@shown("table", "Tools", number=1)
async def test_the_table_of_tools_is_what_a_server_lists(block: Block, reader: User, era: str) -> None:
    async with reader.client(reader.home, era=era) as client:
        tools = (await client.list_tools()).tools

    assert [(code(row[0]), codes(row[1])) for row in block.rows] == [
        (
            tool.name,
            [
                name if name in tool.input_schema.get("required", ()) else f"{name}?"
                for name in tool.input_schema["properties"]
            ],
        )
        for tool in tools
    ]


@shown("table", "Tools", number=2)
async def test_the_table_of_resources_is_what_a_server_has(block: Block, reader: User) -> None:
    async with reader.client(reader.home) as client:
        session = (await ask(client, "set_working_directory", directory=str(reader.shop)))["session_id"]
        listed = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates
        known = {"{id}": SHOP_ID, "{session_id}": session}
        rows = [code(row[0]) for row in block.rows]
        for row in rows:
            uri = re.sub(r"\{\w+\}", lambda part: known[part[0]], row)
            (content,) = (await client.read_resource(uri)).contents
            assert "shop" in getattr(content, "text", "")

    assert [str(one.uri) for one in listed] == [rows[0], f"{rows[0]}/{SHOP_ID}"]
    assert rows[1:] == [one.uri_template for one in templates]


@pytest.mark.parametrize("change", ["made", "changed", "moved", "deleted"])
async def test_a_subscriber_is_told_when_a_config_changes(user: User, change: str) -> None:
    shop = user.project()
    config = shop / ".workroot" / "config.json"
    (kept := shop / ".workroot" / "kept.json").write_text(config.read_text().replace("Shop", "Store"))
    if change == "made":
        config.unlink()
    async with user.client(shop) as client:
        session = await ask(client, "set_working_directory", directory=str(shop))
        uri = f"workroot://sessions/{session['session_id']}"
        async with client.listen(resource_subscriptions=[uri]) as subscription:
            match change:
                case "made" | "changed":
                    os.replace(kept, config)
                case "moved":
                    (shop / ".workroot").rename(shop / ".before")
                case "deleted":
                    config.unlink()
            with anyio.fail_after(10):
                told = await anext(subscription)
        now = await ask(client, "get_working_directory", session_id=session["session_id"])

    assert isinstance(told, ResourceUpdated)
    assert told.uri == uri
    assert (now["project_info"] and now["project_info"]["name"]) == ("Store" if now["config_found"] else None)


async def test_tools_refuse_what_the_text_says_they_refuse(reader: User) -> None:
    async with reader.client(reader.home) as client:
        slip = await call(client, "get_working_directory", directroy="/")
        both = await call(client, "set_working_directory", directory="/", project="shop")

    assert slip.is_error
    assert "did you mean 'directory'?" in text_of(slip)
    assert both.is_error


# HTTP


@dataclass
class HttpDaemon:
    """A daemon that was brought up as the README says."""

    user: User
    url: str
    token: str

    def localized(self, text: str) -> str:
        return text.replace("wrt_...", self.token).replace("http://127.0.0.1:7668/mcp", self.url)

    def status_of(self, method: str = "POST", path: str = "/mcp", **headers: str) -> int:
        """Return the status of a request that is right but for what is given; no body is sent."""
        address = urlsplit(self.url).netloc
        said = {"Host": address, "Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(address, timeout=10)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True)
            for name, value in said.items():
                connection.putheader(name, value)
            connection.endheaders()
            return connection.getresponse().status


@pytest.fixture(scope="module")
def http_daemon(installation: Path) -> Iterator[HttpDaemon]:
    """Yield a daemon after the lines of the section HTTP; the last one runs in the foreground."""
    with User.somebody(installation) as user:
        *lines, last = find("sh", "HTTP").text.splitlines()
        assert last == "workroot serve"
        token = re.search(r"wrt_[\w-]+", user.shell("\n".join(lines)))
        assert token is not None
        user.serve()
        yield HttpDaemon(user, user.json("status")["http"]["url"], token[0])


@shown("sh", "HTTP", number=1)
def test_http_is_switched_on_by_the_lines_that_say_so(block: Block, http_daemon: HttpDaemon) -> None:
    assert "http = true" in block.text
    port = urlsplit(http_daemon.url).port
    assert http_daemon.url == f"http://127.0.0.1:{port}/mcp"
    assert (http_daemon.user.state / "http-port").read_text() == f"{port}\n"
    assert http_daemon.url in http_daemon.user.run("status").stdout


@shown("json", "HTTP")
async def test_the_vs_code_entry_for_http_answers(block: Block, http_daemon: HttpDaemon) -> None:
    entry = json.loads(http_daemon.localized(block.text))["servers"]["workroot"]

    assert (entry.keys(), entry["type"]) == ({"type", "url", "headers"}, "http")
    async with http_client(entry["url"], entry["headers"]) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS


@shown("sh", "HTTP", number=2)
async def test_the_claude_code_entry_for_http_answers(block: Block, http_daemon: HttpDaemon) -> None:
    words = arguments_of(http_daemon.localized(block.text), http_daemon.user)

    assert words[:7] == ["claude", "mcp", "add", "--scope", "user", "--transport", "http"]
    name, url, option, header = words[7:]
    key, _, value = header.partition(": ")
    assert (name, option) == ("workroot", "--header")
    async with http_client(url, {key: value}) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS


def test_http_lets_through_what_is_right_and_nobody_without_a_token(http_daemon: HttpDaemon) -> None:
    port = urlsplit(http_daemon.url).port

    for host in (f"localhost:{port}", f"127.0.0.1:{port}"):  # what is right comes through to the application
        assert http_daemon.status_of("GET", Host=host, Origin=f"http://{host}", Sec_Fetch_Site="same-origin") == 400
    assert http_daemon.status_of(Authorization="") == 401


async def test_over_http_a_header_or_the_url_names_the_directory(http_daemon: HttpDaemon) -> None:
    directory = str(http_daemon.user.directory("code"))
    token = {"Authorization": f"Bearer {http_daemon.token}"}
    async with http_client(http_daemon.url, {**token, "Workroot-Directory": directory}) as client:
        assert await where(client) == (directory, "header")
        session = (await ask(client, "set_working_directory", directory=str(http_daemon.user.home)))["session_id"]
    async with http_client(f"{http_daemon.url}?directory={directory}", token) as client:
        assert await where(client) == (directory, "header")
    async with http_client(http_daemon.url, {**token, "Workroot-Session": session}) as client:
        assert await where(client) == (str(http_daemon.user.home), "pin")


async def test_a_token_acts_for_you_and_that_of_somebody_else_shares_no_session(http_daemon: HttpDaemon) -> None:
    user = http_daemon.user
    strange = user.json("token", "create", "other", "--user", "ada")["token"]
    async with user.client(user.home) as client:
        session = (await ask(client, "set_working_directory", directory=str(user.directory("code"))))["session_id"]
    async with http_client(http_daemon.url, {"Authorization": f"Bearer {http_daemon.token}"}) as mine:
        assert (await where(mine, session_id=session))[1] == "pin"
    async with http_client(http_daemon.url, {"Authorization": f"Bearer {strange}"}) as theirs:
        assert "unknown session" in text_of(await call(theirs, "get_working_directory", session_id=session))
    user.json("token", "revoke", "other")
    assert http_daemon.status_of(Authorization=f"Bearer {strange}") == 401
    assert "other" not in user.run("token", "list").stdout


# Command line


@shown("table", "Command line", number=1)
def test_the_table_of_commands_is_what_the_program_has(block: Block) -> None:
    described: dict[str, set[str]] = {}
    for usage in (code(row[0]) for row in block.rows):
        name, command, _ = resolved([word for word in re.split(r"[\s\[\]]+", usage)[1:] if word])
        described.setdefault(name, set()).update(re.findall(r"--[a-z-]+", usage))
        arguments = [one for one in command.params if isinstance(one, click.Argument) and one.required]
        assert all(argument.make_metavar(click.Context(command)) in usage for argument in arguments)

    assert described == {
        name: {
            option
            for one in options_of(command)
            for option in one.opts
            if option.startswith("--") and option not in ("--json", "--help")
        }
        for name, command in leaves(program)
    }
    without_json = {name for name, command in leaves(program) if not takes_json(command)}
    assert without_json == {"serve", "connect", "export"}  # what `export` writes is JSON anyway


@shown("table", "Command line", number=1)
async def test_every_command_of_the_table_runs(block: Block, user: User) -> None:
    words = {"DIR": str(user.directory("code")), "N": "2", "NAME": "somebody's editor", "QUERY": "shop", "USER": "ada"}
    words |= {"LEVEL": "warning", "SANDBOX": "lab", "OLD=NEW": "/old=/new"}
    words["FILE"] = str(user.directory("archives") / "workroot.jsonl")
    user.run("init", words["DIR"])  # its project is joined and asked what it wants, further down the table
    async with user.client(shop := user.project()) as client:
        words["SESSION"] = (await ask(client, "set_working_directory", directory=str(shop)))["session_id"][:11]
        for usage in (code(row[0]) for row in block.rows):
            arguments = [words.get(word, word) for word in re.split(r"[\s\[\]]+", usage)[1:] if word]
            if arguments[0] in ("connect", "serve", "stop"):
                continue  # the client runs one, that runs the other; others need the daemon
            if usage.endswith(("--follow", "service status", "BACKUP")):
                continue  # the first has no end, the second needs a service manager, the third a copy
            if arguments[0] == "token":
                arguments = ["one" if word == words["NAME"] else word for word in arguments]
            assert user.run(*arguments).returncode == 0, usage
    assert user.run("stop").returncode == 0


@shown("table", "Command line", number=2)
def test_the_table_of_exit_codes_is_theirs(block: Block) -> None:
    assert [int(row[0]) for row in block.rows] == list(ExitCode)


def test_commands_end_with_the_codes_that_the_table_says(user: User) -> None:
    assert user.run("stop").returncode == 0
    assert user.run("status").returncode == 3
    assert user.run("connect", "--no-spawn").returncode == 3
    assert user.run("no-such-command").returncode == 2
    assert user.run("why", "/does/not/exist").returncode == 1
    user.serve()
    assert user.run("serve").returncode == 1
    assert user.run("status").returncode == 0
    user.run("stop")
    (user.state / "config.toml").write_text("htpp = true\n")
    ended = user.run("connect")
    assert ended.returncode == 4
    assert "htpp" in ended.stderr + (user.state / "log" / "daemon.log").read_text()


def test_a_connector_that_cannot_get_its_daemon_back_ends_with_5(user: User, installation: Path) -> None:
    user.serve()
    impatient = "import sys; from workroot.connector import main; sys.exit(main(['--no-spawn'], patience=0.1))"
    connector = subprocess.Popen(
        [installation.resolve().with_name("python"), "-I", "-c", impatient],
        env=user.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with connector:
        assert connector.stdin is not None
        assert connector.stdout is not None
        connector.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        connector.stdin.flush()
        assert connector.stdout.readline()

        user.run("stop")
        connector.stdin.write(b'{"jsonrpc":"2.0","id":2,"method":"ping"}\n')  # before, it does not ask for a daemon
        connector.stdin.flush()

        assert connector.wait(10) == 5


# Settings


@shown("table", "Settings")
def test_the_table_of_settings_is_theirs(block: Block, tmp_path: Path) -> None:
    defaults = Settings(state_directory=tmp_path)
    said = {code(row[0]): row[1] for row in block.rows}

    assert list(said) == [name for name in Settings.model_fields if name in said]  # in the same order
    for name, cell in said.items():
        value = None if cell == "none" else tomllib.loads(f"value = {code(cell)}")["value"]
        assert (tuple(value) if isinstance(value, list) else value) == getattr(defaults, name)
    assert [code(row[2]) for row in block.rows] == [f"WORKROOT_{name.upper()}" for name in said]


@shown("table", "Settings")
def test_every_variable_of_the_table_wins_over_the_file(block: Block, tmp_path: Path) -> None:
    other = {
        "false": "true",
        "true": "false",
        '"info"': "debug",
        "none": "7700",
        "[]": "/srv/shared, /opt",
        '"anywhere"': "roots",
    }
    (tmp_path / "config.toml").write_text("drain_seconds = 9\n")
    for name, default, variable, _ in block.rows:
        written = default.strip("`")
        value = "a.toml, b.json" if written.startswith('["') else other.get(written, "77")
        loaded = load_settings({"WORKROOT_HOME": str(tmp_path), code(variable): value})
        changed = getattr(loaded, code(name))
        assert changed != getattr(Settings(state_directory=tmp_path), code(name)), name
        assert changed != 9


@shown("toml", "Settings")
def test_the_example_of_settings_is_read_by_the_daemon(block: Block, user: User) -> None:
    user.state.mkdir(mode=0o700, parents=True)
    (user.state / "config.toml").write_text(block.text)

    loaded = load_settings(user.environment)

    example = tomllib.loads(block.text)
    assert {name: getattr(loaded, name) for name in example} == example
    assert all(getattr(Settings(state_directory=user.state), name) != value for name, value in example.items())


def test_a_setting_that_cannot_be_used_is_named(user: User) -> None:
    user.state.mkdir(mode=0o700, parents=True)
    for mistake in ("htpp = true", "http_port = 0", "log_level = 'loud'"):
        (user.state / "config.toml").write_text(mistake)
        with pytest.raises(SettingsError, match=mistake.split(maxsplit=1)[0]):
            load_settings(user.environment)

    ended = user.run("serve")

    assert ended.returncode == 1
    assert "log_level" in ended.stderr


# Data, and its end


@shown("table", "Where the data lies", number=1)
def test_the_state_directory_of_each_system_is_the_table_s(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for platform, row in zip(("linux", "darwin"), block.rows, strict=True):
        monkeypatch.setattr(sys, "platform", platform)
        state = rendezvous.state_directory({"HOME": "/home/ada", "XDG_STATE_HOME": "/elsewhere"})
        assert state.replace("/home/ada", "~") == code(row[1])
    assert rendezvous.state_directory({"HOME": "/home/ada", "WORKROOT_HOME": "/elsewhere"}) == "/elsewhere"


@shown("table", "Where the data lies", number=2)
async def test_the_state_directory_holds_what_the_table_lists(block: Block, user: User) -> None:
    listed = {code(row[0]): row[1] for row in block.rows}
    secret = user.json("token", "create", "one")["token"]
    user.json("trust", "--deny", str(user.project("bank")))
    (user.state / "config.toml").write_text("http = true\n")
    async with user.client(user.project()) as client:
        session = (await ask(client, "set_working_directory", directory=str(user.home)))["session_id"]
        running = modes_below(user.state)
    user.run("stop")
    host = Path(rendezvous.run_directory(str(user.state))).name
    seen = {name: mode for name, mode in running.items() if name not in ("workroot.db-wal", "workroot.db-shm")}
    found = {
        name.replace(f"run/{host}/", "run/HOST/"): mode for name, mode in {**seen, **modes_below(user.state)}.items()
    }

    assert found.keys() == listed.keys()
    assert {name: mode for name, mode in listed.items() if mode != "yours"} == {
        name: mode for name, mode in found.items() if name != "config.toml"
    }
    assert {"workroot.db-wal", "workroot.db-shm"} == running.keys() - seen.keys()
    assert {mode_of(path) for path in (user.state, *user.state.rglob("*")) if path.is_dir()} == {"0700"}
    assert FILE_COUNT == 1 + 4
    assert FILE_BYTES * FILE_COUNT == 25_000_000
    for path in user.state.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes()
    assert session not in (user.state / "log" / "daemon.log").read_text()


@pytest.mark.parametrize(("length", "is_short"), [(60, True), (95, False)])
def test_a_socket_whose_path_is_too_long_is_in_tmp(
    length: int, is_short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = os.uname_result(("Linux", "host", "", "", ""))
    monkeypatch.setattr(os, "uname", lambda: node)
    state = "/".ljust(length, "s")

    socket = rendezvous.socket_path(state)

    assert socket.startswith(state if is_short else f"/tmp/workroot-{os.getuid()}-")


async def test_working_in_a_project_writes_nothing_into_it(reader: User) -> None:
    make_repository(repository := reader.directory("code/quiet"), ".git")
    before = sorted(repository.rglob("*"))
    async with reader.client(repository) as client:
        await ask(client, "set_working_directory", directory=str(repository))

    assert sorted(repository.rglob("*")) == before


@shown("sh", "Remove it")
async def test_removal_leaves_nothing_but_the_projects_configs(block: Block, installation: Path) -> None:
    with User.somebody() as user:
        of_installation = installation.parents[1] / "share" / "workroot"
        shutil.copytree(
            of_installation, user.directory(".local/share") / "workroot", copy_function=os.link, symlinks=True
        )
        user.directory(".local/bin")
        user.command.symlink_to(user.home / ".local/share/workroot/bin/workroot")
        user.directory("code/shop")
        user.shell("cd ~/code/shop && workroot init && workroot token create one")
        async with user.client(user.home / "code" / "shop") as client:
            await ask(client, "get_working_directory")
            assert user.run("status").returncode == 0

        user.shell(block.text)

        assert processes_of(user) == []
        shutil.rmtree(user.home / "bin")  # the test's own
        assert files_below(user.home) == [user.home / "code" / "shop" / ".workroot" / "config.toml"]


# Security, platforms


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_is_not_answered(user: User) -> None:
    user.serve()
    socket = Path(user.json("status")["socket"])
    above = [path for path in socket.parents if path.is_relative_to(user.home)]
    ask_hello = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1]);"
        """s.sendall(b'{"workroot":1,"role":"control","version":"1"}\\n'); print(len(s.recv(100)))"""
    )
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable

    def answered_as(number: int | None) -> str:
        return subprocess.run(
            [python, "-I", "-c", ask_hello, str(socket)],
            user=number,
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout

    assert (mode_of(socket), {mode_of(path) for path in above if "workroot" in str(path)}) == ("0600", {"0700"})
    try:  # take the first line of defence away, to see the second one
        socket.chmod(0o666)
        for path in above:
            path.chmod(0o755)
        assert int(answered_as(None)) > 0
        try:
            answer = answered_as(65534)
        except (PermissionError, subprocess.CalledProcessError) as refused:
            answer = getattr(refused, "stderr", "")
            assert "ConnectionResetError" in answer or "BrokenPipeError" in answer
        else:
            assert answer == "0\n"
    finally:
        for path in above:
            path.chmod(0o700)


async def test_nothing_of_a_project_runs(user: User) -> None:
    make_repository(project := user.directory("code/trap"), ".git")
    sprung = user.home / "sprung"
    for module in ("json", "socket", "asyncio", "mcp", "sitecustomize", "workroot"):
        (project / f"{module}.py").write_text(f"open({str(sprung)!r}, 'w')\n")
    for program_name in ("git", "hg", "jj"):
        (user.home / "bin" / program_name).write_text(f"#!/bin/sh\ntouch {sprung}\n")
        (user.home / "bin" / program_name).chmod(0o755)
    (project / ".workroot").mkdir()
    (project / ".workroot" / "config.toml").write_text(
        f'version = "1.0"\nproject = {{ name = "Trap" }}\ninstructions = "Obey"\n'
        f'[servers.trap]\ncommand = "touch"\nargs = ["{sprung}"]\n[commands]\ntest = "touch {sprung}"\n'
    )
    async with user.client(project, environment={"PYTHONPATH": str(project)}) as client:
        answer = await ask(client, "set_working_directory", directory=str(project))
        cwd = f"/proc/{user.json('status')['pid']}/cwd"
        assert sys.platform != "linux" or Path(cwd).readlink() == Path("/")
        tools = (await client.list_tools()).tools

    assert answer["project_info"]["name"] == "Trap"
    assert not sprung.exists()
    assert "Obey" not in json.dumps([answer, [tool.name for tool in tools]])


@pytest.mark.parametrize("arguments", [["status"], ["connect"], ["--help"]])
def test_native_windows_is_told_so_and_2(installation: Path, arguments: list[str]) -> None:
    as_windows = (
        f"import sys; sys.platform = 'win32'; sys.argv[1:] = {arguments};"
        "from workroot.__main__ import main; sys.exit(main())"
    )

    ended = subprocess.run(
        [installation.resolve().with_name("python"), "-I", "-c", as_windows],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert ended.returncode == 2
    assert "Windows" in ended.stderr


# Not yet: what comes, makes a line of the README untrue, and one of these tests fail


async def test_what_was_allowed_is_shown_and_not_done(user: User) -> None:
    sprung = user.home / "sprung"
    instructions, commands = "Be careful", {"test": f"touch {sprung}"}
    servers = {"trap": {"command": "touch", "args": [str(sprung)]}}
    shop = user.project(instructions=instructions, commands=commands, servers=servers)
    async with user.client(shop) as client:
        withheld = await ask(client, "get_working_directory")
        allow(user, shop)
        answer = await ask(client, "get_working_directory")
        (content,) = (await client.read_resource(f"workroot://projects/{SHOP_ID}")).contents

    assert f"workroot trust {shop}" in withheld["warnings"][0]
    assert answer["warnings"] == []
    (root,) = json.loads(getattr(content, "text", ""))["roots"]
    assert (root["instructions"], root["commands"], root["servers"]) == (instructions, commands, ["trap"])
    assert not sprung.exists()


def test_what_is_missing_is_missing() -> None:
    missing = codes(next(line for line in section_text("Not yet").splitlines() if "`install` command" in line))

    assert missing == ["install"]
    assert not set(missing) & set(program.commands)
    assert importlib.util.find_spec("workroot.downstream") is None
    with pytest.raises(ImportError, match="one for Redis comes with a later workroot"):
        factory_for_env({"SESSION_PROVIDER": "redis"})
    assert workroot.SessionContextManager.__name__ == "SessionContextManager"


async def test_the_daemon_outlives_its_last_client_for_half_an_hour(reader: User) -> None:
    async with reader.client(reader.shop) as client:
        await ask(client, "get_working_directory")

    assert reader.run("status").returncode == 0
    assert Settings(state_directory=reader.state).idle_exit_seconds == 1800


def test_older_http_clients_notice_no_restart(user: User) -> None:
    token = user.json("token", "create", "one")["token"]
    user.serve(WORKROOT_HTTP="1")
    url = urlsplit(user.json("status")["http"]["url"])
    said = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }

    def post(method: str, params: dict[str, object], **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(url.netloc, timeout=10)
        with contextlib.closing(connection):
            body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
            connection.request("POST", url.path, body, {**said, **headers})
            response = connection.getresponse()
            response.read()
            return response

    about: dict[str, object] = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "older", "version": "1"},
    }
    session = post("initialize", about).getheader("Mcp-Session-Id")
    assert session is not None
    assert post("ping", {}, **{"Mcp-Session-Id": session}).status == 200
    user.run("stop")
    user.serve(WORKROOT_HTTP="1")

    assert post("ping", {}, **{"Mcp-Session-Id": session}).status == 200


async def test_older_clients_need_not_subscribe_anew_after_the_daemon_was_killed(user: User) -> None:
    shop, bank = user.project(), user.project("bank")
    heard = Heard()

    async with user.client(shop, era=HANDSHAKE, heard=heard) as older, user.client(shop) as newer:
        session = (await ask(newer, "set_working_directory", directory=str(shop)))["session_id"]
        uri = f"workroot://sessions/{session}"
        with pytest.warns(MCPDeprecationWarning):
            await older.subscribe_resource(uri)
        os.kill(user.json("status")["pid"], signal.SIGKILL)
        assert await heard.next() == uri, "it may have missed something meanwhile"
        await ask(newer, "set_working_directory", directory=str(bank), session_id=session)
        assert await heard.next() == uri

    heard.close()


async def test_a_listen_stream_ends_when_the_daemon_is_stopped(user: User) -> None:
    async with (
        user.client(user.project()) as client,
        client.listen(resource_subscriptions=["workroot://projects"]) as subscription,
    ):
        user.run("stop")
        with anyio.fail_after(10):
            assert [event async for event in subscription] == []


# Development


def test_what_developers_are_told_is_there() -> None:
    assert os.access(ROOT / "scripts" / "bench", os.X_OK)
    assert (ROOT / "tests" / "unit").is_dir()
    assert 'exec .venv/bin/pytest "$@"' in (ROOT / "scripts" / "test").read_text()
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


# Helpers


async def check_entry(user: User, command: str, *arguments: str) -> None:
    """Start what an entry says, as an agent does, and see that it answers for the right directory."""
    shop = user.home / "code" / "shop"
    assert Path(command).is_absolute()
    async with user.client(shop, *arguments, command=command) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
        assert await where(client) == (str(shop), "connector")


def arguments_of(line: str, user: User) -> list[str]:
    """Return what a shell would start for *line*: a program of the user's that is not here notes its arguments."""
    with contextlib.ExitStack() as stack:
        program_file = user.home / "bin" / line.split(maxsplit=1)[0]
        program_file.write_text("""#!/bin/sh\nprintf '%s\\n' "$@"\n""")
        program_file.chmod(0o755)
        stack.callback(program_file.unlink)
        return [line.split(maxsplit=1)[0], *user.shell(line).splitlines()]


def everyday() -> list[str]:
    """Return the settings of the table; that the others are in `docs/operations.md` is tested with that page."""
    return [code(row[0]) for row in find("table", "Settings").rows]


def resolved(words: list[str]) -> tuple[str, click.Command, list[str]]:
    """Return the command that *words* name, its full name, and the words that are left."""
    command, name = program.commands[words[0]], words[0]
    rest = words[1:]
    if isinstance(command, click.Group):
        inner = rest.pop(0) if rest and rest[0] in command.commands else "list"  # what `workroot projects` does
        if inner not in command.commands:
            return name, command, rest  # the group as such
        command, name = command.commands[inner], f"{name} {inner}"
    return name, command, rest


def leaves(group: click.Group) -> list[tuple[str, click.Command]]:
    """Return all commands that do something, with their full names."""
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        inner = leaves(command) if isinstance(command, click.Group) else [("", command)]
        found += [(f"{name} {below}".strip(), each) for below, each in inner]
    return found


def options_of(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option) and not one.hidden]


def takes_json(command: click.Command) -> bool:
    return any("--json" in option.opts for option in options_of(command))


def make_repository(directory: Path, kind: str) -> None:
    """Write what makes a directory a version-control root."""
    administration = directory / kind
    administration.mkdir()
    if kind == ".git":
        (administration / "objects").mkdir()
        (administration / "refs").mkdir()
        (administration / "HEAD").write_text("ref: refs/heads/main\n")


async def asked_at(user: User, directory: Path) -> dict[str, Any]:
    """Ask where a client that starts in *directory* works."""
    async with user.client(directory) as client:
        return await ask(client, "get_working_directory")


def allow(user: User, directory: Path) -> None:
    """Run `workroot trust` at a terminal, and say yes when it asks."""
    terminal, of_command = os.openpty()
    with subprocess.Popen(
        [user.command, "trust", directory],
        env=user.environment,
        stdin=of_command,
        stdout=of_command,
        stderr=of_command,
        start_new_session=True,
    ) as command:
        os.close(of_command)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(terminal, 4096)
        os.write(terminal, b"y\n")
        with contextlib.suppress(OSError):  # how Linux says that nobody has the other end open
            while os.read(terminal, 4096):
                pass
        assert command.wait(20) == 0
    os.close(terminal)


def uuids(text: str) -> list[str]:
    return re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)


def without_ids(text: str) -> str:
    for each in uuids(text):
        text = text.replace(each, "UUID")
    return text


def mode_of(path: Path) -> str:
    return f"{stat.S_IMODE(path.lstat().st_mode):04o}"


def files_below(directory: Path) -> list[Path]:
    """Return all that is not a directory, sockets and links included."""
    return sorted(path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir())


def modes_below(directory: Path) -> dict[str, str]:
    """Return the mode of each of these by its path below *directory*."""
    return {path.relative_to(directory).as_posix(): mode_of(path) for path in files_below(directory)}


def processes_of(user: User) -> list[list[str]]:
    """Return the command lines of the processes with the user's home in their environment; Linux only."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"HOME={user.home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().decode().split("\0"))
    return found
