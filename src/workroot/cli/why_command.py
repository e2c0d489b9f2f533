"""`workroot why`: how it is decided which project owns a directory, and what the daemon has decided of late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from workroot.cli.answers import Row, number, open_daemon, row, rows, text, texts
from workroot.cli.output import json_option, print_json, print_line
from workroot.cli.project_commands import absolute
from workroot.cli.tables import local_time, print_facts, short_session
from workroot.core.projects import ConfigProblem, StopReason
from workroot.errors import WorkrootError

if TYPE_CHECKING:
    from workroot.core.discovery import Finding
    from workroot.core.projects import Directory, Project

__all__ = ["why"]

_NO_NAMESPACE = "00000000-0000-0000-0000-000000000000"
"""Stands for the daemon's own namespace, which is its secret; ids that derive from it are not shown."""

_ENDED = {
    StopReason.CONFIG: "a config decides, whether it can be used or not",
    StopReason.REPOSITORY: "a version-control root ends the search",
    StopReason.FILESYSTEM_ROOT: "this is the top of the file system",
    StopReason.MOUNT: "{barrier} is on another device, which ends the search",
    StopReason.OWNER: "{barrier} belongs to another user or others may write there, which ends the search",
    StopReason.HOME: "the home directory ends the search",
    StopReason.DEPTH: "the search ends after so many levels",
}


@click.command(
    epilog="\b\nExamples:\n  workroot why ~/code/shop/src\n  workroot why --last 3\n  workroot why --client claude-code"
)
@click.argument("directory", metavar="[DIR]", required=False)
@click.option(
    "--last",
    type=click.IntRange(min=1),
    is_flag=False,
    flag_value=1,
    metavar="[N]",
    help="Show the daemon's last decision, or its last N.",
)
@click.option("--client", metavar="NAME", help="Show the decisions for that client, such as codex-mcp-client.")
@json_option
def why(directory: str | None, last: int | None, client: str | None, as_json: bool) -> None:
    """Explain which project owns DIR, or a recent decision.

    For DIR, or else the current directory, every level that is looked at is listed; this needs no
    daemon. With --last or --client, the daemon's recent decisions are shown, newest last: which sign
    decided, what else was named, and what was not followed and why.
    """
    if last is None and client is None:
        _explain_directory(absolute(directory), as_json=as_json)
        return
    if directory is not None:
        raise click.UsageError("DIR cannot be combined with --last or --client.")
    with open_daemon() as daemon:
        answer = daemon.ask("decisions", client=client, last=last)
    if as_json:
        print_json(answer)
        return
    decisions = rows(answer, "decisions")
    if not decisions:
        print_line(f"no decision for a client named {client!r} is remembered" if client else "nothing was decided yet")
    for position, decision in enumerate(decisions):
        if position:
            print_line()
        print_facts(_decision_facts(decision))


def _explain_directory(directory: str, *, as_json: bool) -> None:
    from uuid import UUID

    from workroot.core.discovery import project_of
    from workroot.project_finder import ProjectFinder
    from workroot.settings import load_settings

    finding = ProjectFinder(_NO_NAMESPACE, config_names=load_settings().config_names).explain_now(directory)
    project = project_of(finding, UUID(_NO_NAMESPACE))
    project_id = _known_id(project) if project is not None else None
    problem = finding.config.content if finding.config is not None else None
    if as_json:
        print_json(
            {
                "given": directory,
                "directory": finding.directory,
                "project": _project_document(project, project_id) if project is not None else None,
                "config_path": finding.config.path if finding.config is not None else None,
                "config_error": _problem_document(problem) if isinstance(problem, ConfigProblem) else None,
                "levels": [_level_document(finding, level) for level in finding.levels],
                "stop": finding.stop.value,
                "stopped_at": finding.stopped_at,
                "barrier": finding.barrier,
            }
        )
        return
    print_facts(_answer_facts(finding, directory, project, project_id))
    print_line()
    for number_, level in enumerate(finding.levels, start=1):
        print_line(f"{number_}. {level}: {_seen_at(finding, level)}")
    print_line(f"=> {_ended(finding)}")


def _answer_facts(
    finding: Finding, directory: str, project: Project | None, project_id: str | None
) -> list[tuple[str, str | None]]:
    facts: list[tuple[str, str | None]] = [("directory", finding.directory)]
    if directory != finding.directory:
        facts.append(("given as", directory))
    config = finding.config
    if project is not None:
        facts += [("project", project.name), ("root", project.root)]
        facts += [("worktree of", project.worktree_of)] if project.worktree_of else []
        facts.append(("id", project_id or "the daemon's own; it is known once somebody has worked there"))
    elif config is not None:
        facts.append(("project", "none, because the nearest config cannot be used"))
    else:
        facts.append(("project", "none; `workroot init` in a project's top directory makes it one"))
    if config is not None:
        facts.append(("config", config.path))
        if isinstance(config.content, ConfigProblem):
            facts.append(("problem", str(config.content)))
    return facts


def _seen_at(finding: Finding, level: Directory) -> str:
    config, repository = finding.config, finding.repository
    seen = []
    if config is not None and level == config.root:
        usable = "cannot be used" if isinstance(config.content, ConfigProblem) else "is the project's"
        seen.append(f"the config {config.path.removeprefix(level.rstrip('/') + '/')} {usable}")
    if repository is not None and level == repository.root:
        of = f", a worktree of {repository.main_root}" if repository.main_root else ""
        seen.append(f"a version-control root{of}")
    is_above_config = config is not None and len(level) < len(config.root)
    return " and ".join(seen) or ("not a version-control root" if is_above_config else "nothing")


def _ended(finding: Finding) -> str:
    return f"{finding.stopped_at}: {_ENDED[finding.stop].format(barrier=finding.barrier)}"


def _known_id(project: Project) -> str | None:
    """Return the id that the config gives, or else the one under which a running daemon knows the root."""
    if project.config is not None and project.config.project_id is not None:
        return project.config.project_id
    try:
        with open_daemon(answer_seconds=1.0) as daemon:
            known = rows(daemon.ask("projects"), "projects")
    except WorkrootError:
        return None  # the id is an extra: the explanation holds without a daemon
    return next((text(one, "id") for one in known if one.get("root") == project.root), None)


def _project_document(project: Project, project_id: str | None) -> dict[str, object]:
    return {"id": project_id, "name": project.name, "root": project.root, "worktree_of": project.worktree_of}


def _problem_document(problem: ConfigProblem) -> dict[str, object]:
    return {"path": problem.path, "line": problem.line, "field": problem.field, "problem": problem.problem}


def _level_document(finding: Finding, level: Directory) -> dict[str, object]:
    config, repository = finding.config, finding.repository
    return {
        "directory": level,
        "config": config.path if config is not None and config.root == level else None,
        "repository": repository is not None and repository.root == level,
    }


def _decision_facts(decision: Row) -> list[tuple[str, str | None]]:
    """Return one decision for people: what was asked, the answer, how it is known, and what was not followed."""
    project = row(decision, "project")
    facts = [
        ("when", local_time(number(decision, "at"))),
        ("asked by", f"{text(decision, 'client') or 'a client without a name'}, with {text(decision, 'tool')}"),
        ("session", short_session(text(decision, "session_id"))),
        ("directory", text(decision, "directory") or "unknown"),
        ("project", text(project, "name") if project else text(decision, "project") or "none"),
        ("known by", _sign(decision) + (f", the word of the {who}" if (who := text(decision, "authority")) else "")),
    ]
    facts += [("warning", warning) for warning in texts(decision, "warnings")]
    facts += [("also named", f"{text(one, 'directory')} by {_sign(one)}") for one in rows(decision, "alternatives")]
    facts += [
        ("not followed", f"{text(one, 'directory')} by {_sign(one)}: {text(one, 'reason')}")
        for one in rows(decision, "skipped")
    ]
    return facts


def _sign(of: Row) -> str:
    source, detail = text(of, "source") or "unknown", text(of, "detail")
    return f"{source} ({detail})" if detail else source
