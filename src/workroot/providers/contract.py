"""What a provider of small values promises; one meaning for every provider, whatever it keeps them in.

`workroot.testing.provider_contract` holds a provider to all of it. The checks below are for those who write one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from workroot.core.allocations import checked_seconds
from workroot.errors import NotTextError, TimeToLiveError, ValueRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

__all__ = [
    "DEFAULT_TTL_SECONDS",
    "MAX_KEY_BYTES",
    "MAX_VALUE_BYTES",
    "Provider",
    "ProviderFactory",
    "as_plain_text",
    "checked_entry",
    "checked_key",
    "checked_ttl",
    "checked_value",
]

DEFAULT_TTL_SECONDS = 3600.0
"""For how long `Provider.set` keeps a value, unless `SESSION_DEFAULT_TTL` says otherwise."""

MAX_KEY_BYTES = 1024
"""The longest key, in UTF-8; the shortest has one character."""

MAX_VALUE_BYTES = 1024 * 1024
"""The longest value, in UTF-8: small values, not files. The shortest is empty, and is not the same as none."""

_YEAR = 365 * 24 * 3600.0
_NUMBERS = (int, float)  # but not `bool`


class Provider(Protocol):
    """Keeps text under keys, each for a time of its own.

    All who use one provider see the same values, and the last `setex` or `set` of a key counts. Of calls that go on at
    the same time each is done as a whole: of a hundred that delete one value, one is told that it did. A caller that is
    cancelled stops waiting; what it asked for may or may not be done.

    A key and a value are text that UTF-8 can carry, of `MAX_KEY_BYTES` and `MAX_VALUE_BYTES` at most; of a subclass of
    `str`, an enumeration's member for one, the text counts. Every call
    raises `TypeError` for what is no text (`NotTextError`) and `ValueError` for text that is too long, and then
    changes nothing.
    """

    async def setex(self, key: str, ttl_seconds: float, value: str, /) -> None:
        """Keep *value* under *key* for *ttl_seconds* from now, in place of what was there.

        Args:
            key: what it is kept under.
            ttl_seconds: its time to live, above 0 and at most ten years; fractions count, nothing is rounded.
            value: what is kept.

        Raises:
            TimeToLiveError: that is no time to live; a `ValueError`. Nothing changed.
            StoreError: it is not kept; what was there is as it was.
        """

    async def set(self, key: str, value: str, /) -> None:
        """Do as `setex` with the default time to live: `SESSION_DEFAULT_TTL`, or `DEFAULT_TTL_SECONDS`."""

    async def get(self, key: str, /) -> str | None:
        """Return the value, or None: there is none, or its time is over, which it is when it has passed to the end."""

    async def delete(self, key: str, /) -> bool:
        """Remove the value; return whether there was one whose time was not over."""

    async def close(self) -> None:
        """End this use of the provider, once or more often; other uses of it go on, and the values stay."""


ProviderFactory: TypeAlias = "Callable[[], AbstractAsyncContextManager[Provider]]"
"""What a provider's `factory()` returns: called without arguments, it opens a use of the provider."""


def as_plain_text(text: str) -> str:
    """Return the text of an instance of a subclass of `str`, whatever its methods say."""
    return text if text.__class__ is str else str.__str__(text)


def checked_entry(key: str, ttl_seconds: float, value: str) -> int:
    """Return how many bytes *key* and *value* take together, if *value* can be kept under *key* for *ttl_seconds*.

    Raises:
        NotTextError, ValueRefusedError: as `checked_key` and `checked_value`.
        TimeToLiveError: as `checked_ttl`.
    """
    if (
        (key.__class__ is value.__class__ is str and ttl_seconds.__class__ in _NUMBERS)
        and 0 < (key_size := len(key)) <= MAX_KEY_BYTES
        and (value_size := len(value)) <= MAX_VALUE_BYTES
        and 0 < ttl_seconds <= _YEAR
        and key.isascii()
        and value.isascii()
    ):  # nearly every one: three calls less
        return key_size + value_size
    size = checked_key(key) + checked_value(value)
    checked_ttl(ttl_seconds)
    return size


def checked_key(key: str) -> int:
    """Return how many bytes *key* takes.

    Raises:
        NotTextError: it is no text.
        ValueRefusedError: it is empty, too long, or holds half of a surrogate pair.
    """
    if key.__class__ is str and 0 < len(key) <= MAX_KEY_BYTES and key.isascii():  # nearly every key
        return len(key)
    size = _checked_text("a key", key, MAX_KEY_BYTES)
    if size == 0:
        raise ValueRefusedError("a key must not be empty")
    return size


def checked_value(value: str) -> int:
    """Return how many bytes *value* takes.

    Raises:
        NotTextError: it is no text.
        ValueRefusedError: it is too long, or holds half of a surrogate pair.
    """
    if value.__class__ is str and len(value) <= MAX_VALUE_BYTES and value.isascii():  # nearly every value
        return len(value)
    return _checked_text("a value", value, MAX_VALUE_BYTES)


def checked_ttl(ttl_seconds: float) -> float:
    """Return *ttl_seconds* if a value can be kept for so long.

    Raises:
        TimeToLiveError: it is no number above 0, or more than ten years.
    """
    if ttl_seconds.__class__ in _NUMBERS and 0 < ttl_seconds <= _YEAR:  # nearly every one
        return ttl_seconds
    try:
        return checked_seconds(ttl_seconds)
    except OverflowError:  # an integer that no float can hold
        raise TimeToLiveError(ttl_seconds) from None


def _checked_text(what: str, text: object, most: int) -> int:
    if not isinstance(text, str):
        raise NotTextError(what, text)
    text = as_plain_text(text)
    if len(text) <= most:  # one that is longer is not encoded first
        try:
            size = len(text) if text.isascii() else len(text.encode())
        except UnicodeEncodeError:
            raise ValueRefusedError(f"{what} holds half of a surrogate pair, which UTF-8 cannot carry") from None
        if size <= most:
            return size
    raise ValueRefusedError(f"{what} takes at most {most} bytes in UTF-8; keep what is larger in a file")
