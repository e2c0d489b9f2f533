"""A manager for the environment that a program runs in."""

from __future__ import annotations

import os

from workroot import SessionManager


def get_session_manager(app_name: str) -> SessionManager:
    where = os.getenv("ENVIRONMENT", "development")

    if where == "development":
        os.environ["SESSION_PROVIDER"] = "memory"
        sandbox_id = f"{app_name}-dev"
    elif where == "testing":
        os.environ["SESSION_PROVIDER"] = "memory"
        sandbox_id = f"{app_name}-test"
    elif where == "production":
        os.environ["SESSION_PROVIDER"] = "redis"
        os.environ["SESSION_REDIS_URL"] = os.environ["REDIS_URL"]
        sandbox_id = f"{app_name}-prod"

    return SessionManager(sandbox_id=sandbox_id)
