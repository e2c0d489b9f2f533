"""How much goes into one answer: 256 KiB, since a client that does not read leaves its answers to our memory."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MOST_ANSWER_BYTES", "count_that_fits", "size_of"]

MOST_ANSWER_BYTES = 256 * 1024
"""Longest line that an answer makes."""

_ROUND_IT_BYTES = 16 * 1024  # envelope, and where the call works: five paths at most


def size_of(content: object, *, is_text: bool = False) -> int:
    """Return how many bytes of an answer JSON content takes; with *is_text*, as JSON within a JSON string."""
    text = json.dumps(content, ensure_ascii=False)
    if is_text:
        text = json.dumps(text, ensure_ascii=False)
    return len(text.encode("utf-8", "surrogatepass"))


def count_that_fits(sizes: Iterable[int]) -> int:
    """Return how many of the first rows fit into one answer, given the size of each; at least one."""
    return max(1, sum(1 for size in accumulate(sizes) if size <= MOST_ANSWER_BYTES - _ROUND_IT_BYTES))
