"""The documented examples of a web application: log in, upload, 401 without a valid session; sessions and artifacts.

Not as documented: FastAPI, which is not installed here (its error is Starlette's, its route and dependency are called),
and the storage of artifacts, which comes later (rows N): a stand-in takes its place.
"""

from __future__ import annotations

from io import BytesIO

import pytest
from starlette.datastructures import UploadFile

from examples.programs import integrated_application, web_application
from examples.programs.surroundings import HTTPException, files

NO_SESSION = ("sess-alice-1234567890-abcd1234", "", "../../etc", "x" * 5000)


async def test_an_upload_in_a_valid_session_is_stored_and_counted() -> None:
    session_id = await web_application.handle_login("alice", "secret")
    answers = [await web_application.handle_file_upload(session_id, data) for data in (b"one", b"two")]

    assert files == {answers[0]["path"]: b"one", answers[1]["path"]: b"two"}
    assert answers[0]["path"] == f"grid/webapp-prod/{session_id}/{answers[0]['file_id']}"
    info = await web_application.web_mgr.get_session_info(session_id)
    assert info is not None
    assert info["user_id"] == "alice"
    assert info["custom_metadata"]["uploads"] == 2
    assert info["custom_metadata"]["permissions"] == ["read", "write"], "what was there before is kept"
    assert info["custom_metadata"]["user_agent"] == "a browser"


@pytest.mark.row("C13")
async def test_an_invalid_session_gets_401_and_stores_nothing() -> None:
    session_id = await web_application.handle_login("alice", "secret")
    await web_application.web_mgr.delete_session(session_id)
    for bad in (session_id, *NO_SESSION):
        with pytest.raises(HTTPException) as caught:
            await web_application.handle_file_upload(bad, b"data")
        assert caught.value.status_code == 401
    assert files == {}


async def test_a_file_that_a_user_sends_belongs_to_the_session_and_is_counted_there() -> None:
    app = integrated_application.integrated_app
    kept_as = await app.upload_user_file("alice", b"data", "report.txt")

    assert await app.artifact_store.read_namespace(kept_as) == b"data"
    session_id = app.artifact_store.namespace(kept_as).session_id
    assert session_id is not None
    info = await app.session_mgr.get_session_info(session_id)
    assert info is not None
    assert (info["user_id"], info["custom_metadata"]["total_files"]) == ("alice", 1)


async def test_the_documented_route_keeps_the_file_of_a_request_whose_session_was_checked() -> None:
    app = integrated_application.integrated_app
    token = await app.session_mgr.allocate_session(user_id="current_user")
    session_id = await integrated_application.get_current_session(token)

    sent = UploadFile(BytesIO(b"data"), filename="report.txt")
    answer = await integrated_application.upload_file(sent, session_id=session_id)
    assert await app.artifact_store.read_namespace(answer["artifact_id"]) == b"data"
    assert app.artifact_store.namespace(answer["artifact_id"]).name == "report.txt"


async def test_a_header_that_names_a_session_is_let_through_and_any_other_gets_401() -> None:
    sessions = integrated_application.integrated_app.session_mgr
    session_id = await sessions.allocate_session(user_id="alice")

    assert await integrated_application.get_current_session(session_id) == session_id
    await sessions.delete_session(session_id)
    for bad in (session_id, *NO_SESSION):
        with pytest.raises(HTTPException) as caught:
            await integrated_application.get_current_session(bad)
        assert caught.value.status_code == 401
