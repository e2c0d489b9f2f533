"""`workroot projects`: which projects are known, and which of them are one."""

from __future__ import annotations

import time

import click

from workroot.cli.answers import number, open_daemon, row, rows, text
from workroot.cli.output import json_option, print_json, print_line
from workroot.cli.paths import absolute
from workroot.cli.tables import ago, print_table

__all__ = ["projects"]


class _ListsByDefault(click.Group):
    """What is no command of the group is what to look for."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that *args* begin with, or else the one that lists."""
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        # What begins with a dash here stood behind `--`, which the group has taken.
        return super().resolve_command(ctx, ["list", *(["--"] if args[0].startswith("-") else []), *args])


@click.group(cls=_ListsByDefault, invoke_without_command=True, subcommand_metavar="[QUERY] | join [DIR]")
@json_option
@click.pass_context
def projects(context: click.Context, as_json: bool) -> None:
    """List the projects in which somebody has worked, or join two.

    QUERY keeps those whose name, id or root contains it. Each worktree has a line of its own.
    """
    context.default_map = {name: {"as_json": as_json} for name in projects.commands}
    if context.invoked_subcommand is None:
        _list(None, as_json=as_json)


@projects.command("list")
@click.argument("query", required=False)
@json_option
def list_known(query: str | None, as_json: bool) -> None:
    """List the projects in which somebody has worked.

    QUERY keeps those whose name, id or root contains it; needed in full only for a QUERY that is a command, too.
    """
    _list(query, as_json=as_json)


@projects.command()
@click.argument("directory", metavar="[DIR]", required=False)
@json_option
def join(directory: str | None, as_json: bool) -> None:
    """Make the project at DIR one with the others of its id.

    Two repositories whose configs claim one id are kept apart, and their answers carry the warning id_conflict,
    until this is called in DIR, or else the current directory, of the one that came second.
    """
    with open_daemon() as daemon:
        answer = daemon.ask("join_project", directory=absolute(directory))
    if as_json:
        print_json(answer)
        return
    project = row(answer, "project") or {}
    name, root, project_id = (text(project, field) for field in ("name", "root", "id"))
    if answer.get("joined"):
        print_line(f"{name} at {root} is one project now with the others that have the id {project_id}")
    else:
        print_line(f"{name} at {root} needs no joining: its id {project_id} is not disputed")


def _list(query: str | None, *, as_json: bool) -> None:
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
