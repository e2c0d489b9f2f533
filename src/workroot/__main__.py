"""`python -I -m workroot`: the connector before anything else is imported, the command line otherwise."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the program that the arguments name and return its exit status."""
    if sys.platform == "win32":
        sys.stderr.write("workroot runs on Linux, macOS and WSL2; on Windows, install and start it within WSL2\n")
        return 2
    if sys.argv[1:2] == ["connect"] and not {"-h", "--help"} & set(sys.argv[2:]):
        from workroot.connector import main as connect

        return connect(sys.argv[2:])
    from workroot.cli import main as command_line

    return command_line()


if __name__ == "__main__":
    sys.exit(main())
