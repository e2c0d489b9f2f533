"""The installed command as a process, for what needs no daemon."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

WORKROOT = str(Path(sys.executable).with_name("workroot"))


def run(
    *arguments: str, home: Path, directory: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command with a state directory of its own."""
    return subprocess.run(
        [WORKROOT, *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "WORKROOT_HOME": str(home / "state"), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def loaded_by(*arguments: str, home: Path) -> set[str]:
    """Return the top-level modules that the command imports."""
    result = subprocess.run(
        [sys.executable, "-I", "-X", "importtime", "-m", "workroot", *arguments],
        env={"PATH": os.environ["PATH"], "WORKROOT_HOME": str(home / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return {match[1] for match in re.finditer(r"^import time: .*\| +([A-Za-z_0-9]+)", result.stderr, re.MULTILINE)}


@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["sessions"], ["stop"], ["--help"]])
def test_what_only_asks_the_daemon_starts_without_heavy_libraries(tmp_path: Path, arguments: list[str]) -> None:
    loaded = loaded_by(*arguments, home=tmp_path)

    assert {"workroot", "click"} <= loaded
    assert not loaded & {"mcp", "pydantic", "pydantic_settings", "anyio", "asyncio", "rich", "starlette", "aiosqlite"}


def test_status_of_a_stopped_daemon_says_so_and_exits_3(tmp_path: Path) -> None:
    text, as_json = run("status", home=tmp_path), run("status", "--json", home=tmp_path)

    assert text.returncode == as_json.returncode == 3
    assert text.stdout.startswith("no daemon is running at ")
    assert json.loads(as_json.stdout)["running"] is False
    assert text.stderr == as_json.stderr == ""


def test_asking_leaves_no_state_behind(tmp_path: Path) -> None:
    for command in ("status", "sessions", "stop", "why"):
        run(command, home=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_init_and_why_agree_on_the_project(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    (shop / "src").mkdir(parents=True)

    made = json.loads(run("init", "--json", home=tmp_path, directory=shop).stdout)
    found = json.loads(run("why", "--json", home=tmp_path, directory=shop / "src").stdout)

    assert found["project"] == {"id": made["project_id"], "name": "shop", "root": str(shop), "worktree_of": None}


@pytest.mark.parametrize(("answer", "is_taken_over"), [(b"y\n", True), (b"n\n", False)])
def test_init_asks_at_a_terminal_before_it_takes_over_an_id(tmp_path: Path, answer: bytes, is_taken_over: bool) -> None:
    earlier_id = "5f0c7f5e-95a3-4f5e-9d8c-3a3a3a3a3a3a"
    (tmp_path / ".codebase-mcp").mkdir()
    (tmp_path / ".codebase-mcp" / "config.json").write_text(
        json.dumps({"version": "1.0", "project": {"name": "Old", "id": earlier_id}})
    )
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)  # the terminal keeps it until it is read
        result = subprocess.run(
            [WORKROOT, "init", "--json"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "WORKROOT_HOME": str(tmp_path / "state")},
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)

    assert "Take over its name and id" in result.stderr
    assert (json.loads(result.stdout)["project_id"] == earlier_id) is is_taken_over


def test_a_token_is_shown_once_and_can_be_revoked(tmp_path: Path) -> None:
    made = json.loads(run("token", "create", "vscode", "--user", "ada", "--json", home=tmp_path).stdout)
    listed = run("token", "list", home=tmp_path).stdout
    as_json = json.loads(run("token", "list", "--json", home=tmp_path).stdout)
    revoked = run("token", "revoke", "vscode", home=tmp_path)
    again = run("token", "revoke", "vscode", home=tmp_path)

    assert made["token"].startswith("wrt_")
    assert made["header"] == f"Authorization: Bearer {made['token']}"
    assert "vscode" in listed
    assert "ada" in listed
    assert [(one["name"], one["user"]) for one in as_json["tokens"]] == [("vscode", "ada")]
    assert made["token"] not in listed + json.dumps(as_json)
    assert (revoked.returncode, again.returncode) == (0, 1)
    assert again.stderr.startswith("workroot: there is no token named 'vscode'")


def test_a_token_for_a_sandbox_says_so_wherever_it_is_shown(tmp_path: Path) -> None:
    made = json.loads(run("token", "create", "ci", "--sandbox", "work", "--json", home=tmp_path).stdout)
    run("token", "create", "vscode", home=tmp_path)
    as_json = json.loads(run("token", "list", "--json", home=tmp_path).stdout)
    refused = run("token", "create", "x", "--sandbox", "no/name", home=tmp_path)

    assert made["sandbox"] == "work"
    assert [one["sandbox"] for one in as_json["tokens"]] == ["work", None]
    listed = run("token", "list", home=tmp_path).stdout
    assert re.search(r"^ci +you +work ", listed, re.MULTILINE)
    assert re.search(r"^vscode +you +default ", listed, re.MULTILINE)
    assert (refused.returncode, "name of a sandbox" in refused.stderr) == (1, True)


def test_a_token_for_people_comes_with_the_header_to_paste(tmp_path: Path) -> None:
    shown = run("token", "create", "vscode", home=tmp_path).stdout

    assert re.search(r"^header  Authorization: Bearer wrt_[\w-]{43}$", shown, re.MULTILINE)


def test_connect_explains_itself(tmp_path: Path) -> None:
    shown = run("connect", "--help", home=tmp_path)

    assert shown.returncode == 0
    for option in ("--directory DIR", "--no-default-session", "--no-spawn"):
        assert option in shown.stdout


def test_paths_that_are_not_unicode_are_shown_all_the_same(tmp_path: Path) -> None:
    state = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")

    status = run("status", home=tmp_path, WORKROOT_HOME=state)
    as_json = run("status", "--json", home=tmp_path, WORKROOT_HOME=state)
    why = run("why", state, home=tmp_path)

    assert (status.returncode, as_json.returncode, why.returncode) == (3, 3, 1)
    assert json.loads(as_json.stdout)["socket"].startswith(state)
    assert why.stderr.startswith("workroot: Directory path must be valid Unicode: ")
    assert "Traceback" not in status.stderr + as_json.stderr + why.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("arguments", [["doctor"], ["token", "list", "--json"], ["--help"]])
def test_an_output_that_cannot_be_written_is_said_in_a_line_and_exits_1(tmp_path: Path, arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [WORKROOT, *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "WORKROOT_HOME": str(tmp_path / "state")},
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )

    assert (ended.returncode, ended.stderr) == (1, "workroot: No space left on device\n")


@pytest.mark.parametrize("columns", ["0", "1", "30", "200"])
def test_a_table_has_all_its_cells_however_narrow_the_terminal(tmp_path: Path, columns: str) -> None:
    run("token", "create", "editor", "--user", "ada", home=tmp_path)
    ours, theirs = pty.openpty()
    subprocess.run(
        [WORKROOT, "token", "list"],
        env={"WORKROOT_HOME": str(tmp_path / "state"), "TERM": "xterm", "COLUMNS": columns},
        stdin=theirs,
        stdout=theirs,
        timeout=30,
        check=True,
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)

    assert [line for line in shown.splitlines() if "editor" in line and "ada" in line]


def test_a_reader_that_had_enough_causes_no_traceback(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        result = subprocess.run(
            [WORKROOT, "--help"],
            env={"PATH": os.environ["PATH"], "WORKROOT_HOME": str(tmp_path)},
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        os.close(write_end)

    assert "Traceback" not in result.stderr
