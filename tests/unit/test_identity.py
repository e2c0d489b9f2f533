from __future__ import annotations

import errno
import hmac
import json
import os
import stat
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from workroot import identity
from workroot.core.sessions import DEFAULT_SANDBOX, Owner
from workroot.errors import TokenError
from workroot.identity import TokenFile, os_owner


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tokens.json"


@pytest.fixture
def tokens(path: Path) -> TokenFile:
    return TokenFile(path, clock=lambda: 1000.0)


def test_without_a_file_there_are_no_tokens(tokens: TokenFile) -> None:
    assert tokens.list() == ()
    assert tokens.owner_of("wrt_anything") is None


def test_a_token_acts_for_the_operating_system_user(tokens: TokenFile) -> None:
    token = tokens.create("claude-code")

    assert token.startswith("wrt_")
    assert len(token) >= 4 + 43  # 256 bits
    assert tokens.owner_of(token) == os_owner() == Owner(f"uid:{os.geteuid()}")


def test_a_token_made_for_a_user_acts_for_that_user(tokens: TokenFile) -> None:
    assert tokens.owner_of(tokens.create("guest", user="ada")) == Owner("user:ada")


def test_a_token_made_for_a_sandbox_acts_in_that_one(tokens: TokenFile) -> None:
    assert tokens.owner_of(tokens.create("one", sandbox="work")) == Owner(os_owner().principal, "work")
    assert tokens.owner_of(tokens.create("two", user="ada", sandbox="work")) == Owner("user:ada", "work")
    assert tokens.owner_of(tokens.create("three", user="ada")) == Owner("user:ada", DEFAULT_SANDBOX)


def test_a_token_without_a_sandbox_is_written_as_before_there_were_any(tokens: TokenFile, path: Path) -> None:
    tokens.create("one", user="ada")
    (written,) = json.loads(path.read_text())["tokens"]
    assert sorted(written) == ["created_at", "name", "sha256", "user"]

    tokens.create("two", sandbox="work")
    first, second = json.loads(path.read_text())["tokens"]
    assert first == written
    assert second["sandbox"] == "work"
    assert [kept.sandbox for kept in TokenFile(path).list()] == [None, "work"]


@pytest.mark.parametrize(
    "change", [lambda token: token[:-1], lambda token: token + "x", str.upper, lambda _: "", lambda _: "\udcff"]
)
def test_what_is_nearly_a_token_is_nobodys(tokens: TokenFile, change: object) -> None:
    token = tokens.create("one")
    assert callable(change)
    assert tokens.owner_of(change(token)) is None


def test_a_token_is_compared_in_constant_time_with_every_one_that_is_kept(
    tokens: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = [tokens.create(name) for name in ("first", "second", "third")]
    kept = [token.sha256 for token in tokens.list()]
    compared: list[str] = []

    def compare(one: str, other: str) -> bool:
        compared.append(one)
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(identity, "hmac", SimpleNamespace(compare_digest=compare))
    for token in (first, "wrt_wrong"):  # a right one is no reason to stop early
        compared.clear()
        tokens.owner_of(token)
        assert compared == kept


def test_the_token_itself_is_not_kept(tokens: TokenFile, path: Path) -> None:
    token = tokens.create("one", user="ada")

    assert token.removeprefix("wrt_") not in path.read_text()
    (kept,) = tokens.list()
    assert (kept.name, kept.user, kept.created_at) == ("one", "ada", 1000.0)


def test_the_file_is_its_users_alone(tokens: TokenFile, path: Path) -> None:
    before = os.umask(0)
    try:
        tokens.create("one")
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["tokens.json"]


def test_two_tokens_cannot_have_one_name(tokens: TokenFile) -> None:
    token = tokens.create("one")

    with pytest.raises(TokenError, match="'one' already"):
        tokens.create("one")
    assert tokens.owner_of(token) is not None


@pytest.mark.parametrize("name", ["", "a" * 65, "with space", "slash/", "ä", "a\n"])
def test_a_name_that_cannot_be_one_is_refused(tokens: TokenFile, path: Path, name: str) -> None:
    with pytest.raises(TokenError, match="1 to 64 letters"):
        tokens.create(name)
    with pytest.raises(TokenError, match="1 to 64 letters"):
        tokens.create("fine", user=name)
    with pytest.raises(TokenError, match="1 to 64 letters"):
        tokens.create("fine", sandbox=name)
    assert not path.exists()


def test_a_revoked_token_is_nobodys_and_the_others_stay(tokens: TokenFile) -> None:
    first, second = tokens.create("first"), tokens.create("second")
    tokens.revoke("first")

    assert tokens.owner_of(first) is None
    assert tokens.owner_of(second) == os_owner()


def test_an_unknown_name_cannot_be_revoked(tokens: TokenFile) -> None:
    tokens.create("one")
    with pytest.raises(TokenError, match="no token named 'two'; known: one"):
        tokens.revoke("two")


def test_what_another_process_changes_counts_at_once(tokens: TokenFile, path: Path) -> None:
    other = TokenFile(path)
    token = tokens.create("one")
    assert other.owner_of(token) is not None

    tokens.revoke("one")
    assert other.owner_of(token) is None


def test_a_settled_file_is_read_again_only_when_it_was_replaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = TokenFile(path, clock=lambda: time.time() + 10)
    token = tokens.create("one")
    assert tokens.owner_of(token) == os_owner()
    with monkeypatch.context() as patched:
        patched.delattr(os, "fdopen")
        assert tokens.owner_of(token) == os_owner()

    TokenFile(path).revoke("one")
    assert tokens.owner_of(token) is None


def test_a_write_that_fails_leaves_everything_as_it_was(
    tokens: TokenFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tokens.create("one")

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(TokenError, match="No space left"):
            tokens.create("two")
    assert os.listdir(path.parent) == ["tokens.json"]
    assert tokens.owner_of(token) == os_owner()


def test_tokens_made_at_once_are_all_kept(path: Path) -> None:
    makers = [threading.Thread(target=TokenFile(path).create, args=(f"n{number}",)) for number in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(timeout=5)

    assert len(TokenFile(path).list()) == 8


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 2, "tokens": []}',
        b'{"tokens": [{"name": "one"}]}',
        b'{"tokens": [{"name": "one", "sha256": "my secret", "user": null, "created_at": 1.0}]}',
        b'{"tokens": [], "more": 1}',
        b'{"tokens": [{"name": "one", "sha256": "'
        + b"0" * 64
        + b'", "user": null, "created_at": 1.0, "sandbox": ""}]}',
        b" " * (1024 * 1024 + 1),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.touch(0o600)
    path.write_bytes(content)
    tokens = TokenFile(path)

    for use in (
        tokens.list,
        lambda: tokens.owner_of("wrt_x"),
        lambda: tokens.create("new"),
        lambda: tokens.revoke("one"),
    ):
        with pytest.raises(TokenError, match=str(path)) as caught:
            use()
        assert "my secret" not in str(caught.value)
    assert path.read_bytes() == content


def test_one_name_twice_in_the_file_is_an_error(tokens: TokenFile, path: Path) -> None:
    tokens.create("one")
    content = json.loads(path.read_text())
    content["tokens"] *= 2
    path.write_text(json.dumps(content))

    with pytest.raises(TokenError, match="two tokens of one name"):
        tokens.list()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o640, 0o604])
def test_a_file_that_is_not_its_user_s_alone_lets_nobody_in(tokens: TokenFile, path: Path, mode: int) -> None:
    token = tokens.create("one")
    path.chmod(mode)

    with pytest.raises(TokenError, match="nobody else can read or write"):
        tokens.owner_of(token)


def test_a_link_or_a_pipe_in_the_files_place_is_an_error(tokens: TokenFile, path: Path) -> None:
    token = tokens.create("one")
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    with pytest.raises(TokenError, match="must be a plain file"):
        tokens.owner_of(token)

    path.unlink()
    os.mkfifo(path)
    with pytest.raises(TokenError, match="must be a plain file"):
        tokens.owner_of(token)


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(TokenError, match="cannot be written"):
        TokenFile(tmp_path / "state" / "tokens.json").create("one")
