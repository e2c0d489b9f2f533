"""`workroot` knows in which project each client of a shared MCP server works.

The names below are loaded on first use, so importing the package costs nothing
and the connector can start in milliseconds.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not from typing: importing that takes longer than starting the connector
if TYPE_CHECKING:
    from workroot.attached.attach import attach
    from workroot.attached.current import CurrentProject, CurrentSession
    from workroot.attached.rate_limit import RateLimit
    from workroot.core.projects import Project
    from workroot.core.resolution import Resolution
    from workroot.core.sessions import SessionContext
    from workroot.daemon_client.client import DaemonClient, connect
    from workroot.default_manager import get_session_context_manager, set_session_context_manager
    from workroot.errors import WorkrootError
    from workroot.request_context import RequestContext
    from workroot.session_context import SessionContextManager
    from workroot.session_manager import SessionManager
    from workroot.session_rules import SessionRules
    from workroot.session_service import SessionService

__all__ = [
    "CurrentProject",
    "CurrentSession",
    "DaemonClient",
    "Project",
    "RateLimit",
    "RequestContext",
    "Resolution",
    "SessionContext",
    "SessionContextManager",
    "SessionManager",
    "SessionRules",
    "SessionService",
    "WorkrootError",
    "__version__",
    "attach",
    "connect",
    "get_session_context_manager",
    "set_session_context_manager",
]

__version__ = "0.1.0"

_HOMES = {
    "CurrentProject": "workroot.attached.current",
    "CurrentSession": "workroot.attached.current",
    "DaemonClient": "workroot.daemon_client.client",
    "Project": "workroot.core.projects",
    "RateLimit": "workroot.attached.rate_limit",
    "RequestContext": "workroot.request_context",
    "Resolution": "workroot.core.resolution",
    "SessionContext": "workroot.core.sessions",
    "SessionContextManager": "workroot.session_context",
    "SessionManager": "workroot.session_manager",
    "SessionRules": "workroot.session_rules",
    "SessionService": "workroot.session_service",
    "WorkrootError": "workroot.errors",
    "attach": "workroot.attached.attach",
    "connect": "workroot.daemon_client.client",
    "get_session_context_manager": "workroot.default_manager",
    "set_session_context_manager": "workroot.default_manager",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'workroot' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    return value
