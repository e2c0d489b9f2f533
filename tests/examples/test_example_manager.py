"""The documented examples of a manager: the shortest program, the life of a session, its grid paths.

Not as documented: ids, which say nothing of user and time, and `parse_grid_key`, which tells of a `subpath` too.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from examples.programs import grid, life_cycle
from workroot.session_manager import SessionManager

PROGRAMS = Path(__file__).with_name("programs")


def test_the_shortest_program_runs_as_documented_and_again_in_a_second_event_loop(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ids = []
    for _ in range(2):
        runpy.run_path(str(PROGRAMS / "manager_basics.py"))
        session, key, valid, changed = capsys.readouterr().out.splitlines()
        session_id = session.removeprefix("session: ")
        assert key == f"key: grid/my-app/{session_id}/plan-1"
        assert (valid, changed) == ("valid: True", "changed: True")
        ids.append(session_id)
    assert ids[0] != ids[1]


async def test_the_life_of_a_session_is_as_documented() -> None:
    session_id, valid, first, changed, info, extended, longer, deleted = await life_cycle.live_through_it()

    assert (valid, changed, extended, deleted) == (True, True, True, True)
    user, created_at, metadata = first
    assert user == "ada"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", created_at)
    before = {"login_method": "oauth", "ip_address": "192.0.2.7", "permissions": ["read", "write"]}
    assert metadata == before
    now = dict(info["custom_metadata"])
    assert isinstance(now.pop("last_activity"), float)
    assert now == before | {"files_uploaded": 5}, "what was there before is kept"
    assert longer["expires_at"] > info["expires_at"]

    assert await life_cycle.session_mgr.validate_session(session_id) is False
    assert await life_cycle.session_mgr.get_session_info(session_id) is None
    assert await life_cycle.session_mgr.delete_session(session_id) is False


async def test_the_paths_of_a_session_are_as_documented() -> None:
    session_id = await grid.session_mgr.allocate_session(user_id="ada")
    prefix, key, parsed, pattern = await grid.paths_of_a_session(session_id)

    assert prefix == f"grid/webapp/{session_id}/"
    assert key == f"grid/webapp/{session_id}/plan-1"
    documented = {"sandbox_id": "webapp", "session_id": session_id, "artifact_id": "plan-1"}
    assert parsed == documented | {"subpath": None}
    assert pattern == "grid/webapp/"


async def test_one_user_in_two_programs_has_two_sessions_that_never_meet() -> None:
    in_a, in_b, key_in_a, key_in_b = await grid.one_user_in_two_programs()

    assert in_a != in_b
    assert (key_in_a, key_in_b) == (f"grid/app-a/{in_a}/report-1", f"grid/app-b/{in_b}/report-1")
    assert await grid.app_a_mgr.validate_session(in_a)
    assert not await grid.app_b_mgr.validate_session(in_a)
    assert not await grid.shared_mgr.validate_session(in_a)


async def test_a_managers_sandbox_does_not_become_the_next_ones() -> None:
    assert grid.shared_mgr.sandbox_id == "shared-services"
    assert SessionManager().sandbox_id not in {"webapp", "app-a", "app-b", "shared-services"}
