"""What a request's head suggests, read from its bytes."""

from __future__ import annotations

import pytest

from workroot.core.signs import Hint, Source
from workroot.transports.http_signs import hints_of


async def hints(query: bytes = b"", **headers: bytes) -> list[tuple[str, str]]:
    return [(hint.detail, hint.directory) for hint in await all_hints(query, **headers)]


async def all_hints(query: bytes = b"", **headers: bytes) -> tuple[Hint, ...]:
    pairs = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    return await hints_of({"type": "http", "method": "POST", "query_string": query, "headers": pairs})


async def test_the_header_comes_before_the_url() -> None:
    assert await all_hints(b"directory=/b", workroot_directory=b"/a") == (
        Hint(Source.HEADER, "Workroot-Directory", "/a"),
        Hint(Source.HEADER, "?directory=", "/b"),
    )


@pytest.mark.parametrize(
    ("query", "directory"),
    [
        (b"directory=/home/ada/app", "/home/ada/app"),
        (b"a=1&directory=%2Fhome%2Fada%2FZ%C3%BCrich&b=2", "/home/ada/Zürich"),
        (b"%64irectory=/a", "/a"),
        (b"directory=/a/with%20space", "/a/with space"),
        (b"directory=/a/b=c", "/a/b=c"),
        (b"directory=/a/R%26D", "/a/R&D"),
        (b"directory=/a/100%", "/a/100%"),
        (b"directory=/a/latin-%FC", "/a/latin-ü"),
        (b"directory=/home/ada/c++", "/home/ada/c++"),  # put in as it was
        (b"directory=/home/ada/c%2B%2B", "/home/ada/c++"),
        (b"directory=%2Fhome%2Fada%2Fmy+app", "/home/ada/my app"),  # as a form's rules have it
        (b"directory=%2Fhome%2Fada%2Fc%2B%2B", "/home/ada/c++"),
        (b"directory=$%7BworkspaceFolder%7D", "${workspaceFolder}"),
        (b"directory=relative", "relative"),
    ],
)
async def test_a_directory_in_the_url_is_decoded(query: bytes, directory: str) -> None:
    assert await all_hints(query) == (Hint(Source.HEADER, "?directory=", directory),)


@pytest.mark.parametrize("query", [b"", b"directory=", b"directory", b"other=/a", b"Directory=/a"])
async def test_a_url_that_names_no_directory_suggests_none(query: bytes) -> None:
    assert await hints(query) == []


async def test_an_empty_header_suggests_nothing() -> None:
    assert await hints(workroot_directory=b"") == []


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        (b"file:///home/ada/my%20app", "/home/ada/my app"),
        (b"file://localhost/home/ada/app", "/home/ada/app"),
        (b"file://elsewhere/home/ada/app", "file://elsewhere/home/ada/app"),  # no path here, and shown as given
        (b"http://localhost/home/ada/app", "http://localhost/home/ada/app"),
    ],
)
async def test_a_file_uri_names_its_path(uri: bytes, path: str) -> None:
    assert await hints(workroot_directory=uri) == [("Workroot-Directory", path)]
    encoded = uri.replace(b"%", b"%25").replace(b"/", b"%2F").replace(b":", b"%3A")
    assert await hints(b"directory=" + encoded) == [("?directory=", path)]


async def test_a_header_is_not_percent_decoded() -> None:
    assert await hints(workroot_directory=b"/a/100%25") == [("Workroot-Directory", "/a/100%25")]


async def test_directories_that_differ_are_all_passed_on_and_equal_ones_once() -> None:
    assert await hints(b"directory=/a&directory=%2Fb&directory=/a") == [("?directory=", "/a"), ("?directory=", "/b")]


async def test_a_directory_that_differs_is_not_lost_behind_spellings_of_another() -> None:
    spellings = [b"/a", *(b"/a" + b"/." * number for number in range(1, 15))]

    found = await hints(b"&".join(b"directory=" + path for path in [*spellings, b"/b"]))

    assert len(found) == 16
    assert found[-1] == ("?directory=", "/b")


@pytest.mark.parametrize("number", [17, 1000])
async def test_a_url_cannot_make_us_look_at_any_number_of_directories(number: int) -> None:
    query = b"&".join(b"directory=/%d" % each for each in range(number))

    assert await all_hints(query) == (Hint(Source.HEADER, "?directory=", "", problem="names too many directories"),)


@pytest.mark.parametrize("query", [b"directory=/home/R&D/app", b"directory=/a&b&c=1"])
async def test_a_path_that_was_torn_at_an_ampersand_is_not_taken_for_what_is_left_of_it(query: bytes) -> None:
    [hint] = await all_hints(query)
    assert hint.problem == "is followed by an & and no parameter; write an & in a path as %26"
