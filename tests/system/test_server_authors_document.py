"""Each promise of `docs/for-server-authors.md` is one that a test shows: who removes the test changes the page."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from readme_document import ROOT

PAGE = ROOT / "docs" / "for-server-authors.md"
NOT_PROMISED = "## What is not promised"
EXAMPLE_TESTS = ("test_attached_examples.py", "test_attached_fastmcp.py")

TOOLS, HTTP, STORES = "system/test_attached.py", "system/test_attached_http.py", "system/test_attached_stores.py"
PROTOCOL = "system/test_protocol_sessions_attached.py"
PEERS, TABLE = "unit/test_attached_peers.py", "unit/test_attached_tools.py"

SHOWN_BY = {
    "They are filled by": (
        f"{TOOLS}::test_a_tool_gets_the_project_that_its_client_works_in",
        f"{TOOLS}::test_a_resolver_of_the_authors_own_may_ask_for_the_project",
    ),
    "They are no arguments": (f"{TOOLS}::test_no_client_can_pass_a_project_or_a_session_itself",),
    "A tool that asks gets": (
        f"{TOOLS}::test_a_tool_that_asks_gets_the_two_arguments_and_all_are_closed",
        f"{TOOLS}::test_a_session_is_passed_on_by_argument_and_by_meta",
    ),
    "Arguments of these names": (f"{TOOLS}::test_arguments_that_a_tool_has_itself_stay_its_own",),
    "`None` means": (
        f"{TOOLS}::test_roots_in_several_projects_are_the_candidates_of_the_error",
        f"{TOOLS}::test_a_broken_config_is_no_missing_project",
        f"{TOOLS}::test_a_session_set_against_its_clients_signs_is_stale_when_they_change",
    ),
    "The four session tools": (
        f"{TOOLS}::test_a_tool_that_asks_gets_the_two_arguments_and_all_are_closed",
        f"{TABLE}::test_a_server_with_a_tool_of_one_of_our_names_is_not_attached",
        f"{TABLE}::test_a_tool_of_one_of_our_names_cannot_be_added_or_removed",
    ),
    "An argument that a tool does not take": (
        f"{TOOLS}::test_an_argument_that_a_tool_does_not_take_is_refused_with_the_near_match",
    ),
    "Clients never meet": (f"{HTTP}::test_clients_in_several_projects_never_see_each_others",),
    "Users never meet": (f"{HTTP}::test_two_authenticated_users_of_one_server_never_meet",),
    "No header value": (
        f"{HTTP}::test_a_connection_id_that_nobody_gave_stands_for_nobody",
        f"{HTTP}::test_the_header_names_a_session_and_a_made_up_one_is_none",
        f"{HTTP}::test_connections_of_the_handshake_era_have_default_sessions_of_their_own",
        f"{HTTP}::test_connections_of_the_modern_era_stand_for_nobody",
    ),
    "A session follows": (
        f"{TOOLS}::test_a_session_follows_a_client_that_moves",
        f"{TOOLS}::test_a_session_set_against_its_clients_signs_is_stale_when_they_change",
    ),
    "`strict_mode` and": (
        f"{TOOLS}::test_a_strict_project_answers_for_nothing_outside_of_it",
        f"{TOOLS}::test_a_project_without_auto_switch_is_entered_on_request_only",
    ),
    "Roots are asked": (
        f"{TOOLS}::test_roots_are_asked_anew_in_every_call",
        f"{TOOLS}::test_a_root_that_is_no_directory_here_does_not_spoil_the_others",
        f"{TOOLS}::test_a_tool_may_ask_its_user_as_well_as_the_client_for_its_roots",
    ),
    "Every request is served": (f"{TOOLS}::test_each_request_is_served_in_the_context_of_its_real_session",),
    "Results say": (f"{TOOLS}::test_a_tool_gets_the_project_that_its_client_works_in",),
    "It lives as long": (
        f"{PEERS}::test_the_sweeper_runs_on_when_one_of_three_clients_leaves",
        f"{STORES}::test_a_server_that_is_told_to_stop_closes_its_file_in_order",
        f"{TOOLS}::test_the_authors_own_lifespan_is_left_as_it_is",
    ),
    "How often a user may ask": (
        f"{PROTOCOL}::test_a_users_rate_is_the_same_on_every_connection_and_not_anothers",
        "unit/test_rate_limits.py::test_who_is_refused_learns_when_to_ask_again_and_is_let_through_then",
    ),
    "What the SDK has of": (
        f"{PROTOCOL}::test_a_deleted_session_is_over_and_what_came_over_it_is_no_way_in",
        f"{PROTOCOL}::test_sessions_have_a_most_and_an_end",
        f"{PROTOCOL}::test_where_the_author_keeps_events_a_client_gets_those_that_it_missed",
        f"{PROTOCOL}::test_where_nobody_keeps_events_a_client_that_wants_them_is_told_so",
        f"{PROTOCOL}::test_a_call_that_a_client_gives_up_is_stopped_and_another_of_its_goes_on",
        f"{PROTOCOL}::test_a_tool_that_is_a_plain_function_holds_up_nobody",
        f"{PROTOCOL}::test_a_server_that_is_told_to_end_lets_a_call_under_way_finish",
    ),
    "A start that fails": (f"{STORES}::test_a_failed_start_is_told_and_tried_again",),
}
"""How each promise begins, and the tests that show it."""

ERRORS = {
    "project_needed": f"{TOOLS}::test_without_a_project_a_tool_that_needs_one_fails_and_one_that_does_not_runs",
    "session_needed": f"{TOOLS}::test_a_session_that_is_not_there_is_an_error_that_says_which",
    "unknown_session": f"{TOOLS}::test_a_session_that_is_not_there_is_an_error_that_says_which",
    "closed_session": f"{TOOLS}::test_a_session_that_is_not_there_is_an_error_that_says_which",
    "invalid_arguments": f"{TOOLS}::test_an_argument_that_a_tool_does_not_take_is_refused_with_the_near_match",
    "signs_disagree": f"{HTTP}::test_the_directory_in_the_url_counts_as_the_header_does",
    "strict_mode": f"{TOOLS}::test_a_strict_project_answers_for_nothing_outside_of_it",
    "store_in_use": f"{STORES}::test_a_second_process_on_the_file_tells_every_call_to_be_a_client_instead",
    "store_unavailable": f"{STORES}::test_a_failed_start_is_told_and_tried_again",
    "daemon_unavailable": f"{STORES}::test_without_a_daemon_every_call_says_so",
}
"""Each error of the table, and the test that meets it."""

KEPT = {
    "`None`": f"{STORES}::test_memory_lasts_as_long_as_the_process",
    "a path": f"{STORES}::test_a_file_keeps_sessions_over_a_kill",
    "`workroot.connect()`": f"{STORES}::test_the_daemon_can_keep_the_sessions_of_an_attached_server",
}
"""Each row of the table of stores, and the test that uses it."""


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions)


def first_cells(heading: str) -> list[str]:
    section = PAGE.read_text("utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [row.split(" | ")[0].removeprefix("| ") for row in re.findall(r"^\| .+$", section, re.MULTILINE)][2:]


def test_each_promise_is_shown_by_tests() -> None:
    text, _, _ = PAGE.read_text("utf-8").partition(f"\n{NOT_PROMISED}")
    promises = [" ".join(each.split()) for each in re.findall(r"^- \*\*(.+?)\*\*", text, re.MULTILINE | re.DOTALL)]

    assert [name for name in promises if not any(name.startswith(start) for start in SHOWN_BY)] == []
    assert [start for start in SHOWN_BY if not any(name.startswith(start) for name in promises)] == []


def test_the_tables_name_what_tests_meet() -> None:
    assert first_cells("What a tool error says") == [f"`{code}`" for code in ERRORS]
    assert first_cells("Where sessions are kept") == list(KEPT)


@pytest.mark.parametrize(
    "named", sorted({*ERRORS.values(), *KEPT.values(), *(test for tests in SHOWN_BY.values() for test in tests)})
)
def test_the_test_is_there(named: str) -> None:
    file, _, name = named.partition("::")

    assert name in names_in(file)


def test_the_five_lines_are_a_server() -> None:
    text = PAGE.read_text("utf-8")
    [lines] = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    names: dict[str, object] = {}

    exec(f"import workroot\nfrom workroot import CurrentProject\nfrom mcp.server import MCPServer\n{lines}", names)

    assert "add" in names


def test_the_examples_named_are_there_and_run_by_tests() -> None:
    named = set(re.findall(r"\(examples/(\w+\.py)\)", PAGE.read_text("utf-8")))
    run = "".join((ROOT / "tests" / "system" / file).read_text("utf-8") for file in EXAMPLE_TESTS)

    assert named == {path.name for path in (ROOT / "docs" / "examples").glob("*.py")}
    assert [name for name in named if name not in run] == []
