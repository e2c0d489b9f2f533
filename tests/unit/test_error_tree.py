"""Errors as a package: where each is found, when it is loaded, and that it stays what it is on its way elsewhere."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import pytest

from workroot import errors
from workroot.errors import WorkrootError

KINDS = sorted(errors.__all__)

ON_FIRST_USE = """
import sys
from workroot.errors import WorkrootError
assert "workroot.errors.providers" not in sys.modules
try:
    raise __import__("workroot.errors.providers", fromlist=["x"]).ProviderFullError("memory", 1, 2)
except WorkrootError as error:
    from workroot.errors import ProviderFullError
    assert type(error) is ProviderFullError
import workroot.errors
assert workroot.errors.ProviderFullError is ProviderFullError
"""


def some_error(kind: type[WorkrootError]) -> WorkrootError:
    """Return an error of this kind with anything for its facts."""
    if not inspect.isfunction(kind.__init__):
        return kind("what happened")
    parameters = [*inspect.signature(kind.__init__).parameters.values()][1:]
    needed = [each for each in parameters if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD]
    return kind(*["roots"] * len(needed))


def test_all_errors_of_all_modules_are_names_of_the_package() -> None:
    defined = set()
    for module in iter_modules(errors.__path__):
        defined |= set(import_module(f"workroot.errors.{module.name}").__all__)
    assert set(KINDS) == defined
    assert defined <= set(dir(errors))


@pytest.mark.parametrize("name", KINDS)
def test_a_name_of_the_package_is_that_error(name: str) -> None:
    found = getattr(errors, name)
    assert issubclass(found, WorkrootError)
    assert found.__name__ == name


def test_a_name_that_is_no_error_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'workroot\.errors' has no attribute 'NoSuchError'"):
        errors.NoSuchError  # type: ignore[attr-defined]  # noqa: B018 -- that is what is tested


def test_what_only_the_library_raises_is_loaded_on_first_use_and_is_the_same_class() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", ON_FIRST_USE], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", KINDS)
def test_an_error_that_is_pickled_or_copied_says_the_same(name: str) -> None:
    error = some_error(getattr(errors, name))
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))
