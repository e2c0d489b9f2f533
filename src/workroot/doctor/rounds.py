"""All checks in their order, and what each of them is given."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

from workroot import rendezvous
from workroot.doctor import configuration, disk, health, installation, permissions, ports, running, services, system
from workroot.doctor.findings import Check, Found

if TYPE_CHECKING:
    from workroot.doctor.asking import Daemon
    from workroot.settings import Settings

__all__ = ["all_checks"]


def all_checks(daemon: Daemon, environment: Mapping[str, str] = os.environ) -> Sequence[Check]:
    """Return every check.

    Args:
        daemon: what the daemon said; asked before, since many checks rest on it.
        environment: the variables that say where the state is, and what is set.
    """
    state, user_id = rendezvous.state_directory(environment), os.geteuid()
    is_running = daemon.status is not None or daemon.is_held

    @cache
    def pid() -> int | None:
        """The daemon's process; the kernel knows it of one that does not answer."""
        return running.lock_holder(state) if daemon.pid is None and daemon.is_held else daemon.pid

    @cache
    def listeners() -> Sequence[ports.Listener]:
        return ports.listeners_of_system(pid())

    @cache
    def is_http_on() -> bool:
        settings = _settings(environment)
        return settings.http if settings is not None else isinstance(_served(daemon), Mapping)

    def http() -> Iterable[Found]:
        return ports.look_at_http(
            is_on=is_http_on(),
            token_users=partial(_token_users, state),
            served=_served(daemon),
        )

    def port() -> Iterable[Found]:
        settings, served = _settings(environment), ports.port_of(_url(daemon))
        known = (settings.http_port if settings is not None else None) or served
        if known is None and (faults := tuple(ports.look_at_kept_port(state))):
            return faults
        return ports.look_at_port(
            known or ports.kept_port(state),
            listeners(),
            is_on=is_http_on(),
            daemon_pid=pid(),
            served_port=served,
        )

    checks: tuple[tuple[str, str, Callable[[], Iterable[Found]]], ...] = (
        ("installation.version", "version", installation.look_at_version),
        ("installation.place", "installation", installation.look_at_place),
        (
            "installation.commands",
            "commands",
            partial(installation.look_at_commands, environment),
        ),
        ("installation.packages", "packages", installation.look_at_packages),
        ("installation.sqlite", "SQLite", installation.look_at_sqlite),
        ("system.kind", "system", system.look_at_kind),
        ("system.clock", "clock", partial(system.look_at_clock, state)),
        ("system.limits", "limits", system.look_at_descriptors),
        ("system.watches", "watches", system.look_at_watches),
        ("disk.file_system", "file system", partial(disk.look_at_file_system, state)),
        ("disk.space", "disk", partial(disk.look_at_space, state)),
        ("disk.usage", "disk use", partial(disk.look_at_usage, state)),
        ("disk.aside", "files aside", partial(disk.look_at_files_aside, state)),
        ("permissions.parents", "parents", partial(permissions.look_at_parents, state, user_id=user_id)),
        ("permissions.directories", "directories", partial(permissions.look_at_directories, state, user_id=user_id)),
        ("permissions.files", "files", partial(permissions.look_at_files, state, user_id=user_id)),
        ("permissions.umask", "umask", lambda: permissions.look_at_umask(_umask())),
        ("settings.values", "settings", partial(configuration.look_at_settings, environment)),
        ("settings.variables", "variables", partial(configuration.look_at_variables, environment)),
        ("settings.trust", "trust", partial(configuration.look_at_trust, state)),
        (
            "daemon.answer",
            "daemon",
            lambda: running.look_at_daemon(daemon, state, holder=pid() if daemon.is_held else None),
        ),
        (
            "daemon.socket",
            "socket",
            partial(
                running.look_at_socket,
                state,
                is_running=is_running,
                is_listened_for=daemon.is_listened_for,
                user_id=user_id,
            ),
        ),
        (
            "daemon.version",
            "versions",
            partial(running.look_at_versions, daemon, own_installation=rendezvous.installation()),
        ),
        ("daemon.database", "database", partial(running.look_at_database, state)),
        ("daemon.store", "store", partial(health.look_at_store, daemon)),
        ("daemon.watching", "watching", partial(health.look_at_watching, daemon)),
        ("daemon.load", "load", partial(health.look_at_load, daemon)),
        ("daemon.problems", "log", partial(health.look_at_problems, daemon)),
        ("service", "service", partial(services.look_at_service, environment)),
        ("http.access", "HTTP", http),
        ("http.port", "HTTP port", port),
        (
            "http.addresses",
            "addresses",
            lambda: ports.look_at_addresses(listeners(), daemon_pid=pid()),
        ),
        ("http.proxy", "proxy", lambda: ports.look_at_proxy(environment, is_on=is_http_on())),
    )
    return [Check(*check) for check in checks]


def _settings(environment: Mapping[str, str]) -> Settings | None:
    from workroot.errors import SettingsError
    from workroot.settings import load_settings

    try:
        return load_settings(environment)
    except SettingsError:  # another check says so
        return None


def _token_users(state: str) -> Sequence[str | None]:
    from workroot.identity import TokenFile

    return [token.user for token in TokenFile(FilePath(state) / "tokens.json").list()]


def _served(daemon: Daemon) -> Mapping[str, object] | ports.Unasked | None:
    if daemon.status is None:
        return ports.UNASKED
    http = daemon.status.get("http")
    return http if isinstance(http, dict) else None


def _url(daemon: Daemon) -> str | None:
    served = _served(daemon)
    url = served.get("url") if isinstance(served, Mapping) else None
    return url if isinstance(url, str) else None


def _umask() -> int | None:
    """Return the umask without setting it, which would show for a moment in every thread."""
    if not sys.platform.startswith("linux"):
        return None
    found = re.search(rb"^Umask:\s*([0-7]+)$", FilePath("/proc/self/status").read_bytes(), re.MULTILINE)
    return int(found[1], 8) if found else None
