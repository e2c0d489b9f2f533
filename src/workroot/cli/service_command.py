"""`workroot service`: let systemd or launchd start the daemon, see whether it does, and undo that."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import click

from workroot.cli.exit_codes import ExitCode
from workroot.cli.output import json_option, print_json, print_line, print_note
from workroot.cli.service_text import advice_on, notes_on, refuse_others, say_impossible, say_later, show_plan
from workroot.cli.tables import print_facts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workroot.service.host import Host
    from workroot.service.installation import Installation
    from workroot.service.managers import Command, ServiceManager

__all__ = ["service"]

_dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
_force_option = click.option("--force", is_flag=True, help="Include files of workroot's that were changed by hand.")


@click.group()
def service() -> None:
    """Let systemd or launchd start the daemon.

    Usually unnecessary: `workroot connect` starts the daemon by itself. A service is for those who
    serve HTTP, want limits on memory and processes, or want to see it among their other services.
    """


@service.command()
@_dry_run_option
@_force_option
@json_option
@click.pass_context
def install(context: click.Context, dry_run: bool, force: bool, as_json: bool) -> None:
    """Write the units of this installation, and start them.

    A daemon that runs already is stopped, and the service takes its place; sessions are kept. Under systemd
    the daemon starts when a client connects and, if the setting http is on, at login. Files that are
    not workroot's are never replaced.
    """
    from workroot.cli.service_handover import reach_other_daemon
    from workroot.rendezvous import prepare_meeting_place
    from workroot.service.managers import find_manager, manager_of
    from workroot.service.unit_files import FileState, look, write

    host, installation = _host(context), _installation(context)
    if dry_run:
        show_plan(manager_of(host), installation, at_login=_serves_http(installation), as_json=as_json)
        return
    manager = find_manager(host)
    found = [(file, look(file)) for file in manager.files(installation)]
    refuse_others(found, force=force)
    at_login = _serves_http(installation)  # wrong settings are said before anything is written
    prepare_meeting_place(installation.state)
    is_reachable = manager.is_reachable()
    changed = [(file, what) for file, what in found if what.state is not FileState.CURRENT]
    stopped = None
    with reach_other_daemon(installation.state, manager.state().pid if is_reachable else None) as stop_other:
        for file, what in changed:
            write(file, what)
        commands = manager.install_commands(changed=bool(changed), at_login=at_login)
        if is_reachable:
            _run_all(manager, commands)
            stopped = stop_other()
    if as_json:
        print_json(
            {
                "manager": manager.name,
                "files": [{"path": file.path, "was": what.state.value} for file, what in found],
                "ran": [shlex.join(command) for command in commands] if is_reachable else [],
                "to_run": [] if is_reachable else [shlex.join(command) for command in commands],
                "stopped_pid": stopped,
            }
        )
    else:
        for file, what in found:
            print_line(f"{'unchanged' if what.state is FileState.CURRENT else 'wrote'} {file.path}")
        if stopped is not None:
            print_line(f"stopped the daemon that ran before (pid {stopped})")
        if is_reachable:
            print_line(f"{manager.name} starts the daemon from now on; `workroot service status` shows it")
    if not is_reachable:
        say_later(manager, commands)
    for note in notes_on(host, installation):
        print_note(f"workroot: {note}")


@service.command()
@_dry_run_option
@_force_option
@json_option
@click.pass_context
def uninstall(context: click.Context, dry_run: bool, force: bool, as_json: bool) -> None:
    """Stop the service, and remove its units.

    Sessions, settings and tokens are kept. An editor that is still open starts a daemon of its own again.
    """
    from workroot.service.managers import manager_of
    from workroot.service.unit_files import FileState, look, remove

    manager = manager_of(_host(context))
    found = [(file, look(file)) for file in manager.files(_installation(context))]
    ours = [(file, what) for file, what in found if what.state not in (FileState.ABSENT, FileState.FOREIGN)]
    kept = [file.path for file, what in found if what.state is FileState.FOREIGN]
    refuse_others(ours, force=force)
    is_reachable = manager.is_reachable()
    before, after = manager.uninstall_commands() if ours and not kept else ((), ())
    if not dry_run:
        _run_all(manager, before if is_reachable else ())
        for file, what in ours:
            remove(file, what)
        _unlink(manager.links() if before else ())
        _run_all(manager, after if is_reachable else ())
    commands = [*before, *after]
    if as_json:
        print_json(
            {
                "manager": manager.name,
                "dry_run": dry_run,
                "removed": [file.path for file, _ in ours],
                "kept": kept,
                "ran": [shlex.join(command) for command in commands] if is_reachable else [],
                "to_run": [] if is_reachable else [shlex.join(command) for command in commands],
            }
        )
    else:
        for file, _ in ours:
            print_line(f"{'would remove' if dry_run else 'removed'} {file.path}")
        if not ours:
            print_line("no service of workroot's is installed")
    for path in kept:
        print_note(f"workroot: {path} is not one of workroot's files, and stays")
    if commands and not is_reachable and not dry_run:
        say_later(manager, commands)


@service.command()
@json_option
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Show whether the service is installed, and whether it is well.

    Exits 1 if its units are not those of this installation, if it is not enabled or not active, or if
    this system has no service manager; a service is never needed.
    """
    from workroot.errors import ServiceError
    from workroot.service.managers import find_manager
    from workroot.service.unit_files import FileState, look

    try:
        manager = find_manager(_host(context))
    except ServiceError:
        say_impossible(as_json=as_json)
        context.exit(ExitCode.FAILED)
    files = [(file.path, look(file).state) for file in manager.files(_installation(context))]
    state = manager.state() if manager.is_reachable() else None
    is_installed = all(found is not FileState.ABSENT for _, found in files)
    matches = all(found is FileState.CURRENT for _, found in files)
    is_well = matches and state is not None and state.enabled and state.active and not state.stale
    if as_json:
        print_json(
            {
                "manager": manager.name,
                "reachable": state is not None,
                "installed": is_installed,
                "matches": matches,
                "enabled": state.enabled if state else None,
                "active": state.active if state else None,
                "stale": state.stale if state else None,
                "pid": state.pid if state else None,
                "files": [{"path": path, "state": found.value} for path, found in files],
                "units": state.facts if state else {},
            }
        )
    else:
        facts: list[tuple[str, str | None]] = [("manager", manager.name)]
        facts += [(path.rpartition("/")[2], f"{found.value}, {path}") for path, found in files]
        if state is None:
            facts.append(("state", f"not known: {manager.name} does not answer this user here"))
        else:
            facts += [(f"{unit} is", said) for unit, said in state.facts.items()]
            facts.append(("daemon", f"runs, pid {state.pid}" if state.pid else "does not run now"))
        print_facts(facts)
        for advice in advice_on([found for _, found in files], is_stale=state is not None and state.stale):
            print_note(f"workroot: {advice}")
    context.exit(ExitCode.OK if is_well else ExitCode.FAILED)


def _host(context: click.Context) -> Host:
    from workroot.service.host import Host

    return context.find_object(Host) or Host()


def _installation(context: click.Context) -> Installation:
    from workroot.service.installation import find_installation

    return find_installation(_host(context).environment)


def _serves_http(installation: Installation) -> bool:
    """Return whether the settings file, which is all that the service sees, switches HTTP on."""
    from workroot.settings import load_settings

    return load_settings({"WORKROOT_HOME": installation.state}).http


def _run_all(manager: ServiceManager, commands: Iterable[Command]) -> None:
    for command in commands:
        manager.run(command)


def _unlink(links: Iterable[str]) -> None:
    for link in links:
        if os.path.islink(link):
            os.unlink(link)
