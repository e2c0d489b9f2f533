"""A provider of one's own, in the documented form: a session with four calls, and `factory`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

kept: dict[str, tuple[int, str]] = {}


class CustomSession:
    async def setex(self, key: str, ttl: int, value: str) -> None:
        kept[key] = (ttl, value)

    async def get(self, key: str) -> str | None:
        return kept[key][1] if key in kept else None

    async def delete(self, key: str) -> bool:
        return kept.pop(key, None) is not None

    async def close(self) -> None:
        pass


def factory() -> Callable[[], AbstractAsyncContextManager[CustomSession]]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[CustomSession]:
        values = CustomSession()
        try:
            yield values
        finally:
            await values.close()

    return opened
