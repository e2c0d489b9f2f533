"""The place where clients find the daemon is deleted or moved under it: they go on, with this daemon or the next."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import anyio
import pytest
from patched_daemon import start_patched
from real_daemon import DEADLINE_SECONDS, ERAS, LEGACY, MODERN_META, Home, answer_of

from workroot import rendezvous

OFTEN = "import workroot.daemon.place_watch; workroot.daemon.place_watch._CHECK_SECONDS = 0.1"


def lock_path(home: Home) -> Path:
    return Path(rendezvous.instance_lock_path(str(home.state)))


async def wait_end(daemon: subprocess.Popen[bytes]) -> int:
    return await anyio.to_thread.run_sync(daemon.wait, DEADLINE_SECONDS)


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_deleted_or_replaced_socket_is_put_back_and_nobody_is_cut_off(home: Home, is_replaced: bool) -> None:
    daemon = start_patched(home, OFTEN)
    async with home.open_raw_connector(home.repository("app"), "--no-spawn") as client:
        await client.call(1, "get_working_directory", meta=MODERN_META)
        os.unlink(home.socket_path)
        if is_replaced:
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(home.socket_path)

        await home.wait_until_async(home.is_running, what="the socket is back")

        assert home.ask("status")["pid"] == daemon.pid
        assert "result" in await client.call(2, "get_working_directory", meta=MODERN_META)
    assert Path(home.socket_path).stat().st_mode & 0o777 == 0o600
    assert "was removed or replaced; it was put back" in home.log


@pytest.mark.parametrize("era", ERAS)
async def test_when_the_state_directory_is_deleted_a_client_goes_on_with_a_new_daemon(home: Home, era: str) -> None:
    daemon = start_patched(home, OFTEN)
    project = home.repository("app")
    async with home.open_client(era, project) as client:
        await answer_of(client, "get_working_directory")
        shutil.rmtree(home.state)

        assert await wait_end(daemon) == 1
        answer = await answer_of(client, "get_working_directory")
        moved = await answer_of(client, "set_working_directory", directory=str(project))

    assert answer["working_directory"] == str(project)
    assert moved["session_id"] in home.sessions()
    assert home.ask("status")["pid"] != daemon.pid


async def test_until_it_is_noticed_nothing_is_acknowledged_that_is_not_kept(home: Home) -> None:
    start_patched(home, "")  # it looks so seldom that this is before it does
    project = home.repository("app")
    async with home.open_raw_connector(project, "--no-spawn") as client:
        await client.call(1, "get_working_directory", meta=MODERN_META)
        shutil.rmtree(home.state)

        answer = await client.call(2, "set_working_directory", meta=MODERN_META, directory=str(project))

    assert answer["result"]["isError"] is True
    assert "was deleted or replaced while it was in use" in answer["result"]["content"][0]["text"]


async def test_when_the_state_directory_is_moved_what_it_holds_stays_whole(home: Home) -> None:
    daemon = start_patched(home, OFTEN)
    project = home.repository("app")
    async with home.open_client(LEGACY, project) as client:
        session = (await answer_of(client, "set_working_directory", directory=str(project)))["session_id"]
        home.state.rename(home.top / "moved")
        assert await wait_end(daemon) == 1
        await answer_of(client, "get_working_directory")
    assert session not in home.sessions()
    home.ask("stop")
    await home.wait_until_async(lambda: not home.is_running(), what="the new one has ended")

    shutil.rmtree(home.state)
    (home.top / "moved").rename(home.state)
    home.start()

    assert session in home.sessions()


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_lost_lock_ends_it_so_that_there_are_never_two(home: Home, is_replaced: bool) -> None:
    daemon = start_patched(home, OFTEN)
    lock_path(home).unlink()
    if is_replaced:
        lock_path(home).touch(mode=0o600)

    assert await wait_end(daemon) == 1

    assert f"{lock_path(home)} was removed or replaced while the daemon held it" in home.log
    home.start()
