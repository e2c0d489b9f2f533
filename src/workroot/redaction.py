"""Handles and tokens as they are shown: far enough to follow one, too little to use it.

A session is shown by the beginning of its handle, in the log, in tables and by `workroot why`, which takes
that beginning for the session: whoever reads it in one of them can ask another about it. What is left out of a
handle has 96 random bits. A token is nobody's to look up; it is shown by a digest.
"""

from __future__ import annotations

import hashlib
import re

__all__ = ["first_session", "short_session", "without_secrets"]

_SHOWN = 11  # characters: `wr_` and 8
# Whatever stands before one: `%2F` of a URI, or the `\n` of a text that was written out, ends in a letter too.
_HANDLE = re.compile(r"wr_[A-Za-z0-9_-]{16,}")
_TOKEN = re.compile(r"wr[th]_[A-Za-z0-9_-]{16,}")  # tokens, and the ids of HTTP sessions
_BEARER = re.compile(r"(?i)\b(bearer)\s+(?!wrt_#)[A-Za-z0-9._~+/=-]{16,}")
_SHORT = re.compile(r"(?<![A-Za-z0-9])wr_[A-Za-z0-9_-]{8}\.\.\.")


def short_session(session_id: str) -> str:
    """Return the beginning of a session's handle with dots for its rest, enough to tell it from others."""
    return session_id if len(session_id) <= _SHOWN else f"{session_id[:_SHOWN]}..."


def without_secrets(text: str) -> str:
    """Return *text* with handles shortened, and with nothing of a token that could be used."""
    text = _TOKEN.sub(lambda found: f"{found[0][:4]}#{hashlib.sha256(found[0].encode()).hexdigest()[:8]}", text)
    text = _HANDLE.sub(lambda found: short_session(found[0]), text)
    return _BEARER.sub(lambda found: f"{found[1]} [withheld]", text)


def first_session(text: str) -> str | None:
    """Return the first session that a text without secrets speaks of, in its short form, or None."""
    found = _SHORT.search(text)
    return found[0] if found is not None else None
