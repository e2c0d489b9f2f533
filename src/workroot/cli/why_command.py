"""`workroot why`: which project owns a directory, and how the daemon decided of late for whom.

With `--json`, the keys are an interface. For DIR:

- `given`, `directory`: the path as given, and with symlinks resolved;
- `project`: `id`, `name`, `root` and `worktree_of`, or null; the id is null where only the daemon knows it;
- `known_id`: the id under which the running daemon knows the project, or null;
- `config_path`, `config_error` (`path`, `line`, `field`, `problem`): of the nearest config;
- `levels`: each level looked into, with `directory`, `config` and `repository`;
- `stop`, `stopped_at`, `barrier`: why the search ended, where, and the level that was not looked into;
- `warnings`: what a person should know or repair;
- `sessions`: how many sessions work in that project, or null without a daemon;
- `explanation`: the search in words.

For decisions they are the daemon's own (`decision_rows` has them): `decisions`, newest last, and of a SESSION also
`session` (where it works, or null) and `ended` (`code` and `last_directory`, or null).
"""

from __future__ import annotations

import os
import re

import click

from workroot.cli.answers import open_daemon
from workroot.cli.explained_decisions import print_decisions, print_session
from workroot.cli.explained_directory import explain_directory
from workroot.cli.output import json_option, print_json
from workroot.cli.paths import absolute

__all__ = ["why"]

_MOST = 200  # as many as the daemon tells at once
_HANDLE = re.compile(r"wr_[A-Za-z0-9._-]+")


@click.command(
    epilog="\b\nExamples:\n  workroot why ~/code/shop/src\n  workroot why --last 3\n"
    "  workroot why --client claude-code\n  workroot why wr_7Hq2kQ9-"
)
@click.argument("given", metavar="[DIR | SESSION]", required=False)
@click.option(
    "--last",
    type=click.IntRange(min=1, max=_MOST),
    is_flag=False,
    flag_value=1,
    metavar="[N]",
    help=f"Show the daemon's last decision, or its last N (at most {_MOST}).",
)
@click.option("--client", metavar="NAME", help="Show the decisions for that client, such as codex-mcp-client.")
@json_option
def why(given: str | None, last: int | None, client: str | None, as_json: bool) -> None:
    """Explain which project owns DIR, or where SESSION works.

    For DIR, or else the current directory, every level that is looked at is listed; this needs no
    daemon. With --last or --client, the daemon's recent decisions are shown, newest last: every sign
    with its value, and why it was followed or passed over. For SESSION, its decisions follow on where
    it works now; the daemon keeps the last 20 of each session, refused calls included.

    SESSION is a handle that begins with wr_, or at least 8 characters of its beginning, and is not the
    name of a file here; write ./wr_... for a directory of such a name.
    """
    if given is not None and _is_session(given):
        with open_daemon() as daemon:
            answer = daemon.ask("decisions", session=given, client=client, last=last)
        if as_json:
            print_json(answer)
        else:
            print_session(answer)
    elif last is None and client is None:
        explain_directory(absolute(given), as_json=as_json)
    elif given is not None:
        raise click.UsageError("DIR cannot be combined with --last or --client.")
    else:
        with open_daemon() as daemon:
            answer = daemon.ask("decisions", client=client, last=last)
        if as_json:
            print_json(answer)
        else:
            print_decisions(answer, client)


def _is_session(given: str) -> bool:
    """Tell whether an argument is meant as a session: a path that exists never is."""
    return _HANDLE.fullmatch(given) is not None and not os.path.lexists(given)
