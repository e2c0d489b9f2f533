"""The garbage collector leaves alone what was loaded, and works again afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from workroot.daemon.collector import sparing_what_is_loaded


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave the collector as it was: all tests share it."""
    was_enabled = gc.isenabled()
    yield
    gc.unfreeze()
    if was_enabled:
        gc.enable()
    else:
        gc.disable()


def test_nothing_is_collected_while_much_is_loaded() -> None:
    gc.enable()

    with sparing_what_is_loaded():
        assert not gc.isenabled()

    assert gc.isenabled()


def test_what_was_loaded_is_never_looked_at_again() -> None:
    with sparing_what_is_loaded():
        held = [[number] for number in range(1000)]
    later: list[object] = []

    looked_at = {id(each) for each in gc.get_objects()}
    assert not looked_at & {id(each) for each in held}
    assert id(later) in looked_at
    assert gc.get_freeze_count() >= 1000


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()

    with sparing_what_is_loaded():
        pass

    assert not gc.isenabled()


def test_a_start_that_fails_leaves_the_collector_as_it_was() -> None:
    gc.enable()

    with pytest.raises(ValueError, match="away"), sparing_what_is_loaded():
        raise ValueError("away")

    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
