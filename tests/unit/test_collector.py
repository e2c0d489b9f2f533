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

    with sparing_what_is_loaded() as end_loading:
        assert not gc.isenabled()
        end_loading()
        assert gc.isenabled()

    assert gc.isenabled()


def test_what_was_loaded_is_not_looked_at_until_the_end() -> None:
    with sparing_what_is_loaded() as end_loading:
        held = [[number] for number in range(1000)]
        end_loading()
        later: list[object] = []

        looked_at = {id(each) for each in gc.get_objects()}
        assert not looked_at & {id(each) for each in held}
        assert id(later) in looked_at

    assert {id(each) for each in held} <= {id(each) for each in gc.get_objects()}


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()

    with sparing_what_is_loaded() as end_loading:
        end_loading()
        assert not gc.isenabled()

    assert not gc.isenabled()


def test_a_start_that_fails_leaves_the_collector_as_it_was() -> None:
    gc.enable()

    with pytest.raises(ValueError, match="away"), sparing_what_is_loaded():
        raise ValueError("away")

    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
