"""What `workroot service` says beside its results: plans, refusals, and what a person has to do."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from workroot.cli.output import print_json, print_line, print_note
from workroot.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workroot.service.host import Host
    from workroot.service.installation import Installation
    from workroot.service.managers import Command, ServiceManager
    from workroot.service.unit_files import FileState, FoundFile, UnitFile

__all__ = ["advice_on", "notes_on", "refuse_others", "say_impossible", "say_later", "show_plan"]


def show_plan(manager: ServiceManager, installation: Installation, *, at_login: bool, as_json: bool) -> None:
    """Print the files as they would be written, and what would be run."""
    files = manager.files(installation)
    if as_json:
        print_json({"manager": manager.name, "files": [{"path": file.path, "text": file.text} for file in files]})
        return
    for file in files:
        print_line(f"{file.path}:")
        for line in file.text.splitlines():
            print_line(f"    {line}".rstrip())
        print_line()
    print_line("then:")
    for command in manager.install_commands(changed=True, at_login=at_login):
        print_line(f"    {shlex.join(command)}")


def refuse_others(found: Iterable[tuple[UnitFile, FoundFile]], *, force: bool) -> None:
    """Refuse to touch files that are not ours, or not ours alone.

    Raises:
        ServiceError: there is one; nothing was changed.
    """
    from workroot.service.unit_files import FileState

    for file, what in found:
        if what.state is FileState.FOREIGN:
            raise ServiceError(
                f"{file.path} exists and is not one of workroot's files; nothing was changed. "
                f"Move it away if the service is to be workroot's"
            )
        if what.state is FileState.EDITED and not force:
            raise ServiceError(
                f"{file.path} was changed by hand since it was written; nothing was changed. "
                f"Keep what you need of it (`systemctl --user edit` has a place for it), then repeat this with --force"
            )


def say_impossible(*, as_json: bool) -> None:
    """Say that there is no service, and cannot be one here: an answer, and no fault."""
    if as_json:
        known = {"manager": None, "reachable": False, "installed": False, "matches": False}
        unknown = dict.fromkeys(("enabled", "active", "stale", "pid"))
        print_json({**known, **unknown, "files": [], "units": {}})
    else:
        print_line(
            "not installed, and not possible here: no service manager runs this system. "
            "None is needed: `workroot connect` starts the daemon"
        )


def say_later(manager: ServiceManager, commands: Sequence[Command]) -> None:
    """Say what a person has to run later, since the service manager does not answer now."""
    print_note(f"workroot: {manager.name} does not answer this user here; run these once you are logged in:")
    for command in commands:
        print_note(f"    {shlex.join(command)}")


def notes_on(host: Host, installation: Installation) -> list[str]:
    """Return what a person should know of who installs a service in these circumstances."""
    notes = []
    if installation.is_passing(host.environment):
        notes.append(
            f"{installation.python} lies in a cache or a temporary directory, and the service ends when that is "
            f"emptied; install workroot with pipx or `uv tool install`, then repeat this"
        )
    unseen = [name for name in host.environment if name.startswith("WORKROOT_") and name != "WORKROOT_HOME"]
    if unseen:
        notes.append(
            f"the service does not see {', '.join(sorted(unseen))} of this terminal; "
            f"put what it needs into {installation.state}/config.toml"
        )
    return notes


def advice_on(states: Sequence[FileState], *, is_stale: bool) -> list[str]:
    """Return what to do about files in these states."""
    from workroot.service.unit_files import FileState

    if FileState.FOREIGN in states:
        return ["a file of that name is not workroot's"]
    if FileState.EDITED in states:
        return ["a file was changed by hand; `workroot service install --force` replaces it"]
    if all(state is FileState.ABSENT for state in states):
        return ["not installed; `workroot service install` does that"]
    if any(state is not FileState.CURRENT for state in states):
        return ["the files are of another installation or version; `workroot service install` writes this one's"]
    return ["systemd has not read the files as they are now; run `systemctl --user daemon-reload`"] if is_stale else []
