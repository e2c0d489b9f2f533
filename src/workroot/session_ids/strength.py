"""How strong a session id looks to somebody who debugs: an estimate from one sample, which nothing decides by.

An estimate can only be too high: a text that looks random may be somebody's birthday in base 64.
"""

from __future__ import annotations

import math
import re
import string
from itertools import pairwise
from typing import Final, Literal, TypedDict

from workroot.session_ids.forms import LEAST_BITS, ProtocolType, validate_session_id_format

__all__ = ["StrengthReport", "analyze_session_id_strength", "estimate_entropy"]

_STRONG_BITS = 112  # NIST SP 800-131A: less is not approved; a UUID has 122
_PREFIX = re.compile(r"[a-z]{1,8}[-_]")
_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_UUID4_FIXED_BITS = 6
_FEW_CHARACTERS = 8
_LONG_RUN = 4  # three in a row are common among hexadecimal digits
_CLASSES: Final = (string.ascii_lowercase, string.ascii_uppercase, string.digits, string.punctuation)
_KEYBOARD: Final = ("qwerty", "qwertz", "azerty", "asdf", "zxcv", "yxcv", "12345", "abcdef")


class StrengthReport(TypedDict, total=False):
    """What can be said of an id.

    Attributes:
        valid: it is text and not empty; else only *error* is there too.
        error: why nothing can be said.
        length: in characters.
        entropy_bits: as `estimate_entropy` has it.
        strength: from 112 bits on strong, 80 moderate, 40 weak, below very weak.
        character_diversity: different characters, divided by all.
        unique_characters: how many are different.
        patterns_detected: what a random id would hardly show.
        protocol_compliance: for some protocols, whether their own rule allows it.
        recommendations: what to do about it, in words.
        charset_estimate: of how many characters the alphabet seems to be.
    """

    valid: bool
    error: str
    length: int
    entropy_bits: float
    strength: Literal["strong", "moderate", "weak", "very_weak"]
    character_diversity: float
    unique_characters: int
    patterns_detected: list[str]
    protocol_compliance: dict[str, bool]
    recommendations: list[str]
    charset_estimate: int


def estimate_entropy(session_id: str) -> float:
    """Return how many random bits *session_id* could hold, if it was made from the kinds of characters in it.

    A prefix and separators count nothing, nor do characters that continue a run (`aaaa`, `1234`, `dcba`); where few
    different characters are used, they are taken for the whole alphabet.
    """
    random = _random_part(session_id)
    if not random:
        return 0.0
    fixed = _UUID4_FIXED_BITS if _UUID4.search(session_id) else 0
    counted = len(random) - _in_runs(random)
    return max(0.0, counted * math.log2(max(1, _alphabet_size(random))) - fixed)


def analyze_session_id_strength(session_id: object) -> StrengthReport:
    """Return what can be said of an id: for people who look for a mistake, not for a program that lets somebody in."""
    if not isinstance(session_id, str) or not session_id:
        return {"valid": False, "error": "an id is text and has at least one character"}
    bits = estimate_entropy(session_id)
    different = len(set(session_id))
    patterns = _patterns(session_id)
    advice = []
    if bits < _STRONG_BITS:
        advice.append(f"use ids of {LEAST_BITS} random bits, as generate_secure_session_id makes them")
    if patterns:
        advice.append("take the characters from `secrets`, not from words, counters or keys side by side")
    return {
        "valid": True,
        "length": len(session_id),
        "entropy_bits": round(bits, 1),
        "strength": _strength(bits),
        "character_diversity": round(different / len(session_id), 2),
        "unique_characters": different,
        "patterns_detected": patterns,
        "protocol_compliance": {
            str(protocol): validate_session_id_format(session_id, protocol, strict_mode=False)
            for protocol in (ProtocolType.MCP, ProtocolType.HTTP, ProtocolType.WEBSOCKET, ProtocolType.UUID)
        },
        "recommendations": advice,
        "charset_estimate": _alphabet_size(_random_part(session_id)),
    }


def _random_part(session_id: str) -> str:
    body = session_id if _UUID4.fullmatch(session_id) else _PREFIX.sub("", session_id, count=1)
    return re.sub(r"[-_.]", "", body)


def _alphabet_size(text: str) -> int:
    different = set(text)
    if len(different) < min(_FEW_CHARACTERS, len(text)):
        return len(different)
    if different <= set("0123456789abcdef") or different <= set("0123456789ABCDEF"):
        return 16
    size = sum(len(kind) for kind in _CLASSES if different & set(kind))
    return size + len(different - set(string.printable))


def _in_runs(text: str) -> int:
    """Return how many characters only continue a run of at least four that are equal or count up or down."""
    found, length, last_step = 0, 1, None
    for before, character in pairwise(text):
        step = ord(character) - ord(before)
        length = length + 1 if step in (-1, 0, 1) and step == last_step else 2 if step in (-1, 0, 1) else 1
        last_step = step
        if length == _LONG_RUN:
            found += _LONG_RUN - 1
        elif length > _LONG_RUN:
            found += 1
    return found


def _patterns(session_id: str) -> list[str]:
    random = _random_part(session_id)
    found = []
    if _in_runs(random):
        found.append("sequential_characters")
    if any(keys in session_id.lower() for keys in _KEYBOARD):
        found.append("keyboard_pattern")
    if len(set(session_id)) < _FEW_CHARACTERS:
        found.append("low_character_diversity")
    return found


def _strength(bits: float) -> Literal["strong", "moderate", "weak", "very_weak"]:
    if bits >= _STRONG_BITS:
        return "strong"
    return "moderate" if bits >= 80 else "weak" if bits >= 40 else "very_weak"
