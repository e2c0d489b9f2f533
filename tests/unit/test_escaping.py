from __future__ import annotations

import pytest

from workroot.escaping import escaped


@pytest.mark.parametrize("text", ["", "plain", "Zürich/日本語/🙂", r"back\slash", "[bold]x[/bold]", "no\u00a0break"])
def test_text_that_harms_nobody_is_left_as_it_is(text: str) -> None:
    assert escaped(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\r\n", r"two\nlines\r\n"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\udcff", r"\udcff"),
        ("\U000e0041", r"\U000e0041"),
        ("nul\0", r"nul\x00"),
    ],
)
def test_what_could_break_out_of_a_line_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_an_escape_cannot_be_forged() -> None:
    assert escaped("\\n\n") == r"\\n\n"
