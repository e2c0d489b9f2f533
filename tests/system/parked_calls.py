"""A real daemon in which a call stays under way until a test lets it go on: `list_projects(query="park NAME")`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from http_by_hand import UNLIMITED
from patched_daemon import start_patched
from real_daemon import Home, open_home

__all__ = ["Parking", "parking"]

_PATCH = """
import os
import anyio
from workroot.mcp_face.calls import ToolCalls

answer, top = ToolCalls._list_projects, os.path.join(os.path.dirname(os.environ["WORKROOT_HOME"]), "parked")

async def list_projects(self, call):
    word, _, name = call.arguments.get("query", "").partition(" ")
    if word == "park":
        there = os.path.join(top, name)
        open(there, "w").close()
        try:
            # Whoever lets it go on is another process, which can make files only.
            while not os.path.exists(f"{there}.go"):
                await anyio.sleep(0.002)
        finally:
            os.unlink(there)
    return await answer(self, call)

ToolCalls._list_projects = list_projects
"""


class Parking:
    """Says which calls are under way, and lets them go on."""

    def __init__(self, home: Home) -> None:
        self.home, self._top = home, home.top / "parked"
        self._top.mkdir()

    async def wait_under_way(self, *names: str) -> None:
        """Return when just these calls are under way."""
        await self.home.wait_until_async(lambda: self._names() == set(names), what=f"just {names} under way")

    def let_go(self, name: str) -> None:
        """Let a call go on."""
        (self._top / f"{name}.go").touch()

    def _names(self) -> set[str]:
        return {entry.name for entry in self._top.iterdir() if entry.suffix != ".go"}


@contextmanager
def parking(**settings: str) -> Iterator[Parking]:
    """Start such a daemon, with HTTP and further settings."""
    with open_home(WORKROOT_HTTP="1", **UNLIMITED, **settings) as home:
        parking = Parking(home)
        start_patched(home, _PATCH)
        yield parking
