"""What `docs/operations.md` says of backup and moving house is so: its blocks run, and its table of files is right."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import anyio
import httpx2
import pytest
from http_by_hand import Hand
from readme_document import code, codes, find
from real_daemon import ERAS, WORKROOT, answer_of, error_of, open_home

from workroot import rendezvous

PAGE = "docs/operations.md"
SECTION = "Backup and moving house"
OWNER = f"uid:{os.getuid()}"


class Reader:
    """Somebody who types what the page says, in a home and a directory of their own."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self.environment = {"HOME": str(top), "PATH": f"{Path(WORKROOT).parent}:{os.environ['PATH']}"}
        self.state = Path(rendezvous.state_directory(self.environment))

    def types(self, script: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", script],
            env=self.environment,
            cwd=self._top,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        )
        return done.stdout

    def sessions(self) -> list[str]:
        records = map(json.loads, self.types("workroot export").splitlines())
        return sorted(record["session_id"] for record in records if record["kind"] == "session")


def archive_with(path: Path, *sessions: str) -> Path:
    """Write an archive by hand."""
    lines: list[dict[str, object]] = [
        {
            "kind": "workroot-archive",
            "version": 1,
            "workroot": "0.1.0",
            "written_at": 1_700_000_000.0,
            "principal": OWNER,
            "namespace": "5f0c0c7e-6d0b-4e0e-9e57-3a6f6f0f2a11",
        }
    ]
    for session in sessions:
        lines.append(
            {
                "kind": "session",
                "principal": OWNER,
                "session_id": session,
                "working_directory": "/nowhere/at/all",
                "given_directory": "/nowhere/at/all",
                "set_at": 1_700_000_000.0,
                "last_used": 1_700_000_000.0,
            }
        )
    lines.append({"kind": "end", "records": len(lines)})
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_the_blocks_back_up_and_begin_from_an_archive_alone(tmp_path: Path) -> None:
    """What came after the backup is gone with the old database, and that is kept."""
    reader = Reader(tmp_path)
    back_up, begin_anew = (find("sh", SECTION, number, document=PAGE).text for number in (1, 2))
    reader.types(f"workroot import {archive_with(tmp_path / 'a', 'wr_one', 'wr_two')}")

    assert "2 left as they were" in reader.types(back_up)
    reader.types(f"workroot import {archive_with(tmp_path / 'b', 'wr_late')}")
    assert reader.sessions() == ["wr_late", "wr_one", "wr_two"]
    reader.types(begin_anew)

    assert reader.sessions() == ["wr_one", "wr_two"]
    assert (tmp_path / "before" / "workroot.db").is_file()


def test_without_an_archive_the_database_and_its_log_are_the_copy(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.types(f"workroot import {archive_with(tmp_path / 'a', 'wr_one')}")
    text = " ".join(Path(__file__).parents[2].joinpath(PAGE).read_text("utf-8").split())
    assert "`workroot stop`, then copy `workroot.db` together with `workroot.db-wal`" in text
    (tmp_path / "elsewhere").mkdir()
    there = Reader(tmp_path / "elsewhere")

    reader.types("workroot stop")
    there.state.mkdir(parents=True, mode=0o700)
    for path in reader.state.glob("workroot.db*"):
        if path.name in ("workroot.db", "workroot.db-wal"):
            shutil.copy2(path, there.state)

    assert there.sessions() == ["wr_one"]


def test_every_file_that_does_not_move_by_archive_is_in_the_table() -> None:
    files = {name for row in find("table", "Where everything lies", document=PAGE).rows for name in codes(row[0])}
    moved = [row[0] for row in find("table", SECTION, document=PAGE).rows]

    ours = {name for name in files if not re.match(r"workroot\.db|backups/|log/|run/", name)}
    assert {code(row) for row in moved[:-1]} == ours
    assert moved[-1] == "log, backups, `run`"


async def test_with_the_files_of_the_table_http_clients_and_trust_go_on(tmp_path: Path) -> None:
    with open_home(WORKROOT_HTTP="1") as old, open_home(WORKROOT_HTTP="1") as new:
        token = json.loads(old.run("token", "create", "editor", "--json").stdout)["token"]
        denied = old.with_config("denied", 'version = "1.0"\n[project]\nname = "P"\n')
        old.run("trust", "--deny", str(denied))
        project = old.repository("shop")
        old.start()
        async with httpx2.AsyncClient() as http:
            url = old.ask("status")["http"]["url"]
            hand = Hand(http, url, token)
            await hand.open()
            handle = (await hand.call("set_working_directory", directory=str(project)))["session_id"]

            await anyio.to_thread.run_sync(old.run, "stop")
            archive = tmp_path / "archive.jsonl"
            assert old.run("export", "-o", str(archive)).returncode == 0
            new.state.mkdir(mode=0o700)
            for row in find("table", SECTION, document=PAGE).rows[:-1]:
                if (file := old.state / code(row[0])).exists():
                    shutil.copy2(file, new.state)
            assert new.run("import", str(archive)).returncode == 0
            new.start()

            assert new.ask("status")["http"]["url"] == url
            assert (await hand.call("get_working_directory"))["session_id"] == handle
            assert str(denied) in new.run("trust", "--list").stdout


@pytest.mark.parametrize("era", ERAS)
async def test_a_session_whose_directory_is_not_here_says_so_at_its_next_call(era: str, tmp_path: Path) -> None:
    with open_home() as home:
        assert home.run("import", str(archive_with(tmp_path / "a", "wr_one"))).returncode == 0

        async with home.open_client(era, home.directory("here")) as client:
            said = await error_of(client, "get_working_directory", session_id="wr_one")
            assert "Directory does not exist: /nowhere/at/all" in said
            moved = await answer_of(
                client, "set_working_directory", session_id="wr_one", directory=str(home.top / "here")
            )

        assert moved["working_directory"] == str(home.top / "here")
        assert "wr_one" in home.run("why", "wr_one").stdout
        assert home.sessions()["wr_one"]["revision"] == 2


def test_no_daemon_starts_while_the_database_is_read_without_one(tmp_path: Path) -> None:
    with open_home() as home:
        home.run("import", str(archive_with(tmp_path / "a", *(f"wr_{number}" for number in range(5_000)))))
        with subprocess.Popen([WORKROOT, "export"], env=home.environment, stdout=subprocess.PIPE) as exporting:
            assert exporting.stdout is not None
            exporting.stdout.read(1)  # it waits now, for the pipe is full

            refused = home.serve()
            assert refused.wait(30) == 1
            assert refused.stderr is not None
            assert b"already" in refused.stderr.read()
            assert len(exporting.stdout.read().splitlines()) == 5_002
