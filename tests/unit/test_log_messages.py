"""A client is told what became of its default session without its asking, at the level that it wants; nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workroot.core.projects import Directory, ProjectId
from workroot.core.sessions import EndedSession, Ending, Owner, SessionContext, SessionId
from workroot.events import Event, ProjectsChanged, SessionEnded, SessionMoved
from workroot.mcp_face.log_messages import LogMessage, message_about

ADA = Owner("uid:1000")
MINE = SessionId("wr_mine")
SHOP = SessionContext(
    session_id=MINE,
    owner=ADA,
    working_directory=Directory("/home/ada/shop"),
    given_directory="/home/ada/shop",
    project_id=ProjectId("id-of-shop"),
    project_root=Directory("/home/ada/shop"),
    project_name="shop",
    set_at=1.0,
    last_used=1.0,
)
BANK = replace(SHOP, project_id=ProjectId("id-of-bank"), project_root=Directory("/home/ada/bank"), project_name="bank")
NOWHERE = replace(SHOP, project_id=None, project_root=None, project_name=None)
GONE = EndedSession(
    session_id=MINE, owner=ADA, last_directory=Directory("/home/ada/shop"), ending=Ending.EXPIRED, ended_at=2.0
)


@pytest.mark.parametrize(
    ("event", "level", "text"),
    [
        (SessionMoved(BANK, SHOP), "info", "now in project 'bank', root /home/ada/bank"),
        (SessionMoved(NOWHERE, SHOP), "warning", "/home/ada/shop is in no project any more"),
        (SessionEnded(GONE), "warning", "the session in /home/ada/shop has ended (expired)"),
    ],
)
def test_what_nobody_asked_for_is_told(event: Event, level: str, text: str) -> None:
    message = message_about(event, MINE)

    assert message is not None
    assert message.level == level
    assert message.text.startswith(text)
    assert message_about(event, SessionId("wr_other")) is message_about(event, None) is None


@pytest.mark.parametrize(
    "event",
    [
        SessionMoved(SHOP, None),
        SessionMoved(replace(SHOP, working_directory=Directory("/home/ada/shop/src")), SHOP),
        SessionMoved(BANK, SHOP, is_asked_for=True),
        ProjectsChanged(ADA, ProjectId("id-of-shop")),
    ],
    ids=["opened", "same project", "asked for", "project"],
)
def test_what_its_client_knows_or_cannot_use_is_not_told(event: Event) -> None:
    assert message_about(event, MINE) is None


@pytest.mark.parametrize(
    ("level", "wanted"),
    [("debug", True), ("info", True), ("notice", True), ("warning", True), ("error", False), ("emergency", False)],
)
def test_a_message_is_wanted_from_its_level_down(level: str, wanted: bool) -> None:
    assert LogMessage("warning", "").is_wanted(level) is wanted
