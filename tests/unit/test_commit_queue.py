"""The queue before the writer: who shares a commit, who is turned away, and who hears what."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import anyio
import pytest

from workroot.core.changes import Change, EndedForgotten
from workroot.errors import ChangeRefusedError, StoreError, StoreUnavailableError
from workroot.storage.commit_queue import CommitQueue
from workroot.storage.writer_thread import WriterThread

if TYPE_CHECKING:
    from collections.abc import Sequence


class GatedWriter:
    """Writes nothing; notes each batch, and answers when its gate is open."""

    def __init__(self) -> None:
        self.batches: list[list[Sequence[Change]]] = []
        self.entered = anyio.Event()
        self.gate = anyio.Event()
        self.answers: dict[float, StoreError] = {}
        self.fault: Exception | None = None

    async def write(self, batch: list[Sequence[Change]]) -> list[StoreError | None]:
        self.batches.append(batch)
        self.entered.set()
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return [self.answers.get(number(changes)) for changes in batch]


def item(value: float) -> list[Change]:
    return [EndedForgotten(value)]


def number(changes: Sequence[Change]) -> float:
    (change,) = changes
    assert isinstance(change, EndedForgotten)
    return change.before


async def test_those_who_wait_together_share_a_batch_of_at_most_256_in_their_order() -> None:
    writer = GatedWriter()
    queue = CommitQueue(writer.write, capacity=500)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as writing:
            writing.start_soon(queue.run)
            async with anyio.create_task_group() as callers:
                callers.start_soon(queue.put, item(0))
                await writer.entered.wait()
                for value in range(1, 301):
                    callers.start_soon(queue.put, item(value))
                await anyio.wait_all_tasks_blocked()
                writer.gate.set()
            queue.close(within_seconds=5)

    assert [len(batch) for batch in writer.batches] == [1, 256, 44]
    assert [number(changes) for batch in writer.batches for changes in batch] == list(range(301))


async def test_each_caller_hears_its_own_answer() -> None:
    writer = GatedWriter()
    writer.answers[1] = ChangeRefusedError("one", "it may not be")
    writer.gate.set()
    queue = CommitQueue(writer.write, capacity=10)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.run)
            await queue.put(item(0))
            with pytest.raises(ChangeRefusedError, match="one cannot be kept"):
                await queue.put(item(1))
            await queue.put(item(2))
            queue.close(within_seconds=5)


async def test_a_caller_beyond_the_capacity_is_told_to_repeat_the_call() -> None:
    writer = GatedWriter()
    queue = CommitQueue(writer.write, capacity=2)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.run)
            tasks.start_soon(queue.put, item(0))
            await writer.entered.wait()
            tasks.start_soon(queue.put, item(1))
            tasks.start_soon(queue.put, item(2))
            await anyio.wait_all_tasks_blocked()

            with pytest.raises(StoreUnavailableError, match="busy"):
                await queue.put(item(3))

            writer.gate.set()
            queue.close(within_seconds=5)

    assert [number(changes) for batch in writer.batches for changes in batch] == [0, 1, 2]


async def test_what_was_accepted_is_finished_after_the_close_and_newcomers_are_refused() -> None:
    writer = GatedWriter()
    queue = CommitQueue(writer.write, capacity=10)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.run)
            tasks.start_soon(queue.put, item(0))
            await writer.entered.wait()
            tasks.start_soon(queue.put, item(1))
            await anyio.wait_all_tasks_blocked()

            queue.close(within_seconds=5)
            with pytest.raises(StoreUnavailableError, match="closed"):
                await queue.put(item(2))
            writer.gate.set()

    assert [number(changes) for batch in writer.batches for changes in batch] == [0, 1]


async def test_a_cancelled_caller_is_written_all_the_same_and_a_cancelled_writer_finishes() -> None:
    writer = GatedWriter()
    queue = CommitQueue(writer.write, capacity=10)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.run)
            tasks.start_soon(queue.put, item(0))
            await writer.entered.wait()
            tasks.start_soon(queue.put, item(1))
            await anyio.wait_all_tasks_blocked()
            queue.close(within_seconds=5)
            tasks.cancel_scope.cancel()
            writer.gate.set()

    assert [number(changes) for batch in writer.batches for changes in batch] == [0, 1]


async def errors_of_two_callers(queue: CommitQueue[Sequence[Change]], writer: GatedWriter) -> list[StoreError]:
    """Start a caller that is being written and one that waits; return the list that gets their errors."""
    heard: list[StoreError] = []

    async def call(value: float) -> None:
        try:
            await queue.put(item(value))
        except StoreError as error:
            heard.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, 0)
        await writer.entered.wait()
        tasks.start_soon(call, 1)
        await anyio.wait_all_tasks_blocked()
        if writer.fault is None:
            queue.close(within_seconds=0)
        else:
            writer.gate.set()
    return heard


async def test_a_writer_that_does_not_come_back_is_given_up_and_everybody_is_told() -> None:
    writer = GatedWriter()
    queue = CommitQueue(writer.write, capacity=10)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.run)
            heard = await errors_of_two_callers(queue, writer)

    assert [type(error) for error in heard] == [StoreUnavailableError, StoreUnavailableError]


async def test_a_fault_of_the_writer_ends_the_queue_and_leaves_nobody_waiting() -> None:
    writer = GatedWriter()
    writer.fault = RuntimeError("a fault of our own")
    queue = CommitQueue(writer.write, capacity=10)
    heard: list[StoreError] = []

    async def call() -> None:
        heard.extend(await errors_of_two_callers(queue, writer))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as callers:
            callers.start_soon(call)
            with pytest.raises(RuntimeError, match="of our own"):
                await queue.run()

        with pytest.raises(StoreUnavailableError, match="closed"):
            await queue.put(item(2))
        queue.close(within_seconds=0)

    assert [type(error) for error in heard] == [StoreUnavailableError, StoreUnavailableError]


async def test_all_who_were_answered_have_gone_on_when_the_thread_answers_the_next_batch() -> None:
    """So whoever finds then that the file is lost, and asks for all that is held, misses nothing that was answered."""
    gone_on: list[float] = []
    seen: list[int] = []
    thread = WriterThread(lambda: sqlite3.connect(":memory:"))

    async def write(batch: list[Sequence[Change]]) -> list[StoreError | None]:
        answers: list[StoreError | None] = await thread.run(lambda: [None for _ in batch])
        seen.append(len(gone_on))
        return answers

    async def call(value: float) -> None:
        await queue.put(item(value))
        gone_on.append(value)

    queue = CommitQueue(write, capacity=1200)
    with anyio.fail_after(5):
        await thread.open()
        async with anyio.create_task_group() as tasks:
            async with anyio.create_task_group() as callers:
                for value in range(1100):
                    callers.start_soon(call, value)
                await anyio.wait_all_tasks_blocked()
                tasks.start_soon(queue.run)
            queue.close(within_seconds=5)
        await thread.close()

    assert seen == [0, 256, 512, 768, 1024]
