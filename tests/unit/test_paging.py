"""Pages of a list that changes between them: what was there all the time is read, and no cursor of another list is."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workroot.mcp_face.paging import CursorError, Page, page_of


class Row(NamedTuple):
    name: str
    used_at: float


def page(rows: list[Row], cursor: str | None = None, *, most: int = 3, scope: str = "rows") -> Page[Row]:
    latest_first = sorted(rows, key=lambda row: (-row.used_at, row.name))
    return page_of(
        latest_first,
        used_at=lambda row: row.used_at,
        name=lambda row: row.name,
        cursor=cursor,
        most=most,
        scope=scope,
    )


def names(page: Page[Row]) -> str:
    return "".join(row.name for row in page.rows)


def rows(text: str) -> list[Row]:
    """Return rows called by the letters of *text*, the first used last."""
    return [Row(letter, 100.0 - position) for position, letter in enumerate(text)]


def read_to_the_end(given: list[Row], cursor: str | None, *, most: int = 3) -> str:
    said = ""
    while cursor is not None:
        found = page(given, cursor, most=most)
        assert len(found.rows) <= most
        said += names(found)
        cursor = found.cursor_after(len(found.rows))
    return said


@pytest.mark.parametrize("count", range(8))
def test_a_list_that_does_not_change_is_read_once_and_in_order(count: int) -> None:
    given = rows("abcdefgh"[:count])
    first = page(given)
    assert names(first) + read_to_the_end(given, first.cursor_after(len(first.rows))) == "abcdefgh"[:count]


def test_a_page_may_be_left_before_its_end() -> None:
    first = page(rows("abcde"))
    assert names(page(rows("abcde"), first.cursor_after(1))) == "bcd"


def test_rows_of_one_moment_are_told_apart() -> None:
    given = [Row(letter, 1.0) for letter in "abcdefg"]
    first = page(given)
    assert sorted(names(first) + read_to_the_end(given, first.cursor_after(3))) == list("abcdefg")


def test_what_is_used_meanwhile_moves_to_the_front_and_is_read_at_the_end() -> None:
    first = page(rows("abcdef"))
    used = [*rows("abcde"), Row("f", 200.0)]
    assert names(first) == "abc"
    assert read_to_the_end(used, first.cursor_after(3)) == "def"


def test_what_is_gone_meanwhile_moves_nothing() -> None:
    first = page(rows("abcdef"))
    left = [row for row in rows("abcdef") if row.name not in "ace"]
    assert read_to_the_end(left, first.cursor_after(3)) == "df"


def test_what_is_new_meanwhile_comes_at_the_end() -> None:
    first = page(rows("abcd"))
    assert read_to_the_end([*rows("abcd"), Row("n", 300.0)], first.cursor_after(3)) == "dn"


@given(st.data())
def test_nobody_misses_what_was_there_all_the_time(data: st.DataObject) -> None:
    used_at = {name: float(data.draw(st.integers(0, 4))) for name in "abcdefgh"}
    now, cursor, read, started = 5.0, None, [], False
    for _ in range(60):
        if started and cursor is None:
            break
        found = page([Row(*row) for row in used_at.items()], cursor, most=data.draw(st.integers(1, 3)))
        read += [row.name for row in found.rows]
        cursor, started = found.cursor_after(len(found.rows)), True
        if data.draw(st.booleans()) and now < 12:
            now += 1
            match data.draw(st.sampled_from(["used", "new", "gone"])):
                case "used":
                    used_at[data.draw(st.sampled_from("abcd"))] = now
                case "new":
                    used_at[f"n{now:.0f}"] = now
                case _:
                    used_at.pop("h", None)
    assert cursor is None
    assert set("abcdefg") <= set(read)
    assert all(read.count(name) == 1 for name in "efg")  # nobody used these meanwhile


@pytest.mark.parametrize("cursor", ["", "3", "next", "AAAA", "\ud83d", "\u00fc", "9" * 5000])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(CursorError):
        page(rows("abcdef"), cursor)


def test_a_cursor_of_another_list_and_one_that_was_changed_are_refused() -> None:
    cursor = page(rows("abcdef")).cursor_after(3)
    assert cursor is not None
    with pytest.raises(CursorError):
        page(rows("abcdef"), cursor, scope="others")
    with pytest.raises(CursorError):
        page(rows("abcdef"), ("B" if cursor[0] == "A" else "A") + cursor[1:])


def test_a_cursor_tells_nothing_of_what_is_in_the_list() -> None:
    given = [Row(f"/home/ada/{letter}", 1.0) for letter in "abcdef"]
    cursor = page(given).cursor_after(3)
    assert cursor is not None
    assert "ada" not in cursor
    assert len(cursor) == 48
