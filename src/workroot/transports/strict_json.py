"""JSON as both transports and both protocol eras accept it, so that no two parts read one text differently.

Strict UTF-8 and strict RFC 8259, and less than that where parsers disagree or where cost hides: no key twice in an
object, no half of a surrogate pair, no number too large for its type, bounded depth and numbers of keys and of
containers. Time grows with the length of the text, whatever it holds, and no refusal quotes it.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Final, NoReturn

__all__ = ["MOST_CONTAINERS", "MOST_DEPTH", "MOST_KEYS", "StrictJsonError", "decode"]

MOST_DEPTH: Final = 64
"""How deep arrays and objects may lie in each other."""

MOST_KEYS: Final = 10_000
"""How many keys the objects of one text may have, all together."""

MOST_CONTAINERS: Final = 50_000
"""How many arrays and objects one text may have: 1 MiB of brackets alone would take a fifth of a second."""

_STRUCTURE = b'[]{}:"'
_NOT_STRUCTURE = bytes(set(range(256)) - set(_STRUCTURE))
_STEPS = tuple({"[": 1, "{": 1, "]": -1, "}": -1}.get(chr(byte), 0) for byte in range(256))
_HALF_OF_A_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)


class StrictJsonError(ValueError):
    """A text is not strict JSON; the message says what is wrong with it, and holds nothing of it."""


def decode(data: bytes | bytearray) -> object:
    """Return what a text of strict JSON holds.

    Args:
        data: the whole text, in UTF-8 without a byte order mark; the caller bounds its length.

    Raises:
        StrictJsonError: it is not UTF-8 or not JSON; or it nests deeper than 64, has more than 10,000 keys or 50,000
            arrays and objects, a key twice in one object, half of a surrogate pair (in a key too), a number too
            large for a float, or an integer of more digits than Python reads (4,300, unless the program set another
            limit).
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise StrictJsonError(f"byte {error.start} is not UTF-8") from None
    # Counting is much cheaper than looking: an ordinary message is done with it.
    if data.count(b"[") + data.count(b"{") > MOST_DEPTH or data.count(b":") > MOST_KEYS:
        _check_structure(data)
    if b"\\u" in data and _HALF_OF_A_PAIR.search(data.replace(rb"\\", b"__")):
        raise StrictJsonError("a string holds half of a surrogate pair")
    try:
        value: object = _DECODER.decode(text)
    except StrictJsonError:
        raise
    except json.JSONDecodeError as error:
        raise StrictJsonError(f"it makes no sense at character {error.pos}") from None
    except ValueError:  # of int() alone
        raise StrictJsonError("an integer has too many digits") from None
    except RecursionError:  # the caller's own stack is nearly full
        raise StrictJsonError("nested too deeply") from None
    return value


def _check_structure(data: bytes | bytearray) -> None:
    """Refuse a text that nests too deeply or has too many keys.

    It need not be JSON: up to where it stops being that, what is seen here is what the parser will see.
    """
    if b"\\" in data:
        data = data.replace(rb"\\", b"").replace(rb"\"", b"")
    marks = b"".join(data.translate(None, _NOT_STRUCTURE).split(b'"')[::2])  # every other part lies in a string
    if marks.count(b":") > MOST_KEYS:
        raise StrictJsonError(f"more than {MOST_KEYS} keys")
    if marks.count(b"[") + marks.count(b"{") > MOST_CONTAINERS:
        raise StrictJsonError(f"more than {MOST_CONTAINERS} arrays and objects")
    if any(map(MOST_DEPTH.__lt__, accumulate(map(_STEPS.__getitem__, marks)))):
        raise StrictJsonError(f"nested more than {MOST_DEPTH} levels deep")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise StrictJsonError("an object has a key twice")
    return found


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise StrictJsonError("a number is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise StrictJsonError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_refuse_constant)
