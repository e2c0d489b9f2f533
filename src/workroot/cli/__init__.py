"""The command line: thin. It parses, asks the daemon or the core, prints, and ends with an exit code.

Nothing is imported here, so that a look at the exit codes does not cost a start of click.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> int:
    """Run the command that the arguments name; return its exit code."""
    from workroot.cli.program import run

    return run()
