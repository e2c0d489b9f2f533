"""Each example runs as a program of its own would: executed anew, with no sessions and no values left by another."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import pytest

from examples.programs import surroundings
from workroot.default_manager import set_session_context_manager
from workroot.providers import memory

SHARED = ("surroundings", "artifact_store")  # what programs import; these keep nothing, or are emptied here
VARIABLES = (
    "CHUK_HOST_SANDBOX_ID",
    "CHUK_SANDBOX_ID",
    "ENVIRONMENT",
    "REDIS_URL",
    "SESSION_DEFAULT_TTL",
    "SESSION_PROVIDER",
    "SESSION_REDIS_URL",
    "WORKROOT_SESSION_DEFAULT_TTL",
    "WORKROOT_SESSION_PROVIDER",
    "WORKROOT_SESSION_PROVIDER_PATH",
)


@pytest.fixture(autouse=True)
def _a_program_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it becomes what it was, whatever the example sets
        monkeypatch.delenv(name)
    _forget_all()
    for name, module in list(sys.modules.items()):
        if name.startswith("examples.programs.") and not name.endswith(SHARED):
            importlib.reload(module)
    yield
    _forget_all()


def _forget_all() -> None:
    set_session_context_manager(None)
    memory.forget_all()
    surroundings.files.clear()
    surroundings.computed.clear()
