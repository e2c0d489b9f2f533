"""What a call's `_meta` says of where its caller works, and in which conversation.

Each client has its own names for that, and what stands under them is the client's to fill. So nothing here
relies on a shape: what was given and cannot be used becomes a hint with a problem, which is shown to whoever
asks why, and never followed. JSON's `null`, and a key that is not there, say nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING

from workroot.core.sessions import Alias
from workroot.core.signs import META_DIRECTORY, META_SESSION, Hint, Source, path_of_root
from workroot.errors import SessionError

if TYPE_CHECKING:
    from workroot.core.signs import ClientTraits

__all__ = [
    "AGENT_WORKING_DIRECTORY",
    "CONVERSATION_KEYS",
    "MAX_CONVERSATION_LETTERS",
    "SANDBOX_STATE",
    "TURN_METADATA",
    "conversation_of",
    "meta_hints",
    "meta_session",
]

SANDBOX_STATE = "codex/sandbox-state-meta"
"""Key of Codex's state of a call, sent to servers that advertise an experimental capability of this name."""

AGENT_WORKING_DIRECTORY = "agent-working-dir"
"""Key of Goose's working directory."""

TURN_METADATA = "x-codex-turn-metadata"
"""Key of what Codex knows of a turn; an object, or one as JSON text."""

CONVERSATION_KEYS = ("vscode.conversationId", "agent-session-id")
"""Keys that name the client's own conversation whichever client sends them: their names are nobody else's."""

MAX_CONVERSATION_LETTERS = 200
"""Of a conversation's id, to be kept as it is."""

_MAX_DIRECTORY_LETTERS = 4096
_MAX_JSON_LETTERS = 64 * 1024
_SHOWN_LETTERS = 200  # of what cannot be used


def meta_hints(meta: Mapping[str, object]) -> tuple[Hint, ...]:
    """Return the directories that *meta* suggests, best first; those that only narrow a turn come last."""
    hints: list[Hint] = []
    if (directory := meta.get(META_DIRECTORY)) is not None:
        hints.append(_hint(Source.META, META_DIRECTORY, directory))
    if (state := meta.get(SANDBOX_STATE)) is not None:
        if not isinstance(state, Mapping):
            hints.append(_unusable(Source.META, SANDBOX_STATE, state, "an object"))
        elif (directory := state.get("sandboxCwd")) is not None:
            hints.append(_hint(Source.META, f"{SANDBOX_STATE}.sandboxCwd", directory))
    if (directory := meta.get(AGENT_WORKING_DIRECTORY)) is not None:
        hints.append(_hint(Source.META, AGENT_WORKING_DIRECTORY, directory))
    if (turn := meta.get(TURN_METADATA)) is not None:
        hints.extend(_workspaces(turn))
    return tuple(hints)


def meta_session(meta: Mapping[str, object]) -> str | None:
    """Return the session that *meta* names, or None if it names none.

    Raises:
        SessionError: what it names is no text; a call that claims a session is never put into another one.
    """
    session = meta.get(META_SESSION)
    if session is None or isinstance(session, str):
        return session
    raise SessionError(
        "", f'_meta["{META_SESSION}"] is {_kind(session)}, not text; pass what set_working_directory returned'
    )


def conversation_of(meta: Mapping[str, object], traits: ClientTraits) -> Alias | None:
    """Return the client's own name for its conversation, or None if it gives none.

    The key is part of it, so that what two clients call by one id stays two conversations. Of an id that is
    over `MAX_CONVERSATION_LETTERS` or not printable its digest is taken: ignored, its calls would meet those of
    the connection's other conversations. One that is empty or not text names nothing.

    Args:
        traits: of the client; names of keys that another client may use for something else count only with them.
    """
    for key in (*traits.conversation_keys, *CONVERSATION_KEYS):
        named = meta.get(key)
        if isinstance(named, str) and named:
            if len(named) <= MAX_CONVERSATION_LETTERS and named.isprintable():
                return Alias(f"{key}:{named}")
            return Alias(f"{key}#{sha256(named.encode(errors='surrogatepass')).hexdigest()}")
    return None


def _workspaces(turn: object) -> list[Hint]:
    """Return what turn metadata suggests: its only workspace; none of several, but that is shown."""
    detail = f"{TURN_METADATA}.workspaces"
    if isinstance(turn, str):
        try:
            turn = json.loads(turn) if len(turn) <= _MAX_JSON_LETTERS else turn
        except (ValueError, RecursionError):
            return [Hint(Source.TURN_METADATA, TURN_METADATA, "", problem="is text, but not JSON")]
    if not isinstance(turn, Mapping):
        return [_unusable(Source.TURN_METADATA, TURN_METADATA, turn, "an object")]
    workspaces = turn.get("workspaces")
    if workspaces is None:
        return []
    if not isinstance(workspaces, Mapping):
        return [_unusable(Source.TURN_METADATA, detail, workspaces, "an object")]
    if len(workspaces) > 1:
        problem = f"names {len(workspaces)} workspaces, and not which one this turn is about"
        return [Hint(Source.TURN_METADATA, detail, "", problem=problem)]
    return [_hint(Source.TURN_METADATA, detail, root) for root in workspaces]


def _hint(source: Source, detail: str, given: object) -> Hint:
    """Return the hint that *given*, a path or a `file:` URI, is; with a problem if it can be neither."""
    if not isinstance(given, str):
        return _unusable(source, detail, given, "text")
    path: str | None = given
    problem = None
    if not given:
        problem = "is empty"
    elif len(given) > _MAX_DIRECTORY_LETTERS:
        problem = "is too long for a directory"
    elif any("\ud800" <= letter <= "\udfff" for letter in given):
        problem = "is not Unicode text"
    elif given[:5].lower() == "file:":
        path = path_of_root(given)
        problem = "is not the file: URI of a directory here" if path is None else None
    if path is None or problem is not None:
        shown = given[:_SHOWN_LETTERS].encode(errors="replace").decode()
        return Hint(source, detail, shown, problem=problem)
    return Hint(source, detail, path)


def _unusable(source: Source, detail: str, given: object, wanted: str) -> Hint:
    return Hint(source, detail, "", problem=f"is {_kind(given)}, not {wanted}")


def _kind(given: object) -> str:
    """Return what JSON calls a value."""
    if isinstance(given, Mapping):
        return "an object"
    if isinstance(given, str):
        return "a text"
    if isinstance(given, bool):
        return "true or false"
    return "a number" if isinstance(given, int | float) else "a list"
