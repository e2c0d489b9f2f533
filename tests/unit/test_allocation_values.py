"""What one call does to the small values of a session."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workroot.allocating.values import added, appended, checked_text, is_same, updated
from workroot.core.allocations import MAX_METADATA_BYTES
from workroot.errors import MetadataError


@given(st.lists(st.integers()))
def test_integers_add_up_exactly_however_large(numbers: list[int]) -> None:
    values: dict[str, Any] = {}
    for number in numbers:
        values["n"] = added(values, "n", number)

    assert values.get("n", 0) == sum(numbers)


@pytest.mark.parametrize(
    ("there", "by"),
    [("1", 1), (None, 1), (True, 1), ([1], 1), (1, "1"), (1, True), (1.0, float("nan")), (1, float("inf"))],
)
def test_what_is_no_number_cannot_be_added_to(there: Any, by: Any) -> None:
    with pytest.raises(MetadataError):
        added({"n": there}, "n", by)


@pytest.mark.parametrize(("there", "by"), [(1e308, 1e308), (10**400, 0.5)])
def test_a_sum_beyond_all_numbers_is_refused(there: float, by: float) -> None:
    with pytest.raises(MetadataError, match="kept"):
        added({"n": there}, "n", by)


def test_a_list_is_made_where_there_is_none_and_another_value_is_not_overwritten() -> None:
    assert appended({}, "log", {"a": 1}, most=None) == [{"a": 1}]
    with pytest.raises(MetadataError, match="no list"):
        appended({"log": "text"}, "log", 1, most=None)


@pytest.mark.parametrize("most", [0, -1, True, 1.5])
def test_a_list_keeps_at_least_one(most: Any) -> None:
    with pytest.raises(MetadataError, match="at least one"):
        appended({}, "log", 1, most=most)


def test_a_list_that_was_longer_is_cut_to_what_is_asked_for() -> None:
    assert appended({"log": [1, 2, 3, 4]}, "log", 5, most=2) == [4, 5]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1, True),
        (1, 1.0, False),
        (1, True, False),
        (0, None, False),
        (None, None, True),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, True),
        ("1", 1, False),
    ],
)
def test_values_are_compared_as_json(one: Any, other: Any, same: bool) -> None:
    assert is_same(one, other) == same


def test_what_is_no_json_cannot_be_compared() -> None:
    with pytest.raises(MetadataError):
        is_same(None, object())  # type: ignore[arg-type]  # what a caller without types may pass


def test_only_so_much_is_remembered_and_so_much_exactly() -> None:
    room = MAX_METADATA_BYTES - len('{"x":""}')

    assert len(checked_text({"x": "y" * room})) == MAX_METADATA_BYTES
    with pytest.raises(MetadataError, match="at most"):
        checked_text({"x": "y" * (room + 1)})
    with pytest.raises(MetadataError, match="at most"):
        checked_text({"x": "\N{SNOWMAN}" * (room // 3 + 1)})


def nested(depth: int) -> dict[str, object]:
    value: object = "[[[[" * 100 + '\\"'  # letters of a text, which nest nothing
    for _ in range(depth - 1):
        value = [value]
    return {"x": value}


def test_values_nest_only_so_deep_and_text_that_looks_nested_does_not_count() -> None:
    assert checked_text(nested(64))
    assert checked_text({f"k{number}": [] for number in range(200)})
    for depth in (65, 500, 100_000):
        with pytest.raises(MetadataError):
            checked_text(nested(depth))


def test_merging_counts_what_was_there_before() -> None:
    assert updated('{"a":1}', {"b": 2}, is_merged=True) == '{"a":1,"b":2}'
    assert updated('{"a":1}', {"b": 2}, is_merged=False) == '{"b":2}'
    with pytest.raises(MetadataError, match="at most"):
        updated(checked_text({"a": "y" * 40_000}), {"b": "y" * 40_000}, is_merged=True)
