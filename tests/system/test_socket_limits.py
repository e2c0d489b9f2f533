"""What one client takes of the daemon's socket is bounded, and another client does not notice that it tries."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from real_daemon import DEADLINE_SECONDS, ERAS, LEGACY, MODERN, MODERN_META, Home, RawClient, open_home

from workroot import rendezvous

MEBIBYTE = 1024 * 1024
MOST_GROWTH = 64 * MEBIBYTE
META: dict[str, dict[str, Any] | None] = {LEGACY: None, MODERN: MODERN_META}


@contextmanager
def a_daemon(**settings: str) -> Iterator[Home]:
    with open_home(**settings) as home:
        home.start()
        yield home


def pid_of(home: Home) -> int:
    pid = home.ask("status")["pid"]
    assert isinstance(pid, int)
    return pid


def memory_of(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def descriptors_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@asynccontextmanager
async def a_neighbour(home: Home, era: str, **hello: object) -> AsyncIterator[RawClient]:
    """Open a client of that era, the handshake done."""
    async with home.open_raw_socket(environment={}, **hello) as client:
        if era == LEGACY:
            await client.initialize()
        yield client


async def is_served(client: RawClient, era: str, tool: str = "get_working_directory") -> bool:
    with anyio.fail_after(2):  # it is a matter of milliseconds
        answer = await client.call("after", tool, meta=META[era])
    return "result" in answer


async def last_word(stream: SocketStream) -> bytes:
    """Return what a connection is told until its end."""
    said = b""
    with anyio.fail_after(DEADLINE_SECONDS), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            said += await stream.receive()
    return said


# Descriptors and connections


@pytest.mark.parametrize("era", ERAS)
async def test_more_clients_than_the_daemon_has_descriptors_for_are_told_and_no_other_client_notices(era: str) -> None:
    with a_daemon() as home:
        pid = pid_of(home)
        project = home.repository("project")
        async with AsyncExitStack() as stack, a_neighbour(home, era, directory=str(project)) as neighbour:
            assert await is_served(neighbour, era)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (120, 4096))
            told = 0
            for _ in range(150):
                stream = await stack.enter_async_context(await anyio.connect_unix(home.socket_path))
                await stream.send(rendezvous.hello_line(role="mcp", version="1"))
                told += b'"error": "too many' in await stream.receive()

            assert told > 50
            assert await is_served(neighbour, era)  # which opens directories
            assert home.ask("status")["pid"] == pid  # a few places are the command line's
        await home.wait_until_async(lambda: home.ask("status")["connections"] == 0, what="all have left")
        async with a_neighbour(home, era) as newcomer:
            assert await is_served(newcomer, era)


@pytest.mark.parametrize("era", ERAS)
async def test_with_no_descriptor_left_at_all_newcomers_see_an_end_and_the_log_stays_short(era: str) -> None:
    with a_daemon() as home:
        pid = pid_of(home)
        async with a_neighbour(home, era) as neighbour:
            assert await is_served(neighbour, era)
            size = len(home.log)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors_of(pid), 4096))
            for _ in range(300):
                async with await anyio.connect_unix(home.socket_path) as stream:
                    assert b'"error"' in await last_word(stream)
                    await stream.aclose()

            await neighbour.send(id=2, method="tools/list", params={"_meta": META[era]} if META[era] else {})
            assert "result" in await neighbour.receive()  # it needs no descriptor
            assert len(home.log) - size < 2_000
            assert "cannot be accepted (Too many open files)" in home.log
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (4096, 4096))
            assert await is_served(neighbour, era)
        async with a_neighbour(home, era) as newcomer:
            assert await is_served(newcomer, era)


async def test_clients_that_say_nothing_give_way_to_those_that_do(shared: Home) -> None:
    async with AsyncExitStack() as stack, a_neighbour(shared, LEGACY) as neighbour:
        mute = [await stack.enter_async_context(await anyio.connect_unix(shared.socket_path)) for _ in range(600)]
        async with a_neighbour(shared, MODERN) as newcomer:
            assert await is_served(newcomer, MODERN)
        assert await is_served(neighbour, LEGACY)
        assert b"too many connections" in await last_word(mute[0])


@pytest.mark.parametrize("era", ERAS)
async def test_of_600_clients_as_many_are_let_in_as_are_allowed_and_the_command_line_besides(era: str) -> None:
    with a_daemon() as home:
        async with AsyncExitStack() as stack, a_neighbour(home, era) as neighbour:
            answers = []
            for _ in range(600):
                stream = await stack.enter_async_context(await anyio.connect_unix(home.socket_path))
                await stream.send(rendezvous.hello_line(role="mcp", version="1"))
                answers.append(await stream.receive())

            assert sum(b'"boot"' in answer for answer in answers) == 511
            assert sum(b"too many connections" in answer for answer in answers) == 89
            assert await is_served(neighbour, era)
            assert home.ask("status")["connections"] == 512
            assert home.run("status").returncode == 0
        await home.wait_until_async(lambda: home.ask("status")["connections"] == 0, what="all have left")
        async with a_neighbour(home, era) as newcomer:
            assert await is_served(newcomer, era)


@pytest.mark.parametrize("era", ERAS)
async def test_a_process_that_takes_all_connections_keeps_no_other_client_out(era: str) -> None:
    with a_daemon(WORKROOT_MAX_CONNECTIONS="20") as home:
        async with AsyncExitStack() as stack:
            taken = [await stack.enter_async_context(home.open_raw_socket(environment={})) for _ in range(20)]
            listen = {"_meta": MODERN_META, "notifications": {"toolsListChanged": True}}
            await taken[0].send(id=1, method="subscriptions/listen", params=listen)
            assert (await taken[0].receive())["method"] == "notifications/subscriptions/acknowledged"
            for number in range(5):
                client = await stack.enter_async_context(home.open_raw_connector(home.repository(f"window-{number}")))
                if era == LEGACY:
                    await client.initialize()
                with anyio.fail_after(DEADLINE_SECONDS):  # a connector has to start
                    assert "result" in await client.call("call", "get_working_directory", meta=META[era])
            async with await anyio.connect_unix(home.socket_path) as again:
                await again.send(rendezvous.hello_line(role="mcp", version="1"))
                assert b"too many connections" in await last_word(again)

            for cut in taken[1:6]:
                with anyio.fail_after(DEADLINE_SECONDS):
                    await cut.wait_end()
            assert await is_served(taken[0], MODERN)  # it listens
            assert await is_served(taken[6], MODERN)


async def test_a_full_daemon_can_be_stopped() -> None:
    with a_daemon(WORKROOT_MAX_CONNECTIONS="2") as home:
        async with a_neighbour(home, LEGACY), a_neighbour(home, MODERN):
            assert home.run("stop").returncode == 0


# Who may connect


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.skipif(shutil.which("runuser") is None, reason="there is no runuser here")
@pytest.mark.parametrize("era", ERAS)
async def test_another_user_is_refused_even_where_the_modes_let_it_in(era: str) -> None:
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None:
        pytest.skip("there is no interpreter that another user can run")
    with a_daemon() as home:
        hello = rendezvous.hello_line(role="mcp", version="1")
        code = (
            "import socket, sys\n"
            "s = socket.socket(socket.AF_UNIX)\n"
            "try:\n s.connect(sys.argv[1])\n"
            "except PermissionError:\n print('kept out')\n sys.exit()\n"
            f"try:\n s.sendall({hello!r}); print('answered' if s.recv(100) else 'refused')\n"
            "except OSError:\n print('refused')\n"
        )
        command = ["runuser", "-u", "nobody", "--", python, "-c", code, home.socket_path]

        def connect() -> str:
            return subprocess.run(
                command, capture_output=True, text=True, timeout=15, check=False, cwd="/"
            ).stdout.strip()

        assert await anyio.to_thread.run_sync(connect) == "kept out"
        path = Path(home.socket_path)
        path.chmod(0o666)
        for directory in path.parents:
            if directory.is_relative_to(home.top):
                directory.chmod(0o755)
        async with a_neighbour(home, era) as neighbour:
            assert await anyio.to_thread.run_sync(connect) == "refused"
            assert await is_served(neighbour, era)


# Garbage and long lines


@pytest.mark.parametrize("era", ERAS)
async def test_a_flood_of_garbage_connections_is_not_felt_by_another_client(shared: Home, era: str) -> None:
    garbage = [b"GET / HTTP/1.1\r\n\r\n", b"\n" * 60_000, b"{}\n", b"\xff" * 70_000, b'{"workroot":1,"role":"mcp"']
    size = len(shared.log)

    async with a_neighbour(shared, era) as neighbour, anyio.create_task_group() as tasks:

        async def flood(number: int) -> None:
            for turn in range(40):
                with suppress(OSError, anyio.BrokenResourceError):
                    async with await anyio.connect_unix(shared.socket_path) as stream:
                        await stream.send(garbage[(number + turn) % len(garbage)])

        for number in range(25):
            tasks.start_soon(flood, number)
        for _ in range(20):
            assert await is_served(neighbour, era)

    assert len(shared.log) - size < 20_000


@pytest.mark.parametrize("extra", [0, 1])
async def test_a_first_line_may_have_64_kib(shared: Home, extra: int) -> None:
    line = rendezvous.hello_line(role="mcp", version="")
    line = rendezvous.hello_line(role="mcp", version="x" * (64 * 1024 - len(line) + 1 + extra))

    async with await anyio.connect_unix(shared.socket_path) as stream:
        await stream.send(line)
        with anyio.fail_after(DEADLINE_SECONDS):
            answer = await stream.receive()

    assert (b"65536 bytes at most" if extra else b'"boot"') in answer


@pytest.mark.parametrize("era", ERAS)
async def test_long_lines_that_never_end_are_held_only_in_part_and_not_for_ever(era: str) -> None:
    with a_daemon(WORKROOT_BODY_SECONDS="1") as home:
        pid = pid_of(home)
        async with AsyncExitStack() as stack, a_neighbour(home, era) as neighbour:
            assert await is_served(neighbour, era)
            before = memory_of(pid)
            slow = [await stack.enter_async_context(a_neighbour(home, era)) for _ in range(150)]
            async with anyio.create_task_group() as tasks:

                async def send(client: RawClient) -> None:
                    with suppress(anyio.BrokenResourceError, TimeoutError):
                        await client.send_bytes(b"x" * (MEBIBYTE - 1))

                for client in slow:
                    tasks.start_soon(send, client)
                with anyio.fail_after(DEADLINE_SECONDS):
                    refused = await slow[0].receive()
                assert await is_served(neighbour, era)
                assert memory_of(pid) - before < MOST_GROWTH
                tasks.cancel_scope.cancel()

            assert "while others wait" in refused["error"]["message"]


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("size", [70_000, MEBIBYTE - 1])
async def test_a_long_call_is_answered_at_once_beside_long_lines_that_never_end(era: str, size: int) -> None:
    with a_daemon() as home:
        async with AsyncExitStack() as stack, a_neighbour(home, era) as neighbour:
            assert await is_served(neighbour, era)
            slow = [await stack.enter_async_context(a_neighbour(home, MODERN)) for _ in range(40)]
            for client in slow:  # a conversation begins with something short
                assert await is_served(client, MODERN)
            async with anyio.create_task_group() as tasks:

                async def stall(client: RawClient) -> None:
                    with suppress(anyio.BrokenResourceError):
                        await client.send_bytes(b"x" * size)

                for client in slow:
                    tasks.start_soon(stall, client)
                await anyio.wait_all_tasks_blocked()
                with anyio.fail_after(4):  # it takes about one
                    answer = await neighbour.call(
                        "long", "get_working_directory", meta=META[era], directory="/" + "x" * 300_000
                    )
                tasks.cancel_scope.cancel()

            assert answer["id"] == "long"
            assert await is_served(neighbour, era)


# Requests in flight, and clients that do not read


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_reads_nothing_takes_little_memory_and_loses_its_connection(era: str) -> None:
    with a_daemon(WORKROOT_WRITE_SECONDS="2") as home:
        pid = pid_of(home)
        async with a_neighbour(home, era) as neighbour, a_neighbour(home, era) as deaf:
            assert await is_served(neighbour, era)
            before = peak = memory_of(pid)
            sent = 0
            with suppress(anyio.BrokenResourceError, TimeoutError):
                while sent < 100_000:
                    params = {"padding": "x" * 2000, **({"_meta": META[era]} if META[era] else {})}
                    with anyio.fail_after(DEADLINE_SECONDS):
                        await deaf.send(id=sent, method="tools/list", params=params)
                    sent += 1
                    if sent % 100 == 0:
                        peak = max(peak, memory_of(pid))
            peak = max(peak, memory_of(pid))

            assert sent < 10_000  # then it was not read any more, and then it was cut off
            assert await is_served(neighbour, era)
            await home.wait_until_async(lambda: home.ask("status")["connections"] == 1, what="it is cut off")
            print(f"grew by {(peak - before) / MEBIBYTE:.1f} MiB, after it {(memory_of(pid) - before) / MEBIBYTE:.1f}")
            assert peak - before < MOST_GROWTH
            assert memory_of(pid) - before < MOST_GROWTH / 2
        assert "took nothing for too long" in home.log


@pytest.mark.parametrize("era", ERAS)
async def test_requests_beyond_those_in_flight_wait_and_are_all_answered(shared: Home, era: str) -> None:
    project = str(shared.repository(f"many-{era}"))
    async with a_neighbour(shared, era, directory=project) as client, anyio.create_task_group() as tasks:

        async def send() -> None:
            for number in range(1, 1001):
                await client.send_call(number, "get_working_directory", meta=META[era])

        tasks.start_soon(send)
        answers = [await client.receive() for _ in range(1000)]

    assert sorted(answer["id"] for answer in answers) == list(range(1, 1001))
    assert all("result" in answer for answer in answers)


@pytest.mark.parametrize("repeated", [False, True], ids=["ids of their own", "one id"])
async def test_calls_that_wait_for_roots_do_not_wait_for_each_other(shared: Home, repeated: bool) -> None:
    project = shared.repository(f"behind-{repeated}")
    async with shared.open_raw_socket(environment={}) as client:
        await client.initialize(roots=True)
        await client.send_call(1, "get_working_directory")
        question = await client.receive()
        assert question["method"] == "roots/list"
        for number in range(2, 75):  # 64 in flight wait for the answer, 10 are parked before it comes
            await client.send_call(1 if repeated else number, "get_working_directory")
        await client.send(id=question["id"], result={"roots": [{"uri": project.as_uri()}]})
        answers: list[dict[str, Any]] = []
        while len(answers) < 74:
            heard = await client.receive()
            if heard.get("method") == "roots/list":
                await client.send(id=heard["id"], result={"roots": [{"uri": project.as_uri()}]})
            else:
                answers.append(heard)

    assert {answer["result"]["structuredContent"]["working_directory"] for answer in answers} == {str(project)}


async def test_a_parked_request_that_is_cancelled_is_neither_done_nor_answered() -> None:
    with a_daemon(WORKROOT_MAX_REQUESTS_IN_FLIGHT="1") as home:
        moved = home.repository("moved")
        async with home.open_raw_socket(environment={}, alias="one") as client:
            await client.initialize(roots=True)
            await client.send_call(1, "get_working_directory")
            question = await client.receive()
            await client.send_call(2, "set_working_directory", directory=str(moved))
            await client.send_call(3, "get_working_directory")
            await client.send(method="notifications/cancelled", params={"requestId": 2})
            await client.send(id=question["id"], result={"roots": []})
            answered: list[int] = []
            while len(answered) < 2:
                heard = await client.receive()
                if heard.get("method") == "roots/list":
                    await client.send(id=heard["id"], result={"roots": []})
                else:
                    answered.append(heard["id"])
            await client.send(id=4, method="resources/read", params={"uri": "workroot://projects"})
            after = await client.receive()

        assert answered == [1, 3]
        assert json_of(after)["projects"] == []


async def test_parked_requests_are_answered_after_the_client_has_ended_its_side() -> None:
    with a_daemon(WORKROOT_MAX_REQUESTS_IN_FLIGHT="2") as home, ExitStack() as stack:
        connection = stack.enter_context(socket.socket(socket.AF_UNIX))
        connection.connect(home.socket_path)
        connection.sendall(rendezvous.hello_line(role="mcp", version="1", environment={}))
        call = b'{"jsonrpc":"2.0","id":%d,"method":"ping","params":{}}\n'
        connection.sendall(b"".join(call % number for number in range(50)))
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(DEADLINE_SECONDS)
        said = b""
        while piece := await anyio.to_thread.run_sync(connection.recv, 65536):
            said += piece

        assert said.count(b'"result"') == 50


# Answers


@pytest.mark.parametrize("era", ERAS)
async def test_no_answer_about_many_projects_is_longer_than_256_kib(home: Home, era: str) -> None:
    home.start()
    below = "/".join(["long-" * 40] * 10)  # 2 KiB
    roots = [str(home.repository(f"{below}/{number}")) for number in range(150)]
    async with a_neighbour(home, era) as client:
        meta = META[era] or {}
        for number, root in enumerate(roots):
            await client.call(number, "get_working_directory", meta={**meta, "workroot/directory": root})
        await client.send(id=1, method="resources/read", params={"uri": "workroot://projects", "_meta": meta})
        resource_line = await client.receive()
        found, cursor = [], None
        while True:
            asked: dict[str, object] = {"cursor": cursor} if cursor else {}
            await client.send_call(2, "list_projects", meta=META[era], **asked)
            line = await client.receive()
            assert len(_bytes(line)) <= 256 * 1024
            page = line["result"]["structuredContent"]
            found += [row["root"] for row in page["projects"]]
            if (cursor := page["next_cursor"]) is None:
                break

    assert len(_bytes(resource_line)) <= 256 * 1024
    content = json_of(resource_line)
    assert content["total"] == 150
    assert [row["root"] for row in content["projects"]] == roots[::-1][: len(content["projects"])]  # the latest ones
    assert 100 < len(content["projects"]) < 150
    assert content["note"].startswith(f"{150 - len(content['projects'])} more do not fit; list_projects")
    assert found == roots[::-1]


def _bytes(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def json_of(message: dict[str, Any]) -> dict[str, Any]:
    (content,) = message["result"]["contents"]
    found: dict[str, Any] = json.loads(content["text"])
    return found
