"""The strict decoder reads what it accepts as everybody does, and refuses the rest with a reason, in linear time."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workroot.transports.strict_json import MOST_CONTAINERS, MOST_DEPTH, MOST_KEYS, StrictJsonError, decode

SECRET = "s3cr3t"
MEBIBYTE = 1024 * 1024

whole_text = st.text(st.characters(codec="utf-8"))
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | whole_text,
    lambda inner: st.lists(inner) | st.dictionaries(whole_text, inner),
    max_leaves=40,
)
pieces = st.sampled_from(
    [
        *("[", "]", "{", "}", ":", ",", '"', '"a"', '"a":', " ", "\n", "\x00", "é", "\ufeff"),
        *(r"\"", r"\\", "\\", r"\u0041", r"\ud83d", r"\ude00", r"\uD8"),
        *("1", "-0", "1.5", "1e400", "NaN", "Infinity", "null", "true"),
    ]
)
spoilt = st.lists(pieces, max_size=40).map("".join).map(str.encode)


def outcome(data: bytes) -> Any:
    """Return the value in a list, or the refusal."""
    try:
        return [decode(data)]
    except StrictJsonError as error:
        return error


def is_twice_the_same(data: bytes) -> bool:
    """Tell whether an object has a key twice."""
    doubled: list[str] = []

    def look(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        doubled.extend(key for key in keys if keys.count(key) > 1)
        return dict(pairs)

    json.loads(data.decode(), object_pairs_hook=look)
    return bool(doubled)


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_what_can_be_written_as_json_is_read_back(value: Any, is_ascii: bool, indent: int | None) -> None:
    data = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()

    assert decode(data) == value
    assert decode(bytearray(data)) == value


@given(spoilt | st.binary(max_size=60))
def test_whatever_is_accepted_is_what_the_standard_library_reads_and_whatever_is_refused_has_a_reason(
    data: bytes,
) -> None:
    found = outcome(data)

    if isinstance(found, list):
        assert repr(found[0]) == repr(json.loads(data.decode()))
        assert not is_twice_the_same(data)
        json.dumps(found[0], ensure_ascii=False, allow_nan=False).encode()  # no half of a pair, nothing infinite
    else:
        assert str(found)


@given(spoilt)
def test_what_the_standard_library_reads_is_refused_only_for_a_rule_of_ours(data: bytes) -> None:
    found = outcome(data)
    assume(isinstance(found, StrictJsonError))

    try:
        value = json.loads(data.decode())
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return
    assert is_twice_the_same(data)


@given(values, st.integers(min_value=0))
def test_a_refusal_never_quotes_what_it_refuses(value: Any, cut: int) -> None:
    data = json.dumps({SECRET: [value, SECRET]}).encode()
    found = outcome(data[: cut % len(data)] + b"\xff" * (cut % 2))

    assert isinstance(found, StrictJsonError)
    assert SECRET not in f"{found!r} {found.__cause__!r}"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff", "not UTF-8"),
        (b"\xed\xa0\x80", "not UTF-8"),
        ('"é"'.encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "makes no sense"),
        (b"", "makes no sense"),
        (b"{} {}", "makes no sense"),
        (b'{"a": NaN}', "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"1e400", "number is too large"),
        (b"-" + b"1" * 400 + b".0", "number is too large"),
        (b"1" * 4301, "too many digits"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "key twice"),
        (rb'{"a": 1, "\u0061": 1}', "key twice"),
        (rb'"\ud800"', "surrogate"),
        (rb'{"\uDFFF": 1}', "surrogate"),
        (rb'"\ude00\ud83d"', "surrogate"),
        (rb'"\ud83d\\\ude00"', "surrogate"),
        (b"[" * (MOST_DEPTH + 1) + b"]" * (MOST_DEPTH + 1), "levels deep"),
        (b'{"a":[' * 33 + b"]}" * 33, "levels deep"),
        (b"[" + b"[]," * MOST_CONTAINERS + b"[]]", "arrays and objects"),
    ],
)
def test_each_rule_names_itself(data: bytes, reason: str) -> None:
    with pytest.raises(StrictJsonError, match=reason):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * MOST_DEPTH + b"]" * MOST_DEPTH,
        b'["' + b"[" * 1000 + rb"\"" + b":" * 20_000 + b'"]',
        rb'"\ud83d\ude00"',
        rb'"\\ud800"',
        b"1" * 4300,
        b"1e308",
        b"[" + b",".join([b'{"a":"]"}'] * MOST_KEYS) + b"]",
    ],
)
def test_what_only_looks_like_too_much_is_accepted(data: bytes) -> None:
    assert decode(data) == json.loads(data)


def test_one_key_too_many_is_refused() -> None:
    with pytest.raises(StrictJsonError, match="keys"):
        decode(b"[" + b",".join([b'{"a":0}'] * (MOST_KEYS + 1)) + b"]")


@pytest.mark.parametrize(
    "unit",
    [
        *(b"[", b"{", b'{"a":', b"[],", b'"a":0,', b":", b" ", b"1", b"-", b"1.5,"),
        *(b'"', rb"\"", rb'"\"', b"\\", rb"\\", rb"\ud83d", rb'"\ud83d\ude00'),
    ],
)
@pytest.mark.parametrize("start", [b"", b"[", b'["', b'{"', b"1.", b"[" * 65 + b'"'])
def test_a_mebibyte_of_anything_takes_no_more_than_a_mebibyte_s_time(start: bytes, unit: bytes) -> None:
    data = start + unit * (MEBIBYTE // len(unit))

    began = time.process_time()
    outcome(data)

    assert time.process_time() - began < 1  # a quadratic step would take minutes
