"""Small values with a time to live: codes that are valid once, caches, counters of a window.

`factory_for_env` and `get_session` find the provider that the environment names; `Provider` is what each promises.
"""

from __future__ import annotations

from workroot.providers.choosing import factory_for_env, get_session
from workroot.providers.contract import Provider, ProviderFactory

__all__ = ["Provider", "ProviderFactory", "factory_for_env", "get_session"]
