"""Suites that hold somebody else's adapter to what its port promises; they need pytest, which nothing else does."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("workroot.testing.provider_contract")
