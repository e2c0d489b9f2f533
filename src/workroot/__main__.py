"""`python -I -m workroot`: the connector before anything else is imported, the command line otherwise."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the program that the arguments name and return its exit status."""
    if sys.argv[1:2] == ["connect"] and not {"-h", "--help"} & set(sys.argv[2:]):
        from workroot.connector import main as connect

        return connect(sys.argv[2:])
    from workroot.cli import main as command_line

    return command_line()


if __name__ == "__main__":
    sys.exit(main())
