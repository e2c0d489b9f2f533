"""Session ids: their forms, and how they are described to people."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from workroot.core.sessions import mint_session_id
from workroot.errors import IdFormatError, WorkrootError
from workroot.session_ids import (
    LONGEST_ID,
    CustomFormat,
    ProtocolType,
    analyze_session_id_strength,
    estimate_entropy,
    generate_secure_session_id,
    validate_session_id_format,
)


@pytest.mark.row("X1")
@pytest.mark.parametrize(
    ("protocol", "form"),
    [
        ("generic", r"sess-[A-Za-z0-9]{44}"),
        ("mcp", r"mcp-[A-Za-z0-9._-]{36}"),
        ("http", r"http-[A-Za-z0-9_-]{32}"),
        ("websocket", r"ws-[A-Za-z0-9_-]{32}"),
        ("api_key", r"ak_[0-9a-f]{40}"),
        ("temp_token", r"tmp_[A-Za-z0-9]{22}"),
        ("jwt", r"[A-Za-z0-9][A-Za-z0-9_-]{29}"),
        ("uuid", r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
    ],
)
def test_each_protocol_has_its_form_and_length(protocol: str, form: str) -> None:
    assert re.fullmatch(form, generate_secure_session_id(protocol))


def test_an_id_is_generic_unless_it_is_said() -> None:
    assert generate_secure_session_id().startswith("sess-")


@pytest.mark.row("X1")
def test_an_unknown_protocol_is_an_error_that_lists_the_names() -> None:
    for ask in (generate_secure_session_id, lambda name: validate_session_id_format("x" * 40, name)):
        with pytest.raises(ValueError, match="generic, mcp, http, websocket, jwt, uuid, api_key, temp_token") as caught:
            ask("gopher")
        assert isinstance(caught.value, IdFormatError)
        assert isinstance(caught.value, WorkrootError)


@pytest.mark.row("X1")
def test_a_timestamp_stands_before_the_random_characters() -> None:
    session_id = generate_secure_session_id("http", include_timestamp=True, now=lambda: 0x67890ABC)
    assert re.fullmatch(r"http-67890abc-[A-Za-z0-9_-]{32}", session_id)


@pytest.mark.row("X1")
@pytest.mark.parametrize(("bits", "length"), [(None, 40), (1, 40), (128, 40), (160, 40), (161, 41), (512, 128)])
def test_more_bits_make_a_longer_id_and_fewer_than_128_do_not_make_a_shorter_one(bits: int | None, length: int) -> None:
    session_id = generate_secure_session_id("api_key", entropy_bits=bits)
    assert len(session_id.removeprefix("ak_")) == length


@pytest.mark.row("X1")
def test_a_short_custom_format_gets_the_characters_it_needs_for_128_bits() -> None:
    form: CustomFormat = {"length": 20, "alphabet": "01", "prefix": "bits", "separator": ":"}
    assert re.fullmatch(r"bits:[01]{128}", generate_secure_session_id("mine", form))


@pytest.mark.row("X1")
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"length": 15, "alphabet": "0123456789abcdef"},
        {"length": 32, "alphabet": "0"},
        {"length": 32, "alphabet": "00123"},
        {"length": LONGEST_ID + 1, "alphabet": "0123456789abcdef"},
    ],
)
def test_a_custom_format_that_cannot_be_strong_is_an_error(form: CustomFormat) -> None:
    with pytest.raises(IdFormatError):
        generate_secure_session_id("mine", form)


@pytest.mark.row("X1")
def test_what_a_form_has_no_room_for_is_an_error() -> None:
    with pytest.raises(IdFormatError, match="122"):
        generate_secure_session_id("uuid", entropy_bits=128)
    with pytest.raises(IdFormatError, match="uuid"):
        generate_secure_session_id("uuid", include_timestamp=True)
    with pytest.raises(IdFormatError, match="timestamp"):
        generate_secure_session_id("jwt", include_timestamp=True)
    with pytest.raises(IdFormatError, match=str(LONGEST_ID)):
        generate_secure_session_id("api_key", entropy_bits=4 * LONGEST_ID)


@pytest.mark.parametrize(
    "form",
    [
        {"length": "x", "alphabet": "ab"},
        {"length": 20.5, "alphabet": "ab"},
        {"length": 16, "alphabet": 5},
        {"length": 16, "alphabet": "ab", "prefix": None},
        {"length": 16, "alphabet": "ab", "separator": 1},
        "abc",
    ],
)
def test_a_custom_format_of_wrong_types_is_no_format(form: Any) -> None:
    with pytest.raises(IdFormatError, match="custom format"):
        generate_secure_session_id("x", form)
    with pytest.raises(IdFormatError, match="custom format"):
        validate_session_id_format("x" * 40, "x", custom_format=form)


def test_bits_that_are_no_number_are_refused() -> None:
    with pytest.raises(IdFormatError, match="bits"):
        generate_secure_session_id(entropy_bits="many")  # type: ignore[arg-type]  # what a caller without types may pass


def test_few_bits_asked_of_a_custom_format_do_not_make_it_weaker() -> None:
    assert len(generate_secure_session_id("x", {"length": 16, "alphabet": "ab"}, entropy_bits=1)) >= 128


def test_a_uuid_has_no_room_for_more_bits_than_it_has() -> None:
    made = generate_secure_session_id("uuid")
    assert [validate_session_id_format(made, "uuid", bits) for bits in (128, 129)] == [True, False]


@pytest.mark.parametrize("longest", [10**12, 10**300])
def test_an_id_that_would_be_too_long_is_not_made_first(longest: int) -> None:
    with pytest.raises(IdFormatError, match="is the most"):
        generate_secure_session_id(entropy_bits=longest)
    with pytest.raises(IdFormatError, match="is the most"):
        generate_secure_session_id("x", {"length": longest, "alphabet": "ab"})


@pytest.mark.parametrize(("bits", "passes"), [(float("-inf"), True), (-1, True), (float("inf"), False)])
def test_any_number_of_bits_may_be_asked_of_an_id(bits: float, passes: bool) -> None:
    assert validate_session_id_format("a" * 44, min_entropy_bits=bits) is passes


@pytest.mark.row("X2")
@pytest.mark.parametrize(
    ("session_id", "protocol", "strict", "loose"),
    [
        ("mcp-a1b2c3d4-e5f6-7890-abcd-ef1234567890", "mcp", True, True),
        ("!visible~ascii{is}allowed|by,the;spec", "mcp", False, True),
        ("mcp-with a space in it, which is not visible", "mcp", False, False),
        ("mcp-with-a-letter-beyond-ascii-é-in-it-somewhere", "mcp", False, False),
        ("http-" + "a" * 32, "http", True, True),
        ("a" * 32, "http", False, True),
        ("http-" + "a" * 21, "http", False, False),
        ("ws-" + "a" * 32, "websocket", True, True),
        ("http-" + "a" * 32, "websocket", False, True),
        ("ak_" + "0" * 40, "api_key", True, True),
        ("ak_" + "0" * 31, "api_key", False, True),
        ("ak_" + "G" * 40, "api_key", False, True),
        ("tmp_" + "a" * 22, "temp_token", True, True),
        ("tmp_" + "a" * 21, "temp_token", False, False),
        (str(uuid.UUID(int=1)), "uuid", True, True),
        (str(uuid.UUID(int=1)).replace("-", ""), "uuid", False, False),
        ("sess-" + "a" * 22, "generic", True, True),
        ("sess-" + "a" * 21, "generic", False, False),
        ("weak123", "generic", False, False),
        ("custom-session", "generic", False, False),
        ("", "generic", False, False),
        ("a" * (LONGEST_ID + 1), "generic", False, False),
        ("../../etc/passwd/and/then/some/more", "generic", False, False),
        ("sess-" + "a" * 44 + "\n", "generic", False, False),
        (None, "generic", False, False),
        (b"sess-" + b"a" * 44, "generic", False, False),
    ],
)
def test_characters_and_length_decide(session_id: object, protocol: str, strict: bool, loose: bool) -> None:
    assert validate_session_id_format(session_id, protocol) is strict
    assert validate_session_id_format(session_id, protocol, strict_mode=False) is loose


@pytest.mark.row("X2")
def test_the_bits_that_are_asked_for_are_asked_of_the_length() -> None:
    key = "ak_" + "0" * 40
    assert validate_session_id_format(key, "api_key", 160)
    assert not validate_session_id_format(key, "api_key", 161)
    for bits in (float("inf"), float("nan"), 1e300):
        assert not validate_session_id_format(key, "api_key", bits)
    assert validate_session_id_format("ak_" + "0" * 13, "api_key", 0)
    assert not validate_session_id_format("ak_" + "0" * 12, "api_key", 0), "sixteen characters are the least"


def test_a_handle_of_a_session_is_a_generic_id() -> None:
    assert all(validate_session_id_format(mint_session_id()) for _ in range(300))


@pytest.mark.row("X3")
@pytest.mark.parametrize(
    ("session_id", "strength", "patterns"),
    [
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479", "strong", []),
        ("tmp_6tkYxAWxR6waxRBJRt6a30", "strong", []),
        ("weak123", "very_weak", ["low_character_diversity"]),
        ("a" * 40, "very_weak", ["sequential_characters", "low_character_diversity"]),
        ("0123456789" * 4, "very_weak", ["sequential_characters", "keyboard_pattern"]),
        ("qwerty-asdf-zxcv-9f", "weak", ["keyboard_pattern"]),
    ],
)
def test_an_id_is_described_to_people(session_id: str, strength: str, patterns: list[str]) -> None:
    report = analyze_session_id_strength(session_id)
    assert (report["valid"], report["strength"], report["patterns_detected"]) == (True, strength, patterns)
    assert bool(report["recommendations"]) is (strength != "strong")
    assert report["unique_characters"] == len(set(session_id))
    assert set(report["protocol_compliance"]) == {"mcp", "http", "websocket", "uuid"}


@pytest.mark.row("X3")
@pytest.mark.parametrize("nothing", ["", None, 7])
def test_what_is_no_id_is_described_as_that(nothing: object) -> None:
    report = analyze_session_id_strength(nothing)
    assert report["valid"] is False
    assert report["error"]


@pytest.mark.row("X3")
@pytest.mark.parametrize(
    ("session_id", "bits"),
    [
        ("", 0),
        ("sess-", 0),
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479", 122),
        ("ak_d632ecf380989884674cb19a4fdb558618fdcb2c", 160),
        ("aaaaaaaaaaaaaaaa", 0),
        ("abababababababab", 16),
        ("tmp_6tkYxAWxR6waxRBJRt6a30", 130.99),
    ],
)
def test_entropy_is_estimated_from_the_kinds_of_characters(session_id: str, bits: float) -> None:
    assert estimate_entropy(session_id) == pytest.approx(bits, abs=0.01)


@pytest.mark.row("X1")
def test_every_protocol_has_a_name() -> None:
    assert [str(protocol) for protocol in ProtocolType] == [
        *("generic", "mcp", "http", "websocket", "jwt", "uuid", "api_key", "temp_token")
    ]
