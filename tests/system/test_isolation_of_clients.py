"""No client ever gets another one's answer, however their messages interleave."""

from __future__ import annotations

import random

import anyio
import pytest
from real_daemon import ERAS, MODERN, MODERN_META, Home, answer_of

CLIENTS = 32


@pytest.mark.parametrize("era", ERAS)
async def test_clients_that_use_the_same_request_ids_each_get_their_own_answers(shared: Home, era: str) -> None:
    meta = MODERN_META if era == MODERN else None
    seen: dict[int, list[tuple[object, str]]] = {}

    async def ask(number: int) -> None:
        project = str(shared.repository(f"same-ids-{era}-{number}"))
        async with shared.open_raw_socket(alias=f"{era}-{number}", directory=project, environment={}) as client:
            if meta is None:
                await client.initialize()
            for request_id in range(1, 6):  # all at once; the answers may come in any order
                await client.send_call(request_id, "get_working_directory", meta=meta)
            answers = [await client.receive() for _ in range(5)]
        seen[number] = [
            (answer["id"], answer["result"]["structuredContent"]["working_directory"]) for answer in answers
        ]

    async with anyio.create_task_group() as tasks:
        for number in range(CLIENTS):
            tasks.start_soon(ask, number)

    for number in range(CLIENTS):
        project = str(shared.top / f"same-ids-{era}-{number}")
        assert sorted(seen[number], key=str) == [(request_id, project) for request_id in range(1, 6)]


async def test_of_two_conversations_on_one_connector_one_moves_and_the_other_is_unmoved(shared: Home) -> None:
    here, there, elsewhere = (shared.repository(f"one-connector-{name}") for name in ("here", "there", "elsewhere"))
    async with shared.open_client(MODERN, here) as client:
        one = (await answer_of(client, "set_working_directory", directory=str(there)))["session_id"]
        other = (await answer_of(client, "set_working_directory", directory=str(here)))["session_id"]

        await answer_of(client, "set_working_directory", directory=str(elsewhere), session_id=one)

        assert one != other
        assert (await answer_of(client, "get_working_directory", session_id=one))["working_directory"] == str(elsewhere)
        assert (await answer_of(client, "get_working_directory", session_id=other))["working_directory"] == str(here)
        assert (await answer_of(client, "get_working_directory"))["working_directory"] == str(here)


@pytest.mark.parametrize("seed", range(3))
async def test_sessions_that_move_at_random_are_always_where_they_moved_last(shared: Home, seed: int) -> None:
    chance = random.Random(seed)
    places = [str(shared.repository(f"random-{seed}-{number}")) for number in range(4)]
    async with anyio.create_task_group() as tasks:

        async def wander(era: str, moves: list[str]) -> None:
            async with shared.open_client(era, shared.top) as client:
                handle: dict[str, str] = {}
                for place in moves:
                    moved = await answer_of(client, "set_working_directory", directory=place, **handle)
                    if era == MODERN:
                        handle = {"session_id": moved["session_id"]}
                    asked = await answer_of(client, "get_working_directory", **handle)
                    assert (moved["working_directory"], asked["working_directory"]) == (place, place)

        for number in range(4):
            tasks.start_soon(wander, ERAS[number % 2], chance.choices(places, k=8))
