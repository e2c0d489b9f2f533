"""The values that cross, from the smallest up: signs and sessions, and the answers that are made of them."""

from __future__ import annotations

from workroot.core.allocations import AllocatedSession, Allocation, SessionStatus
from workroot.core.answer import Alternative, Outcome, Resolution, SessionClaim, Step, Switch, Verdict
from workroot.core.sessions import Alias, EndedSession, Ending, Owner, PinnedSign, SessionContext, SessionId
from workroot.core.signs import Authority, ClientTraits, Hint, Roots, RootsAnswer, Signs, Source
from workroot.mover import Entered
from workroot.wire_values.codec import (
    BOOLEAN,
    INTEGER,
    REAL,
    TEXT,
    Codec,
    choice,
    enumeration,
    known_as,
    optional,
    record,
    tuple_of,
)
from workroot.wire_values.places import DIRECTORY, PLACE, PROJECT_ID

__all__ = [
    "ALLOCATED",
    "ALLOCATION",
    "ENDED",
    "ENTERED",
    "RESOLUTION",
    "SESSION",
    "SIGNS",
]

_SESSION_ID = known_as(TEXT, SessionId)
_ALIAS = known_as(TEXT, Alias)
_MAYBE_TEXT = optional(TEXT)
_TEXTS = tuple_of(TEXT)
_SOURCE = enumeration(Source)
_AUTHORITY = enumeration(Authority)

_OWNER = record(Owner, {"principal": TEXT, "sandbox": TEXT})

_HINT = record(
    Hint,
    {"source": _SOURCE, "detail": TEXT, "directory": TEXT, "authority": _AUTHORITY, "problem": _MAYBE_TEXT},
)
_ROOTS = record(Roots, {"answer": enumeration(RootsAnswer), "uris": _TEXTS, "left_out": INTEGER})
_TRAITS = record(
    ClientTraits,
    {"first_root_is_working_directory": BOOLEAN, "shares_process": BOOLEAN, "conversation_keys": _TEXTS},
)
SIGNS: Codec[Signs] = record(
    Signs,
    {
        "session_id": _MAYBE_TEXT,
        "directory": _MAYBE_TEXT,
        "meta_session": _MAYBE_TEXT,
        "header_session": _MAYBE_TEXT,
        "conversation": optional(_ALIAS),
        "alias": optional(_ALIAS),
        "hints": tuple_of(_HINT),
        "roots": _ROOTS,
        "traits": _TRAITS,
    },
)

_PIN = record(PinnedSign, {"sign": TEXT, "directory": TEXT, "agreed": BOOLEAN})
SESSION: Codec[SessionContext] = record(
    SessionContext,
    {
        "session_id": _SESSION_ID,
        "owner": _OWNER,
        "working_directory": DIRECTORY,
        "given_directory": TEXT,
        "config_path": _MAYBE_TEXT,
        "project_id": optional(PROJECT_ID),
        "project_root": optional(DIRECTORY),
        "project_name": _MAYBE_TEXT,
        "signs": tuple_of(_PIN),
        "set_at": REAL,
        "last_used": REAL,
        "revision": INTEGER,
    },
)
ENDED: Codec[EndedSession] = record(
    EndedSession,
    {
        "session_id": _SESSION_ID,
        "owner": _OWNER,
        "last_directory": DIRECTORY,
        "ending": enumeration(Ending),
        "ended_at": REAL,
        "seen": REAL,
    },
)

_CLAIM = record(SessionClaim, {"by": choice("handle", "conversation", "alias", "none"), "name": _MAYBE_TEXT})
_ALTERNATIVE = record(Alternative, {"directory": TEXT, "source": _SOURCE, "detail": TEXT, "project": _MAYBE_TEXT})
_STEP = record(
    Step,
    {
        "source": _SOURCE,
        "detail": TEXT,
        "directory": TEXT,
        "verdict": enumeration(Verdict),
        "reason": TEXT,
        "project": _MAYBE_TEXT,
    },
)
_SWITCH = record(Switch, {"place": PLACE, "signs": tuple_of(_PIN)})
RESOLUTION: Codec[Resolution] = record(
    Resolution,
    {
        "session": optional(SESSION),
        "claim": _CLAIM,
        "is_default_session": BOOLEAN,
        "place": optional(PLACE),
        "looked_at": optional(PLACE),
        "outcome": enumeration(Outcome),
        "source": _SOURCE,
        "detail": TEXT,
        "authority": optional(_AUTHORITY),
        "warnings": _TEXTS,
        "alternatives": tuple_of(_ALTERNATIVE),
        "steps": tuple_of(_STEP),
        "switch": optional(_SWITCH),
        "previous": optional(SESSION),
    },
)
ENTERED: Codec[Entered] = record(Entered, {"resolution": RESOLUTION, "before": optional(SESSION), "is_made": BOOLEAN})

ALLOCATED: Codec[AllocatedSession] = record(
    AllocatedSession,
    {
        "session_id": _SESSION_ID,
        "owner": _OWNER,
        "user_id": _MAYBE_TEXT,
        "created_at": REAL,
        "deadline": REAL,
        "last_accessed": REAL,
        "metadata": TEXT,
        "status": enumeration(SessionStatus),
        "ended_at": optional(REAL),
        "seen": REAL,
        "revision": INTEGER,
    },
)
ALLOCATION: Codec[Allocation] = record(Allocation, {"session": ALLOCATED, "is_new": BOOLEAN})
