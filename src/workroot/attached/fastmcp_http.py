"""How an attached FastMCP server is served over HTTP: what a browser could be led to send is refused on loopback.

FastMCP has the check and leaves it off. Its own argument and setting for it count where they are given. A client that
wants events again, where none are kept, is told so.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import fastmcp
from starlette.middleware import Middleware

from workroot.attached.no_replay import NoReplay

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastmcp import FastMCP

__all__ = ["guard_http"]

_CHECK = "host_origin_protection"


def guard_http(server: FastMCP[Any]) -> None:
    """Let *server* refuse what it must not answer; the instance's own ways to be served are wrapped."""
    vars(server).update(
        run_http_async=_changed(server.run_http_async, _checking),
        http_app=_changed(server.http_app, _checking, _refusing_replay),
    )


def _changed(serve: Callable[..., Any], *changes: Callable[[dict[str, Any]], None]) -> Callable[..., Any]:
    signature = inspect.signature(serve)

    @functools.wraps(serve)
    def changed(*arguments: Any, **options: Any) -> Any:
        given = dict(signature.bind(*arguments, **options).arguments)
        for change in changes:
            change(given)
        return serve(**given)

    return changed


def _checking(given: dict[str, Any]) -> None:
    """Switch the check of `Host` and `Origin` on for servers on loopback, unless the author has said otherwise."""
    if given.get(_CHECK) is None and f"http_{_CHECK}" not in fastmcp.settings.model_fields_set:
        given[_CHECK] = "auto"


def _refusing_replay(given: dict[str, Any]) -> None:
    if given.get("transport") == "sse" or given.get("event_store") is not None:
        return
    path = given.get("path")
    no_replay = Middleware(NoReplay, path=path if path is not None else fastmcp.settings.streamable_http_path)
    given["middleware"] = [*(given.get("middleware") or ()), no_replay]
