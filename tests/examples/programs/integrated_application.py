"""A web application whose sessions and artifacts belong together, with a check of the session in a header."""

from __future__ import annotations

import time

from starlette.datastructures import UploadFile

from examples.programs.artifact_store import ArtifactStore
from examples.programs.surroundings import HTTPException
from workroot import SessionManager


class IntegratedApplication:
    def __init__(self) -> None:
        self.session_mgr = SessionManager(sandbox_id="myapp")

        self.artifact_store = ArtifactStore("myapp", self.session_mgr)

    async def upload_user_file(self, user_id: str, file_data: bytes, filename: str) -> str:
        session_id = await self.session_mgr.allocate_session(user_id=user_id)

        kept_as = await self.artifact_store.store(
            data=file_data,
            mime="application/octet-stream",
            summary=f"sent: {filename}",
            filename=filename,
            session_id=session_id,
        )

        await self.session_mgr.update_session_metadata(
            session_id, {"last_upload": time.time(), "total_files": await self.get_user_file_count(session_id)}
        )

        return kept_as

    async def get_user_file_count(self, session_id: str) -> int:
        return len(await self.artifact_store.list_by_session(session_id))


integrated_app = IntegratedApplication()


async def get_current_session(session_token: str) -> str:
    """Return the session that a request's header names, if there is one."""
    if not await integrated_app.session_mgr.validate_session(session_token):
        raise HTTPException(401, "no session of ours")
    return session_token


async def upload_file(file: UploadFile, session_id: str) -> dict[str, str]:
    """Keep the file of a request whose session was checked."""
    content = await file.read()
    kept_as = await integrated_app.upload_user_file(
        user_id="current_user",
        file_data=content,
        filename=file.filename or "",
    )
    return {"artifact_id": kept_as}
