"""`workroot init`: how a directory becomes a project, or a project's config gets the id that it lacks."""

from __future__ import annotations

import sys

import click

from workroot.cli.output import json_option, print_json, print_note
from workroot.cli.paths import absolute
from workroot.cli.tables import print_facts
from workroot.errors import ConfirmationError

__all__ = ["init"]

_NO_NAMESPACE = "00000000-0000-0000-0000-000000000000"
"""Stands for the daemon's own namespace; no id that derives from it is used."""


@click.command(epilog="The fields of the config: docs/config.md. With --schema, editors know them too.")
@click.argument("directory", metavar="[DIR]", required=False)
@click.option("--name", help="The project's name; else the one it has, or that of the repository or directory.")
@click.option("--yes", is_flag=True, help="Take over name and id of an earlier system's config without asking.")
@click.option("--schema", "is_schema", is_flag=True, help="Print the JSON Schema of the config, and do nothing else.")
@json_option
def init(directory: str | None, name: str | None, yes: bool, is_schema: bool, as_json: bool) -> None:
    """Make DIR, or else the current directory, a project of its own.

    Writes .workroot/config.toml there, which gives it a name and an id that stay the same on every
    machine. In one that is there, a missing id is added and --name changes the name; comments and all
    else stay. A git repository is a project without it.
    """
    if is_schema:
        if directory is not None or name is not None or yes:
            raise click.UsageError("--schema cannot be combined with what says how to make a project.")
        _print_schema()
        return
    from workroot.project_finder import ProjectFinder, rules_of_this_process
    from workroot.project_init import init_project
    from workroot.settings import load_settings

    settings = load_settings()
    rules = rules_of_this_process(settings.trusted_directories)
    made = init_project(
        absolute(directory),
        look=ProjectFinder(_NO_NAMESPACE, rules=rules, config_names=settings.config_names).explain_now,
        rules=rules,
        name=name,
        may_take_over=lambda earlier: yes or _may_take_over(earlier),
        config_names=settings.config_names,
    )
    if as_json:
        print_json(
            {
                "path": made.path,
                "name": made.name,
                "project_id": made.project_id,
                "is_new": made.is_new,
                "changed": list(made.changed),
                "taken_over_from": made.taken_over_from,
            }
        )
        return
    done = "wrote" if made.is_new else "edited" if made.changed else "nothing to do"
    facts = [(done, made.path), ("name", made.name), ("id", made.project_id)]
    if made.taken_over_from is not None:
        facts.append(("taken over from", made.taken_over_from))
    print_facts(facts)


def _print_schema() -> None:
    import json

    from workroot.project_config.schema import shipped_schema

    print_json(json.loads(shipped_schema()))


def _may_take_over(earlier: str) -> bool:
    what = f"{earlier} is the config of an earlier system"
    cure = "with --yes the new config takes over its name and id, so that the project stays the same one"
    if sys.stdin is None or not sys.stdin.isatty():  # it is None when whoever started us closed it
        raise ConfirmationError(what, cure)
    print_note(f"{what}.")
    try:
        return click.confirm(
            "Take over its name and id, so that the project stays the same one?", default=True, err=True
        )
    except click.Abort:
        raise ConfirmationError(what, cure) from None
