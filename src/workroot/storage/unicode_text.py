"""Which text can be kept: Unicode, as a database on disk has it; a lone surrogate is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.core.changes import (
    AliasBound,
    AliasEnded,
    AllocationSaved,
    ConnectionSaved,
    ProjectIdKept,
    ProjectSeen,
    SessionEnded,
    SessionSaved,
)
from workroot.errors import ChangeRefusedError

if TYPE_CHECKING:
    from workroot.core.changes import Change

__all__ = ["check_text"]


def check_text(change: Change) -> None:
    """Check that a store on disk could keep the texts of *change*.

    Raises:
        ChangeRefusedError: it could not.
    """
    texts: tuple[str | None, ...] = ()
    match change:
        case SessionSaved(session):
            texts = (*session.owner, session.session_id, session.working_directory, session.given_directory)
            texts += (session.config_path, session.project_id, session.project_root, session.project_name)
            texts += tuple(text for sign in session.signs for text in (sign.sign, sign.directory))
        case SessionEnded(ended):
            texts = (*ended.owner, ended.session_id, ended.last_directory)
        case AliasBound(owner, alias):
            texts = (*owner, alias)
        case ProjectSeen(owner, project):
            texts = (*owner, project.project_id, project.name, project.root, project.worktree_of)
        case ProjectIdKept(known):
            texts = (*known.key, known.project_id, known.name, known.root)
        case ConnectionSaved(kept):
            texts = (*kept.owner, kept.alias, kept.log_level, *kept.subscriptions)
        case AliasEnded(gone):
            texts = (*gone.owner, gone.alias)
        case AllocationSaved(allocation):
            texts = (*allocation.owner, allocation.session_id, allocation.user_id, allocation.metadata)
    try:
        "".join(filter(None, texts)).encode()
    except UnicodeEncodeError as error:
        raise ChangeRefusedError("a text", f"it is not Unicode ({error.reason})") from error
