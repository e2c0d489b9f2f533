"""Small values, the shortest program: runs when it is executed, as documented."""

from __future__ import annotations

import asyncio

from workroot.providers import factory_for_env


async def basic_usage() -> None:
    open_values = factory_for_env()

    async with open_values() as values:
        await values.setex("user:7", 300, "ada")

        name = await values.get("user:7")
        print(f"kept: {name}")

        await values.delete("user:7")


asyncio.run(basic_usage())
