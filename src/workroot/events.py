"""What changed, in small: one event per change feeds subscriptions, logs and metrics."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from workroot.core.projects import ProjectId
    from workroot.core.sessions import EndedSession, Owner, SessionContext

__all__ = ["Event", "EventBus", "ProjectsChanged", "SessionEnded", "SessionMoved"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionMoved:
    """A session was opened, or works elsewhere now; *before* is None if it is new.

    Attributes:
        is_asked_for: a caller asked for that; it did not follow from what the client shows of itself or its project.
    """

    session: SessionContext
    before: SessionContext | None
    is_asked_for: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A session was closed or expired."""

    ended: EndedSession


@dataclass(frozen=True, slots=True)
class ProjectsChanged:
    """A project is new to this owner, or has another name or place."""

    owner: Owner
    project_id: ProjectId


Event = SessionMoved | SessionEnded | ProjectsChanged


class EventBus:
    """Tells every listener, in the order of subscription. Listeners neither wait nor raise."""

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[Event], None]] = {}

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call *listener* at every event; return what ends that (safe to call twice)."""
        token = object()
        self._listeners[token] = listener

        def unsubscribe() -> None:
            self._listeners.pop(token, None)

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Tell everybody. A listener that raises is logged and the others are told all the same."""
        for listener in tuple(self._listeners.values()):
            try:
                listener(event)
            except Exception:  # a boundary: one listener's fault is not another's
                logger.exception("a listener failed at %s", type(event).__name__)
