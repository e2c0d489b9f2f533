"""The service that may start the daemon: whether its files are there, and start this installation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from workroot.doctor.findings import Found, Path, Private, note, ok, warning
from workroot.errors import ServiceError
from workroot.service.host import Host
from workroot.service.installation import find_installation
from workroot.service.managers import find_manager
from workroot.service.unit_files import FileState, look

__all__ = ["look_at_service"]

_INSTALL = ("run `workroot service install` of the installation that you want",)


def look_at_service(environment: Mapping[str, str], *, host: Host | None = None) -> Iterator[Found]:
    """Look whether a service is installed, and matches. The service manager is not asked: that may take long.

    Args:
        environment: says where the state is, and the units.
        host: None: this one.
    """
    host = host or Host(environment=environment)
    try:
        manager = find_manager(host)
        files = [(file.path, look(file).state) for file in manager.files(find_installation(environment))]
    except ServiceError:  # no service manager, or none that could start this
        yield ok("none, and none is needed: `workroot connect` starts the daemon")
        return
    except OSError as error:
        yield warning("its files cannot be looked at", Private(f" ({error})"), cure=("correct their modes",))
        return
    there = [(path, state) for path, state in files if state is not FileState.ABSENT]
    if not there:
        yield ok("none, and none is needed: `workroot connect` starts the daemon")
        return
    for path, state in files:
        if state is FileState.ABSENT:
            yield warning(Path(path), " is missing, and another file of the service is there", cure=_INSTALL)
        elif state is FileState.OUTDATED:
            yield warning(Path(path), " is for another version, installation or state directory", cure=_INSTALL)
        elif state is FileState.EDITED:
            yield note(
                Path(path),
                " was changed by hand",
                cure=("nothing, if you meant it; `workroot service install --force` writes it anew",),
            )
        elif state is FileState.FOREIGN:
            yield note(
                Path(path),
                " is not one of workroot's files",
                cure=("nothing, if it is yours; `workroot service install` works once it is moved away",),
            )
    if all(state is FileState.CURRENT for _, state in files):
        yield ok(f"installed, for {manager.name}; `workroot service status` asks whether it runs")
