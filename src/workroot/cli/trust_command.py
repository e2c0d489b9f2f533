"""`workroot trust`: a person allows, at a terminal and in full sight, what a project's config asks for.

There is no option and no variable that answers in the person's place, on purpose.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from workroot import rendezvous
from workroot.cli.output import json_option, print_json, print_line
from workroot.cli.paths import absolute
from workroot.cli.tables import local_time, print_facts, print_table
from workroot.errors import ConfigError, DirectoryError, TrustError
from workroot.escaping import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workroot.core.projects import Place, ProjectConfig
    from workroot.core.trust import ConfigFile, TrustRecord, TrustSubject, Verdict
    from workroot.trust import TrustStore

__all__ = ["trust"]

_NO_NAMESPACE = "00000000-0000-0000-0000-000000000000"
"""Stands for the daemon's own namespace; no id is shown here."""

_SHOWN_OF_DIGEST = 12
_PROJECT_UNKNOWN = "nothing can be allowed here"


@click.command(
    epilog="\b\nExamples:\n  workroot trust ~/code/shop\n  workroot trust --deny ~/Downloads/demo\n"
    "  workroot trust --list"
)
@click.argument("directory", metavar="[DIR]", required=False)
@click.option("--deny", "is_denial", is_flag=True, help="Never allow this config, whatever it holds; do not ask.")
@click.option("--revoke", "is_revocation", is_flag=True, help="Forget what was allowed or denied of this config.")
@click.option("--list", "is_list", is_flag=True, help="List what was allowed and denied.")
@json_option
def trust(directory: str | None, is_denial: bool, is_revocation: bool, is_list: bool, as_json: bool) -> None:
    """Allow what a project's config asks for.

    Shows the instructions, commands and servers in the config of the project that owns DIR, or else
    the current directory, and asks. What is allowed is this very content: when a byte of the config
    changes, it is asked for again. Only a person at a terminal can allow.
    """
    from workroot.trust import TrustStore

    if is_denial + is_revocation + is_list > 1:
        raise click.UsageError("--deny, --revoke and --list cannot be combined.")
    if is_list and directory is not None:
        raise click.UsageError("DIR cannot be combined with --list.")
    store = TrustStore(Path(rendezvous.state_directory()) / "trust.json")
    if is_list:
        _list(store.records(), as_json=as_json)
    elif is_revocation:
        _revoke(store, absolute(directory), as_json=as_json)
    else:
        _decide(store, absolute(directory), is_denial=is_denial, as_json=as_json)


def _decide(store: TrustStore, directory: str, *, is_denial: bool, as_json: bool) -> None:
    from workroot.core.trust import Verdict, withheld

    place = _find(directory)
    config, subject, path = _config_in(place)
    if is_denial:
        store.deny(subject)
        decided = Verdict.DENIED
    elif not withheld(config, Verdict.UNKNOWN):
        decided = store.verdict(subject)
        if not as_json:
            print_line(f"{path} asks for nothing that has to be allowed")
            return
    else:
        decided = store.verdict(subject)
        if decided is Verdict.DENIED:
            raise TrustError(
                f"{path} was denied; `workroot trust --revoke {shlex.quote(directory)}` takes that back first"
            )
        if decided is not Verdict.ALLOWED:
            _ask(place, config, subject, decided, is_stdout_taken=as_json)
            store.allow(subject)
            decided = Verdict.ALLOWED
    if as_json:
        asked = withheld(config, Verdict.UNKNOWN)
        print_json(
            {
                "config_path": path,
                **_subject_document(subject),
                "verdict": decided.value,
                "asks_for": {
                    "instructions": asked.instructions,
                    "commands": asked.commands,
                    "servers": asked.servers,
                },
            }
        )
    else:
        print_facts([(decided.value, path), ("sha-256", subject.digest), ("bound to", _bound_to(subject.file))])


def _ask(
    place: Place, config: ProjectConfig, subject: TrustSubject, decided: Verdict, *, is_stdout_taken: bool
) -> None:
    """Show all that would be allowed, and return if the person at the terminal says yes.

    Raises:
        TrustError: there is no terminal, or the answer is not yes.
    """
    from workroot.cli.trust_text import content_lines, summary, terminal_width
    from workroot.core.trust import Verdict

    is_on_stderr = _is_terminal(sys.stderr)
    if not _is_terminal(sys.stdin) or not (is_on_stderr or (_is_terminal(sys.stdout) and not is_stdout_taken)):
        raise TrustError(
            f"only a person at a terminal can allow what {place.config_path} asks for; "
            f"run `workroot trust {shlex.quote(place.directory)}` in a terminal (nothing was changed)"
        )

    def say(text: str = "") -> None:
        click.echo(text, err=is_on_stderr)

    say(f"config    {escaped(place.config_path or '')}")
    say(f"bound to  {escaped(_bound_to(subject.file))}")
    say(f"sha-256   {subject.digest}")
    say("before    another content of this file was allowed" if decided is Verdict.CHANGED else "before    never asked")
    say()
    for line in content_lines(config, terminal_width(sys.stderr if is_on_stderr else sys.stdout)):
        say(line)
    say()
    say(f"It asks for: {summary(config)}. All of it is shown above.")
    say("Servers and commands run as you, with all that you may do. Files that they use are not checked.")
    if _answer_to("Allow this very content? [y/N] ", is_on_stderr=is_on_stderr) not in (b"y", b"yes"):
        raise TrustError(f"{place.config_path} was not allowed; nothing was changed")


def _answer_to(question: str, *, is_on_stderr: bool) -> bytes:
    """Return the line that is typed from now on, in lower case; what was typed before does not count."""
    import termios

    termios.tcflush(sys.stdin, termios.TCIFLUSH)
    click.echo(question, nl=False, err=is_on_stderr)
    return sys.stdin.buffer.readline().strip().lower()  # bytes: what is typed need not be text


def _is_terminal(stream: object) -> bool:
    is_terminal = getattr(stream, "isatty", None)  # a stream is None when whoever started us closed it
    return bool(is_terminal and is_terminal())


def _revoke(store: TrustStore, directory: str, *, as_json: bool) -> None:
    """Forget the decisions about the config that owns *directory*, or about a config that is gone or broken."""
    try:
        place = _find(directory)
        files = {_config_in(place)[1].file}
    except (ConfigError, DirectoryError, TrustError) as error:
        files = _recorded_at(directory, store.records())
        if not files:
            raise error from None
    revoked = sum(store.revoke(file) for file in sorted(files))
    if as_json:
        print_json({"revoked": revoked, "files": [_file_document(file) for file in sorted(files)]})
        return
    for file in sorted(files):
        print_line(f"{'forgot what was decided' if revoked else 'nothing was decided'} about {_bound_to(file)}")


def _list(records: Iterable[TrustRecord], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "records": [
                    {"decision": record.decision.value, **_subject_document(record.subject), "at": record.at}
                    for record in records
                ]
            }
        )
        return
    lines = [
        (
            "allowed" if record.decision.value == "allow" else "denied",
            record.subject.file.path,
            record.subject.file.repository,
            record.subject.digest[:_SHOWN_OF_DIGEST] if record.decision.value == "allow" else "any content",
            local_time(record.at),
        )
        for record in records
    ]
    if lines:
        print_table(("decision", "config", "in the repository", "content", "since"), lines)
    else:
        print_line("nothing was allowed or denied yet; `workroot trust DIR` shows what a project asks for")


def _find(directory: str) -> Place:
    from workroot.project_finder import ProjectFinder
    from workroot.settings import load_settings

    settings = load_settings()
    finder = ProjectFinder(
        _NO_NAMESPACE, config_names=settings.config_names, trusted_directories=settings.trusted_directories
    )
    return finder.find_now(directory)


def _config_in(place: Place) -> tuple[ProjectConfig, TrustSubject, str]:
    """Return the config found at *place*, what a decision about it is bound to, and its path.

    Raises:
        ConfigError: it cannot be used.
        TrustError: there is none.
    """
    from workroot.trust import subject_of

    if (fault := place.config_error) is not None:
        raise ConfigError(fault.path, f"{fault.problem}; {_PROJECT_UNKNOWN}", line=fault.line, field=fault.field)
    project = place.project
    if project is None:
        raise TrustError(f"no project owns {place.directory}; {_PROJECT_UNKNOWN}")
    subject = subject_of(place)
    if project.config is None or subject is None or project.config_path is None:
        raise TrustError(f"the project {project.root} has no config, so there is nothing to allow")
    return project.config, subject, project.config_path


def _recorded_at(directory: str, records: Iterable[TrustRecord]) -> set[ConfigFile]:
    """Return the recorded files that lay in *directory*, that it names, or that are of the repository it names."""
    from workroot.settings import load_settings

    there = {directory, *(os.path.join(directory, name) for name in load_settings().config_names)}
    files = {record.subject.file for record in records}
    return {
        file
        for file in files
        if file.repository == directory or os.path.join(os.path.dirname(file.repository), file.path) in there
    }


def _bound_to(file: ConfigFile) -> str:
    if file.repository:
        return f"{file.path} in all worktrees of the repository {file.repository}"
    return file.path


def _file_document(file: ConfigFile) -> dict[str, object]:
    return {"repository": file.repository or None, "path": file.path}


def _subject_document(subject: TrustSubject) -> dict[str, object]:
    return {**_file_document(subject.file), "sha256": subject.digest}
