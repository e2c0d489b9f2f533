"""A gateway that lets a client make as many requests an hour as its tier allows."""

from __future__ import annotations

import time
from typing import Any

from workroot import SessionManager

api_mgr = SessionManager(
    sandbox_id="api-gateway",
    default_ttl_hours=1,
)


async def setup_api_client(client_id: str, tier: str) -> str:
    """Begin to count the requests of a client."""
    of_tier = {"free": 100, "standard": 1000, "premium": 10000}

    return await api_mgr.allocate_session(
        user_id=client_id,
        ttl_hours=1,
        custom_metadata={
            "client_id": client_id,
            "tier": tier,
            "rate_limit": of_tier.get(tier, 100),
            "requests_made": 0,
            "window_start": time.time(),
        },
    )


async def check_rate_limit(session_id: str) -> bool:
    """Count one more request, and tell whether it may be made."""
    known: Any = await api_mgr.get_session_info(session_id)
    if not known:
        return False

    counted = known["custom_metadata"]
    made, most = counted.get("requests_made", 0), counted.get("rate_limit", 100)
    if made >= most:
        return False

    await api_mgr.update_session_metadata(session_id, {"requests_made": made + 1, "last_request": time.time()})

    return True
