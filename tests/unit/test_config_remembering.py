"""Equal configs are one object, however often they are read; what is kept for that is bounded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from workroot.core.projects import ConfigProblem, ProjectConfig
from workroot.project_config import MAX_CONFIG_BYTES, parse_config
from workroot.project_config.remembered import RememberedConfigs

PATH = "/p/.workroot/config.toml"


def text(name: str) -> bytes:
    return f'version = "1.0"\nproject.name = "{name}"\n'.encode()


def test_equal_bytes_at_one_path_are_one_object() -> None:
    first = parse_config(text("one"), PATH)

    assert isinstance(first, ProjectConfig)
    assert parse_config(bytes(bytearray(text("one"))), PATH) is first


def test_other_bytes_or_another_path_are_read_for_themselves() -> None:
    first = parse_config(b"{}", "/p/config.json")
    elsewhere = parse_config(b"{}", "/q/config.json")
    other = parse_config(b"{} ", "/p/config.json")

    assert isinstance(first, ConfigProblem)
    assert isinstance(elsewhere, ConfigProblem)
    assert (first.path, elsewhere.path) == ("/p/config.json", "/q/config.json")
    assert other is not first
    assert isinstance(parse_config(text("as json"), "/p/config.json"), ConfigProblem)
    assert isinstance(parse_config(text("as json"), PATH), ProjectConfig)


def test_threads_that_parse_the_same_at_once_get_one_object() -> None:
    threads = 8
    gate = Barrier(threads)

    def parse(number: int) -> ProjectConfig | ConfigProblem:
        gate.wait(5)
        return parse_config(text(f"at once {number}"), PATH)

    with ThreadPoolExecutor(threads) as pool:
        for number in range(20):
            assert len({id(one) for one in pool.map(parse, [number] * threads)}) == 1


def test_a_result_that_comes_second_gives_way_to_the_first() -> None:
    remembered = RememberedConfigs(max_entries=2, max_bytes=100)
    first, second = ProjectConfig(name="x"), ProjectConfig(name="x")

    assert remembered.put(b"d", PATH, first, 10) is first
    assert remembered.put(b"d", PATH, second, 10) is first


def test_what_was_not_used_for_longest_goes_first() -> None:
    remembered = RememberedConfigs(max_entries=2, max_bytes=100)
    for name in ("a", "b"):
        remembered.put(name.encode(), PATH, ProjectConfig(name=name), 10)
    remembered.get(b"a", PATH)

    remembered.put(b"c", PATH, ProjectConfig(name="c"), 10)

    assert [remembered.get(digest, PATH) is not None for digest in (b"a", b"b", b"c")] == [True, False, True]


def test_large_texts_are_kept_only_up_to_their_share() -> None:
    remembered = RememberedConfigs(max_entries=10, max_bytes=100)
    for name in ("a", "b", "c"):
        remembered.put(name.encode(), PATH, ProjectConfig(name=name), 40)

    assert [remembered.get(digest, PATH) is not None for digest in (b"a", b"b", b"c")] == [False, True, True]

    remembered.put(b"d", PATH, ProjectConfig(name="d"), 20)  # what went is not counted any more

    assert remembered.get(b"b", PATH) is not None


def test_what_is_too_large_alone_is_given_back_and_not_kept() -> None:
    remembered = RememberedConfigs(max_entries=10, max_bytes=100)
    config = ProjectConfig(name="x")

    assert remembered.put(b"d", PATH, config, 101) is config
    assert remembered.get(b"d", PATH) is None


def test_a_file_that_is_too_large_is_not_kept() -> None:
    content = text("x") + b"#" * MAX_CONFIG_BYTES

    assert parse_config(content, PATH) is not parse_config(content, PATH)
