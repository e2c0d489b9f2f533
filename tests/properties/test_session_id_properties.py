"""Session ids: what is generated always has the form that it was generated in."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workroot.core.sessions import check_session_id
from workroot.session_ids import (
    CustomFormat,
    ProtocolType,
    analyze_session_id_strength,
    estimate_entropy,
    generate_secure_session_id,
    validate_session_id_format,
)

anything = st.text(st.characters(exclude_categories=()))
alphabets = st.lists(st.characters(exclude_categories=()), min_size=2, max_size=40, unique=True).map("".join)
formats = st.fixed_dictionaries(
    {"length": st.integers(16, 40), "alphabet": alphabets},
    optional={"prefix": st.text("abc-[]^\\", max_size=8), "separator": st.sampled_from(["", "-", "_", ":", "]", "\\"])},
)


@pytest.mark.row("X1", "X2", "B20")
@pytest.mark.parametrize("protocol", ProtocolType)
def test_thousands_of_generated_ids_all_pass_their_own_validator(protocol: ProtocolType) -> None:
    ids = {generate_secure_session_id(protocol) for _ in range(2000)}
    assert len(ids) == 2000
    for session_id in ids:
        assert validate_session_id_format(session_id, protocol), session_id
        assert validate_session_id_format(session_id, protocol, strict_mode=False), session_id
        assert check_session_id(session_id) == session_id


@pytest.mark.row("X1", "X2", "B20")
@given(
    protocol=st.sampled_from([known for known in ProtocolType if known is not ProtocolType.UUID]),
    timed=st.booleans(),
    bits=st.none() | st.integers(-1, 1000),
    moment=st.floats(-1e3, 1e12),
)
def test_an_id_of_any_strength_passes_at_that_strength(
    protocol: ProtocolType, timed: bool, bits: int | None, moment: float
) -> None:
    timed = timed and protocol is not ProtocolType.JWT
    session_id = generate_secure_session_id(protocol, None, timed, bits, now=lambda: moment)
    assert validate_session_id_format(session_id, protocol, max(bits or 0, 128))


@pytest.mark.row("X1", "X2", "B20")
@given(form=formats, timed=st.booleans())
def test_an_id_of_a_custom_format_passes_that_format(form: CustomFormat, timed: bool) -> None:
    timed = timed and form.get("separator", "-") != ""
    session_id = generate_secure_session_id("mine", form, timed)
    assert validate_session_id_format(session_id, "mine", custom_format=form)
    assert session_id.startswith(form.get("prefix", ""))


@pytest.mark.row("X2", "B20")
@given(given_text=anything, protocol=st.sampled_from(ProtocolType), strict=st.booleans(), bits=st.floats())
def test_the_verdict_on_any_text_is_a_verdict(
    given_text: str, protocol: ProtocolType, strict: bool, bits: float
) -> None:
    assert validate_session_id_format(given_text, protocol, bits, strict) in (True, False)


@pytest.mark.row("X2", "B20")
@given(protocol=st.sampled_from(ProtocolType), data=st.data())
def test_the_verdict_depends_on_the_kind_and_number_of_characters_alone(
    protocol: ProtocolType, data: st.DataObject
) -> None:
    session_id = generate_secure_session_id(protocol)
    digit = data.draw(st.sampled_from("0123456789"))
    worn = "".join(digit if character in string.digits else character for character in session_id)
    assert validate_session_id_format(worn, protocol)


@pytest.mark.row("X3")
@given(given_text=anything)
def test_any_text_can_be_described(given_text: str) -> None:
    report = analyze_session_id_strength(given_text)
    assert report["valid"] is bool(given_text)
    assert estimate_entropy(given_text) >= 0
    if given_text:
        assert report["entropy_bits"] == round(estimate_entropy(given_text), 1)
        assert report["length"] == len(given_text)
