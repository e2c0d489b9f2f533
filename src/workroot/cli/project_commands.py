"""Commands about projects: which are known, and how a directory becomes one."""

from __future__ import annotations

import os
import sys
import time

import click

from workroot.cli.answers import number, open_daemon, rows, text
from workroot.cli.exit_codes import ExitCode
from workroot.cli.output import json_option, print_json, print_line, print_note
from workroot.cli.tables import ago, print_facts, print_table
from workroot.core.projects import CONFIG_NAMES
from workroot.errors import DirectoryError

__all__ = ["absolute", "init", "projects"]

_OURS = ".workroot/"


@click.command()
@click.argument("query", required=False)
@json_option
def projects(query: str | None, as_json: bool) -> None:
    """List the projects in which somebody has worked.

    QUERY keeps those whose name, id or root contains it. Each worktree has a line of its own.
    """
    with open_daemon() as daemon:
        answer = daemon.ask("projects", query=query)
    if as_json:
        print_json(answer)
        return
    found = rows(answer, "projects")
    if not found:
        print_line(f"no known project matches {query!r}" if query else "no known projects yet")
        return
    now = time.time()
    print_table(
        ("name", "root", "worktree of", "last worked in", "id"),
        [
            (
                text(project, "name"),
                text(project, "root"),
                text(project, "worktree_of"),
                ago(number(project, "seen_at"), now),
                text(project, "id"),
            )
            for project in found
        ],
    )


@click.command()
@click.argument("directory", metavar="[DIR]", required=False)
@click.option("--name", help="The project's name; else that of the earlier config, or of the directory.")
@click.option("--yes", is_flag=True, help="Take over name and id of an earlier system's config without asking.")
@json_option
@click.pass_context
def init(context: click.Context, directory: str | None, name: str | None, yes: bool, as_json: bool) -> None:
    """Make DIR, or else the current directory, a project of its own.

    Writes .workroot/config.toml there, which gives it a name and an id that stay the same on every
    machine. A git repository is a project without it. A config that exists is never written over.
    """
    from workroot.project_init import init_project

    top = absolute(directory)
    earlier = _earlier_config(top)
    take_over = earlier is not None and (yes or _may_take_over(context, earlier))
    made = init_project(top, name=name, take_over=take_over)
    if as_json:
        print_json(
            {
                "path": made.path,
                "name": made.name,
                "project_id": made.project_id,
                "taken_over_from": made.taken_over_from,
            }
        )
        return
    facts = [("wrote", made.path), ("name", made.name), ("id", made.project_id)]
    if made.taken_over_from is not None:
        facts.append(("taken over from", made.taken_over_from))
    print_facts(facts)


def absolute(directory: str | None) -> str:
    """Return *directory* as an absolute path, or the current one for None.

    Raises:
        DirectoryError: the current directory is gone.
    """
    try:
        return os.path.abspath(directory or os.getcwd())
    except OSError:
        raise DirectoryError(os.environ.get("PWD", "."), "Directory does not exist") from None


def _earlier_config(top: str) -> str | None:
    """Return the path of an earlier system's config in *top*, unless there is one of ours, which says more."""
    there = [name for name in CONFIG_NAMES if os.path.lexists(os.path.join(top, name))]
    if not there or there[0].startswith(_OURS):
        return None
    return os.path.join(top, there[0])


def _may_take_over(context: click.Context, earlier: str) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():  # it is None when whoever started us closed it
        print_note(
            f"workroot: {earlier} is the config of an earlier system. With --yes the new config takes over its "
            f"name and id, so that the project stays the same one; without a terminal nobody can be asked. "
            f"Nothing was changed."
        )
        context.exit(ExitCode.FAILED)
    print_note(f"{earlier} is the config of an earlier system.")
    return click.confirm("Take over its name and id, so that the project stays the same one?", default=True, err=True)
