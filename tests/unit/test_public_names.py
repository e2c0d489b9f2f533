"""The package's public names, loaded on first use."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import workroot


@pytest.mark.parametrize("name", workroot.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(workroot, name) is not None


def test_a_name_is_the_one_of_its_module() -> None:
    assert workroot.SessionContext is import_module("workroot.core.sessions").SessionContext
    assert workroot.WorkrootError is import_module("workroot.errors").WorkrootError


def test_any_other_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'workroot' has no attribute 'nothing'"):
        _ = workroot.nothing


def test_importing_the_package_loads_nothing_else_of_it() -> None:
    script = (
        "import workroot; print(*sorted(n for n in sys.modules if n.startswith(('workroot', 'asyncio', 'typing'))))"
    )

    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {script}"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout.split() == ["workroot"]
