"""Commands that run the daemon, look into it and stop it."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

import click

from workroot import rendezvous
from workroot.cli.answers import Row, all_rows, number, open_daemon, rows, text, texts
from workroot.cli.exit_codes import ExitCode
from workroot.cli.output import json_option, print_error, print_json, print_line, print_note
from workroot.cli.process_end import watch_process_end
from workroot.cli.tables import ago, print_table, short_session, shown_user
from workroot.errors import DaemonSilentError, DaemonUnavailableError
from workroot.instance import holder_pid

__all__ = ["connect", "serve", "sessions", "stop", "sweep"]

_STOP_SECONDS = 10.0
_LEAST_SECONDS = 0.1
_LOOK_SECONDS = 0.05
_SWEEP_SECONDS = 60.0


@click.command()
@click.option("--ready-fd", type=int, hidden=True, help="Descriptor that gets a byte when the daemon is ready.")
def serve(ready_fd: int | None) -> None:
    """Run the daemon in the foreground.

    Usually unnecessary: `workroot connect` starts it in the background. Ends on Ctrl-C, SIGTERM
    or `workroot stop`; exits 1 if a daemon of yours runs already.
    """
    from workroot.daemon import serve as run_daemon
    from workroot.settings import load_settings

    run_daemon(load_settings(), ready_fd=ready_fd)


@click.command(epilog="\b\nExample:\n  claude mcp add --scope user workroot -- workroot connect")
@click.option("--directory", metavar="DIR", help="Where the client works, if it does not say so itself.")
@click.option(
    "--no-default-session", is_flag=True, help="This connection serves several windows: keep no session for it."
)
@click.option("--no-spawn", is_flag=True, help="Do not start a daemon; exit 3 if none runs.")
@click.pass_context
def connect(context: click.Context, directory: str | None, no_default_session: bool, no_spawn: bool) -> None:
    """Connect an editor to the daemon over standard input and output.

    This is the command to put into an editor's list of MCP servers; people have no use for it in a
    terminal. It starts the daemon if none runs, and reconnects when the daemon restarts.
    """
    from workroot.connector import main as run_connector

    arguments = ["--directory", directory] if directory is not None else []
    arguments += ["--no-default-session"] if no_default_session else []
    arguments += ["--no-spawn"] if no_spawn else []
    context.exit(run_connector(arguments))


@click.command()
@json_option
def sessions(as_json: bool) -> None:
    """List the sessions: who works where.

    Handles are shortened; --json has them whole, and they are capabilities: keep them to yourself.
    """
    with open_daemon() as daemon:
        held = all_rows(daemon, "sessions")
        known = [] if as_json else rows(daemon.ask("projects"), "projects")
    if as_json:
        print_json({"sessions": held})
        return
    names = {text(project, "root"): text(project, "name") for project in known}
    found = sorted(held, key=lambda session: -(number(session, "last_used") or 0))
    if not found:
        print_line("no sessions")
        return
    now = time.time()
    print_table(
        ("session", "user", "directory", "project", "last used", "connected"),
        [
            (
                short_session(text(session, "session_id")),
                shown_user(text(session, "principal")),
                text(session, "working_directory"),
                _project_name(session, names),
                ago(number(session, "last_used"), now),
                "yes" if session.get("connected") is True else "no",
            )
            for session in found
        ],
    )


@click.command()
@json_option
def sweep(as_json: bool) -> None:
    """End the sessions that were idle for too long.

    The daemon does so by itself every hour; this does it now. How long is too long is the setting
    session_idle_seconds, 24 hours at first.
    """
    with open_daemon(answer_seconds=_SWEEP_SECONDS) as daemon:
        answer = daemon.ask("sweep")
    if as_json:
        print_json(answer)
        return
    removed = texts(answer, "removed")
    shown = ", ".join(short_session(session) or "" for session in removed[:10])
    more = f" and {len(removed) - 10} more" if len(removed) > 10 else ""
    if removed:
        print_line(f"ended {len(removed)} idle session{'s' if len(removed) > 1 else ''}: {shown}{more}")
    elif isinstance(postponed := answer.get("postponed"), dict):
        found, seconds = number(postponed, "sessions"), number(postponed, "in_seconds")
        print_line(
            f"ended none yet: {found or 0:g} sessions were idle for too long, which is very many at once; "
            f"those that are still unused in {seconds or 0:g} s end then"
        )
    else:
        print_line("no session was idle for too long")


@click.command()
@json_option
@click.pass_context
def stop(context: click.Context, as_json: bool) -> None:
    """Stop the daemon, and wait until it is gone.

    Requests in flight may finish first. Sessions are kept; an editor that is still open starts the
    daemon again with its next message. Exits 0 if no daemon was running, 1 if it is not gone after 10 s.
    """
    lock_path = rendezvous.instance_lock_path(rendezvous.state_directory())
    deadline = time.monotonic() + _STOP_SECONDS
    pid, problem = holder_pid(lock_path), None
    is_gone = was_there = False
    while not is_gone:
        try:
            asked, is_gone = _ask_to_stop(lock_path, deadline)
            pid, was_there = asked or pid, True
            break
        except DaemonUnavailableError:
            is_gone = True
        except DaemonSilentError as error:  # it is ending already, as somebody else wished, or it hangs
            is_gone, problem = pid is not None and error.pid not in (None, pid), error
            was_there = True
        if not is_gone:
            if time.monotonic() >= deadline:
                break
            _wait_a_moment()
    if not was_there:
        if as_json:
            print_json({"stopped": False, "running": False})
        else:
            print_line("no daemon was running")
        return
    if not is_gone and problem is not None:
        print_error(context, problem)
        context.exit(ExitCode.FAILED)
    if as_json:
        print_json({"stopped": is_gone, "running": not is_gone, "pid": pid})
    elif is_gone:
        print_line(f"stopped the daemon (pid {pid})")
    if not is_gone:
        print_note(
            f"workroot: the daemon (pid {pid}) was asked to stop and still runs after {_STOP_SECONDS:g} s; "
            f"its log says what it waits for"
        )
        context.exit(ExitCode.FAILED)


def _ask_to_stop(lock_path: str, deadline: float) -> tuple[int | None, bool]:
    """Ask the daemon to stop; return its pid, and whether it was gone in time."""
    with open_daemon(answer_seconds=max(_LEAST_SECONDS, deadline - time.monotonic()), wake=False) as daemon:
        pid = daemon.daemon.get("pid")
        pid = pid if isinstance(pid, int) else None
        has_agreed = False
        with watch_process_end(pid, lock_path) as wait_end:
            _say_stopped()
            try:
                with suppress(DaemonUnavailableError):  # it may be gone before its answer is out
                    daemon.ask("stop")
                    has_agreed = True
                return pid, wait_end(deadline)
            finally:
                if not (has_agreed or wait_end(time.monotonic())):
                    _unsay_stopped()


def _say_stopped() -> None:
    """Tell the connectors that no daemon is wanted, before they lose this one."""
    with suppress(OSError):
        os.close(os.open(rendezvous.stopped_path(rendezvous.state_directory()), os.O_WRONLY | os.O_CREAT, 0o600))


def _unsay_stopped() -> None:
    """Take it back: the daemon goes on, and if it crashes one day that is nobody's wish."""
    with suppress(OSError):
        os.unlink(rendezvous.stopped_path(rendezvous.state_directory()))


def _wait_a_moment() -> None:
    threading.Event().wait(_LOOK_SECONDS)  # a daemon that ends does not say so to those who come late


def _project_name(session: Row, names: dict[str | None, str | None]) -> str | None:
    root = text(session, "project_root")
    return None if root is None else names.get(root) or os.path.basename(root) or root
