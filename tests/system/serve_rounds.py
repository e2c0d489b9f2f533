"""Runs the daemon again and again within one process, and prints what that process held after each round.

A program of the tests: `serve_rounds.py ROUNDS`, with the environment of a home.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading

from workroot import rendezvous
from workroot.control_client import open_control
from workroot.daemon import serve
from workroot.settings import load_settings


def visit_and_end(ready: int) -> None:
    """Wait for the daemon, ask it something, and tell it to end."""
    with os.fdopen(ready, "rb") as said:
        assert said.readline() == b"ready\n"
    with open_control(rendezvous.socket_path(rendezvous.state_directory())) as client:
        client.ask("status")
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    held = []
    for _ in range(int(sys.argv[1])):
        ready, saying = os.pipe()
        visitor = threading.Thread(target=visit_and_end, args=(ready,))
        visitor.start()
        serve(load_settings(), ready_fd=saying)
        visitor.join()
        gc.collect()  # what closes its descriptor when it is forgotten may be part of a circle
        threads = sorted(thread.name for thread in threading.enumerate())
        held.append({"descriptors": len(os.listdir("/dev/fd")), "threads": threads})
    print(json.dumps(held))


if __name__ == "__main__":
    main()
