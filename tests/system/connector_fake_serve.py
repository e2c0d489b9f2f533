"""A daemon as a process of its own, for connectors to start: `connector_fake_serve.py BEHAVIOUR READY_FD`.

It notes each start in `starts` below the state directory, one JSON object a line, and in the pipe `started` if
there is one. `serve`: answers each request with its pid, one daemon at a time. `fail`: writes to standard error
and leaves. `silent`: leaves without a word. `killed-twice`: serves at the third start. `ready-and-killed`: so, and said
before that it was ready. `mute`: never gets ready, and leaves when nobody waits for that.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from workroot import __version__, rendezvous


def note_start(state: str) -> None:
    facts = {
        "pid": os.getpid(),
        "cwd": os.getcwd(),
        "session": os.getsid(0),
        "umask": os.umask(0o077),
        "parent": os.getppid(),
        "environment": dict(os.environ),
        "descriptors": sorted(int(name) for name in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{name}")),
        "path": sys.path,
        "isolated": sys.flags.isolated,
        "streams": [os.path.realpath(f"/proc/self/fd/{number}") for number in range(3)],
    }
    with open(os.path.join(state, "starts"), "a+") as starts:
        fcntl.flock(starts, fcntl.LOCK_EX)
        starts.write(json.dumps(facts) + "\n")
        starts.flush()
    with suppress(FileNotFoundError), open(os.path.join(state, "started"), "r+b", buffering=0) as started:
        started.write(b"x")


def serve(state: str, ready: int) -> None:
    path = rendezvous.socket_path(state)
    lock = os.open(rendezvous.instance_lock_path(state), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    os.write(ready, rendezvous.READY_WORD)
    os.close(ready)
    greeted: dict[socket.socket, bytes] = {}
    while True:
        for peer in select.select([listener, *greeted], [], [])[0]:
            if peer is listener:
                accepted, _ = listener.accept()
                accepted.sendall(rendezvous.hello_line(version=__version__, boot=str(os.getpid()), pid=os.getpid()))
                greeted[accepted] = b""
            elif piece := peer.recv(1 << 16):
                *lines, greeted[peer] = (greeted[peer] + piece).split(b"\n")
                for fields in map(json.loads, lines):
                    if "id" in fields:
                        result = {"pid": os.getpid()}
                        peer.sendall(
                            json.dumps({"jsonrpc": "2.0", "id": fields["id"], "result": result}).encode() + b"\n"
                        )
            else:
                del greeted[peer]
                peer.close()


def main(behaviour: str, ready: int) -> None:
    state = rendezvous.state_directory()
    note_start(state)
    if behaviour == "fail":
        sys.stderr.write("Traceback (most recent call last):\nSettingsError: config.toml is\tbroken\n\n")
    elif behaviour == "mute":
        nobody_waits = select.poll()
        nobody_waits.register(ready, 0)
        nobody_waits.poll()
    elif behaviour == "killed-twice" and len(Path(state, "starts").read_text().splitlines()) <= 2:
        os.kill(os.getpid(), signal.SIGKILL)
    elif behaviour == "ready-and-killed" and len(Path(state, "starts").read_text().splitlines()) <= 2:
        os.write(ready, rendezvous.READY_WORD)
        os.kill(os.getpid(), signal.SIGKILL)
    elif behaviour != "silent":
        serve(state, ready)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
