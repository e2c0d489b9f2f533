"""Programs that keep their sessions in the running daemon: many at once, across its restarts, and whatever it says."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvloop
from fake_control import Peer, fake_daemon
from fuse_mounts import mounted
from real_daemon import DEADLINE_SECONDS, LEGACY, Home, Process, open_home

from workroot.core.sessions import Owner
from workroot.core.signs import Signs
from workroot.daemon_client.client import DaemonClient, connect
from workroot.errors import (
    ControlError,
    DaemonUnavailableError,
    DirectoryError,
    MetadataError,
    RendezvousError,
    UnknownSessionError,
)

HOUR = 3600.0

INCREMENTS = """
import asyncio, json, sys
import anyio
from workroot.daemon_client.client import connect

async def main(home, count):
    sums = []
    async with connect(home=home) as client:
        async def add():
            sums.append(await client.allocations.increment(client.owner, "counter", "n", 1, user_id=None))
        sys.stdout.write("ready\\n"); sys.stdout.flush()
        sys.stdin.readline()
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(add)
    print(json.dumps(sums))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def client_of(home: Home, **options: Any) -> DaemonClient:
    return connect(home=str(home.state), **options)


async def allocate(client: DaemonClient, session_id: str = "counter") -> None:
    await client.allocations.allocate(client.owner, session_id=session_id, user_id=None, seconds=HOUR, values={})


async def add_one(client: DaemonClient, session_id: str = "counter") -> float:
    return await client.allocations.increment(client.owner, session_id, "n", 1, user_id=None)


async def counted(client: DaemonClient, session_id: str = "counter") -> object:
    found = await client.allocations.find(client.owner, session_id, user_id=None)
    assert found is not None
    return found.values().get("n")


def descriptors() -> int:
    gc.collect()  # what earlier tests left behind closes now, and not between two counts
    return len(os.listdir("/proc/self/fd"))


# Many at once


@pytest.mark.row("C5", "C13", "B15", "S8")
def test_increments_of_four_processes_at_once_are_all_counted(home: Home) -> None:
    home.start()
    asyncio.run(_with_client(home, allocate))
    children = [
        subprocess.Popen(
            [sys.executable, "-c", INCREMENTS, str(home.state), "25"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        answers = [child.communicate("go\n", timeout=DEADLINE_SECONDS)[0] for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()

    sums = [each for answer in answers for each in json.loads(answer)]
    assert sorted(sums) == list(range(1, 101))
    assert asyncio.run(_with_client(home, counted)) == 100


async def _with_client(home: Home, do: Any) -> Any:
    async with client_of(home) as client:
        return await do(client)


async def test_a_hundred_calls_at_once_take_one_connection(home: Home) -> None:
    home.start()
    app = home.repository("app")
    counts: set[int] = set()

    async with client_of(home) as client, anyio.create_task_group() as tasks:

        async def work(number: int) -> None:
            await client.set_working_directory(f"s{number}", str(app))
            counts.add(json.loads((await anyio.to_thread.run_sync(home.run, "status", "--json")).stdout)["connections"])

        for number in range(100):
            tasks.start_soon(client.set_working_directory, f"t{number}", str(app))
        tasks.start_soon(work, 0)

    assert counts == {1}
    assert home.ask("status")["sessions"] == 101


async def test_a_directory_on_a_hung_mount_holds_up_nobody_else(home: Home) -> None:
    app, hung = home.repository("app"), home.top / "hung"
    with mounted(hung, "fuse.hung"):
        home.start()
        async with client_of(home) as client, anyio.create_task_group() as tasks:
            refused: list[DirectoryError] = []

            async def look() -> None:
                with pytest.raises(DirectoryError) as caught:
                    await client.look(str(hung / "app"))
                refused.append(caught.value)

            tasks.start_soon(look)
            for number in range(50):
                await client.set_working_directory(f"s{number}", str(app))
            assert refused == [], "the hung directory was answered before others had their turn"

    assert len(refused) == 1


async def test_answers_come_in_any_order(home: Home) -> None:
    async def backwards(peer: Peer) -> None:
        await peer.greet()
        requests = [await peer.receive() for _ in range(3)]
        for request in reversed(requests):
            peer.answer(request, request["arguments"]["arguments"]["session_id"] + "!")
        await peer.receive()

    async with fake_daemon(home, backwards):
        client = client_of(home)
        found = await asyncio.gather(*(client.get_working_directory(name) for name in "abc"))
        await client.stop()

    assert found == ["a!", "b!", "c!"]


async def test_no_more_calls_are_under_way_than_the_daemon_answers_at_once(home: Home) -> None:
    seen: list[int] = []

    async def count(peer: Peer) -> None:
        await peer.greet()
        waiting = [await peer.receive() for _ in range(64)]
        while len(seen) < 200:
            seen.append(waiting[-1]["id"])
            peer.answer(waiting.pop(0), None)
            if seen[-1] < 200:
                waiting.append(await peer.receive())

    async with fake_daemon(home, count):
        client = client_of(home)
        with anyio.fail_after(DEADLINE_SECONDS):
            await asyncio.gather(*(client.get_working_directory("s") for _ in range(200)))
        await client.stop()

    assert seen[:3] == [64, 65, 66], "the 65th is sent when one of the first 64 is answered"


async def test_a_call_that_its_caller_gives_up_is_given_up_by_the_daemon_and_no_other_is(home: Home) -> None:
    told: list[dict[str, Any]] = []
    is_cancelled = anyio.Event()

    async def note(peer: Peer) -> None:
        await peer.greet()
        first, second = await peer.receive(), await peer.receive()
        arrived.set()
        told.append(await peer.receive())
        is_cancelled.set()
        peer.answer(first, "too late")
        peer.answer(second, "in time")
        await peer.receive()

    arrived = anyio.Event()
    async with fake_daemon(home, note):
        client = client_of(home)
        given_up = asyncio.create_task(client.get_working_directory("first"))
        await anyio.lowlevel.checkpoint()
        other = asyncio.create_task(client.get_working_directory("second"))
        await arrived.wait()
        given_up.cancel()
        with anyio.fail_after(5):
            await is_cancelled.wait()
            assert await other == "in time"
        await client.stop()

    assert given_up.cancelled()
    assert told == [{"cancel": 1}]


# Restarts


@pytest.mark.row("B15")
async def test_what_a_killed_daemon_acknowledged_is_kept_and_the_next_call_finds_the_next_daemon(home: Home) -> None:
    home.start()
    acknowledged: list[float] = []
    failed: list[DaemonUnavailableError] = []

    async def add_until_it_fails() -> None:
        try:
            while True:
                acknowledged.append(await add_one(client))
                if len(acknowledged) >= 50:
                    is_busy.set()
        except DaemonUnavailableError as error:
            failed.append(error)

    is_busy = anyio.Event()
    async with client_of(home) as client:
        await allocate(client)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(add_until_it_fails)
            await is_busy.wait()
            await anyio.to_thread.run_sync(home.kill_daemon)
        with pytest.raises(DaemonUnavailableError, match="no daemon is running"):
            await add_one(client)
        await anyio.to_thread.run_sync(home.start)
        found = await counted(client)
        after = await add_one(client)

    assert isinstance(found, int)
    assert len(set(acknowledged)) == len(acknowledged)
    assert max(acknowledged) <= found <= len(acknowledged) + 20, "kept but not acknowledged: what was in flight at most"
    assert after == found + 1
    assert len(failed) == 20
    assert any("not known" in str(error) for error in failed)


async def test_a_client_that_was_idle_while_the_daemon_was_replaced_notices_nothing(home: Home) -> None:
    first = home.start()
    app = home.repository("app")

    async with client_of(home) as client:
        await client.set_working_directory("s", str(app))
        home.ask("stop")
        first.wait(DEADLINE_SECONDS)
        await anyio.to_thread.run_sync(home.start)

        assert await client.get_working_directory("s") == str(app)


@pytest.mark.row("B4")
def test_one_client_serves_event_loops_one_after_another_and_gives_all_descriptors_back(home: Home) -> None:
    home.start()
    app = home.repository("app")
    client = client_of(home)
    asyncio.run(client.set_working_directory("s", str(app)))
    before = descriptors()

    async def ask_often() -> list[str | None]:
        return await asyncio.gather(*(client.get_working_directory("s") for _ in range(100)))

    for _ in range(5):
        assert set(asyncio.run(ask_often())) == {str(app)}
    assert descriptors() == before, "the connection of a loop that closed goes with it"
    asyncio.run(client.stop())
    assert descriptors() == before - 1
    home.wait_until(lambda: home.ask("status")["connections"] == 0, what="the daemon has noticed")


def test_event_loops_of_several_threads_have_connections_of_their_own(home: Home) -> None:
    home.start()
    client, both = client_of(home), threading.Barrier(2)
    counts: list[int] = []

    async def ask() -> None:
        await allocate(client, f"of-{threading.get_ident()}")
        await asyncio.to_thread(both.wait, DEADLINE_SECONDS)
        counts.append(home.ask("status")["connections"])
        await asyncio.to_thread(both.wait, DEADLINE_SECONDS)

    threads = [threading.Thread(target=asyncio.run, args=(ask(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    asyncio.run(client.stop())

    assert counts == [2, 2]


async def test_calls_that_wait_to_be_sent_are_failed_by_stopping_too(home: Home) -> None:
    is_full = anyio.Event()

    async def silent(peer: Peer) -> None:
        await peer.greet()
        for _ in range(64):
            await peer.receive()
        is_full.set()
        await peer.receive()

    async with fake_daemon(home, silent) as came:
        client = client_of(home)
        asking = [asyncio.create_task(client.get_working_directory("s")) for _ in range(70)]
        with anyio.fail_after(5):
            await is_full.wait()
            await client.stop()
            ends = await asyncio.gather(*asking, return_exceptions=True)

    assert {type(each) for each in ends} == {DaemonUnavailableError}
    assert all("this program closed the connection" in str(each) for each in ends)
    assert len(came) == 1


async def test_what_a_daemon_that_ends_in_order_has_not_begun_is_done_by_the_next_one(home: Home) -> None:
    async def ending(peer: Peer) -> None:
        await peer.greet()
        if len(came) == 1:
            first, _ = await peer.receive(), await peer.receive()
            peer.answer(first, "by the first")
            peer.send(ending=True)
        else:
            peer.answer(await peer.receive(), "by the second")
            await peer.receive()

    async with fake_daemon(home, ending) as came:
        client = client_of(home)
        with anyio.fail_after(5):
            found = await asyncio.gather(client.get_working_directory("a"), client.get_working_directory("b"))
        await client.stop()

    assert list(found) == ["by the first", "by the second"]


async def test_of_a_stopped_daemon_it_is_known_what_it_did(home: Home) -> None:
    first = home.start()
    sums: list[float] = []
    problems: set[str] = set()

    async def add_until_it_fails() -> None:
        try:
            while True:
                sums.append(await add_one(client))
                if len(sums) >= 50:
                    is_busy.set()
        except DaemonUnavailableError as error:
            problems.add(str(error).partition(" at ")[0])

    is_busy = anyio.Event()
    async with client_of(home) as client:
        await allocate(client)
        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(add_until_it_fails)
            await is_busy.wait()
            await anyio.to_thread.run_sync(lambda: home.ask("stop"))
        await anyio.to_thread.run_sync(first.wait, DEADLINE_SECONDS)
        await anyio.to_thread.run_sync(home.start)
        assert await counted(client) == len(sums)

    assert sorted(sums) == list(range(1, len(sums) + 1))
    assert problems == {"no daemon is running"}


async def test_a_daemon_that_reads_nothing_is_not_sent_more_and_more(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workroot.daemon_client.link._MOST_UNSENT", 100_000)

    async def suspended(peer: Peer) -> None:
        await peer.greet()
        await anyio.sleep_forever()

    async with fake_daemon(home, suspended):
        client = client_of(home, answer_seconds=0.2)
        with anyio.fail_after(DEADLINE_SECONDS):
            calls = (client.get_working_directory("x" * 60_000) for _ in range(30))
            ends = [str(each) for each in await asyncio.gather(*calls, return_exceptions=True)]
        await client.stop()

    assert "did not answer get_working_directory within 0.2 s" in ends[0]
    assert "was not sent: the daemon does not read what it was asked before" in ends[-1]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 86_401])
def test_a_time_in_which_no_call_could_be_answered_is_refused(home: Home, seconds: float) -> None:
    with pytest.raises(ValueError, match="answer_seconds is above 0 and at most 86400"):
        client_of(home, answer_seconds=seconds)


FORKING = """
import asyncio, os, sys, threading, time
from workroot.control_client import open_control
from workroot.daemon_client.client import connect

home, socket_path, app = sys.argv[1:]
client = connect(home=home)
may_end, end = os.pipe()
heard, say = os.pipe()

async def in_child():
    await client.set_working_directory("of-child", app)
    await client.stop()
    await client.get_session_count()
    os.write(say, b"x")

def child():
    os.close(end)
    thread = threading.Thread(target=lambda: asyncio.run(in_child()))  # this one still has its parent's loop
    thread.start()
    thread.join(5)
    os.close(say)
    os.read(may_end, 1)
    os._exit(0)

def connections():
    with open_control(socket_path) as control:
        return control.ask("status")["connections"]

async def main():
    await client.start()
    if not os.fork():
        child()
    os.close(say)
    print(os.read(heard, 1) == b"x", await client.get_working_directory("of-child"))
    await client.stop()
    deadline = time.monotonic() + 5
    while (count := connections()) != 1 and time.monotonic() < deadline:  # of the child, which has only its own
        pass
    print(count)
    os.close(end)
    os.wait()

asyncio.run(main())
"""


def test_a_forked_child_has_a_connection_of_its_own_and_leaves_its_parents_alone(home: Home) -> None:
    home.start()
    app = str(home.repository("app"))

    ended = subprocess.run(
        [sys.executable, "-c", FORKING, str(home.state), home.socket_path, app],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )

    assert (ended.stdout.split(), ended.stderr) == (["True", app, "1"], "")


async def test_stopping_closes_the_connection_and_fails_what_is_in_flight(home: Home) -> None:
    is_asked = anyio.Event()

    async def silent(peer: Peer) -> None:
        await peer.greet()
        await peer.receive()
        is_asked.set()
        await peer.receive()

    before = descriptors()
    async with fake_daemon(home, silent):
        client = client_of(home)
        asking = asyncio.create_task(client.get_working_directory("s"))
        await is_asked.wait()
        await client.stop()
        await client.stop()
        with pytest.raises(DaemonUnavailableError, match="this program closed the connection"):
            await asking
    assert descriptors() == before


async def test_stopping_while_it_connects_leaves_no_connection_behind(home: Home) -> None:
    is_connected, may_greet = anyio.Event(), anyio.Event()

    async def slow(peer: Peer) -> None:
        is_connected.set()
        await may_greet.wait()
        await peer.greet()
        await peer.receive()

    before = descriptors()
    async with fake_daemon(home, slow):
        client = client_of(home)
        starting = asyncio.create_task(client.start())
        await is_connected.wait()
        await client.stop()
        may_greet.set()
        with pytest.raises(DaemonUnavailableError, match="this program closed the connection"):
            await starting
    assert descriptors() == before


def test_it_works_in_the_event_loops_of_uvloop_too(home: Home) -> None:
    home.start()
    client = client_of(home)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(anyio.lowlevel.checkpoint())  # the first loop opens descriptors that uvloop keeps
    before = descriptors()
    for _ in range(3):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(client.start())
            assert runner.run(client.get_working_directory("s")) is None
    asyncio.run(client.stop())
    assert descriptors() == before


async def test_a_daemon_stays_for_as_long_as_a_program_keeps_its_sessions_there() -> None:
    with open_home(WORKROOT_IDLE_EXIT_SECONDS="0.6") as home:
        async with home.open_client(LEGACY):
            client = client_of(home)
            await client.start()
            daemon = Process(home.ask("status")["pid"])
        try:
            assert not await anyio.to_thread.run_sync(daemon.wait_end, 1.5)
            await client.stop()
            assert await anyio.to_thread.run_sync(daemon.wait_end)
        finally:
            daemon.close()


# No daemon, or none that can be understood


async def test_without_a_daemon_the_error_says_how_to_start_one_and_none_is_started(home: Home) -> None:
    client = client_of(home)

    for attempt in (client.start(), client.get_working_directory("s"), add_one(client)):
        with pytest.raises(DaemonUnavailableError, match=r"no daemon is running at .*start one with `workroot serve`"):
            await attempt

    assert not home.state.exists()
    assert not home.is_running()


async def test_a_socket_that_others_could_have_put_there_is_not_used(home: Home) -> None:
    home.start()
    directory = Path(home.socket_path).parent
    directory.chmod(0o777)
    client = client_of(home)
    try:
        with pytest.raises(RendezvousError, match="can be written to by other users"):
            await client.start()
    finally:
        directory.chmod(stat.S_IRWXU)
    await client.start()
    await client.stop()


async def _no_hello(peer: Peer) -> None:
    await peer.receive()
    peer.send_bytes(b"HTTP/1.1 400 Bad Request\n")


async def _no_json(peer: Peer) -> None:
    await peer.greet()
    await peer.receive()
    peer.send_bytes(b"\xff\xfe garbage\n")


async def _nested_deeply(peer: Peer) -> None:
    await peer.greet()
    await peer.receive()
    peer.send_bytes(b"[" * 200_000 + b"\n")


async def _no_answer_to_anything(peer: Peer) -> None:
    await peer.greet()
    await peer.receive()
    peer.send(id=["an", "id"], result={})


async def _neither_result_nor_error(peer: Peer) -> None:
    await peer.greet()
    peer.send(id=(await peer.receive())["id"], outcome="fine")


async def _another_type(peer: Peer) -> None:
    await peer.greet()
    peer.answer(await peer.receive(), {"session_id": "s", "owner": 7})


async def _without_an_end(peer: Peer) -> None:
    await peer.greet()
    await peer.receive()
    for _ in range(40):
        peer.send_bytes(b"x" * 1024 * 1024)
        await peer.drain()


@pytest.mark.parametrize(
    ("serve", "problem"),
    [
        (_no_hello, "is no workroot daemon"),
        (_no_json, "is no workroot daemon"),
        (_nested_deeply, "is no workroot daemon"),
        (_no_answer_to_anything, "is no workroot daemon"),
        (_neither_result_nor_error, "answered current_session with what is not an answer"),
        (_another_type, "answer to current_session cannot be understood: value.owner: an object is needed, not int"),
        (_without_an_end, "answered without an end"),
    ],
)
async def test_an_answer_that_is_none_is_an_error_and_not_waited_for(home: Home, serve: Any, problem: str) -> None:
    async with fake_daemon(home, serve):
        client = client_of(home)
        with anyio.fail_after(5), pytest.raises(ControlError, match=problem):
            await client.current_session("s")
        await client.stop()


async def test_a_daemon_that_is_older_is_told_from_one_that_refuses(home: Home) -> None:
    async def older(peer: Peer) -> None:
        await peer.greet()
        while await peer.receive():
            peer.send(error={"code": "unknown_command", "message": "this daemon (9.9) has no command"})

    async with fake_daemon(home, older):
        client = client_of(home)
        problem = r"the daemon \(workroot 9.9\) is too old for hello: run `workroot upgrade`"
        with anyio.fail_after(5), pytest.raises(ControlError, match=problem):
            await client.start()
        await client.stop()


async def test_a_daemon_that_lets_nobody_in_is_not_there_for_this_program(home: Home) -> None:
    async def full(peer: Peer) -> None:
        await peer.greet(error="too many connections are open")

    async with fake_daemon(home, full):
        with pytest.raises(DaemonUnavailableError, match="too many connections are open"):
            await client_of(home).start()


@pytest.mark.parametrize("says_hello", [True, False])
async def test_a_daemon_that_does_not_answer_is_waited_for_as_long_as_was_said(home: Home, says_hello: bool) -> None:
    said: list[dict[str, Any]] = []

    async def suspended(peer: Peer) -> None:
        if says_hello:
            await peer.greet()
        while True:
            said.append(await peer.receive())

    async with fake_daemon(home, suspended):
        client = client_of(home, answer_seconds=0.2)
        with anyio.fail_after(5), pytest.raises(DaemonUnavailableError, match=r"within 0\.\d+ s"):
            await client.get_working_directory("s")
        await home.wait_until_async(lambda: len(said) >= 1 + says_hello, what="the daemon has heard")
        await client.stop()

    assert said[-1] == {"cancel": 1} if says_hello else said[-1]["stays"]


async def test_a_late_answer_is_taken_for_no_other(home: Home) -> None:
    async def late(peer: Peer) -> None:
        await peer.greet()
        first = await peer.receive()
        await peer.receive()  # it is given up
        second = await peer.receive()
        peer.answer(first, "late")
        peer.answer(second, "in time")
        await peer.receive()

    async with fake_daemon(home, late):
        client = client_of(home, answer_seconds=0.2)
        with pytest.raises(DaemonUnavailableError):
            await client.get_working_directory("first")
        assert await client.get_working_directory("second") == "in time"
        await client.stop()


# What is asked, and on whose behalf


async def test_sessions_are_the_user_s_in_the_sandbox_of_the_client_or_of_the_call(home: Home) -> None:
    home.start()
    app = home.repository("app")

    async with client_of(home, sandbox="a") as client:
        mine = await client.set_working_directory("s", str(app))
        other = await client.set_working_directory("s", str(app), owner=Owner("local", "b"))
        assert await client.get_working_directory("s", owner=mine.owner) == str(app)
        with pytest.raises(UnknownSessionError):
            await client.current_session("s", owner=mine.owner._replace(sandbox="c"))

    assert mine.owner == client.owner == Owner(f"uid:{os.geteuid()}", "a")
    assert other.owner == Owner(f"uid:{os.geteuid()}", "b")


async def test_those_whom_a_program_serves_never_meet_each_other_or_the_user(home: Home) -> None:
    home.start()
    app, user = home.repository("app"), f"uid:{os.geteuid()}"
    eve, local_in_name = Owner("subject:eve", "a"), Owner(f"{user}/local", "a")

    async with client_of(home, sandbox="a") as client:
        opened = await client.set_working_directory("s", str(app), owner=eve)
        assert await client.get_working_directory("s", owner=eve) == str(app)
        assert await client.get_working_directory("s", owner=opened.owner) == str(app)
        for stranger in (client.owner, Owner("subject:bob", "a"), Owner("subject:eve", "b"), local_in_name):
            assert await client.get_working_directory("s", owner=stranger) is None
            assert list(await client.known_projects(stranger)) == []
            with pytest.raises(UnknownSessionError):
                await client.close_session("s", owner=stranger)
        await client.set_working_directory("mine", str(app))
        assert await client.get_working_directory("mine", owner=local_in_name) is None
        for nobody in ("", "a\nb", "x" * 1025):
            with pytest.raises(ControlError, match="a principal is named by 1 to 1024 printable characters"):
                await client.resolve(Owner(nobody, "a"), Signs())

    assert opened.owner == Owner(f"{user}/subject:eve", "a")


@pytest.mark.row("B9")
async def test_a_connection_stands_for_nobody_and_a_handle_for_the_same_session_in_every_program(home: Home) -> None:
    home.start()
    app = home.repository("app")

    async with client_of(home) as one, client_of(home) as another:
        await one.set_working_directory("s", str(app))
        unknown = await one.resolve(one.owner, Signs())
        known = await another.resolve(another.owner, Signs(session_id="s"))

    assert (unknown.session, unknown.place) == (None, None)
    assert known.required_project().root == str(app)


@pytest.mark.parametrize(
    ("operation", "arguments", "code", "problem"),
    [
        ("look", {}, "invalid_request", "look needs the argument 'directory'"),
        ("look", {"directory": 7}, "invalid_request", "look: directory: text is needed, not int"),
        ("look", {"directory": "/", "principal": "uid:0"}, "invalid_request", "look has no argument 'principal'"),
        ("resolve", {"signs": {"hints": [{}]}}, "invalid_request", r"resolve: signs.hints\[0\].source is missing"),
        ("known_projects", {"start": 0, "most": 10**9}, "invalid_request", "known_projects gives at most"),
        ("guess", {}, "unknown_operation", "has no operation 'guess'"),
        ("__init__", {}, "unknown_operation", "has no operation '__init__'"),
    ],
)
def test_arguments_are_checked_by_the_daemon_and_the_connection_goes_on(
    shared: Home, operation: str, arguments: dict[str, object], code: str, problem: str
) -> None:
    with shared.control() as control:
        with pytest.raises(ControlError, match=problem) as caught:
            control.ask("session_service", operation=operation, arguments=arguments)
        assert caught.value.daemon_code == code
        with pytest.raises(ControlError, match="a sandbox is named by 1 to 128 printable characters"):
            control.ask("session_service", operation="hello", arguments={}, sandbox="a\nb")
        assert control.ask("session_service", operation="hello", arguments={})["value"] is True


async def test_what_is_too_much_to_ask_is_refused_and_the_connection_goes_on(shared: Home) -> None:
    async with client_of(shared, sandbox="too much") as client:
        await allocate(client)
        with pytest.raises(ControlError, match="bytes to ask; at most"):
            await client.look("/" + "x" * 600_000)
        with pytest.raises(MetadataError):
            await client.allocations.append(client.owner, "counter", "x" * 70_000, 1, user_id=None, most=None)
        assert await add_one(client) == 1


async def test_more_projects_come_than_one_answer_holds(home: Home) -> None:
    home.start()
    roots = [str(home.repository(f"p{number}")) for number in range(505)]

    async with client_of(home) as client:
        await asyncio.gather(*(client.set_working_directory("s", root) for root in roots))
        known = await client.known_projects(client.owner)

    assert {each.root for each in known} == set(roots)
    assert [each.seen_at for each in known] == sorted((each.seen_at for each in known), reverse=True)
