"""Which provider there is: named in the environment, found among those built in, those installed, and modules.

Without any environment it is `memory`. The names, and how others are found, are those that servers know from earlier
systems; a variable of ours wins over one of theirs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from workroot import rendezvous
from workroot.errors import NoFactoryError, ProviderNotFoundError, SettingsError, TimeToLiveError
from workroot.providers import memory
from workroot.providers.contract import DEFAULT_TTL_SECONDS, checked_ttl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from workroot.providers.contract import Provider, ProviderFactory

__all__ = ["ENTRY_POINTS", "factory_for_env", "get_session"]

ENTRY_POINTS = "workroot.providers"
"""The group of entry points in which distributions name their providers: a module with `factory`, or that itself."""

_PROVIDER = ("WORKROOT_SESSION_PROVIDER", "SESSION_PROVIDER")
_DEFAULT_TTL = ("WORKROOT_SESSION_DEFAULT_TTL", "SESSION_DEFAULT_TTL")
_PATH = ("WORKROOT_SESSION_PROVIDER_PATH",)
_MEMORY = ("memory", "mem", "inmemory")
_SQLITE = "sqlite"
_REDIS = ("redis", "redis_store")


def factory_for_env(environment: Mapping[str, str] = os.environ) -> ProviderFactory:
    """Return what opens a use of the provider that the environment names.

    It is called without arguments for each use: `async with factory() as session`.

    `WORKROOT_SESSION_PROVIDER`, else `SESSION_PROVIDER`: `memory` (`mem`, `inmemory`; also if nothing is set),
    `sqlite`, the name of an entry point in the group `workroot.providers`, or the path of a module whose `factory()`
    returns what this function returns. Case and blanks around a name do not matter; a module's path is taken as it
    is written. `WORKROOT_SESSION_DEFAULT_TTL`, else `SESSION_DEFAULT_TTL`, is for how many seconds `Provider.set` keeps
    a value. `WORKROOT_SESSION_PROVIDER_PATH` is the file of `sqlite`; by default `session_values.db` in the
    state directory.

    Raises:
        ProviderNotFoundError: nothing has that name, or it cannot be imported; an `ImportError`.
        NoFactoryError: what has that name has no `factory`; an `AttributeError`.
        SettingsError: another variable cannot be used.
    """
    given = _setting(environment, _PROVIDER)[1]
    name = given.lower()
    default_ttl_seconds = _default_ttl_seconds(environment)
    if not name or name in _MEMORY:
        return memory.factory(default_ttl_seconds=default_ttl_seconds)
    if name == _SQLITE:
        from workroot.providers import shared_file  # SQLite and its thread are for those who use them

        return shared_file.factory(_sqlite_path(environment), default_ttl_seconds=default_ttl_seconds)
    return _factory_of(_installed(name) or _module(given, name), given)


def get_session(environment: Mapping[str, str] = os.environ) -> AbstractAsyncContextManager[Provider]:
    """Open a use of the provider that the environment names, for `async with`.

    Raises:
        ProviderNotFoundError, NoFactoryError, SettingsError: as `factory_for_env`.
    """
    return factory_for_env(environment)()


def _setting(environment: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    """Return the first variable of *names* that says something, and what; an empty one counts as not set."""
    found = ((name, environment.get(name, "").strip()) for name in names)
    return next((each for each in found if each[1]), (names[0], ""))


def _default_ttl_seconds(environment: Mapping[str, str]) -> float:
    name, text = _setting(environment, _DEFAULT_TTL)
    if not text:
        return DEFAULT_TTL_SECONDS
    try:
        return checked_ttl(float(text))
    except TimeToLiveError as error:
        raise SettingsError(name, str(error)) from None
    except ValueError:
        raise SettingsError(name, f"must be a number of seconds, not {text!r}") from None


def _sqlite_path(environment: Mapping[str, str]) -> str:
    name, path = _setting(environment, _PATH)
    if not path:
        state = rendezvous.state_directory(environment)
        rendezvous.make_private_directory(state)
        return os.path.join(state, "session_values.db")
    path = os.path.expanduser(path)
    if not os.path.isabs(path):
        raise SettingsError(name, f"must be the absolute path of a file, not {path!r}")
    return path


def _installed(name: str) -> object | None:
    """Return what a distribution offers under *name*; None: no distribution does.

    Raises:
        ProviderNotFoundError: it cannot be imported, or two offer different things under that name.
    """
    found = {each.value: each for each in entry_points(group=ENTRY_POINTS) if each.name.lower() == name}
    if len(found) > 1:
        raise ProviderNotFoundError(
            f"provider {name!r} is offered as {' and as '.join(sorted(found))}: uninstall one, or name a module instead"
        )
    for value, entry_point in found.items():
        try:
            return cast("object", entry_point.load())
        except Exception as error:
            raise _not_imported(f"{name!r} ({value})", error) from error
    return None


def _module(given: str, name: str) -> object:
    if name in _REDIS:
        raise ProviderNotFoundError(
            f"provider {name!r} is not there yet: one for Redis comes with a later workroot. Use `sqlite`, which "
            f"keeps values over restarts of one process, or a provider of your own ({_known()})"
        )
    try:
        return import_module(given)
    except Exception as error:
        is_malformed = given.startswith(".") or given.endswith(".")
        if is_malformed or (isinstance(error, ModuleNotFoundError) and f"{given}.".startswith(f"{error.name}.")):
            raise ProviderNotFoundError(
                f"there is no provider {given!r} ({error}): set {_PROVIDER[0]} to {_known()}"
            ) from error
        raise _not_imported(repr(given), error) from error


def _not_imported(provider: str, error: Exception) -> ProviderNotFoundError:
    """Return what says that *provider* is there and its own code, or what that imports, failed."""
    return ProviderNotFoundError(f"provider {provider} cannot be imported: {type(error).__name__}: {error}")


def _known() -> str:
    installed = sorted({each.name for each in entry_points(group=ENTRY_POINTS)})
    names = ", ".join((*_MEMORY, _SQLITE, *installed))
    return f"one of {names}, or the path of a module with `factory`"


def _factory_of(provider: object, name: str) -> ProviderFactory:
    make = getattr(provider, "factory", provider)
    if not callable(make):
        raise NoFactoryError(
            f"{name!r} is no provider: it has no `factory`, a function that returns what opens a use of the provider"
        )
    made = cast("Callable[[], object]", make)()
    if not callable(made):
        raise NoFactoryError(f"{name!r} is no provider: its `factory()` returns no function that opens a use of it")
    return cast("ProviderFactory", made)
