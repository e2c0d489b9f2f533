"""Decisions, and the sessions that they are of, as a running daemon tells the command line of them.

The keys are an interface: `workroot why --json` prints them as they are.

- A decision: `at` (seconds since the Unix epoch), `client`, `tool`, `session_id`, `outcome` (`decided`, `unknown`,
  `ambiguous`, `stale` or `refused`), `error` (`code` and `message`, or null), `directory`, `project` (`id`, `name`,
  `root`, or null), `source`, `detail`, `authority`, `warnings`, `alternatives`, `skipped`, `steps` (each sign, best
  first: `source`, `detail`, `directory`, `verdict`, `reason`, `project`), `explanation` (the lines for people) and
  `previous` (where the session worked before, or null). Of a refused call all from `directory` on is null or empty.
- A session: as in the list of sessions, with `project_name` and `signs` (`sign`, `directory`, `agreed`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workroot.core.explanation import explain

if TYPE_CHECKING:
    from workroot.core.sessions import SessionContext
    from workroot.decisions import Decision

__all__ = ["decision_row", "pinned_row"]

_NOTHING_DECIDED: dict[str, Any] = {
    "directory": None,
    "project": None,
    "source": None,
    "detail": None,
    "authority": None,
    "warnings": [],
    "alternatives": [],
    "skipped": [],
    "steps": [],
    "explanation": [],
    "previous": None,
}


def decision_row(decision: Decision) -> dict[str, Any]:
    """Return a decision, refused calls included, with its explanation in words."""
    asked = {"at": decision.at, "client": decision.client, "tool": decision.tool, "session_id": decision.session_id}
    resolution = decision.resolution
    if resolution is None:
        code, message = decision.error or ("", "")
        return {**asked, "outcome": "refused", "error": {"code": code, "message": message}} | _NOTHING_DECIDED
    place, before = resolution.place, resolution.previous
    project = place.project if place else None
    return {
        **asked,
        "outcome": resolution.outcome,
        "error": None,
        "directory": place.directory if place else None,
        "project": {"id": project.project_id, "name": project.name, "root": project.root} if project else None,
        "source": resolution.source,
        "detail": resolution.detail,
        "authority": resolution.authority,
        "warnings": list(resolution.warnings),
        "alternatives": [
            {"directory": each.directory, "source": each.source, "detail": each.detail, "project": each.project}
            for each in resolution.alternatives
        ],
        "skipped": [
            {"directory": each.directory, "source": each.source, "detail": each.detail, "reason": each.reason}
            for each in resolution.skipped
        ],
        "steps": [
            {
                "source": each.source,
                "detail": each.detail,
                "directory": each.directory,
                "verdict": each.verdict,
                "reason": each.reason,
                "project": each.project,
            }
            for each in resolution.steps
        ],
        "explanation": list(explain(resolution)),
        "previous": (
            {
                "directory": before.working_directory,
                "project_id": before.project_id,
                "project_root": before.project_root,
                "revision": before.revision,
            }
            if before
            else None
        ),
    }


def pinned_row(session: SessionContext, row: dict[str, Any]) -> dict[str, Any]:
    """Return a session's row with what its pin remembers."""
    signs = [{"sign": each.sign, "directory": each.directory, "agreed": each.agreed} for each in session.signs]
    return {**row, "project_name": session.project_name, "signs": signs}
