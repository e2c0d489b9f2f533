"""Whatever the config: one changed byte is asked for again, and decisions mean what an obvious model says."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workroot.core.projects import ConfigProblem, ProjectConfig
from workroot.core.trust import (
    MAX_CONTENTS,
    ConfigFile,
    TrustRecord,
    TrustSubject,
    Verdict,
    allowing,
    denying,
    released,
    revoking,
    verdict,
    withheld,
)
from workroot.project_config import parse_config
from workroot.project_finder import ProjectFinder
from workroot.trust import TrustStore, subject_of

NAMESPACE = "6f1d6a3e-52a4-4b0c-9a53-0e6f0c1de111"
FILE = ConfigFile("/home/ada/shop/.git", ".workroot/config.toml")

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
# A line or a paragraph, as people write it, in any script.
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
lines = texts.filter(lambda text: any(character.isprintable() and not character.isspace() for character in text))
variables = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True)
servers = st.one_of(
    st.fixed_dictionaries(
        {"command": lines},
        optional={
            "args": st.lists(texts, max_size=3),
            "env": st.dictionaries(variables, texts, max_size=2),
            "enabled": st.booleans(),
        },
    ),
    st.just({"url": "http://127.0.0.1:9/mcp"}),
)
configs = st.fixed_dictionaries(
    {"version": st.just("1.0"), "project": st.fixed_dictionaries({"name": lines})},
    optional={
        "instructions": lines,
        "commands": st.dictionaries(names, lines, max_size=3),
        "servers": st.dictionaries(names, servers, max_size=3),
        "auto_switch": st.booleans(),
        "trust": st.just(True),
    },
)


def asks_for_something(config: ProjectConfig) -> bool:
    return config.instructions is not None or bool(config.commands) or bool(config.servers)


def only_harmless(config: ProjectConfig) -> ProjectConfig:
    return replace(config, instructions=None, commands=(), servers=())


def test_a_config_with_one_byte_changed_is_asked_for_again(is_full: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory).resolve()
        root = top / "shop"
        holder = root / ".workroot"
        holder.mkdir(parents=True)
        (root / ".git").mkdir()
        store = TrustStore(top / "state" / "trust.json")
        finder = ProjectFinder(NAMESPACE)

        @settings(max_examples=10_000 if is_full else 200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(said=configs, is_toml=st.booleans(), position=st.integers(0), changed=st.integers(1, 255))
        def check(said: dict[str, object], is_toml: bool, position: int, changed: int) -> None:
            content = bytearray((tomlkit.dumps(said) if is_toml else json.dumps(said)).encode())
            path = holder / ("config.toml" if is_toml else "config.json")
            (holder / ("config.json" if is_toml else "config.toml")).unlink(missing_ok=True)
            path.write_bytes(content)
            place = finder.find_now(str(root))
            subject = subject_of(place)
            if subject is None:
                assert place.config_error is not None
                return  # a random text that the parser's limits refuse
            store.revoke(subject.file)
            store.allow(subject)
            judgement = store.judge(place)
            assert judgement is not None
            assert place.project is not None
            assert judgement.config == place.project.config
            assert not judgement.withheld

            content[position % len(content)] ^= changed
            path.write_bytes(content)
            place = finder.find_now(str(root))
            judgement = store.judge(place)
            if judgement is None:
                assert place.config_error is not None
                return
            assert place.project is not None
            assert place.project.config is not None
            assert judgement.config == only_harmless(place.project.config)
            assert bool(judgement.withheld) is asks_for_something(place.project.config)
            changed_subject = subject_of(place)
            assert changed_subject is not None
            assert store.verdict(changed_subject) is Verdict.CHANGED

        check()


EXAMPLES = {
    "instructions.toml": b'version = "1.0"\ninstructions = "Be brief."\n[project]\nname = "shop"\n',
    "commands.toml": b'version = "1.0"\n[project]\nname = "shop"\n[commands]\ntest = "make test"\nrun = "./run"\n',
    "server.toml": b'version = "1.0"\n[project]\nname = "shop"\n[servers.db]\ncommand = "npx"\nargs = ["-y", "db"]\n',
    "server.json": b'{"version": "1.0", "project": {"name": "x"}, "servers": {"a": {"url": "http://127.0.0.1:1/"}}}',
    "all.json": b'{"version":"1.0","project":{"name":"x"},"instructions":"y","commands":{"b":"c"},'
    b'"servers":{"d":{"command":"e","env":{"F":"g"}}}}',
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_byte_of_a_config_counts(name: str) -> None:
    content = EXAMPLES[name]
    config = parse_config(content, name)
    assert isinstance(config, ProjectConfig)
    assert asks_for_something(config)
    records = allowing((), TrustSubject(file=FILE, digest=config.digest), 0.0)
    asked = 0

    for position in range(len(content)):
        for change in (0x01, 0x20, 0x80):
            mutant = bytearray(content)
            mutant[position] ^= change
            parsed = parse_config(bytes(mutant), name)
            if isinstance(parsed, ConfigProblem):
                continue
            decided = verdict(records, TrustSubject(file=FILE, digest=parsed.digest))
            assert decided is Verdict.CHANGED
            assert released(parsed, decided) == only_harmless(parsed)
            assert bool(withheld(parsed, decided)) is asks_for_something(parsed)
            asked += 1
    assert asked > len(content) / 4  # most mutants are configs, so this was no empty claim


subjects = st.builds(
    TrustSubject,
    file=st.sampled_from([FILE, ConfigFile("", "/a"), ConfigFile("/b/.git", ".workroot/config.toml")]),
    digest=st.sampled_from(["a" * 64, "b" * 64, "c" * 64]),
)
steps = st.lists(st.tuples(st.sampled_from(["allow", "deny", "revoke"]), subjects), max_size=30)


@settings(max_examples=200, deadline=None)
@given(steps=steps, asked=subjects)
def test_decisions_in_any_order_mean_what_an_obvious_model_says(
    steps: list[tuple[str, TrustSubject]], asked: TrustSubject
) -> None:
    records: tuple[TrustRecord, ...] = ()
    allowed: dict[ConfigFile, set[str]] = {}
    denied: set[ConfigFile] = set()
    change: dict[str, Callable[[tuple[TrustRecord, ...], TrustSubject], tuple[TrustRecord, ...]]] = {
        "allow": lambda kept, subject: allowing(kept, subject, 0.0),
        "deny": lambda kept, subject: denying(kept, subject, 0.0),
        "revoke": lambda kept, subject: revoking(kept, subject.file),
    }
    for step, subject in steps:
        records = change[step](records, subject)
        if step == "allow":
            allowed.setdefault(subject.file, set()).add(subject.digest)
        else:
            allowed.pop(subject.file, None)
            denied = denied | {subject.file} if step == "deny" else denied - {subject.file}

    contents = allowed.get(asked.file, set())
    expected = (
        Verdict.DENIED
        if asked.file in denied
        else Verdict.ALLOWED
        if asked.digest in contents
        else Verdict.CHANGED
        if contents
        else Verdict.UNKNOWN
    )
    assert verdict(records, asked) is expected


@settings(max_examples=50, deadline=None)
@given(digests=st.lists(st.integers(0, 3 * MAX_CONTENTS), max_size=3 * MAX_CONTENTS))
def test_however_often_it_is_allowed_a_file_has_a_bounded_number_of_contents(digests: list[int]) -> None:
    records: tuple[TrustRecord, ...] = ()
    for number in digests:
        records = allowing(records, TrustSubject(file=FILE, digest=f"{number:064x}"), 0.0)

    latest = list(dict.fromkeys(reversed(digests)))[:MAX_CONTENTS]
    assert [int(record.subject.digest, 16) for record in reversed(records)] == latest
