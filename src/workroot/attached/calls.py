"""One request of an attached server, from when it comes until it is answered.

The middleware works it out, and the resolvers of a tool's parameters, which the SDK runs, take it from here.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp_types import CallToolResult, InputRequiredResult

    from workroot.core.answer import Resolution
    from workroot.errors import WorkrootError

__all__ = ["Call", "current_call"]


@dataclass(slots=True, kw_only=True)
class Call:
    """What is known of a call of a tool.

    Attributes:
        tool: its name.
        resolution: where its caller works; None where the tool does not ask, or that could not be told.
        error: why that could not be told, or why what a parameter needs is not there.
        is_refused: a parameter could not be filled, or the tool raised an error of ours: `error` gives the reason.
        answer: gives what is answered in the tool's place, by one of our own tools.
    """

    tool: str
    resolution: Resolution | None = None
    error: WorkrootError | None = None
    is_refused: bool = False
    answer: Callable[[], Awaitable[CallToolResult | InputRequiredResult]] | None = None


current_call: ContextVar[Call | None] = ContextVar("workroot.current_call", default=None)
"""The call that is served in this task; None outside of calls of tools."""
