"""The command that looks for what is wrong."""

from __future__ import annotations

import os

import click

from workroot import rendezvous
from workroot.cli.exit_codes import ExitCode
from workroot.cli.output import json_option, print_json, print_line

__all__ = ["doctor"]


@click.command()
@json_option
@click.option("--redact", is_flag=True, help="Leave out names, paths and whatever else others should not read.")
@click.pass_context
def doctor(context: click.Context, as_json: bool, redact: bool) -> None:
    """Look for what is wrong, and say what to do about it.

    Looks at the installation, permissions, disk, settings, limits, HTTP and the daemon, if one runs; starts
    none and changes nothing. With --redact the report can go into a public bug report. Exits 1 if there is a
    problem; warnings and notes are none.
    """
    from workroot.doctor import Report, all_checks, examine
    from workroot.doctor.asking import ask_daemon
    from workroot.doctor.redaction import redaction_of

    redaction = redaction_of(os.environ) if redact else None
    daemon = ask_daemon(rendezvous.state_directory())
    findings = list(examine(all_checks(daemon)))
    report = Report(findings, redaction.text if redaction is not None else None)
    if as_json:
        print_json(report.document())
    else:
        for line in report.lines():
            print_line(line)
    if report.state == "problem":
        context.exit(ExitCode.FAILED)
