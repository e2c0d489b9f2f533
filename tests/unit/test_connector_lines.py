from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from workroot.connector.lines import KEPT_HEAD_BYTES, KEPT_TAIL_BYTES, LineSplitter, LongLine

LIMIT = 8


def split(pieces: list[bytes], limit: int = LIMIT) -> list[object]:
    splitter = LineSplitter(limit)
    lines = [line for piece in pieces for line in splitter.feed(piece)] + splitter.finish()
    return [(line.head, line.tail, line.size) if isinstance(line, LongLine) else line for line in lines]


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(
    st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\xff", b"{}", b"0123456"]), max_size=40), st.lists(st.integers(0))
)
def test_however_a_stream_is_cut_its_lines_are_the_same(tokens: list[bytes], cuts: list[int]) -> None:
    data = b"".join(tokens)
    assert split(pieces_of(data, cuts)) == split([data])


@given(st.lists(st.binary(max_size=LIMIT).filter(lambda line: b"\n" not in line), max_size=20))
def test_lines_within_the_limit_come_out_byte_for_byte(lines: list[bytes]) -> None:
    assert split([b"".join(line + b"\n" for line in lines)]) == [line + b"\n" for line in lines]


def test_a_line_as_long_as_the_limit_is_no_long_line() -> None:
    assert split([b"12345678\n123456789\n"]) == [b"12345678\n", (b"12345678", b"123456789", 9)]


def test_a_last_line_without_newline_gets_one() -> None:
    assert split([b"ab\ncd"]) == [b"ab\n", b"cd\n"]


def test_the_line_after_a_long_one_is_whole() -> None:
    assert split([b"x" * 20, b"x\nnext\n"])[1:] == [b"next\n"]


def test_of_a_long_line_only_both_ends_are_kept() -> None:
    line = bytes(range(11, 251)) * 100
    assert split([line, b"\n"], limit=5000) == [(line[:KEPT_HEAD_BYTES], line[-KEPT_TAIL_BYTES:], len(line))]
