"""Which programs' directories are believed: command lines as systems show them."""

from __future__ import annotations

import pytest

from workroot.transports.shared_processes import Program

WINDOWS = "is an application that may have several projects open"
BRIDGE = "passes on what others ask"
SESSIONS = "serves several conversations, each with a directory of its own"
ELSEWHERE = "was sent to another directory by an option, and stays where it was started"


def program(line: str, executable: str = "", title: str = "") -> Program:
    return Program(executable=executable, title=title, arguments=tuple(line.split()))


@pytest.mark.parametrize(
    ("named", "seen"),
    [
        ("claude", program("claude", "/home/ada/.local/share/claude/versions/2.1.329", "claude")),
        ("claude", program("claude", "/usr/bin/node", "claude")),
        ("cli", program("claude /opt/claude/cli.js --add-dir /work/mcp-proxy", "/usr/bin/node", "claude")),
        ("gemini", program("node /usr/local/bin/gemini", "/usr/bin/node", "node")),
        ("gemini", program("node --max-old-space-size=4096 -r /x/code.js /usr/bin/gemini -p hello", "/usr/bin/node")),
        ("gemini-cli", program("node /usr/lib/node_modules/@google/gemini-cli/dist/index.js", "/usr/bin/node")),
        ("qwen", program("/usr/bin/node /home/ada/.npm/_npx/1f/node_modules/.bin/qwen", "/usr/bin/node", "MainThread")),
        ("opencode", program("opencode run hello", "/usr/lib/node_modules/opencode-ai/bin/opencode", "opencode")),
        ("copilot", program("copilot", "/usr/bin/node", "copilot")),
        ("cn", program("node /usr/bin/cn --config /home/ada/code/config.yaml", "/usr/bin/node", "node")),
        ("codex", program("/usr/bin/codex exec hello", "/usr/bin/codex", "codex")),
        ("codex", program("/usr/bin/codex -c model=o exec hello", "/usr/bin/codex", "codex")),
        ("cline", program("cline --provider x", "/usr/bin/cline", "cline")),
        ("my-agent", program("python3 -m my_agent.main --verbose", "/usr/bin/python3.12", "python3")),
        ("agent", program("/work/code/.venv/bin/python /work/cursor/agent.py", "/usr/bin/python3.11", "python")),
        ("cursor-agent", program("cursor-agent /home/ada/.local/share/cursor-agent/index.js", "/opt/cursor-agent")),
        ("python3.12", program("python3.12 -c code", "/usr/bin/python3.12", "python3.12")),
        ("Python", program("", "/opt/Python.framework/Resources/Python.app/Contents/MacOS/Python", "Python")),
        ("agent", program("", title="agent")),
        ("agent", program("", executable="/usr/bin/agent (deleted)")),
        ("?", program("")),
    ],
)
def test_an_agent_in_a_terminal_is_believed_and_called_by_its_name(named: str, seen: Program) -> None:
    assert (seen.name, seen.problem) == (named, None)


@pytest.mark.parametrize(
    "seen",
    [
        # extension hosts: of a desktop (a title over all of the command line, and on macOS), of a server
        program(
            "/usr/share/code/code --type=utility --utility-sub-type=node.mojom.NodeService", "/usr/share/code/code"
        ),
        Program(executable="/usr/share/x/x", arguments=("/usr/share/x/x --type=utility --lang=en",)),
        Program(title="Cursor Helper (Plugin)", arguments=("Cursor Helper (Plugin): extension-host (user) app [1-2]",)),
        program("/usr/lib/x/node /usr/lib/x/out/bootstrap-fork --type=extensionHost", "/usr/lib/x/node", "node"),
        program("node /home/ada/.vscode-server/bin/1/out/bootstrap-fork.js --uriTransformerPath=1", "/usr/bin/node"),
        program("node /home/ada/.windsurf-server/bin/1/out/server-main.js --port=0", "/usr/bin/node"),
        program("/usr/bin/node /usr/lib/node_modules/code-server/out/node/entry", "/usr/bin/node", "node"),
        Program(executable="/Applications/Visual Studio Code.app/Contents/MacOS/Electron", title="Electron"),
        Program(executable="/Applications/Cursor.app/Contents/Frameworks/Cursor Helper.app/Contents/MacOS/x"),
        # main processes
        program("/usr/share/code/code --unity-launch", "/usr/share/code/code", "code"),
        program("/opt/Cursor/cursor /work/app", "/tmp/.mount_Cursor1/cursor", "cursor"),
        program("/opt/windsurf/windsurf", "/opt/windsurf/windsurf", "windsurf"),
        program("/opt/kiro/kiro", "/opt/kiro/kiro", "kiro"),
        program("/opt/codium/codium", "/opt/codium/codium", "codium"),
        program("/usr/lib/electron/electron /usr/lib/x/app.asar", "/usr/lib/electron/electron", "electron"),
        program("/usr/libexec/zed-editor", "/usr/libexec/zed-editor", "zed-editor"),
        program("/opt/idea/jbr/bin/java -Xmx2g com.intellij.idea.Main", "/opt/idea/jbr/bin/java", "java"),
        program("/opt/idea/bin/pycharm", "/opt/idea/bin/pycharm", "pycharm"),
        program("emacs --daemon", "/usr/bin/emacs-30.1", "emacs"),
        program("/opt/windsurf/language_server_linux_x64 --api", "/opt/windsurf/language_server_linux_x64"),
        # desktop applications, browsers
        program("", "/Applications/Claude.app/Contents/MacOS/Claude", "Claude"),
        program("/usr/bin/claude-desktop", "/usr/lib/claude-desktop/claude-desktop", "claude-desktop"),
        program("/usr/lib/firefox/firefox", "/usr/lib/firefox/firefox", "firefox"),
        program("/opt/google/chrome/chrome", "/opt/google/chrome/chrome", "chrome"),
    ],
)
def test_what_may_have_several_projects_open_is_not_believed(seen: Program) -> None:
    assert seen.problem == WINDOWS


@pytest.mark.parametrize(
    "seen",
    [
        program("node /home/ada/.npm/_npx/1f/node_modules/.bin/mcp-remote http://127.0.0.1:7668/mcp", "/usr/bin/node"),
        program("node /x/node_modules/mcp-remote/dist/proxy.js http://127.0.0.1:7668/mcp", "/usr/bin/node", "node"),
        program("deno run -A npm:mcp-remote@latest http://127.0.0.1:7668/mcp", "/usr/bin/deno", "deno"),
        program("node /x/node_modules/.bin/mcporter list", "/usr/bin/node"),
        program("node /x/node_modules/supergateway/dist/index.js --streamableHttp http://x", "/usr/bin/node"),
        program("/home/ada/.local/bin/python /home/ada/.local/bin/mcp-proxy http://x", "/usr/bin/python3.12"),
        program("python -m mcp_proxy http://x", "/usr/bin/python3.12", "python"),
        program("python /x/site-packages/mcp_proxy/__main__.py", "/usr/bin/python3.12", "python"),
        program("python /x/bin/fastmcp run http://127.0.0.1:7668/mcp", "/usr/bin/python3.12", "fastmcp"),
        program("python -I /x/bin/workroot serve", "/usr/bin/python3.12", "workroot"),
        program("ssh -N -R 9000:127.0.0.1:7668 host", "/usr/bin/ssh", "ssh"),
        Program(executable="/usr/sbin/sshd", title="sshd", arguments=("sshd: ada@pts/0",)),
        program("socat TCP-LISTEN:9000 TCP:127.0.0.1:7668", "/usr/bin/socat1", "socat"),
        program("nc 127.0.0.1 7668", "/usr/bin/nc.openbsd", "nc"),
        program("cloudflared tunnel --url http://127.0.0.1:7668", "/usr/bin/cloudflared"),
        Program(title="nginx", arguments=("nginx: worker process",)),
        program("mitmdump -p 8080", "/usr/bin/python3.12", "mitmdump"),
        program("/usr/bin/docker-proxy -proto tcp -host-ip 127.0.0.1", "/usr/bin/docker-proxy", "docker-proxy"),
        program("rootlessport", "/usr/lib/podman/rootlessport", "rootlessport"),
        program("slirp4netns --disable-host-loopback 1 tap0", "/usr/bin/slirp4netns", "slirp4netns"),
        program("/usr/bin/pasta --config-net", "/usr/bin/passt.avx2", "pasta.avx2"),
        program("qemu-system-x86_64 -nic user", "/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ],
)
def test_what_speaks_for_others_is_not_believed(seen: Program) -> None:
    assert seen.problem == BRIDGE


@pytest.mark.parametrize(
    "seen",
    [
        program("node /usr/bin/gemini --experimental-acp", "/usr/bin/node"),
        program("copilot --acp", "/usr/bin/copilot"),
        program("node /x/node_modules/@zed-industries/claude-code-acp/dist/index.js", "/usr/bin/node"),
        program("opencode serve --port 4096", "/usr/bin/opencode"),
        program("/usr/bin/codex app-server", "/usr/bin/codex"),
    ],
)
def test_what_serves_several_conversations_is_not_believed(seen: Program) -> None:
    assert seen.problem == SESSIONS


@pytest.mark.parametrize(
    "line", ["codex -C /b exec x", "codex exec -C/b x", "codex --cd=/b", "cline -c /b", "cline --cwd /b"]
)
def test_what_was_sent_elsewhere_without_going_there_is_not_believed(line: str) -> None:
    assert program(line).problem == ELSEWHERE
