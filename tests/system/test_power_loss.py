"""What an answer promises is on the disk: the system calls of a real daemon show it, where killing it shows nothing.

A process that is killed loses nothing of what it wrote; the power that fails takes all that was not synced.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from patched_daemon import start_patched
from real_daemon import ERAS, MODERN, MODERN_META, WORKROOT, Home, open_home
from system_calls import SystemCall, read_calls, strace

CALLS = 100
TRACED = "trace=read,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,openat,ftruncate,fsync,fdatasync"
RECEIVING = {"read", "recvfrom", "recvmsg"}
SENDING = {"write", "writev", "sendto", "sendmsg"}
WRITING = {"write", "writev", "pwrite64", "ftruncate"}
SYNCING = {"fsync", "fdatasync"}
REQUEST_ID = re.compile(r'\\"id\\": ?(\d+),')

NOT_SYNCED_AT_COMMIT = """
from workroot.storage import opening
put_in_force = opening.put_in_force
def put_normal_in_force(connection, path, name, *values):
    put_in_force(connection, path, name, *values)
    if name == "synchronous":
        connection.execute("PRAGMA synchronous = NORMAL")
opening.put_in_force = put_normal_in_force
"""


async def move_again_and_again(home: Home, era: str) -> None:
    """Move one session so many times, each after the answer to the one before; the ids count from 1."""
    places = [home.repository("here"), home.repository("there")]
    async with home.open_raw_socket() as client:
        if era != MODERN:
            await client.initialize()
        session: dict[str, Any] = {}
        meta: Mapping[str, Any] | None = MODERN_META if era == MODERN else None
        for number in range(1, CALLS + 1):
            directory = str(places[number % 2])
            answer = await client.call(number, "set_working_directory", meta=meta, directory=directory, **session)
            content = answer["result"]["structuredContent"]
            assert content["working_directory"] == directory
            session = {"session_id": content["session_id"]}


def synced_answers(calls: list[SystemCall], log: Path) -> list[int]:
    """Return the ids of the requests whose change was written into *log* and synced, before their answer was sent."""
    asked: dict[int, int] = {}
    synced = []
    writes = [call for call in calls if call.name in WRITING and call.file == str(log)]
    syncs = [call for call in calls if call.name in SYNCING and call.file == str(log) and call.result == 0]
    for call in calls:
        if (found := REQUEST_ID.search(call.arguments)) is None:
            continue
        number = int(found[1])
        if call.name in RECEIVING:
            asked[number] = call.ended
        elif call.name in SENDING and call.file.startswith("socket:") and number in asked:
            written = [write.ended for write in writes if asked[number] < write.began and write.ended < call.began]
            if written and any(written[-1] < sync.began and sync.ended < call.began for sync in syncs):
                synced.append(number)
    return synced


@pytest.mark.parametrize("era", ERAS)
async def test_the_log_is_synced_between_every_request_and_its_answer(home: Home, era: str) -> None:
    trace = home.top / "trace"
    tracer = home.start(under=strace(trace, "-e", TRACED))

    await move_again_and_again(home, era)
    home.ask("stop")
    assert tracer.wait(30) == 0

    calls = read_calls(trace)
    assert synced_answers(calls, home.state / "workroot.db-wal") == list(range(1, CALLS + 1))


async def test_a_daemon_that_does_not_sync_at_commit_is_found_out() -> None:
    with open_home() as home:
        trace = home.top / "trace"
        tracer = start_patched(home, NOT_SYNCED_AT_COMMIT, under=strace(trace, "-e", TRACED))

        await move_again_and_again(home, MODERN)
        home.ask("stop")
        tracer.wait(30)

        assert len(synced_answers(read_calls(trace), home.state / "workroot.db-wal")) < CALLS // 10


async def test_the_name_of_a_new_log_is_on_the_disk_before_the_first_answer(home: Home) -> None:
    trace = home.top / "trace"
    tracer = home.start(under=strace(trace, "-e", TRACED))

    await move_again_and_again(home, MODERN)
    home.ask("stop")
    assert tracer.wait(30) == 0

    calls = read_calls(trace)
    made = [call for call in calls if call.name == "openat" and 'workroot.db-wal", ' in call.arguments]
    created = next(call.ended for call in made if "O_CREAT" in call.arguments and call.result >= 0)
    answered = next(call.began for call in calls if call.name in SENDING and r"\"id\":1," in call.arguments)
    named = [call for call in calls if call.name in SYNCING and call.file == str(home.state) and call.result == 0]
    assert any(created < call.began and call.ended < answered for call in named)


# Small files of state


def renamed(calls: list[SystemCall]) -> list[tuple[str, str, SystemCall]]:
    """Return what was renamed to what, as whole paths."""
    found = []
    for call in calls:
        if call.name in {"rename", "renameat", "renameat2"} and call.result == 0:
            names = re.findall(r'(?:<([^>]*)>, )?"([^"]*)"', call.arguments)
            source, target = (os.path.join(directory, name) for directory, name in names)
            found.append((source, target, call))
    return found


def replaced_safely(calls: list[SystemCall], name: Path) -> bool:
    """Tell whether *name* was replaced by a file that was whole on the disk, and the directory synced after that."""
    for source, target, renaming in renamed(calls):
        if target != str(name):
            continue
        before = [call for call in calls if call.file == source and call.ended < renaming.began]
        after = [call for call in calls if call.file == str(name.parent) and renaming.ended < call.began]
        written = [call.ended for call in before if call.name in WRITING]
        is_whole = any(call.name in SYNCING and written[-1] < call.began and call.result == 0 for call in before)
        return is_whole and any(call.name in SYNCING and call.result == 0 for call in after)
    raise AssertionError(f"{name} was not replaced at all")


def test_a_small_file_of_state_is_replaced_by_one_that_is_whole_on_the_disk() -> None:
    traced = "trace=write,writev,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2"
    with open_home(WORKROOT_HTTP="1") as home:
        serving, running = home.top / "serving", home.top / "running"
        tracer = home.start(under=strace(serving, "-e", traced))
        home.ask("stop")
        assert tracer.wait(30) == 0
        for command in (["token", "create", "one"], ["token", "create", "two"]):
            subprocess.run(
                [*strace(running, "-e", traced), WORKROOT, *command], env=home.environment, check=True, timeout=60
            )

        assert replaced_safely(read_calls(running), home.state / "tokens.json")
        for name in ("http-port", "daemon.key"):
            assert replaced_safely(read_calls(serving), home.state / name), name
