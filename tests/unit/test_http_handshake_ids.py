"""`Mcp-Session-Id` proves by itself who issued it and for whom, and holds what must be known of the client."""

from __future__ import annotations

import string
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import InitializeRequestParams
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION

from workroot.core.sessions import Owner
from workroot.daemon_key import DaemonKey
from workroot.transports.http_handshake_ids import ClientFacts, SessionIds

if TYPE_CHECKING:
    from collections.abc import Mapping

ADA, EVE = Owner("uid:1000"), Owner("user:eve")
NOW = 1_700_000_000.125
KEY = DaemonKey(b"k" * 32)
VISIBLE = set(string.ascii_letters + string.digits + "_-")


def ids(key: DaemonKey = KEY, now: float = NOW) -> SessionIds:
    return SessionIds(key, lambda: now)


def facts(
    name: str = "Claude Code",
    version: str = "2.1.0",
    protocol: str = "2025-06-18",
    capabilities: Mapping[str, Any] | None = None,
) -> ClientFacts:
    client = {"name": name, "version": version}
    given = {"protocolVersion": protocol, "capabilities": capabilities or {}, "clientInfo": client}
    return ClientFacts.of(InitializeRequestParams.model_validate(given, by_name=False))


FULL = facts(capabilities={"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}})


@pytest.mark.parametrize(
    "said",
    [facts(), FULL, facts(capabilities={"roots": {}}), facts("", ""), facts("größe 🦀" * 40, "1" * 400)],
    ids=["nothing", "everything", "roots", "empty", "long"],
)
def test_an_id_holds_what_initialize_settled(said: ClientFacts) -> None:
    issued = ids().issue(ADA, said)

    read = ids().read(ADA, issued.text)

    assert read == replace(issued, is_from_now=False)
    assert read.facts == said
    assert ClientFacts.of(read.facts.params()) == said
    assert abs(read.issued_at - NOW) < 0.002
    assert len(issued.text) < 220
    assert set(issued.text) <= VISIBLE
    assert len(issued.alias) == 22


@pytest.mark.parametrize("wanted", [*HANDSHAKE_PROTOCOL_VERSIONS, "2026-07-28", "1999-01-01", ""])
def test_the_version_is_the_one_that_was_agreed_on(wanted: str) -> None:
    agreed = wanted if wanted in HANDSHAKE_PROTOCOL_VERSIONS else LATEST_HANDSHAKE_VERSION

    assert facts(protocol=wanted).protocol_version == agreed


def test_an_id_tells_whether_this_daemon_or_an_earlier_one_issued_it() -> None:
    earlier, here = ids(), ids()

    of_before, of_now = earlier.issue(ADA, FULL), here.issue(ADA, FULL)

    assert of_now.is_from_now
    assert here.read(ADA, of_now.text) == of_now
    assert here.read(ADA, of_before.text) == replace(of_before, is_from_now=False)


def test_no_two_ids_are_alike() -> None:
    issued = [ids().issue(ADA, FULL) for _ in range(100)]

    assert len({each.text for each in issued}) == len({each.alias for each in issued}) == 100


def test_an_id_is_nothing_to_another_owner_or_under_another_key() -> None:
    text = ids().issue(ADA, FULL).text

    assert ids().read(EVE, text) is None
    assert ids().read(Owner(ADA.principal, "tenant"), text) is None
    assert ids(DaemonKey(b"x" * 32)).read(ADA, text) is None


def test_no_character_can_be_changed_added_or_left_out() -> None:
    text = ids().issue(ADA, FULL).text
    changed = [text[:at] + each + text[at + 1 :] for at in range(len(text)) for each in "A_-=+/ z" if each != text[at]]
    changed += [text[:at] + text[at + 1 :] for at in range(len(text))]
    changed += [f"{text}A", f"{text}=", f" {text}", f"{text}\n", text.upper(), text * 2]

    assert [each for each in changed if ids().read(ADA, each) is not None] == []


@given(st.text(max_size=400))
def test_whatever_is_sent_is_an_id_or_none(text: str) -> None:
    assert ids().read(ADA, text) is None
    assert ids().read(ADA, f"wrh_{text}") is None


def test_the_keys_of_two_purposes_have_nothing_to_do_with_each_other() -> None:
    assert (
        len(
            {KEY.derive("one"), KEY.derive("two"), DaemonKey(b"x" * 32).derive("one"), DaemonKey.random().derive("one")}
        )
        == 4
    )
    assert len(KEY.derive("one")) == 32
