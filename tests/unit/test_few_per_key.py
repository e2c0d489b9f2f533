"""Values by key, a lone one bare."""

from __future__ import annotations

import pytest

from workroot.core.few_per_key import FewPerKey


def index_of(*values: str) -> FewPerKey[str, str]:
    index: FewPerKey[str, str] = FewPerKey()
    for value in values:
        index.add("key", value)
    return index


@pytest.mark.parametrize("values", [(), ("a",), ("a", "b"), ("a", "b", "c")])
def test_a_key_gives_all_its_values_and_no_other_keys(values: tuple[str, ...]) -> None:
    index = index_of(*values)
    index.add("other", "z")

    assert sorted(index.of("key")) == list(values)
    assert index.of("none") == ()


def test_a_value_is_there_once_however_often_it_is_added() -> None:
    assert index_of("a", "a").of("key") == ("a",)
    assert sorted(index_of("a", "b", "b", "a").of("key")) == ["a", "b"]


@pytest.mark.parametrize("gone", ["a", "b", "c"])
def test_what_is_discarded_is_gone_and_the_others_stay(gone: str) -> None:
    index = index_of("a", "b", "c")
    left = ["a", "b", "c"]
    for value in (gone, *sorted({"a", "b", "c"} - {gone})):
        index.discard("key", value)
        left.remove(value)
        assert sorted(index.of("key")) == left

    assert len(index) == 0


def test_what_is_not_there_can_be_discarded() -> None:
    for index in (index_of(), index_of("a"), index_of("a", "b")):
        before = sorted(index.of("key"))
        index.discard("key", "z")
        index.discard("none", "a")
        assert sorted(index.of("key")) == before
