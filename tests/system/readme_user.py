"""A user who follows the README: a home of their own, the installed command, and real MCP clients."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client.session import MessageHandlerFnT
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Implementation, ListRootsResult, Root
from platformdirs import user_cache_dir
from pydantic import FileUrl
from readme_document import ROOT, find
from real_daemon import end_processes_with

HOME_IN_README = "/home/you"
MODERN, HANDSHAKE = "2026-07-28", "legacy"
SHOP_ID = "5b2f3f6e-8f0e-4a51-9d0c-3f7c1c0a9b11"
DEADLINE_SECONDS = 60

Answer = dict[str, Any]


@dataclass
class User:
    """Somebody with a home; the path is short, so that the socket lies where the README says."""

    home: Path
    _serving: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    @contextmanager
    def somebody(cls, installation: Path | None = None) -> Iterator[Self]:
        """Make a user, with the command of *installation*; at the end their daemon is stopped and the home removed."""
        with tempfile.TemporaryDirectory(prefix="readme-", dir="/tmp") as home:
            user = cls(Path(home).resolve())
            (user.home / "bin").mkdir()
            (user.home / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
            if installation is not None:
                user.command.parent.mkdir(parents=True)
                user.command.symlink_to(installation)
            try:
                yield user
            finally:
                if user.command.exists():
                    user.run("stop")
                for daemon in user._serving:
                    daemon.wait(DEADLINE_SECONDS)
                end_processes_with(f"HOME={user.home}")

    @property
    def command(self) -> Path:
        """The command, as editors get it."""
        return self.home / ".local" / "bin" / "workroot"

    @property
    def state(self) -> Path:
        """The state directory."""
        relative = "Library/Application Support" if sys.platform == "darwin" else ".local/state"
        return self.home / relative / "workroot"

    @property
    def environment(self) -> dict[str, str]:
        """What the least generous clients pass on."""
        return {"HOME": str(self.home), "PATH": f"{self.command.parent}:{self.home / 'bin'}:/usr/bin:/bin"}

    def run(
        self, *arguments: str, directory: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `workroot` to its end."""
        return subprocess.run(
            [self.command, *arguments],
            cwd=directory or self.home,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    def json(self, *arguments: str, directory: Path | None = None, **environment: str) -> Answer:
        """Run `workroot ... --json` and return the document."""
        ended = self.run(*arguments, "--json", directory=directory, **environment)
        assert ended.returncode == 0, ended.stderr
        answer: Answer = json.loads(ended.stdout)
        return answer

    def shell(self, script: str, *, directory: Path | None = None, **environment: str) -> str:
        """Run lines of the README in a shell and return what they print; each of them has to succeed."""
        ended = subprocess.run(
            ["/bin/sh", "-e", "-c", self.localized(script)],
            cwd=directory or self.home,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def localized(self, text: str) -> str:
        """Return text of the README with this user's home in it."""
        return text.replace(HOME_IN_README, str(self.home))

    @property
    def shop(self) -> Path:
        """The project of the README's examples, once `project` has made it."""
        return self.home / "code" / "shop"

    def directory(self, name: str) -> Path:
        """Make a directory below the home."""
        made = self.home / name
        made.mkdir(parents=True, exist_ok=True)
        return made

    def project(self, name: str = "shop", **fields: object) -> Path:
        """Make a project with a config; *fields* are added to it."""
        made = self.directory(f"code/{name}")
        (made / ".workroot").mkdir()
        project = {"name": name.title(), **({"id": SHOP_ID} if name == "shop" else {})}
        (made / ".workroot" / "config.json").write_text(json.dumps({"version": "1.0", "project": project, **fields}))
        return made

    def serve(self, **environment: str) -> None:
        """Run `workroot serve` and return when it is ready; `workroot stop` ends it."""
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb") as ready:
            daemon = subprocess.Popen(
                [self.command, "serve", "--ready-fd", str(write_end)],
                cwd=self.home,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[write_end],
            )
            os.close(write_end)
            self._serving.append(daemon)
            assert ready.readline() == b"ready\n"

    @asynccontextmanager
    async def client(
        self,
        directory: Path,
        *arguments: str,
        command: str | None = None,
        era: str = MODERN,
        roots: Sequence[Path] | None = None,
        name: str = "somebody's editor",
        environment: Mapping[str, str] | None = None,
        heard: MessageHandlerFnT | None = None,
    ) -> AsyncIterator[Client]:
        """Be a client that starts its server in *directory*; *roots* may change while it runs."""

        async def list_roots(context: ClientRequestContext) -> ListRootsResult:
            return ListRootsResult(roots=[Root(uri=FileUrl(root.as_uri())) for root in roots or ()])

        server = StdioServerParameters(
            command=command or str(self.command),
            args=list(arguments) if command else ["connect", *arguments],
            cwd=directory,
            env={**self.environment, **(environment or {})},
        )
        async with Client(
            server,
            mode="legacy" if era == HANDSHAKE else MODERN,
            list_roots_callback=list_roots if roots is not None else None,
            client_info=Implementation(name=name, version="1"),
            message_handler=heard,
        ) as client:
            yield client


@asynccontextmanager
async def http_client(url: str, headers: Mapping[str, str]) -> AsyncIterator[Client]:
    """Be a client that speaks HTTP."""
    async with (
        httpx2.AsyncClient(headers=dict(headers)) as http,
        Client(streamable_http_client(url, http_client=http), mode=MODERN) as client,
    ):
        yield client


async def call(client: Client, tool: str, meta: Mapping[str, Any] | None = None, **arguments: str) -> CallToolResult:
    """Call a tool."""
    return await client.call_tool(tool, dict(arguments), meta=dict(meta) if meta else None)  # type: ignore[arg-type] # any keys are allowed


async def ask(client: Client, tool: str, meta: Mapping[str, Any] | None = None, **arguments: str) -> Answer:
    """Call a tool that has to succeed, and return its structured answer."""
    result = await call(client, tool, meta, **arguments)
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def where(client: Client, meta: Mapping[str, Any] | None = None, **arguments: str) -> tuple[str | None, str]:
    """Return where the client works, and by which sign."""
    answer = await ask(client, "get_working_directory", meta, **arguments)
    return answer["working_directory"], answer["source"]


def text_of(result: CallToolResult) -> str:
    """Return the text of a tool's answer."""
    (content,) = result.content
    text = getattr(content, "text", None)
    assert isinstance(text, str)
    return text


def install_as_readme_says(user: User) -> Path:
    """Run the README's installation in a copy of what a clone holds, and return the command."""
    clone = user.home / "clone"
    shutil.copytree(ROOT / "src", clone / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "scripts", clone / "scripts")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    of_pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or "proxy" in name.lower()}
    of_pip.setdefault("PIP_CACHE_DIR", user_cache_dir("pip"))  # not of the new home: nothing is fetched twice
    of_pip["PIP_NO_COMPILE"] = "1"  # what is used is compiled at its first use; the rest would cost seconds
    user.shell(find("sh", "Install").text, directory=clone, **of_pip)
    shutil.rmtree(clone)  # what was installed must not need it
    return user.command
