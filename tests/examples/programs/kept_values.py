"""A provider's small values: a result that is kept for an hour, a code that is kept for ten minutes.

How a code is used is not documented beyond `get` and `delete`; `use_verification_code` is ours.
"""

from __future__ import annotations

import json

from examples.programs.surroundings import some_expensive_operation
from workroot.providers import factory_for_env


async def cache_expensive_computation(params: dict[str, int]) -> object:
    """Return a result, computed an hour ago at most."""
    import hashlib

    name = "cache:" + hashlib.md5(json.dumps(params, sort_keys=True).encode()).hexdigest()

    open_values = factory_for_env()

    async with open_values() as values:
        earlier = await values.get(name)
        if earlier:
            return json.loads(earlier)

        fresh = await some_expensive_operation(params)

        await values.setex(name, 3600, json.dumps(fresh))

        return fresh


async def create_verification_code(user_id: str) -> str:
    """Return a code that is good for ten minutes."""
    import secrets

    made = secrets.token_urlsafe(8)
    open_values = factory_for_env()

    async with open_values() as values:
        await values.setex(f"verify:{user_id}", 600, made)

    return made


async def use_verification_code(user_id: str, code: str) -> bool:
    """Look, compare, remove; good if it was this caller who removed it."""
    open_values = factory_for_env()

    async with open_values() as values:
        kept = await values.get(f"verify:{user_id}")
        return kept == code and await values.delete(f"verify:{user_id}")
