"""Commands for the tokens that HTTP clients show. They change a file that the daemon reads; it need not run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workroot import rendezvous
from workroot.cli.output import json_option, print_json, print_line
from workroot.cli.tables import ago, print_facts, print_table

if TYPE_CHECKING:
    from workroot.identity import TokenFile

__all__ = ["token"]


@click.group()
def token() -> None:
    """Make, list and revoke the tokens of HTTP clients.

    Clients that use `workroot connect` need none. HTTP is off unless the setting `http` is on.
    """


@token.command(epilog="\b\nExample:\n  workroot token create vscode")
@click.argument("name")
@click.option("--user", metavar="USER", help="Act for USER, who shares no session with you; else it acts for you.")
@click.option(
    "--sandbox", metavar="SANDBOX", help="Reach only the sessions of SANDBOX, and be reached by no other's clients."
)
@json_option
def create(name: str, user: str | None, sandbox: str | None, as_json: bool) -> None:
    """Make a token for one client entry, and show it this once.

    NAME says which client it is for, so that it can be revoked alone.
    """
    secret = _token_file().create(name, user, sandbox)
    header = f"Authorization: Bearer {secret}"
    if as_json:
        print_json({"name": name, "user": user, "sandbox": sandbox, "token": secret, "header": header})
        return
    print_facts([("token", secret), ("header", header)])
    print_line()
    print_line("It is not shown again: only its digest is kept. Paste the header into the client's entry for workroot.")


@token.command("list")
@json_option
def list_tokens(as_json: bool) -> None:
    """List the tokens: for which client, and on whose behalf."""
    tokens = _token_file().list()
    if as_json:
        rows = [one.model_dump(include={"name", "user", "sandbox", "created_at"}) for one in tokens]
        print_json({"tokens": rows})
        return
    if not tokens:
        print_line("no tokens; `workroot token create NAME` makes one")
        return
    now = time.time()
    print_table(
        ("name", "acts for", "sandbox", "made"),
        [(one.name, one.user or "you", one.owner.sandbox, ago(one.created_at, now)) for one in tokens],
    )


@token.command()
@click.argument("name")
@json_option
def revoke(name: str, as_json: bool) -> None:
    """Revoke a token; its client is refused from the next request on."""
    _token_file().revoke(name)
    if as_json:
        print_json({"revoked": name})
    else:
        print_line(f"revoked the token {name}")


def _token_file() -> TokenFile:
    from workroot.identity import TokenFile

    return TokenFile(Path(rendezvous.state_directory()) / "tokens.json")
