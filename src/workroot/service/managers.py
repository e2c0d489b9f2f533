"""The two service managers, as far as this program needs them: which files, which commands, and what they say.

A command is a tuple of words, so that what is run and what is shown to a person who has to run it later are
the same.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot import rendezvous
from workroot.errors import ServiceError
from workroot.inherited_sockets import LAUNCHD_LABEL
from workroot.service.launchd_agent import AGENT_FILE, launchd_agent
from workroot.service.systemd_units import SERVICE_UNIT, SOCKET_UNIT, service_unit, socket_unit
from workroot.service.unit_files import UnitFile

if TYPE_CHECKING:
    from workroot.service.host import Host, Program
    from workroot.service.installation import Installation

__all__ = ["Command", "ServiceManager", "ServiceState", "find_manager", "manager_of"]

Command = tuple[str, ...]
"""A program's name and its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """What a service manager says.

    Attributes:
        enabled: it is started at login, or as soon as a client connects.
        active: a client that connects is served; the daemon itself may not run yet.
        pid: the daemon's, if the manager has started one that runs.
        stale: the manager goes by files that have changed since it read them.
        facts: the manager's own words, by unit.
    """

    enabled: bool
    active: bool
    pid: int | None
    stale: bool
    facts: dict[str, str]


class ServiceManager(ABC):
    """A service manager of one user's."""

    name: str
    _program_name: str

    def __init__(self, host: Host) -> None:
        self._host = host
        self._program = host.program(self._program_name)

    @abstractmethod
    def files(self, installation: Installation) -> tuple[UnitFile, ...]:
        """Return the files that make *installation* a service.

        Raises:
            ServiceError: the manager could not start it.
        """

    @abstractmethod
    def install_commands(self, *, changed: bool, at_login: bool) -> tuple[Command, ...]:
        """Return what to run once the files are there.

        Args:
            changed: a file was not there before, or was another.
            at_login: the daemon is to start at login, not only when a client connects.
        """

    @abstractmethod
    def uninstall_commands(self) -> tuple[tuple[Command, ...], tuple[Command, ...]]:
        """Return what to run before the files are removed, and what after."""

    def links(self) -> tuple[str, ...]:
        """Return where links to the files may be that enable them; they go with the files."""
        return ()

    @abstractmethod
    def is_reachable(self) -> bool:
        """Tell whether the user's manager answers."""

    @abstractmethod
    def state(self) -> ServiceState:
        """Return what it says of the service; it has to be reachable.

        Raises:
            ServiceError: it does not answer.
        """

    def run(self, command: Command) -> None:
        """Run one of the commands above.

        Raises:
            ServiceError: it failed; what it said is in the text.
        """
        self._required().run(*command[1:])

    def _required(self) -> Program:
        if self._program is None:
            places = ", ".join(self._host.program_directories)
            raise ServiceError(f"there is no {self._program_name} in {places}")
        return self._program


class SystemdUser(ServiceManager):
    """systemd's manager of this user's units."""

    name = "systemd"
    _program_name = "systemctl"

    def files(self, installation: Installation) -> tuple[UnitFile, ...]:
        return (
            UnitFile.marked(os.path.join(self._directory, SOCKET_UNIT), socket_unit(installation)),
            UnitFile.marked(os.path.join(self._directory, SERVICE_UNIT), service_unit(installation)),
        )

    def install_commands(self, *, changed: bool, at_login: bool) -> tuple[Command, ...]:
        # Restarting the socket restarts a daemon that runs behind it, and only that: Requires= and After= see to it.
        start = "restart" if changed else "start"
        return (
            _user("daemon-reload"),
            _user("reset-failed", SOCKET_UNIT, SERVICE_UNIT),
            _user("enable", SOCKET_UNIT),
            _user("enable" if at_login else "disable", SERVICE_UNIT),
            _user(start, SOCKET_UNIT),
            *((_user("start", "--no-block", SERVICE_UNIT),) if at_login else ()),
        )

    def uninstall_commands(self) -> tuple[tuple[Command, ...], tuple[Command, ...]]:
        after = (_user("daemon-reload"), _user("reset-failed", SOCKET_UNIT, SERVICE_UNIT))
        return (_user("stop", SOCKET_UNIT, SERVICE_UNIT),), after

    def links(self) -> tuple[str, ...]:
        wants = ((target, unit) for target in ("sockets", "default") for unit in (SOCKET_UNIT, SERVICE_UNIT))
        return tuple(os.path.join(self._directory, f"{target}.target.wants", unit) for target, unit in wants)

    def run(self, command: Command) -> None:
        if command[2] == "reset-failed":
            self._required().ask(*command[1:])  # it fails for units that never failed, as most have not
        else:
            super().run(command)

    def is_reachable(self) -> bool:
        return self._program is not None and self._program.ask(*_user("show", "--property=Version")[1:]).is_ok

    def state(self) -> ServiceState:
        socket, service = self._show(SOCKET_UNIT), self._show(SERVICE_UNIT)
        pid = service.get("MainPID", "0")
        return ServiceState(
            enabled=socket.get("UnitFileState") == "enabled",
            active=socket.get("ActiveState") == "active",
            pid=int(pid) if pid.isdigit() and pid != "0" else None,
            stale="yes" in (socket.get("NeedDaemonReload"), service.get("NeedDaemonReload")),
            facts={
                unit: f"{said.get('UnitFileState') or 'not known'}, {said.get('ActiveState')} ({said.get('SubState')})"
                for unit, said in ((SOCKET_UNIT, socket), (SERVICE_UNIT, service))
            },
        )

    @property
    def _directory(self) -> str:
        environment = self._host.environment
        chosen = environment.get("XDG_CONFIG_HOME", "")
        config = chosen if os.path.isabs(chosen) else os.path.join(rendezvous.home_directory(environment), ".config")
        return os.path.join(config, "systemd", "user")

    def _show(self, unit: str) -> dict[str, str]:
        wanted = "--property=UnitFileState,ActiveState,SubState,NeedDaemonReload,MainPID"
        said = self._required().run(*_user("show", wanted, unit)[1:])
        return {name: value for name, _, value in (line.partition("=") for line in said.splitlines())}


class LaunchdUser(ServiceManager):
    """launchd's agents of this user, in the session of the desktop."""

    name = "launchd"
    _program_name = "launchctl"

    def files(self, installation: Installation) -> tuple[UnitFile, ...]:
        return (UnitFile.marked(self._path, launchd_agent(installation)),)

    def install_commands(self, *, changed: bool, at_login: bool) -> tuple[Command, ...]:
        del at_login  # an agent always starts at login
        load = ("launchctl", "bootstrap", self._domain, self._path)
        if not self._is_loaded():
            return (load,)
        return (("launchctl", "bootout", self._target), load) if changed else ()

    def uninstall_commands(self) -> tuple[tuple[Command, ...], tuple[Command, ...]]:
        return ((("launchctl", "bootout", self._target),) if self._is_loaded() else ()), ()

    def is_reachable(self) -> bool:
        return self._program is not None and self._program.ask("print", self._domain).is_ok

    def state(self) -> ServiceState:
        answered = self._required().ask("print", self._target)
        running = re.search(r"^\s*pid = (\d+)$", answered.text, re.MULTILINE) if answered.is_ok else None
        return ServiceState(
            enabled=answered.is_ok,
            active=running is not None,
            pid=int(running[1]) if running else None,
            stale=False,
            facts={LAUNCHD_LABEL: "running" if running else "loaded" if answered.is_ok else "not loaded"},
        )

    @property
    def _domain(self) -> str:
        return f"gui/{self._host.user_id}"

    @property
    def _target(self) -> str:
        return f"{self._domain}/{LAUNCHD_LABEL}"

    @property
    def _path(self) -> str:
        return os.path.join(rendezvous.home_directory(self._host.environment), "Library", "LaunchAgents", AGENT_FILE)

    def _is_loaded(self) -> bool:
        return self._program is not None and self._program.ask("print", self._target).is_ok


def manager_of(host: Host) -> ServiceManager:
    """Return the kind of manager that systems like *host* have, whether it runs there or not."""
    return LaunchdUser(host) if host.platform == "darwin" else SystemdUser(host)


def find_manager(host: Host) -> ServiceManager:
    """Return the service manager of *host*.

    Raises:
        ServiceError: it has none; the text says what to do instead.
    """
    if host.platform == "darwin" or (host.has_systemd and host.program("systemctl") is not None):
        return manager_of(host)
    wsl = " (on WSL 2, `systemd=true` below `[boot]` in /etc/wsl.conf and `wsl --shutdown` bring it)"
    raise ServiceError(
        f"no systemd runs this system{wsl if host.is_wsl else ''}, so there is nothing to install a service into. "
        f"None is needed: `workroot connect` starts the daemon when a client needs it. To have it run always, "
        f"let whatever starts programs here run `workroot serve`; `workroot service install --dry-run` shows the units"
    )


def _user(*arguments: str) -> Command:
    return ("systemctl", "--user", *arguments)
