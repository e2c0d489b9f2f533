"""Who asked for what is being done right now: the session, the user and the notes of the request being served.

Each task and each thread that `asyncio.to_thread` starts sees what its parent saw when it was made, and what it
changes stays with it. Nothing that can be changed is shared: metadata is copied on its way in and on its way out.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import Enum
from types import TracebackType
from typing import Final, Literal, Self, TypedDict

from workroot.errors import SessionRequiredError, UserRequiredError

__all__ = [
    "CLEAR",
    "Clear",
    "CurrentContext",
    "RequestContext",
    "clear_all",
    "clear_metadata",
    "get_current_context",
    "get_metadata",
    "get_progress_token",
    "get_session_id",
    "get_user_id",
    "require_session_id",
    "require_user_id",
    "set_available_channels",
    "set_metadata",
    "set_progress_token",
    "set_session_id",
    "set_user_id",
    "update_metadata",
]


class Clear(Enum):
    """The type of `CLEAR`."""

    CLEAR = "clear"


CLEAR: Final = Clear.CLEAR
"""Given to `RequestContext` for a field: inside, it has no value, whatever it has outside."""


class CurrentContext(TypedDict):
    """What `get_current_context` returns.

    Attributes:
        session_id: the session of the request, or None.
        user_id: whose request it is, or None.
        progress_token: what the client wants progress reported under, or None.
        metadata: notes on the request; a copy.
        sampling_available: the client can be asked to sample from its model.
        elicitation_available: the client can be asked to ask its user.
        roots_available: the client can be asked for its roots.
    """

    session_id: str | None
    user_id: str | None
    progress_token: str | int | None
    metadata: dict[str, object]
    sampling_available: bool
    elicitation_available: bool
    roots_available: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """What is known of the request, as it was left last; never changed in place.

    Attributes:
        entered: the instance that this frame belongs to; None for what was set outside of any.
        outer: what is restored when that instance is left here.
    """

    session_id: str | None = None
    user_id: str | None = None
    progress_token: str | int | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    sampling: bool = False
    elicitation: bool = False
    roots: bool = False
    entered: RequestContext | None = None
    outer: _Frame | None = None


_NOTHING: Final = _Frame()
_frame: ContextVar[_Frame] = ContextVar("workroot_request", default=_NOTHING)


class RequestContext:
    """The request that is served inside of a `with` or `async with` block.

    What is not given (None, and for *metadata* the empty dictionary too) is as it is outside; `CLEAR` takes it away.
    Leaving the block restores all that was known when it was entered, whatever was set meanwhile, and lets
    exceptions pass. One instance may be entered by any number of tasks at once and again inside of itself: what to
    restore is remembered where it was entered, not in the instance.

    Args:
        session_id: the session that the request belongs to.
        user_id: on whose behalf it is served.
        progress_token: what the client wants progress reported under.
        metadata: notes on the request; copied, nested values too.
    """

    __slots__ = ("_metadata", "progress_token", "session_id", "user_id")

    def __init__(
        self,
        session_id: str | Clear | None = None,
        user_id: str | Clear | None = None,
        progress_token: str | int | Clear | None = None,
        metadata: Mapping[str, object] | Clear | None = None,
    ) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self.progress_token = progress_token
        self._metadata = metadata if isinstance(metadata, Clear) else _copied(metadata or {})

    def __enter__(self) -> Self:
        outer = _frame.get()
        token = outer.progress_token if self.progress_token is None else self.progress_token
        given = self._metadata
        _frame.set(
            replace(
                outer,
                session_id=_chosen(self.session_id, outer.session_id),
                user_id=_chosen(self.user_id, outer.user_id),
                progress_token=None if isinstance(token, Clear) else token,
                metadata={} if isinstance(given, Clear) else given or outer.metadata,
                entered=self,
                outer=outer,
            )
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        # Not by `ContextVar.reset`: its tokens are good in one context only, and a fixture or an async generator may
        # be closed in another. There, this instance was never entered, and nothing is to be restored.
        frame: _Frame | None = _frame.get()
        while frame is not None and frame.entered is not self:
            frame = frame.outer
        if frame is not None:
            _frame.set(frame.outer or _NOTHING)
        return False

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        return self.__exit__(kind, error, traceback)


def get_session_id() -> str | None:
    """Return the session of the request, or None."""
    return _frame.get().session_id


def set_session_id(session_id: str | None) -> None:
    """Say which session the request belongs to, until the surrounding `RequestContext` is left."""
    _frame.set(replace(_frame.get(), session_id=session_id))


def require_session_id() -> str:
    """Return the session of the request.

    Raises:
        SessionRequiredError: it has none, or an empty one. It is a `RuntimeError`.
    """
    if not (session_id := get_session_id()):
        raise SessionRequiredError
    return session_id


def get_user_id() -> str | None:
    """Return whose request this is, or None."""
    return _frame.get().user_id


def set_user_id(user_id: str | None) -> None:
    """Say whose request this is, until the surrounding `RequestContext` is left."""
    _frame.set(replace(_frame.get(), user_id=user_id))


def require_user_id() -> str:
    """Return whose request this is.

    Raises:
        UserRequiredError: that is not known, or empty. It is a `PermissionError`.
    """
    if not (user_id := get_user_id()):
        raise UserRequiredError
    return user_id


def get_progress_token() -> str | int | None:
    """Return what the client wants progress reported under, or None if it does not want any."""
    return _frame.get().progress_token


def set_progress_token(token: str | int | None) -> None:
    """Say what progress is reported under, until the surrounding `RequestContext` is left."""
    _frame.set(replace(_frame.get(), progress_token=token))


def get_metadata() -> dict[str, object]:
    """Return the notes on the request: a copy, nested values too."""
    return _copied(_frame.get().metadata)


def set_metadata(metadata: Mapping[str, object]) -> None:
    """Replace the notes on the request by a copy of *metadata*.

    Raises:
        TypeError: a value cannot be copied; nothing changed.
    """
    _frame.set(replace(_frame.get(), metadata=_copied(metadata)))


def update_metadata(key: str, value: object) -> None:
    """Note a copy of *value* under *key*, beside what is noted already.

    Raises:
        TypeError: *value* cannot be copied; nothing changed.
    """
    now = _frame.get()
    _frame.set(replace(now, metadata={**now.metadata, key: copy.deepcopy(value)}))


def clear_metadata() -> None:
    """Forget the notes on the request, until the surrounding `RequestContext` is left."""
    _frame.set(replace(_frame.get(), metadata={}))


def set_available_channels(*, sampling: bool = False, elicitation: bool = False, roots: bool = False) -> None:
    """Say what the client of this request can be asked for; whoever serves the request knows."""
    _frame.set(replace(_frame.get(), sampling=sampling, elicitation=elicitation, roots=roots))


def clear_all() -> None:
    """Forget all that is known of the request, until the surrounding `RequestContext` is left."""
    now = _frame.get()
    _frame.set(_Frame(entered=now.entered, outer=now.outer))


def get_current_context() -> CurrentContext:
    """Return all that is known of the request: a copy."""
    now = _frame.get()
    return {
        "session_id": now.session_id,
        "user_id": now.user_id,
        "progress_token": now.progress_token,
        "metadata": _copied(now.metadata),
        "sampling_available": now.sampling,
        "elicitation_available": now.elicitation,
        "roots_available": now.roots,
    }


def _copied(metadata: Mapping[str, object]) -> dict[str, object]:
    return copy.deepcopy(dict(metadata))


def _chosen(given: str | Clear | None, outer: str | None) -> str | None:
    if given is None:
        return outer
    return None if isinstance(given, Clear) else given
