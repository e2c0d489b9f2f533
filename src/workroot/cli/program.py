"""The group of all commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import errno
import io
import os
import sys

import click

from workroot import __version__
from workroot.cli import (
    archive_commands,
    daemon_commands,
    doctor_command,
    init_command,
    logs_command,
    projects_command,
    service_command,
    status_command,
    token_commands,
    trust_command,
    upgrade_command,
    why_command,
)
from workroot.cli.exit_codes import ExitCode, exit_code_of
from workroot.cli.output import print_error, print_note
from workroot.errors import WorkrootError
from workroot.lost_disks import explained

__all__ = ["Program", "program", "run"]


class Program(click.Group):
    """A group that lists its commands as they were added and knows our errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of daily use."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error raised on purpose is said, and ends it with its exit code."""
        try:
            return super().invoke(ctx)
        except WorkrootError as error:
            print_error(ctx, error)
            ctx.exit(exit_code_of(error))
        except OSError as error:  # the last boundary: a full disk needs a line, not a traceback
            if error.errno == errno.EPIPE:
                raise  # whoever reads us has had enough; click ends quietly
            _say(error)
            ctx.exit(ExitCode.FAILED)


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExit codes:\n"
    "  0 done    1 failed    2 wrong usage    3 no daemon is running\n"
    "  4 the daemon did not start    5 the connector gave up\n\n"
    "State and settings live in the directory that WORKROOT_HOME names, or else in the usual one.",
)
@click.version_option(__version__, prog_name="workroot", message="%(prog)s %(version)s")
def program() -> None:
    """One local MCP server for all your editors and agents, which knows in which project each of them works.

    An editor needs only `workroot connect`, which starts the daemon by itself; the other commands look into it.
    """


for _command in (
    status_command.status,
    daemon_commands.sessions,
    projects_command.projects,
    why_command.why,
    logs_command.logs,
    init_command.init,
    trust_command.trust,
    daemon_commands.connect,
    daemon_commands.serve,
    daemon_commands.stop,
    upgrade_command.upgrade,
    daemon_commands.sweep,
    archive_commands.export,
    archive_commands.import_archive,
    doctor_command.doctor,
    service_command.service,
    token_commands.token,
):
    program.add_command(_command)


def run() -> int:
    """Run the command that the arguments name; return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a path may hold what the terminal's encoding has not
    code: int = ExitCode.OK
    try:
        program.main(prog_name="workroot")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else ExitCode.OK if end.code is None else ExitCode.FAILED
    except OSError as error:  # before there is a command: `--help` on a full disk
        _say(error)
        code = ExitCode.FAILED
    return code if _is_all_written() else ExitCode.FAILED


def _say(error: OSError) -> None:
    print_note(f"workroot: {explained(error)}")


def _is_all_written() -> bool:
    """Tell whether what was printed is out; what cannot be is dropped, since Python would try again and exit 120."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return False
    return True
