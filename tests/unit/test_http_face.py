"""HTTP beside the socket: its port may be somebody else's for a while."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import anyio
import pytest

from workroot.daemon.http_face import HttpFace
from workroot.errors import RendezvousError

URL = "http://127.0.0.1:1/mcp"
TAKEN = RendezvousError("127.0.0.1:1", "is used by another program", "choose another")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as made:
        yield made


class Clock:
    """Waits until told that the time is over."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.over = anyio.Event()

    async def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        await self.over.wait()
        self.over = anyio.Event()


async def serve(_listener: socket.socket, told: Callable[[str], None]) -> None:
    told(URL)
    await anyio.sleep_forever()


async def test_a_taken_port_is_told_and_tried_again(listener: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[socket.socket | RendezvousError] = [TAKEN, TAKEN, listener]
    clock, facts = Clock(), list[dict[str, str | None]]()

    def bind() -> socket.socket:
        answer = answers.pop(0)
        if isinstance(answer, RendezvousError):
            raise answer
        return answer

    face = HttpFace(bind, serve, changed=facts.append, sleep=clock)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(face.run)
            await face.wait_clear()
            assert face.fact() == {"url": None, "problem": str(TAKEN)}
            for _ in range(2):
                await anyio.wait_all_tasks_blocked()
                clock.over.set()
            await anyio.wait_all_tasks_blocked()
            assert face.fact() == {"url": URL}
            face.stop()

    assert clock.waited == [30.0, 30.0]
    assert facts[-1] == {"url": URL}
    assert caplog.text.count("is used by another program") == 1, "said once, not each time"


async def test_it_can_be_stopped_while_the_port_is_taken() -> None:
    def bind() -> socket.socket:
        raise TAKEN

    face = HttpFace(bind, serve, sleep=Clock())
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(face.run)
            await face.wait_clear()
            face.stop()
