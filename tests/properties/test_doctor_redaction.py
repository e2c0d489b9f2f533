"""A redacted report holds no name that its user or their machine chose, wherever it may have come from."""

from __future__ import annotations

import json
import re
import string
import tempfile
from collections.abc import Sequence
from pathlib import Path as FilePath

from hypothesis import given, settings
from hypothesis import strategies as st

from workroot.doctor import Report, all_checks, examine
from workroot.doctor.asking import Daemon
from workroot.doctor.findings import Name, Part, Path, Private
from workroot.doctor.redaction import Redaction, redaction_of

names = st.text(string.ascii_letters + string.digits + "._-äß ", min_size=1, max_size=20).map(lambda text: f"Zq{text}")
"""Names that no word of workroot's own holds."""

secrets = st.builds(
    "{}{}".format,
    st.sampled_from(["wr_", "wrt_", "wrh_", "of_wr_", "%2Fwrt_"]),
    st.text(string.ascii_letters + string.digits + "_-", min_size=22, max_size=60),
)
"""Handles, tokens and ids of HTTP sessions, whatever stands before them."""


@st.composite
def texts(draw: st.DrawFn, planted: Sequence[str]) -> list[Part]:
    """Draw a text of own words with what was planted in parts that are marked."""
    parts: list[Part] = []
    for name in draw(st.lists(st.sampled_from(planted), max_size=6)):
        parts.append(draw(st.sampled_from(["the file ", " belongs to ", "run `chmod 700 ", "` of pid 12: "])))
        kind = draw(st.sampled_from(["private", "name", "path", "below"]))
        if kind == "private":
            parts.append(Private(f"error about {name}"))
        elif kind == "name":
            parts.append(Name(name))
        elif kind == "path":
            parts.append(Path(name if name.startswith("/") else f"/srv/{name}/state", quoted=draw(st.booleans())))
        else:
            parts.append(Path(f"/opt/{name.strip('/')}/.workroot/{name.strip('/')}"))
    return parts


@given(st.data(), st.lists(names, min_size=4, max_size=4, unique=True), secrets)
def test_what_was_planted_is_never_in_a_redacted_text(data: st.DataObject, chosen: list[str], handle: str) -> None:
    user, host, project, own = chosen
    home = f"/home/{user}"
    redaction = Redaction(home=home, names=[user, host])
    planted = [user, host, project, own, handle, f"{home}/{project}", f"/data/{project}/{own}", home]

    said = [redaction.text(tuple(data.draw(texts(planted)))) for _ in range(3)]

    for name in (*chosen, handle):
        assert name not in json.dumps(said, ensure_ascii=False), said


@given(names, names, secrets)
def test_what_was_not_marked_is_found_all_the_same(user: str, host: str, secret: str) -> None:
    redaction = Redaction(home=f"/home/{user}", names=[user, host])

    said = redaction.text((f"of {user} at {host}, with {secret}; Bearer {secret}",))

    assert not [name for name in (user, host, secret) if name in said], said


@given(st.lists(names, min_size=1, max_size=6))
def test_the_same_name_is_replaced_by_the_same_and_another_by_another(parts: list[str]) -> None:
    redaction = Redaction(home=None, names=[])

    replaced = [redaction.name(part) for part in parts]

    assert len(set(replaced)) == len(set(parts))
    assert replaced == [redaction.name(part) for part in parts]
    assert redaction.path("/" + "/".join(parts)) == "/" + "/".join(replaced)


@given(names)
def test_paths_keep_their_shape(user: str) -> None:
    redaction = Redaction(home=f"/home/{user}", names=[user])

    assert redaction.path(f"/home/{user}/.local/state/workroot/workroot.db") == "~/.local/state/workroot/workroot.db"
    assert redaction.path(f"/home/{user}") == "~"
    assert redaction.path("/usr/lib/python3.12/site-packages") == "/usr/lib/python3.12/site-packages"
    assert re.fullmatch(r"/home/<name-\d>/shop|/home/<name-\d>/<name-\d>", redaction.path(f"/home/{user}x/shop"))


def test_own_words_stay_whatever_the_user_is_called() -> None:
    said = "port 7668: run `workroot stop`; limit fs.inotify.max_user_instances, WORKROOT_HTTP_SESSION_IDLE_SECONDS"

    assert Redaction(home="/root", names=["root", "workroot", "a"]).text((said,)) == said
    assert Redaction(home=None, names=["o"]).text((said,)) == said


plain_names = st.text(string.ascii_lowercase + string.digits, min_size=6, max_size=12).map(lambda text: f"zq{text}")


@settings(max_examples=20, deadline=None)
@given(st.lists(plain_names, min_size=3, max_size=3, unique=True), secrets, st.booleans())
def test_a_whole_report_holds_nothing_of_what_was_planted(names: list[str], handle: str, has_daemon: bool) -> None:
    user, project, own = names
    with tempfile.TemporaryDirectory(prefix=f"{project}-") as top:
        home = FilePath(top) / user
        state = home / own
        state.mkdir(parents=True)
        (state / "config.toml").write_text(f"trusted_directories = ['{own}']\nhttp = true\n")
        (state / "tokens.json").write_text(f'{{"{handle}": 1}}')
        (state / "trust.json").symlink_to(home / project)
        environment = {
            "HOME": str(home),
            "USER": user,
            "LOGNAME": user,
            "WORKROOT_HOME": str(state),
            "PATH": f"{home}/{project}/bin:/usr/bin",
            f"WORKROOT_{project.upper()}": handle,
            "HTTP_PROXY": f"http://{user}:{handle}@{own}/",
        }
        said = f"{handle} of {user} in {home}/{project}: {own}"
        told: dict[str, object] = {
            "pid": 1,
            "version": said,
            "installation": f"{home}/{project}",
            "http": {"url": None, "problem": said},
            "store": {"problem": said, "path": said},
            "watching": {"is_working": False, "last_failure": said},
            "descriptors": {"used": 1, "limit": 1},
            "refusals": {said: 3},
            "problems": [{"level": said, "logger": said, "message": said, "time": said, "count": said}],
        }
        daemon = Daemon(hello={"workroot": 1, **told}, status=told) if has_daemon else Daemon(failure=said)

        report = Report(list(examine(all_checks(daemon, environment))), redaction_of(environment).text)
        shown = json.dumps(report.document(), ensure_ascii=False) + "\n".join(report.lines())

    assert report.state == "problem"
    for planted in (user, project, own, handle, top, handle[7:]):
        assert planted.lower() not in shown.lower(), shown
