"""Adapters of `SessionStore`: each keeps the same promises, and one contract suite holds all of them to it."""
