"""Which project owns a directory, level by level; a daemon that runs adds what only it knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from workroot.cli.answers import all_rows, open_daemon, rows, text
from workroot.cli.output import print_json, print_line
from workroot.cli.tables import print_facts
from workroot.core.projects import ConfigProblem
from workroot.errors import WorkrootError

if TYPE_CHECKING:
    from workroot.core.discovery import Finding
    from workroot.core.projects import Directory, Place, Project

__all__ = ["explain_directory"]

_NO_NAMESPACE = "00000000-0000-0000-0000-000000000000"
"""Stands for the daemon's own namespace, which is its secret; ids that derive from it are not shown."""

_DAEMON_SECONDS = 1.0
"""What a daemon knows is an extra: the explanation holds without it."""


class _Known(NamedTuple):
    """What a daemon knows of a project.

    Attributes:
        project_id: the id that it goes by, or None.
        name: what it is called, or None.
        sessions: how many work in it; None if no daemon said.
        connected: how many of them have a live connection.
    """

    project_id: str | None = None
    name: str | None = None
    sessions: int | None = None
    connected: int = 0


def explain_directory(directory: str, *, as_json: bool) -> None:
    """Print which project owns *directory*, an absolute path, and how that is found.

    Raises:
        DirectoryError: it is no directory that can be looked at.
        SettingsError: the user's settings cannot be used.
    """
    from uuid import UUID

    from workroot.core.placing import place_of
    from workroot.core.walk import explain_walk
    from workroot.project_finder import ProjectFinder, rules_of_this_process
    from workroot.settings import load_settings
    from workroot.trust import TrustStore

    settings = load_settings()
    rules = rules_of_this_process(settings.trusted_directories)
    finding = ProjectFinder(_NO_NAMESPACE, rules=rules, config_names=settings.config_names).explain_now(directory)
    place = place_of(finding, directory, UUID(_NO_NAMESPACE))
    project = place.project
    root = project.root if project is not None else _kept_root(finding)
    known = _known(root) if root is not None else _Known()
    warnings = [*place.warnings]
    if (judgement := TrustStore(Path(settings.state_directory) / "trust.json").judge(place)) is not None:
        warnings += [judgement.warning] if judgement.warning is not None else []
    claimed = project.config.project_id if project is not None and project.config is not None else None
    if claimed is not None and known.project_id not in (None, claimed):
        warnings.append(
            f"the config claims the id {claimed}, and the daemon knows this project by {known.project_id}: another "
            f"project had that id first, or the config was changed since somebody last worked here"
        )
    walk = explain_walk(finding, rules)
    if as_json:
        print_json(_document(finding, place, known, warnings, walk))
        return
    print_facts([*_facts(place, known), *(("warning", warning) for warning in warnings)])
    print_line()
    for line in walk:
        print_line(line)


def _kept_root(finding: Finding) -> str | None:
    """Return the root of a repository whose own config is broken: the daemon keeps the id and the name that it had."""
    config, repository = finding.config, finding.repository
    return config.root if config is not None and repository is not None and config.root == repository.root else None


def _known(root: str) -> _Known:
    try:
        with open_daemon(answer_seconds=_DAEMON_SECONDS) as daemon:
            projects, sessions = rows(daemon.ask("projects"), "projects"), all_rows(daemon, "sessions")
    except WorkrootError:
        return _Known()
    project = next((one for one in projects if one.get("root") == root), {})
    here = [one for one in sessions if one.get("project_root") == root]
    return _Known(
        project_id=text(project, "id"),
        name=text(project, "name"),
        sessions=len(here),
        connected=sum(one.get("connected") is True for one in here),
    )


def _id_of(place: Place, known: _Known) -> str | None:
    project = place.project
    claimed = project.config.project_id if project is not None and project.config is not None else None
    return known.project_id or claimed


def _name_of(project: Project, known: _Known) -> str:
    """Return the config's name for the project, else the one that the daemon keeps from a config that is gone."""
    return project.name if project.config is not None else known.name or project.name


def _facts(place: Place, known: _Known) -> list[tuple[str, str | None]]:
    facts: list[tuple[str, str | None]] = [("directory", place.directory)]
    if place.given != place.directory:
        facts.append(("given as", place.given))
    project = place.project
    if project is not None:
        facts += [("project", _name_of(project, known)), ("root", project.root)]
        facts += [("worktree of", project.worktree_of)] if project.worktree_of else []
        facts.append(("id", _id_of(place, known) or "the daemon's own; it is known once somebody has worked there"))
    elif known.project_id is not None:
        facts.append(("project", f"{known.name}, as the daemon keeps it, because the nearest config cannot be used"))
        facts.append(("id", known.project_id))
    elif place.config_path is not None:
        facts.append(("project", "none, because the nearest config cannot be used"))
    else:
        facts.append(("project", "none; `workroot init` in a project's top directory makes it one"))
    if known.sessions is not None:
        facts.append(("sessions", f"{known.sessions} in this project, {known.connected} of them connected"))
    facts += [("config", place.config_path)] if place.config_path is not None else []
    facts += [("problem", str(place.config_error))] if place.config_error is not None else []
    return facts


def _document(
    finding: Finding, place: Place, known: _Known, warnings: list[str], walk: tuple[str, ...]
) -> dict[str, object]:
    project, problem = place.project, place.config_error
    return {
        "given": place.given,
        "directory": place.directory,
        "project": (
            {
                "id": _id_of(place, known),
                "name": _name_of(project, known),
                "root": project.root,
                "worktree_of": project.worktree_of,
            }
            if project is not None
            else None
        ),
        "known_id": known.project_id,
        "config_path": place.config_path,
        "config_error": _problem(problem) if problem is not None else None,
        "levels": [_level(finding, level) for level in finding.levels],
        "stop": finding.stop.value,
        "stopped_at": finding.stopped_at,
        "barrier": finding.barrier,
        "warnings": warnings,
        "sessions": known.sessions,
        "explanation": list(walk),
    }


def _problem(problem: ConfigProblem) -> dict[str, object]:
    return {"path": problem.path, "line": problem.line, "field": problem.field, "problem": problem.problem}


def _level(finding: Finding, level: Directory) -> dict[str, object]:
    config, repository = finding.config, finding.repository
    return {
        "directory": level,
        "config": config.path if config is not None and config.root == level else None,
        "repository": repository is not None and repository.root == level,
    }
