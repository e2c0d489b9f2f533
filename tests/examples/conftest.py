"""Each example runs as a program of its own would: with no sessions and no values left by another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from workroot.default_manager import set_session_context_manager
from workroot.providers import memory


@pytest.fixture(autouse=True)
def _a_program_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("SESSION_PROVIDER", "WORKROOT_SESSION_PROVIDER", "CHUK_SANDBOX_ID", "CHUK_HOST_SANDBOX_ID"):
        monkeypatch.delenv(name, raising=False)
    set_session_context_manager(None)
    memory.forget_all()
    yield
    set_session_context_manager(None)
    memory.forget_all()
