"""Programs whose own directory says nothing about the project that a request of theirs is about.

One process of an editor serves several windows, a bridge or relay speaks for somebody behind it, and some
agents stay where they were started when an option sends them elsewhere. The names are data; a program that is
missing here is believed, so whoever finds one adds it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from workroot.escaping import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Program"]

_SHOWN_LETTERS = 40  # of a program's name


@dataclass(frozen=True, slots=True)
class _Kind:
    """Programs of one kind.

    Attributes:
        problem: why their directory is not followed.
        names: of the executable, of what an interpreter runs, or of the package that this is from; in lower case,
            `*` standing for anything.
        arguments: one of these must be on the command line, or the process is not of this kind. None asks for no one.
    """

    problem: str
    names: tuple[str, ...]
    arguments: tuple[str, ...] | None = None


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_WINDOWS = "is an application that may have several projects open"
_BRIDGE = "passes on what others ask"
_SESSIONS = "serves several conversations, each with a directory of its own"
_ELSEWHERE = "was sent to another directory by an option, and stays where it was started"

_KINDS = (
    # Editors built on Electron, and what they run extensions in: locally, in a remote server, in a browser's.
    _Kind(
        _WINDOWS,
        _words("""antigravity code code-insiders code-oss code-server code-tunnel codium cursor cursor-server electron
            kiro openvscode-server positron theia trae void vscodium windsurf windsurf-next
            bootstrap-fork extensionhostprocess server-cli server-main"""),
    ),
    _Kind(_WINDOWS, ("code - *", "* helper", "* helper (*", "*extension-host*", "*extensionhost*")),
    _Kind(
        _WINDOWS,
        ("*",),
        _words("""--type=extensionHost --type=utility --type=renderer --type=gpu-process --type=zygote --type=broker
            --type=ptyHost --type=fileWatcher --type=sharedProcess"""),
    ),
    # Other editors of which one process has several windows; what speaks for them
    _Kind(
        _WINDOWS,
        _words("""clion datagrip eclipse emacs fleet goland idea jetbrains_client lapce phpstorm pycharm rider rubymine
            rustrover studio sublime_text webstorm xcode zed zed-editor zeditor"""),
    ),
    _Kind(_WINDOWS, ("emacs-*", "language_server*", "copilot-language-server", "cline-core", "goosed")),
    _Kind(_WINDOWS, ("java",), ("com.intellij.idea.Main", "org.eclipse.equinox.launcher.Main")),
    # Desktop applications and browsers
    _Kind(
        _WINDOWS,
        _words("""claude-desktop chatgpt cherry-studio goose-desktop jan librechat lm-studio n8n open-webui
            brave brave-browser chrome chromium chromium-browser epiphany firefox firefox-bin google-chrome
            headless_shell librewolf msedge opera safari vivaldi vivaldi-bin com.apple.webkit.networking"""),
    ),
    # From one MCP transport to another
    _Kind(
        _BRIDGE,
        _words("""1mcp agentgateway docker-mcp litellm mcp-bridge mcp-connect mcp-gateway mcp-hub mcp-proxy
            mcp-proxy-server mcp-remote mcp-router mcp-stdio-to-streamable-http-adapter mcp-superassistant-proxy
            mcphub mcpjungle mcpo mcporter mcpproxy metamcp supergateway thv workroot"""),
    ),
    _Kind(_BRIDGE, ("fastmcp",), ("run", "proxy")),
    # Networks: tunnels, reverse proxies, inspecting proxies
    _Kind(
        _BRIDGE,
        _words("""3proxy apache2 autossh caddy charles chisel clash cloudflared dropbear envoy fiddler frpc frps gost
            haproxy httpd inetd kubectl mihomo mitmdump mitmproxy mitmweb nc nc.openbsd nc.traditional ncat netcat nginx
            ngrok privoxy proxyman redsocks rinetd sing-box socat squid ssh sshd sshd-session sslocal stunnel stunnel4
            systemd-socket-proxyd tailscaled tinyproxy traefik v2ray varnishd wslrelay wstunnel xinetd xray"""),
    ),
    _Kind(_BRIDGE, ("sshd: *", "nginx: *")),
    # Containers and virtual machines: whoever speaks is inside, where paths are others
    _Kind(
        _BRIDGE,
        _words("""colima com.docker.backend com.docker.vpnkit conmon containerd-shim-runc-v2 crosvm docker docker-proxy
            dockerd firecracker gvproxy limactl orbstack passt passt.avx2 pasta pasta.avx2 podman rootlesskit
            rootlessport slirp4netns vpnkit vpnkit-bridge"""),
    ),
    _Kind(_BRIDGE, ("qemu-system-*",)),
    # Agents as servers: the Agent Client Protocol, and what editors start of them
    _Kind(_SESSIONS, ("*",), ("--acp", "--experimental-acp")),
    _Kind(_SESSIONS, _words("claude-agent-acp claude-code-acp codex-acp")),
    _Kind(_SESSIONS, ("goose", "opencode", "opencode-cli"), ("acp", "serve", "web")),
    _Kind(_SESSIONS, ("codex",), ("app-server", "exec-server", "mcp-server", "proto")),
    # Those that do not change their directory
    _Kind(_ELSEWHERE, ("codex",), ("-C", "--cd")),
    _Kind(_ELSEWHERE, ("cline",), ("-c", "--cwd")),
)

_INTERPRETER = re.compile(r"(node|nodejs|bun|deno|ruby|pythonw?[0-9.]*|pypy[0-9.]*|electron)(\.exe)?", re.IGNORECASE)
_WITH_VALUE = frozenset(_words("-r --require --import --loader --experimental-loader --env-file -C --conditions -W -X"))
_INLINE = frozenset(_words("-e --eval -p --print -c"))
_BUNDLE = re.compile(r"/(?!python\.app/)[^/]+\.app/Contents/(MacOS|Frameworks)/", re.IGNORECASE)
_PACKAGE = re.compile(r"/(?:node_modules|site-packages|dist-packages)/(?:@[^/]+/)?([^/.][^/]*)(?!.*/node_modules/)")
_SUFFIX = re.compile(r"\.(js|mjs|cjs|ts|py|pyz|exe|jar)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a process runs.

    Attributes:
        executable: path of its file; empty if unknown.
        title: what the system calls the process; empty if unknown.
        arguments: its command line, the first being what it was called as.
    """

    executable: str = ""
    title: str = ""
    arguments: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What people call it, fit to be shown: the script rather than its interpreter."""
        called = self.arguments[0] if self.arguments else ""
        names = (*_names_of_script(self._script()), _base(called.partition(" ")[0]), self.title, _base(self.executable))
        return shown(next((name for name in names if name), "?"), _SHOWN_LETTERS)

    @property
    def problem(self) -> str | None:
        """Why its directory is not to be followed; None if it is."""
        if _BUNDLE.search(self.executable):
            return _WINDOWS
        names = frozenset(name.lower() for name in self._names() if name)
        # Some write their title over all of their command line.
        arguments = self.arguments[1:] if len(self.arguments) > 1 else tuple(" ".join(self.arguments).split(" "))
        for kind in _KINDS:
            if _is_one_of(names, kind.names) and (kind.arguments is None or _has_option(arguments, kind.arguments)):
                return kind.problem
        return None

    def _names(self) -> Iterator[str]:
        yield _base(self.executable)
        yield self.title
        if self.arguments:
            called = self.arguments[0]
            yield called
            yield _base(called)
            yield _base(called.partition(" ")[0])
            yield from _names_of_script(called)
        yield from _names_of_script(self._script())

    def _script(self) -> str:
        """Return what an interpreter was told to run, or nothing."""
        if not self.arguments:
            return ""
        if not any(_INTERPRETER.fullmatch(_base(name)) for name in (self.arguments[0], self.executable)):
            return ""
        rest = iter(self.arguments[1:])
        for argument in rest:
            if argument == "-m":
                return next(rest, "").partition(".")[0].replace("_", "-")
            if argument in _INLINE:
                return ""
            if argument in _WITH_VALUE:
                next(rest, None)
            elif not argument.startswith("-") and argument != "run":  # `deno run`, `bun run`
                return argument
        return ""


def _names_of_script(path: str) -> Iterator[str]:
    """Yield the package that a script is from, and its own name."""
    if package := _PACKAGE.search(path):
        yield package[1].replace("_", "-")
    yield _SUFFIX.sub("", _base(path).removeprefix("npm:").partition("@")[0])


def _base(path: str) -> str:
    return path.removesuffix(" (deleted)").rpartition("/")[2]


def _is_one_of(names: frozenset[str], patterns: tuple[str, ...]) -> bool:
    return any(
        pattern in names or ("*" in pattern and any(fnmatchcase(name, pattern) for name in names))
        for pattern in patterns
    )


def _has_option(said: tuple[str, ...], options: tuple[str, ...]) -> bool:
    """Tell whether an option is there: alone, as `--option=value`, or as `-ovalue`."""
    return any(
        argument == option
        or argument.startswith(f"{option}=")
        or (len(option) == 2 and not argument.startswith("--") and argument.startswith(option))
        for option in options
        for argument in said
    )
