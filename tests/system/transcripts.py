"""Examples of the documentation that say what somebody does and reads; here it is done for real.

A line that begins with `$` is a command in a terminal; `NAME starts in DIRECTORY`, `NAME opens DIRECTORY, ...` and
`NAME: tool(argument="value")` are what a client does; every other line belongs to the answer to the one before. What
nobody can know beforehand is made comparable: sessions are called by the order in which they were opened (`wr_1...`).
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp import Client
from real_daemon import DEADLINE_SECONDS, WORKROOT, Home, text_of

__all__ = ["AS_DEFAULT", "BECAME_DEFAULT", "BY_HANDLE", "Transcript", "comparable"]

_HOME = "/home/you"

_DOES = re.compile(
    r"\$ (?P<command>.+)"
    r"|(?P<starts>[\w-]+) starts in (?P<directory>\S+)(?: with (?P<options>.+))?"
    r"|(?P<opens>[\w-]+) opens (?P<folders>.+)"
    r"|(?P<calls>[\w-]+): (?P<tool>\w+)\((?P<arguments>.*)\)"
)
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")

AS_DEFAULT = "(this connection's default)"
"""How an answer names the session of a connection, in protocol 2025-11-25 and before."""

BECAME_DEFAULT = "this is now the default of your whole connection; agents that share it need their own session_id"
"""The note of the call that set it."""

BY_HANDLE = "(pass it as session_id on later calls)"
"""How every other answer names a session."""

_NO_SESSION = (
    "session: none; nothing was set yet on this connection",
    "session: none; the call names none, and its connection stands for none",
)
"""How `workroot why` says in either era that there is none."""

_SHOWN_OF_HANDLE = 11  # characters, by `workroot why`

_GIT = {"user.name": "You", "user.email": "you@example.org", "init.defaultBranch": "main"}


def comparable(text: str) -> str:
    """Return text without what nobody can know beforehand: times, and ids, which are numbered as they appear."""
    ids = list(dict.fromkeys(_ID.findall(text)))
    return _TIME.sub("<time>", _ID.sub(lambda found: f"<id {ids.index(found[0]) + 1}>", text))


@dataclass
class Transcript:
    """One example, done by real clients and commands in a home of its own.

    Attributes:
        era: of the protocol that the clients speak.
    """

    home: Home
    era: str
    _clients: dict[str, Client] = field(default_factory=dict)
    _folders: dict[str, list[str]] = field(default_factory=dict)
    _handles: dict[str, str] = field(default_factory=dict)

    async def play(self, text: str) -> str:
        """Do what *text* says, and return it with the answers that really came."""
        lines = [line for line in text.splitlines() if _DOES.fullmatch(line)]
        self._folders = {name: [] for line in lines if (name := _doing(line)["opens"])}
        played = []
        async with AsyncExitStack() as stack:
            for line in lines:
                answer = await self._answer(_doing(line), stack)
                played += [line, *self._as_documented(answer).splitlines()]
        return "\n".join(played) + "\n"

    async def _answer(self, doing: dict[str, Any], stack: AsyncExitStack) -> str:
        if doing["command"]:
            return self._run(doing["command"])
        if doing["starts"]:
            name, directory = doing["starts"], self._localized(doing["directory"])
            options = (doing["options"] or "").split()
            roots = (lambda: tuple(self._folders[name])) if name in self._folders else None
            client = self.home.open_client(self.era, Path(directory), *options, name=name, roots=roots)
            self._clients[name] = await stack.enter_async_context(client)
            return ""
        if doing["opens"]:
            folders = [Path(self._localized(folder)).as_uri() for folder in doing["folders"].split(", ")]
            self._folders[doing["opens"]][:] = folders
            return ""
        call = ast.parse(f"call({self._localized(doing['arguments'])})", mode="eval").body
        assert isinstance(call, ast.Call)
        arguments = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
        meta = arguments.pop("_meta", None)
        if (documented := arguments.get("session_id")) is not None:
            arguments["session_id"] = self._handles[documented]
        result = await self._clients[doing["calls"]].call_tool(doing["tool"], arguments, meta=meta)
        if doing["tool"] == "set_working_directory" and result.structured_content is not None:
            self._learn(result.structured_content["session_id"])
        return text_of(result)

    def _run(self, command: str) -> str:
        git = {
            f"GIT_CONFIG_{part}_{number}": text
            for number, pair in enumerate(_GIT.items())
            for part, text in zip(("KEY", "VALUE"), pair, strict=True)
        }
        home = self.home.environment["HOME"]
        ended = subprocess.run(
            ["/bin/sh", "-c", self._localized(command)],
            cwd=home,
            env={
                **self.home.environment,
                **git,
                "GIT_CONFIG_COUNT": str(len(_GIT)),
                "GIT_CONFIG_NOSYSTEM": "1",
                "PATH": f"{Path(WORKROOT).parent}:{os.environ['PATH']}",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        return ended.stdout

    def _learn(self, handle: str) -> None:
        if handle not in self._handles.values():
            self._handles[f"wr_{len(self._handles) + 1}..."] = handle

    def _localized(self, text: str) -> str:
        return text.replace(_HOME, self.home.environment["HOME"]).replace("~", self.home.environment["HOME"])

    def _as_documented(self, text: str) -> str:
        for name, handle in self._handles.items():
            text = text.replace(handle, name).replace(f"{handle[:_SHOWN_OF_HANDLE]}...", name)
        return _in_later_words(text.replace(self.home.environment["HOME"], _HOME))


def _in_later_words(text: str) -> str:
    """Return an answer of the handshake era as one of the modern era reads."""
    text = text.replace(f" Note: {BECAME_DEFAULT}; ", " Note: ").replace(f" Note: {BECAME_DEFAULT}", "")
    text = text.replace(f"; {BECAME_DEFAULT}", "")
    return text.replace(AS_DEFAULT, BY_HANDLE).replace(*_NO_SESSION)


def _doing(line: str) -> dict[str, Any]:
    match = _DOES.fullmatch(line)
    assert match is not None
    return match.groupdict()
