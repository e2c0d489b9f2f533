"""Sessions end by themselves, in a real daemon: idle code that never runs looks just like idle code that does."""

from __future__ import annotations

import json

from real_daemon import LEGACY, MODERN, Home, answer_of, error_of, open_home


async def test_an_idle_session_expires_by_itself_and_that_of_a_live_connection_does_not() -> None:
    with open_home(WORKROOT_SWEEP_INTERVAL_SECONDS="0.2", WORKROOT_SESSION_IDLE_SECONDS="0.4") as home:
        home.start()
        project = home.repository("app")
        async with home.open_client(LEGACY, project) as editor, home.open_client(MODERN, project) as agent:
            kept = (await answer_of(editor, "set_working_directory", directory=str(project)))["session_id"]
            left = (await answer_of(agent, "set_working_directory", directory=str(project)))["session_id"]

            await home.wait_until_async(lambda: left not in home.sessions(), what="the idle session expires")

            assert kept in home.sessions()
            text = await error_of(agent, "get_working_directory", session_id=left)
            assert text.startswith(f"session '{left}' expired after being idle (it worked in {project})")
            assert (await answer_of(editor, "get_working_directory"))["session_id"] == kept

        await home.wait_until_async(
            lambda: kept not in home.sessions(), what="the session of a client that left expires"
        )


async def test_a_session_can_be_swept_on_demand() -> None:
    with open_home(WORKROOT_SESSION_IDLE_SECONDS="0.001") as home:
        home.start()
        async with home.open_client(MODERN, home.repository("app")) as agent:
            session = (await answer_of(agent, "set_working_directory", directory=str(home.top)))["session_id"]
            assert session in home.sessions(), "the hourly sweep is far away"

            swept = home.run("sweep", "--json")

    assert (swept.returncode, json.loads(swept.stdout)) == (0, {"removed": [session]})


async def test_a_session_in_use_is_not_swept(home: Home) -> None:
    home.start()
    async with home.open_client(MODERN, home.repository("app")) as agent:
        session = (await answer_of(agent, "set_working_directory", directory=str(home.top)))["session_id"]

        assert json.loads(home.run("sweep", "--json").stdout) == {"removed": []}
        assert session in home.sessions()
