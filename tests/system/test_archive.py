"""`workroot export` and `workroot import`: a daemon's state moves house, while it runs and while it does not."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from memory_disks import memory_disk
from real_daemon import DEADLINE_SECONDS, LEGACY, MODERN, WORKROOT, Home, answer_of, error_of, open_home

from workroot.archive.document import records_of
from workroot.archive.records import encode
from workroot.clock import SystemClock
from workroot.control_client import open_control
from workroot.core.allocations import AllocatedSession, SessionStatus
from workroot.core.changes import AliasBound, AllocationSaved, IdleMark, IdleMarked, StoredState
from workroot.core.projects import Directory
from workroot.core.sessions import Alias, Owner, SessionContext, SessionId
from workroot.storage.sqlite import open_sqlite_store


@pytest.fixture
def old() -> Iterator[Home]:
    with open_home() as home:
        yield home


@pytest.fixture
def new() -> Iterator[Home]:
    with open_home() as home:
        yield home


def exported(home: Home, *arguments: str) -> list[dict[str, Any]]:
    done = home.run("export", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def imported(home: Home, archive: Path, *arguments: str) -> dict[str, dict[str, int]]:
    done = home.run("import", str(archive), *arguments, "--json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, dict[str, int]] = json.loads(done.stdout)
    return answer


async def with_sessions(home: Home) -> tuple[str, str, Path]:
    """Work in a project in both eras; return a session that is open, one that was closed, and the project."""
    project = home.configured("app", name="The App", project_id="6f1dbb52-3f5d-4a53-8a7c-1f5f4f0c2b11")
    async with home.open_client(MODERN, project) as agent, home.open_client(LEGACY, project) as editor:
        kept = (await answer_of(agent, "set_working_directory", directory=str(project)))["session_id"]
        closed = (await answer_of(editor, "set_working_directory", directory=str(project)))["session_id"]
        await answer_of(editor, "close_session", session_id=closed)
    return kept, closed, project


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
async def test_sessions_go_on_in_another_home_with_their_handles(old: Home, new: Home, is_running: bool) -> None:
    old.start()
    kept, closed, project = await with_sessions(old)
    if is_running:
        new.start()
    else:
        old.kill_daemon()
    archive = old.top / "archive.jsonl"

    assert old.run("export", "-o", str(archive)).returncode == 0
    counts = imported(new, archive)

    assert (counts["imported"]["session"], counts["imported"]["ended"]) == (1, 1)
    if not is_running:
        new.start()
    for era in (MODERN, LEGACY):
        async with new.open_client(era) as client:
            answer = await answer_of(client, "get_working_directory", session_id=kept)
            assert answer["working_directory"] == str(project)
            assert answer["project_info"]["name"] == "The App"
            assert "was closed" in await error_of(client, "get_working_directory", session_id=closed)
            listed = await answer_of(client, "list_projects")
            assert [each["name"] for each in listed["projects"]] == ["The App"]


async def test_what_was_imported_outlives_a_crash(old: Home, new: Home) -> None:
    old.start()
    kept, _, project = await with_sessions(old)
    archive = old.top / "archive.jsonl"
    old.run("export", "-o", str(archive))
    new.start()

    imported(new, archive)
    new.kill_daemon()

    new.start()
    assert new.sessions()[kept]["working_directory"] == str(project)


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
async def test_allocated_sessions_go_on_in_another_home_for_as_long_as_they_had_left(
    old: Home, new: Home, is_running: bool
) -> None:
    owner = Owner(f"uid:{os.getuid()}")
    lent = AllocatedSession(
        session_id=SessionId("chosen"),
        owner=owner,
        user_id="bob",
        created_at=1_700_000_000.25,
        deadline=100_060.0,
        last_accessed=1_700_000_001.0,
        metadata='{"cart":["🦀"]}',
    )
    gone = replace(
        lent, session_id=SessionId("gone"), metadata="{}", status=SessionStatus.INVALIDATED, ended_at=1_700_000_002.0
    )
    old.state.mkdir(mode=0o700)
    async with open_sqlite_store(old.state / "workroot.db") as store:
        idle = SystemClock()
        mark = IdleMark(100_000.0, idle.wall(), idle.since_boot())
        await store.commit([AllocationSaved(lent), AllocationSaved(gone), IdleMarked(mark)])
    archive = old.top / "archive.jsonl"
    assert old.run("export", "-o", str(archive)).returncode == 0
    if is_running:
        new.start()

    counts = [imported(new, archive) for _ in range(2)]

    assert [(each["imported"].get("allocation"), each["left_as_they_were"].get("allocation")) for each in counts] == [
        (2, None),
        (None, 2),
    ]
    assert "allocated sessions: 0 imported, 2 left as they were" in new.run("import", str(archive)).stdout
    head, *found = exported(new)
    chosen, over = sorted((row for row in found if row["kind"] == "allocation"), key=lambda row: str(row["session_id"]))
    assert head["version"] == 2
    assert 60 - DEADLINE_SECONDS < chosen.pop("remaining_seconds") <= 60
    assert chosen == {
        "kind": "allocation",
        "principal": owner.principal,
        "session_id": "chosen",
        "user_id": "bob",
        "created_at": lent.created_at,
        "last_accessed": lent.last_accessed,
        "metadata": lent.metadata,
    }
    assert (over["session_id"], over["status"], over["ended_at"]) == ("gone", "invalidated", gone.ended_at)


async def test_what_was_exported_while_clients_write_is_of_one_moment(old: Home) -> None:
    """Each round moves two sessions, the first one first: no moment has the second ahead of the first."""
    old.start()
    places = [old.repository(f"place{number}") for number in range(10)]
    async with old.open_client(MODERN) as client:
        first, second = [
            (await answer_of(client, "set_working_directory", directory=str(places[0])))["session_id"] for _ in range(2)
        ]
        is_over = anyio.Event()
        rounds = 0

        async def work() -> None:
            nonlocal rounds
            while not is_over.is_set():
                rounds += 1
                for session in (first, second):
                    directory = str(places[rounds % len(places)])
                    await answer_of(client, "set_working_directory", directory=directory, session_id=session)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            for _ in range(5):
                lines = await anyio.to_thread.run_sync(exported, old)
                revisions = {line["session_id"]: line.get("revision", 1) for line in lines if line["kind"] == "session"}
                assert revisions[first] - revisions[second] in (0, 1)
            is_over.set()
    assert rounds > 5, "nothing was written meanwhile"


async def test_a_second_import_changes_nothing_and_what_is_here_stays(old: Home, new: Home) -> None:
    old.start()
    kept, _, _ = await with_sessions(old)
    archive = old.top / "archive.jsonl"
    old.run("export", "-o", str(archive))
    new.start()
    first = imported(new, archive)
    elsewhere = new.repository("elsewhere")
    async with new.open_client(MODERN) as client:
        await answer_of(client, "set_working_directory", directory=str(elsewhere), session_id=kept)

    second = imported(new, archive)

    assert second["imported"] == {}
    assert second["left_as_they_were"] == {
        kind: first["imported"].get(kind, 0) + first["left_as_they_were"].get(kind, 0)
        for kind in {*first["imported"], *first["left_as_they_were"]}
    }
    assert new.sessions()[kept]["working_directory"] == str(elsewhere)


async def test_an_archive_that_is_cut_short_changes_nothing(old: Home, new: Home) -> None:
    old.start()
    await with_sessions(old)
    archive = old.top / "archive.jsonl"
    old.run("export", "-o", str(archive))
    lines = archive.read_text().splitlines(keepends=True)
    archive.write_text("".join(lines[:-1]))
    new.start()

    done = new.run("import", str(archive))

    assert done.returncode == 1
    assert done.stderr == (f"workroot: {archive}: it is cut short after {len(lines) - 1} lines: export it again\n")
    assert new.sessions() == {}


async def test_directories_that_lie_elsewhere_now_are_named(old: Home, new: Home) -> None:
    old.start()
    kept, _, project = await with_sessions(old)
    archive = old.top / "archive.jsonl"
    old.run("export", "-o", str(archive))
    here = new.configured("app", name="The App", project_id="6f1dbb52-3f5d-4a53-8a7c-1f5f4f0c2b11")
    new.start()

    imported(new, archive, "--move", f"{old.top}={new.top}")

    async with new.open_client(MODERN) as client:
        answer = await answer_of(client, "get_working_directory", session_id=kept)
    assert (answer["working_directory"], answer["warnings"]) == (str(here), [])
    assert str(project) not in json.dumps(answer)


@pytest.mark.parametrize("era", [MODERN, LEGACY])
async def test_a_project_without_a_config_keeps_its_id_where_it_lies_elsewhere_now(
    old: Home, new: Home, era: str
) -> None:
    """Its id rests on a secret of the old daemon's store and on where the repository lay."""
    old.start()
    async with old.open_client(era, old.repository("shop")) as client:
        before = await answer_of(client, "set_working_directory", directory=str(old.top / "shop"))
    archive = old.top / "archive.jsonl"
    old.run("export", "-o", str(archive))
    new.start()
    imported(new, archive, "--move", f"{old.top}={new.top}")

    async with new.open_client(era, new.repository("shop")) as client:
        by_handle = await answer_of(client, "get_working_directory", session_id=before["session_id"])
        by_directory = await answer_of(client, "get_working_directory", directory=str(new.top / "shop"))

    assert by_handle["working_directory"] == str(new.top / "shop")
    ids = [answer["project_info"]["id"] for answer in (before, by_handle, by_directory)]
    assert ids[0] == ids[1] == ids[2]


def test_a_move_of_something_else_than_two_absolute_paths_is_wrong_usage(new: Home) -> None:
    archive = new.top / "archive.jsonl"
    archive.write_text("")

    for move in ("/one", "one=/two", "/one=two"):
        done = new.run("import", str(archive), "--move", move)
        assert (done.returncode, "OLD=NEW" in done.stderr) == (2, True)


def import_slowly(home: Home, archive: bytes) -> None:
    """Start a daemon when the beginning of an archive has gone through a pipe."""
    with subprocess.Popen([WORKROOT, "import", "-"], env=home.environment, stdin=subprocess.PIPE) as importing:
        assert importing.stdin is not None
        importing.stdin.write(archive[:100])
        importing.stdin.flush()
        home.start()  # nothing is opened before the last line has been read
        importing.stdin.write(archive[100:])
        importing.stdin.close()
        assert importing.wait(30) == 0


async def test_an_archive_comes_through_a_pipe_into_a_daemon_that_starts_meanwhile(old: Home, new: Home) -> None:
    old.start()
    kept, _, _ = await with_sessions(old)
    archive = old.run("export").stdout.encode()

    import_slowly(new, archive)

    assert list(new.sessions()) == [kept]


async def test_only_its_user_can_read_the_file_and_it_is_there_whole_or_not_at_all(old: Home) -> None:
    old.start()
    await with_sessions(old)
    archive = old.top / "archive.jsonl"
    archive.write_text("what was here before")
    archive.chmod(0o644)

    assert old.run("export", "-o", str(archive)).returncode == 0

    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert archive.read_text().endswith("}\n")
    assert sorted(os.listdir(old.top)) == sorted({"app", "archive.jsonl", "home", "state"})


def test_a_pipe_gets_the_archive_and_stays_a_pipe(old: Home) -> None:
    """What is no plain file has to stay what it is: root's `/dev/null`, too."""
    pipe = old.top / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        done = old.run("export", "-o", str(pipe))
        said = os.read(reading, 65536).splitlines()
    finally:
        os.close(reading)

    assert (done.returncode, json.loads(said[-1])) == (0, {"kind": "end", "records": 1})
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(os.listdir(old.top)) == ["home", "pipe", "state"]


def test_a_link_to_a_file_stays_a_link_and_its_file_is_replaced(old: Home) -> None:
    target, link = old.directory("elsewhere") / "archive.jsonl", old.top / "link"
    link.symlink_to(target)

    for _ in range(2):  # the first time, there is no file at its end
        assert old.run("export", "-o", str(link)).returncode == 0
        assert (link.is_symlink(), target.is_symlink(), target.read_text().count("\n")) == (True, False, 2)


def test_a_directory_is_named_as_it_was_given(old: Home) -> None:
    there = old.directory("there")

    done = old.run("export", "-o", str(there))

    assert (done.returncode, done.stderr.startswith(f"workroot: {there}: Is a directory")) == (1, True)


async def test_a_directory_that_lies_behind_a_link_here_is_named_without_it(old: Home, new: Home) -> None:
    old.start()
    kept, _, _ = await with_sessions(old)
    archive = old.top / "archive.jsonl"
    old.run("export", "-o", str(archive))
    here = new.configured("app", name="The App", project_id="6f1dbb52-3f5d-4a53-8a7c-1f5f4f0c2b11")
    (new.top / "link").symlink_to(new.top)
    new.start()

    imported(new, archive, "--move", f"{old.top}={new.top}/link")

    assert new.sessions()[kept]["working_directory"] == str(here)


def many(home: Home, count: int, *, directory: str = "/work") -> Path:
    """Write an archive of so many sessions, each with a name."""
    owner = Owner(f"uid:{os.getuid()}")
    sessions = [
        SessionContext(
            session_id=SessionId(f"wr_{number:06}"),
            owner=owner,
            working_directory=Directory(directory),
            given_directory=directory,
            set_at=1_700_000_000.0,
            last_used=1_700_000_000.0,
        )
        for number in range(count)
    ]
    aliases = [AliasBound(owner, Alias(f"editor {each.session_id}"), each.session_id) for each in sessions]
    state = StoredState(
        namespace="5f0c0c7e-6d0b-4e0e-9e57-3a6f6f0f2a11", sessions=tuple(sessions), aliases=tuple(aliases)
    )
    archive = home.top / "many.jsonl"
    archive.write_text("".join(f"{encode(each)}\n" for each in records_of(state, principal=owner.principal)))
    return archive


def test_an_import_keeps_to_the_limit_of_sessions() -> None:
    with open_home(WORKROOT_MAX_SESSIONS="50") as home:
        home.start()

        counts = imported(home, many(home, 300))

        assert counts["imported"]["session"] == 300
        assert list(home.sessions()) == [f"wr_{number:06}" for number in range(250, 300)]


def test_an_import_that_was_killed_goes_on_where_it_ended(new: Home) -> None:
    new.start()
    archive = many(new, 3_000)
    with subprocess.Popen([WORKROOT, "import", str(archive)], env=new.environment) as importing:
        give_up = time.monotonic() + DEADLINE_SECONDS
        with open_control(new.socket_path) as control:
            while not control.ask("status")["sessions"]:
                assert time.monotonic() < give_up
        importing.kill()
    there = new.ask("status")["sessions"]

    counts = imported(new, archive)

    assert 0 < there <= 3_000
    assert counts["left_as_they_were"]["session"] >= there
    assert counts["imported"].get("session", 0) + counts["left_as_they_were"]["session"] == 3_000
    assert new.ask("status")["sessions"] == 3_000


def test_what_was_imported_into_memory_only_is_said_to_be_there_only() -> None:
    with open_home() as home, memory_disk(home.state) as disk:
        home.start()
        home.kill_daemon()
        disk.fill()
        home.start()

        done = home.run("import", str(many(home, 10)))

        assert (done.returncode, len(home.sessions())) == (0, 10)
        assert done.stderr.startswith("workroot: memory only since 20")
        assert done.stderr.endswith("; what was imported is lost if the daemon ends before\n")


def test_a_full_disk_keeps_nobody_from_exporting_and_nothing_is_imported_there() -> None:
    with open_home() as home, memory_disk(home.state) as disk:
        archive = many(home, 10)
        assert home.run("import", str(archive)).returncode == 0
        disk.fill()

        kinds = [row["kind"] for row in exported(home)]

        assert kinds.count("session") == 10
        assert home.run("import", str(archive)).returncode == 1


def test_two_imports_at_once_wait_for_each_other_where_no_daemon_runs(new: Home) -> None:
    archive = many(new, 1_000)
    command = [WORKROOT, "import", str(archive), "--json"]
    both = [subprocess.Popen(command, env=new.environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [json.loads(each.communicate(timeout=60)[0]) for each in both]

    assert [each.returncode for each in both] == [0, 0]
    assert sorted(answer["imported"].get("session", 0) for answer in said) == [0, 1_000]


def test_what_a_move_makes_too_long_is_named_and_how_far_the_import_came(new: Home) -> None:
    new.start()
    lines = many(new, 500, directory="/work").read_text().splitlines()
    last = lines[500].replace('"/work"', f'"/work/{"x/" * 2040}x"')
    archive = new.top / "archive.jsonl"
    archive.write_text("".join(f"{line}\n" for line in [*lines[:500], last, *lines[501:]]))

    done = new.run("import", str(archive), "--move", f"/work={new.top}")

    assert done.returncode == 1
    assert "4,095 bytes" in done.stderr
    assert "400 records were imported before that" in done.stderr
    assert new.ask("status")["sessions"] == 400


def test_a_directory_that_is_not_there_is_an_error_and_nothing_is_written(old: Home) -> None:
    old.start()

    done = old.run("export", "-o", str(old.top / "nowhere" / "archive.jsonl"))

    assert (done.returncode, "nowhere" in done.stderr) == (1, True)
