"""One directory, several spellings: file systems that fold case, or take composed letters for decomposed ones.

Which spelling is the right one says the directory's own list of names, nobody's idea of folding: here is only
which other spellings are worth a try, and which entry of a list a spelling stands for.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["folded", "other_spellings", "spelling_in"]


def folded(name: str) -> str:
    """Return what all spellings of a name have in common, where case and composition do not count."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def other_spellings(name: str) -> tuple[str, ...]:
    """Return one more spelling for each way in which a file system may fold this name; () if none can."""
    if name.isascii():
        swapped = name.swapcase()
        return (swapped,) if swapped != name else ()
    in_ascii = "".join(letter.swapcase() if letter.isascii() else letter for letter in name)
    swapped = in_ascii if in_ascii != name else name.swapcase()
    composed = unicodedata.normalize("NFC", name)
    other = unicodedata.normalize("NFD", name) if composed == name else composed
    return tuple(spelling for spelling in (swapped, other) if spelling != name)


def spelling_in(entries: Collection[str], name: str) -> str | None:
    """Return which of a directory's entries *name* stands for; None if none or several may be meant."""
    if name in entries:
        return name
    wanted = folded(name)
    alike = [entry for entry in entries if folded(entry) == wanted]
    return alike[0] if len(alike) == 1 else None
