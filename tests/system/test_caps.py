"""A real daemon holds no more than it is told to, and says how many gave way."""

from __future__ import annotations

from real_daemon import MODERN, Home, answer_of, error_of, open_home


async def test_the_longest_idle_session_gives_way_and_is_counted() -> None:
    with open_home(WORKROOT_MAX_SESSIONS="2", WORKROOT_MAX_PROJECTS="2", WORKROOT_MAX_ENDED_SESSIONS="1") as home:
        home.start()
        projects = [home.repository(name) for name in ("one", "two", "three", "four")]
        async with home.open_client(MODERN, home.top) as agent:
            sessions = [
                (await answer_of(agent, "set_working_directory", directory=str(project)))["session_id"]
                for project in projects
            ]

            assert sorted(home.sessions()) == sorted(sessions[2:])
            assert "unknown session" in await error_of(agent, "get_working_directory", session_id=sessions[0])
            assert "expired" in await error_of(agent, "get_working_directory", session_id=sessions[1])

        status = home.ask("status")
        assert (status["sessions"], status["ended_sessions"], status["projects"]) == (2, 1, 2)
        assert status["refusals"] == {"session_limit": 2}


async def test_bounds_that_are_lowered_hold_from_the_next_session_on(home: Home) -> None:
    home.start()
    async with home.open_client(MODERN, home.repository("app")) as agent:
        for _ in range(3):
            await answer_of(agent, "set_working_directory", directory=str(home.top))
        assert len(home.sessions()) == 3
        (home.state / "config.toml").write_text("max_sessions = 1\n")
        home.run("stop")
        home.start()

        latest = (await answer_of(agent, "set_working_directory", directory=str(home.top)))["session_id"]

        assert list(home.sessions()) == [latest]
