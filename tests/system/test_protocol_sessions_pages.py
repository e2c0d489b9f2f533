"""Long lists come page by page, by a cursor that only its own list takes, and lose nothing while the list changes."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from mcp import Client
from mcp.client.session import IncomingMessage
from mcp.shared.exceptions import MCPError
from mcp_types import ResourceListChangedNotification
from real_daemon import DEADLINE_SECONDS, ERAS, LEGACY, MODERN, Home, answer_of, error_of, open_home

PAGE = 100


@pytest.fixture(scope="module")
def crowded() -> Iterator[Home]:
    """A home with more projects than go on two pages; the last one was used last."""
    with open_home() as home:
        for number in range(2 * PAGE + 5):
            home.repository(f"p{number:03}")
        home.start()
        yield home


async def work_in(client: Client, *projects: str) -> None:
    for project in projects:
        await answer_of(client, "get_working_directory", meta={"workroot/directory": project})


@pytest.fixture
async def worked_in(crowded: Home) -> Home:
    async with crowded.open_client(MODERN) as client:
        if not (await answer_of(client, "list_projects"))["projects"]:
            await work_in(client, *(str(crowded.top / f"p{number:03}") for number in range(2 * PAGE + 5)))
    return crowded


@pytest.mark.row("M6")
@pytest.mark.parametrize("era", ERAS)
async def test_resources_and_projects_are_listed_page_by_page(worked_in: Home, era: str) -> None:
    async with worked_in.open_client(era) as client:
        first = await client.list_resources()
        second = await client.list_resources(cursor=first.next_cursor)
        third = await client.list_resources(cursor=second.next_cursor)
        pages, cursor = [], None
        while True:
            asked: dict[str, object] = {} if cursor is None else {"cursor": cursor}
            page = await answer_of(client, "list_projects", **asked)
            pages.append(page["projects"])
            if (cursor := page["next_cursor"]) is None:
                break
        one = await client.read_resource(str(third.resources[-1].uri))

    resources = [first.resources, second.resources, third.resources]
    assert [len(page) for page in resources] == [PAGE + 1, PAGE, 5]
    assert third.next_cursor is None
    assert str(first.resources[0].uri) == "workroot://projects"
    assert [len(page) for page in pages] == [PAGE, PAGE, 5]
    named = [resource.name for page in resources for resource in page][1:]
    assert named == [project["name"] for page in pages for project in page]
    assert len(set(named)) == 2 * PAGE + 5
    assert "p000" in str(one.contents[0])


@pytest.mark.row("M6")
@pytest.mark.parametrize("era", ERAS)
async def test_a_cursor_that_a_list_did_not_give_out_is_refused(worked_in: Home, era: str) -> None:
    async with worked_in.open_client(era) as client:
        projects = (await answer_of(client, "list_projects"))["next_cursor"]
        resources = (await client.list_resources()).next_cursor
        for cursor in ("", "100", "eyJwYWdlIjogM30=", projects):
            with pytest.raises(MCPError, match=r"resources/list: .* is not a cursor of this list") as refused:
                await client.list_resources(cursor=cursor)
            assert refused.value.code == -32602
        for lists in (client.list_tools, client.list_resource_templates):
            with pytest.raises(MCPError, match="is not a cursor of this list") as refused:
                await lists(cursor=resources)
            assert refused.value.code == -32602
        for cursor in ("100", resources):
            assert "is not a cursor of this list" in await error_of(client, "list_projects", cursor=cursor)
        assert "is not a cursor of this list" in await error_of(client, "list_projects", cursor=projects, query="p")


@pytest.mark.row("M6")
@pytest.mark.parametrize("era", ERAS)
async def test_what_comes_between_two_pages_takes_nothing_from_the_second(era: str) -> None:
    with open_home() as home:
        projects = [str(home.repository(f"p{number:03}")) for number in range(PAGE + 20)]
        new = [str(home.repository(f"new-{number}")) for number in range(10)]
        home.start()
        async with home.open_client(era) as client:
            await work_in(client, *projects)
            first = await answer_of(client, "list_projects")
            resources = await client.list_resources()
            await work_in(client, *new)
            second = await answer_of(client, "list_projects", cursor=first["next_cursor"])
            more = await client.list_resources(cursor=resources.next_cursor)

    listed = [row["root"] for row in second["projects"]]
    assert [row["root"] for row in first["projects"]] + listed[:20] == projects[::-1]
    assert listed[20:] == new[::-1]
    assert second["next_cursor"] is None
    assert [resource.name for resource in more.resources] == [root.rpartition("/")[2] for root in listed]


@pytest.mark.row("M6")
async def test_a_client_that_has_listed_resources_hears_of_more_of_them(shared: Home) -> None:
    heard = anyio.Event()

    async def hear(message: IncomingMessage) -> None:
        if isinstance(message, ResourceListChangedNotification):
            heard.set()

    async with shared.open_client(LEGACY, heard=hear) as old, shared.open_client(MODERN) as new:
        await old.list_resources()
        async with new.listen(resources_list_changed=True) as changes:
            await work_in(new, str(shared.repository("one-more")))
            with anyio.fail_after(DEADLINE_SECONDS):
                await heard.wait()
                await anext(aiter(changes))


@pytest.mark.parametrize("era", ERAS)
async def test_a_list_that_is_short_has_one_page(shared: Home, era: str) -> None:
    async with shared.open_client(era, shared.repository(f"alone-{era}")) as client:
        await answer_of(client, "get_working_directory")
        assert (await client.list_resources()).next_cursor is None
        assert (await client.list_tools()).next_cursor is None
        assert (await client.list_resource_templates()).next_cursor is None
