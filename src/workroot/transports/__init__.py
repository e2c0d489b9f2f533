"""Bytes become calls: each transport knows who is at the other end, and attaches that to every message."""
