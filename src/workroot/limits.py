"""How much of everything one client, and all of them together, may take of the daemon.

Each limit is a setting of the same name (`workroot.settings.Settings` is a `Limits`); a project's files
change none of them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["DEFAULT_LIMITS", "Limits"]

_Count = Annotated[int, Field(ge=1, le=100_000)]
_Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


class Limits(BaseModel):
    """The limits of one daemon.

    Attributes:
        max_connections: open at a time, of the Unix socket and of HTTP each; further ones are closed at once.
        max_connections_per_user: HTTP connections at a time that act for one user; a client may need three at a time.
        max_requests_in_flight: of one connection; further ones wait their turn.
        max_listens: streams of `subscriptions/listen` at a time.
        max_listens_per_client: of one connector, or of one HTTP user.
        max_http_sessions: sessions of protocol 2025-11-25 or older that HTTP holds in memory; the one unused for
            longest gives way, and comes back at its next request.
        http_session_idle_seconds: without a request for so long, one is let go from memory; it comes back too.
        requests_per_second: of one HTTP user, on average.
        request_burst: of one HTTP user, at once.
        rate_limit_per_second: requests that one user may make over the socket and HTTP together, on average, whatever
            connections and sessions they come by; 0: no such limit.
        rate_limit_burst: of one user, at once; 0: twice `rate_limit_per_second`.
        max_sessions: held at a time; of more, the longest idle gives way, one with a live connection last.
        max_ended_sessions: of so many sessions it is remembered how they ended; above it the first is forgotten.
        max_allocated_sessions: active at a time; above it no other is allocated.
        max_projects: known at a time, each root of each user counted; of more, the one seen longest ago is forgotten.
        max_database_mib: that the database may take, in MiB; above it, at a sweep, it is forgotten how sessions
            ended, and if that is not enough, the longest idle ones end that are not in use.
        header_seconds: how long the head of an HTTP request may take to arrive.
        body_seconds: how long its body may take.
        write_seconds: how long a client may take nothing of what it is sent, until its connection ends.
    """

    model_config = ConfigDict(frozen=True)

    max_connections: _Count = 512
    max_connections_per_user: _Count = 256
    max_requests_in_flight: _Count = 64
    max_listens: _Count = 512
    max_listens_per_client: _Count = 128
    max_http_sessions: _Count = 256
    http_session_idle_seconds: _Seconds = 600
    requests_per_second: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] = 200
    request_burst: _Count = 400
    rate_limit_per_second: Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)] = 0
    rate_limit_burst: Annotated[int, Field(ge=0, le=100_000)] = 0
    max_sessions: _Count = 100_000
    max_ended_sessions: _Count = 100_000
    max_allocated_sessions: _Count = 100_000
    max_projects: _Count = 10_000
    max_database_mib: _Count = 128
    header_seconds: _Seconds = 10
    body_seconds: _Seconds = 15
    write_seconds: _Seconds = 15


DEFAULT_LIMITS = Limits()
"""What holds where nothing is set."""
