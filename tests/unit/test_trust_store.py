from __future__ import annotations

import json
import stat
import threading
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from workroot.core.projects import Directory, Place, Project, ProjectConfig, ProjectId, ProjectKey, StopReason
from workroot.core.trust import ConfigFile, Decision, TrustSubject, Verdict, Withheld
from workroot.errors import TrustError
from workroot.trust import TrustStore

FILE = ConfigFile("/home/ada/shop/.git", ".workroot/config.toml")
CLONE = ConfigFile("/home/ada/clone/.git", ".workroot/config.toml")
DIGEST = "a" * 64
SUBJECT = TrustSubject(file=FILE, digest=DIGEST)
CHANGED = TrustSubject(file=FILE, digest="b" * 64)

CONFIG = ProjectConfig(name="shop", instructions="Be brief.", digest=DIGEST)
PLACE = Place(
    directory=Directory("/home/ada/shop/src"),
    given="/home/ada/shop/src",
    project=Project(
        project_id=ProjectId("5f0c7f5e-95a3-4f5e-9d8c-3a3a3a3a3a3a"),
        name="shop",
        root=Directory("/home/ada/shop"),
        config_path="/home/ada/shop/.workroot/config.toml",
        config=CONFIG,
    ),
    config_path="/home/ada/shop/.workroot/config.toml",
    stopped_at=Directory("/home/ada/shop"),
    stop=StopReason.CONFIG,
    key=ProjectKey("/home/ada/shop/.git", ""),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "trust.json"


@pytest.fixture
def store(path: Path) -> TrustStore:
    ticks = count(1000)
    return TrustStore(path, clock=lambda: float(next(ticks)))


def test_at_first_nothing_is_allowed_and_no_file_is_made(store: TrustStore, path: Path) -> None:
    assert store.records() == ()
    assert store.verdict(SUBJECT) is Verdict.UNKNOWN
    assert store.revoke(FILE) == 0
    assert not path.exists()


def test_what_is_allowed_is_this_content_of_this_file(store: TrustStore) -> None:
    store.allow(SUBJECT)

    assert store.verdict(SUBJECT) is Verdict.ALLOWED
    assert store.verdict(CHANGED) is Verdict.CHANGED
    assert store.verdict(replace(SUBJECT, file=CLONE)) is Verdict.UNKNOWN


def test_a_denial_holds_until_it_is_revoked(store: TrustStore) -> None:
    store.allow(SUBJECT)
    store.deny(CHANGED)
    assert store.verdict(SUBJECT) is Verdict.DENIED

    with pytest.raises(TrustError, match=r"denied.*workroot trust --revoke"):
        store.allow(SUBJECT)
    assert store.verdict(SUBJECT) is Verdict.DENIED

    assert store.revoke(FILE) == 1
    assert store.verdict(SUBJECT) is Verdict.UNKNOWN
    store.allow(SUBJECT)
    assert store.verdict(SUBJECT) is Verdict.ALLOWED


def test_a_revocation_forgets_all_contents_of_the_file_and_no_other_file(store: TrustStore) -> None:
    for subject in (SUBJECT, CHANGED, replace(SUBJECT, file=CLONE)):
        store.allow(subject)

    assert store.revoke(FILE) == 2
    assert [record.subject.file for record in store.records()] == [CLONE]


def test_decisions_are_kept_for_the_next_process(store: TrustStore, path: Path) -> None:
    store.allow(SUBJECT)
    store.deny(replace(SUBJECT, file=CLONE))

    records = TrustStore(path).records()

    assert [(record.subject.file, record.decision) for record in records] == [
        (FILE, Decision.ALLOW),
        (CLONE, Decision.DENY),
    ]
    assert records == store.records()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_another_process_decides_counts_at_once(store: TrustStore, path: Path) -> None:
    other = TrustStore(path)
    for decide, expected in (
        (store.allow, Verdict.ALLOWED),
        (store.deny, Verdict.DENIED),
        (lambda subject: store.revoke(subject.file), Verdict.UNKNOWN),
    ):
        decide(SUBJECT)
        assert other.verdict(SUBJECT) is expected


def test_decisions_made_at_once_are_all_kept(path: Path) -> None:
    files = [ConfigFile("", f"/p{number}/.workroot/config.toml") for number in range(8)]
    start = threading.Barrier(len(files))

    def decide(file: ConfigFile) -> None:
        start.wait(timeout=5)
        for digit in "abc":
            TrustStore(path).allow(TrustSubject(file=file, digest=digit * 64))

    deciders = [threading.Thread(target=decide, args=(file,)) for file in files]
    for decider in deciders:
        decider.start()
    for decider in deciders:
        decider.join(timeout=10)

    assert len(TrustStore(path).records()) == 24


ROW = {"repository": "", "path": "/p/config.toml", "digest": DIGEST, "decision": "allow", "at": 1.0}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"version": 2, "records": []}',
        b'{"version": "1", "records": []}',
        b'{"version": 1}',
        b'{"records": [], "trusted_directories": ["/"]}',
        json.dumps({"records": [{**ROW, "decision": "ALLOW"}]}).encode(),
        json.dumps({"records": [{**ROW, "digest": "*"}]}).encode(),
        json.dumps({"records": [{**ROW, "digest": DIGEST + "\n"}]}).encode(),
        json.dumps({"records": [{**ROW, "path": ""}]}).encode(),
        json.dumps({"records": [{**ROW, "at": float("nan")}]}).encode(),
        json.dumps({"records": [{**ROW, "at": "1.0"}]}).encode(),
        json.dumps({"records": [{**ROW, "secret-key": "secret-value"}]}).encode(),
        json.dumps({"records": [ROW] * 10_001}).encode(),
        b'{"records": []}' + b" " * (8 * 1024 * 1024),
    ],
)
def test_a_broken_file_allows_nothing_and_is_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o600)
    store = TrustStore(path)

    for use in (
        store.records,
        lambda: store.verdict(SUBJECT),
        lambda: store.allow(SUBJECT),
        lambda: store.deny(SUBJECT),
        lambda: store.revoke(FILE),
    ):
        with pytest.raises(TrustError, match=str(path)) as caught:
            use()
        assert "secret-value" not in str(caught.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"{", "(the file: Invalid JSON"),
        (b"[]", "(the file: "),
        (json.dumps({"records": [ROW, {**ROW, "digest": "*", "at": "*"}, {}]}).encode(), "(records.1.digest: "),
    ],
)
def test_of_what_is_wrong_with_a_file_the_first_fault_is_named(path: Path, content: bytes, named: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(TrustError) as caught:
        TrustStore(path).records()

    assert f"{path} cannot be understood {named}" in str(caught.value)


def test_a_file_that_others_can_read_allows_nothing(store: TrustStore, path: Path) -> None:
    store.allow(SUBJECT)
    path.chmod(0o644)
    before = path.read_bytes()

    for use in (lambda: store.verdict(SUBJECT), lambda: store.allow(CHANGED), lambda: store.revoke(FILE)):
        with pytest.raises(TrustError, match="mode 0600"):
            use()
    assert path.read_bytes() == before


def test_a_link_allows_nothing(store: TrustStore, path: Path) -> None:
    store.allow(SUBJECT)
    path.rename(path.with_name("planted.json"))
    path.symlink_to("planted.json")

    with pytest.raises(TrustError, match="must be a plain file"):
        store.verdict(SUBJECT)


def test_when_the_store_is_full_no_decision_is_lost_for_another(
    store: TrustStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workroot.trust.store._MAX_RECORDS", 2)
    store.allow(SUBJECT)
    store.deny(replace(SUBJECT, file=CLONE))

    with pytest.raises(TrustError, match=r"holds 2 decisions.*--list"):
        store.allow(replace(SUBJECT, file=ConfigFile("", "/third")))
    assert len(store.records()) == 2
    assert store.revoke(CLONE) == 1
    store.allow(replace(SUBJECT, file=ConfigFile("", "/third")))


@pytest.mark.parametrize("name", ["\udcff", "x" * 9000])
def test_a_path_that_could_not_be_read_again_is_not_written(store: TrustStore, path: Path, name: str) -> None:
    with pytest.raises(TrustError, match=f"cannot be kept in {path}"):
        store.allow(TrustSubject(file=ConfigFile("", f"/{name}"), digest=DIGEST))

    assert store.records() == ()


# What may be acted upon at a place


def test_a_config_that_was_not_allowed_is_judged_without_what_it_asks_for(store: TrustStore) -> None:
    judgement = store.judge(PLACE)

    assert judgement is not None
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.config == replace(CONFIG, instructions=None)
    assert judgement.withheld == Withheld(instructions=True)
    assert judgement.warning == (
        "withheld until the user allows it: instructions; run `workroot trust /home/ada/shop` in a terminal"
    )


def test_a_config_that_was_allowed_is_judged_whole(store: TrustStore) -> None:
    store.allow(SUBJECT)

    judgement = store.judge(PLACE)

    assert judgement is not None
    assert (judgement.verdict, judgement.config, judgement.warning) == (Verdict.ALLOWED, CONFIG, None)
    assert not judgement.withheld


def test_a_store_that_cannot_be_used_withholds_and_says_why(store: TrustStore, path: Path) -> None:
    store.allow(SUBJECT)
    path.chmod(0o644)

    judgement = store.judge(PLACE)

    assert judgement is not None
    assert judgement.config.instructions is None
    assert judgement.warning is not None
    assert judgement.warning.startswith("withheld until the user allows it: instructions")
    assert f"{path} must be a plain file" in judgement.warning


def test_a_config_without_a_digest_is_never_allowed(store: TrustStore) -> None:
    assert PLACE.project is not None
    place = replace(PLACE, project=replace(PLACE.project, config=replace(CONFIG, digest="")))

    judgement = store.judge(place)

    assert judgement is not None
    assert judgement.withheld


def test_a_config_that_asks_for_nothing_is_judged_without_the_store(store: TrustStore, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"broken")
    assert PLACE.project is not None
    config = ProjectConfig(name="shop", digest=DIGEST)

    judgement = store.judge(replace(PLACE, project=replace(PLACE.project, config=config)))

    assert judgement is not None
    assert (judgement.config, judgement.warning) == (config, None)


def test_without_a_config_there_is_nothing_to_judge(store: TrustStore) -> None:
    assert PLACE.project is not None
    assert store.judge(replace(PLACE, project=None)) is None
    assert store.judge(replace(PLACE, project=replace(PLACE.project, config=None))) is None
