"""Small values with a time to live: what cannot be kept, and providers that cannot be found or used."""

from __future__ import annotations

from workroot.errors.store import StoreError, StoreInUseError
from workroot.errors.tree import WorkrootError

__all__ = [
    "NoFactoryError",
    "NotTextError",
    "ProviderFullError",
    "ProviderInUseError",
    "ProviderNotFoundError",
    "ValueRefusedError",
]


class NotTextError(WorkrootError, TypeError):
    """A key or a value is no text; nothing changed."""

    code = "not_text"

    def __init__(self, what: str, found: object) -> None:
        kind = type(found).__name__
        super().__init__(f"{what} must be text, not {kind}: turn it into text first, for one with json.dumps")


class ValueRefusedError(WorkrootError, ValueError):
    """A key or a value is text that no provider keeps; nothing changed."""

    code = "value_refused"


class ProviderFullError(StoreError):
    """There is no room for another value; nothing was kept, and what is kept stays."""

    code = "provider_full"

    def __init__(self, where: str, values: int, most_bytes: int) -> None:
        super().__init__(
            f"{where} is full: it keeps at most {values} values of {most_bytes} bytes together; "
            f"delete some, or let them end, then repeat the call"
        )


class ProviderInUseError(StoreInUseError):
    """Another process, or another event loop of this one, has the file of values."""

    code = "provider_in_use"

    def __init__(self, path: str) -> None:
        StoreError.__init__(
            self,
            f"{path} is in use by another process or by another event loop of this one: values belong to one of them "
            f"at a time; end that one, or name another file in WORKROOT_SESSION_PROVIDER_PATH",
        )


class ProviderNotFoundError(WorkrootError, ImportError):
    """No provider has this name."""

    code = "provider_not_found"


class NoFactoryError(WorkrootError, AttributeError):
    """What has this name is no provider: it has no `factory`."""

    code = "provider_without_factory"
