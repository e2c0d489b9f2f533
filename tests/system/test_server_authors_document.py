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
CLIENT, DAEMON = "system/test_daemon_client.py", "system/test_attached_daemon.py"
PEERS, TABLE = "unit/test_attached_peers.py", "unit/test_attached_tools.py"
CONTRACT = "../src/workroot/testing/provider_contract.py"  # run by contracts/test_providers.py
IN_MEMORY, IN_A_FILE = "unit/test_providers_memory.py", "system/test_providers_sqlite.py"
CONTEXT = "unit/test_request_context.py"
TOLD, OF_FASTMCP = "system/test_attached_errors.py", "system/test_attached_fastmcp_http.py"
USERS, GIVEN = "system/test_attached_users.py", "system/test_attached_allocations.py"
MANAGER, ALLOCATING = "unit/test_session_manager.py", "unit/test_allocating.py"
MANAGER_OF_DAEMON = "system/test_session_manager_of_daemon.py"
CHANNELS, ASKING = "system/test_attached_channels.py", "unit/test_asking.py"

SHOWN_BY = {
    "They are filled by": (
        f"{TOOLS}::test_a_tool_gets_the_project_that_its_client_works_in",
        f"{TOOLS}::test_a_resolver_of_the_authors_own_may_ask_for_the_project",
    ),
    "They are no arguments": (
        f"{TOOLS}::test_no_client_can_pass_a_project_or_a_session_itself",
        f"{TABLE}::test_a_project_or_session_that_clients_could_make_up_is_refused",
        "system/test_attached_fastmcp.py::test_a_server_whose_clients_could_make_up_a_project_does_not_start",
        "system/test_attached_fastmcp.py::"
        "test_a_tool_that_is_added_later_is_not_called_if_its_clients_could_make_up_a_project",
    ),
    "Tools alone can ask": (
        f"{TABLE}::test_a_prompt_or_resource_that_asks_is_refused_since_the_sdk_fills_tools_alone",
    ),
    "Annotations have to be": (f"{TABLE}::test_an_annotation_that_cannot_be_read_is_left_to_the_sdk",),
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
    "Users never meet": (
        f"{HTTP}::test_two_authenticated_users_of_one_server_never_meet",
        f"{USERS}::test_users_of_one_name_of_two_issuers_and_a_client_of_that_name_never_meet",
    ),
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
        "system/test_attached_serving.py::test_a_server_mounted_on_another_app_knows_its_callers_and_closes_with_it",
        "system/test_attached_serving.py::"
        "test_clients_over_sse_each_have_their_own_connection_and_the_app_ends_the_sessions",
    ),
    "How often a user may ask": (
        f"{PROTOCOL}::test_a_users_rate_is_the_same_on_every_connection_and_not_anothers",
        "unit/test_rate_limits.py::test_who_is_refused_learns_when_to_ask_again_and_is_let_through_then",
        "unit/test_attached_rates.py::test_an_error_of_ours_from_a_rate_limit_is_told_as_it_is",
    ),
    "What the SDK has of": (
        f"{PROTOCOL}::test_a_deleted_session_is_over_and_what_came_over_it_is_no_way_in",
        f"{PROTOCOL}::test_sessions_have_a_most_and_an_end",
        f"{PROTOCOL}::test_where_the_author_keeps_events_a_client_gets_those_that_it_missed",
        f"{PROTOCOL}::test_where_nobody_keeps_events_a_client_that_wants_them_is_told_so",
        f"{OF_FASTMCP}::test_where_nobody_keeps_events_a_client_that_wants_them_is_told_so",
        f"{PROTOCOL}::test_a_call_that_a_client_gives_up_is_stopped_and_another_of_its_goes_on",
        f"{PROTOCOL}::test_a_tool_that_is_a_plain_function_holds_up_nobody",
        f"{PROTOCOL}::test_a_server_that_is_told_to_end_lets_a_call_under_way_finish",
    ),
    "A foreign `Host`": (
        f"{PROTOCOL}::test_an_unknown_protocol_is_not_promised_and_a_batch_and_other_sites_are_refused",
        f"{OF_FASTMCP}::test_a_foreign_host_or_origin_is_refused_on_loopback_and_clients_are_served",
        f"{OF_FASTMCP}::test_the_same_holds_for_run_and_who_said_otherwise_is_not_overruled",
    ),
    "A start that fails": (f"{STORES}::test_a_failed_start_is_told_and_tried_again",),
    "It never starts": (f"{STORES}::test_without_a_daemon_every_call_says_so",),
    "After a restart": (
        f"{CLIENT}::test_a_client_that_was_idle_while_the_daemon_was_replaced_notices_nothing",
        f"{CLIENT}::test_what_a_killed_daemon_acknowledged_is_kept_and_the_next_call_finds_the_next_daemon",
    ),
    "Nothing is done twice": (
        f"{CLIENT}::test_of_a_stopped_daemon_it_is_known_what_it_did",
        f"{CLIENT}::test_what_a_daemon_that_ends_in_order_has_not_begun_is_done_by_the_next_one",
    ),
    "All calls of an event loop": (
        f"{CLIENT}::test_a_hundred_calls_at_once_take_one_connection",
        f"{CLIENT}::test_event_loops_of_several_threads_have_connections_of_their_own",
        f"{CLIENT}::test_a_forked_child_has_a_connection_of_its_own_and_leaves_its_parents_alone",
    ),
    "The daemon is one user's": (
        f"{CLIENT}::test_those_whom_a_program_serves_never_meet_each_other_or_the_user",
        f"{DAEMON}::test_two_authenticated_users_of_a_server_never_meet_in_the_daemon",
    ),
    "It stays as long as": (f"{CLIENT}::test_a_daemon_stays_for_as_long_as_a_program_keeps_its_sessions_there",),
    "It keeps them where": (
        f"{GIVEN}::test_a_manager_opens_the_servers_sessions_and_they_end_with_the_server",
        f"{GIVEN}::test_a_session_that_the_server_gave_its_user_is_that_users_request_over_a_restart",
        f"{MANAGER}::test_without_another_the_manager_of_the_process_keeps_the_sessions",
        f"{MANAGER_OF_DAEMON}::test_the_interface_is_the_same_and_sandboxes_do_not_meet",
    ),
    "A session that a caller names": (
        f"{GIVEN}::test_a_session_that_the_server_gave_its_user_is_that_users_request_over_a_restart",
        f"{GIVEN}::test_a_session_of_a_server_without_users_is_its_callers_and_may_work_somewhere",
    ),
    "Inside of a request": (
        f"{MANAGER}::test_the_acting_user_is_the_argument_else_the_requests_else_the_program_itself",
        f"{MANAGER}::test_to_another_user_a_session_is_unknown_in_every_call_and_nothing_changes",
        f"{ALLOCATING}::test_a_stranger_cannot_take_over_an_id",
    ),
    "Without an authenticated user": (
        f"{MANAGER}::test_the_acting_user_is_the_argument_else_the_requests_else_the_program_itself",
        f"{ALLOCATING}::test_a_session_of_nobody_in_particular_serves_every_user_of_its_program",
        f"{GIVEN}::test_without_users_every_caller_reaches_what_the_program_gave_anybody",
    ),
    "Changes are atomic": (
        f"{ALLOCATING}::test_a_hundred_that_add_to_a_number_at_once_lose_none",
        f"{ALLOCATING}::test_values_that_are_set_at_once_are_all_there",
        f"{ALLOCATING}::test_of_many_that_compare_and_set_one_value_one_succeeds",
        "contracts/test_session_service.py::test_of_many_who_take_a_value_at_once_one_gets_it",
    ),
    "A session is `active`": (f"{MANAGER}::test_status_says_how_a_session_ended",),
    "An end is final": (
        f"{ALLOCATING}::test_an_end_is_final",
        f"{ALLOCATING}::test_ended_sessions_are_forgotten_after_a_while_and_their_ids_are_free_again",
        f"{ALLOCATING}::test_no_more_ends_are_remembered_than_may_be",
    ),
    "A time to live counts": (
        f"{ALLOCATING}::test_a_wall_clock_that_jumps_ends_nothing",
        f"{ALLOCATING}::test_times_to_live_go_on_over_a_restart_by_the_time_that_the_machine_was_awake",
        f"{ALLOCATING}::test_a_session_may_live_for_less_than_a_second_and_exactly_so",
        f"{MANAGER}::test_expiry_does_not_slide_and_is_told_the_same_each_time",
    ),
    "A store in trouble": (
        f"{MANAGER}::test_a_store_in_trouble_is_never_no_such_session",
        f"{ALLOCATING}::test_a_store_in_trouble_is_an_error_and_nothing_changes",
    ),
    "A question goes the way": (
        f"{CHANNELS}::test_each_client_of_the_handshake_era_answers_its_own_calls_questions",
        f"{ASKING}::test_a_question_goes_the_way_of_the_call_that_asks",
    ),
    "Asking is possible": (
        f"{CHANNELS}::test_a_client_that_cannot_be_asked_is_not_and_the_reason_is_told",
        f"{CHANNELS}::test_a_tool_sees_its_request_and_what_its_client_can_be_asked_for",
        f"{ASKING}::test_the_refusal_of_the_modern_era_names_the_way_of_each_framework",
    ),
    "Who says no": (
        f"{CHANNELS}::test_a_client_that_says_no_is_told_from_one_that_cannot_be_asked",
        f"{CHANNELS}::test_a_client_that_stays_silent_is_not_waited_for_beyond_the_deadline",
    ),
    "All providers mean": (
        f"{CONTRACT}::test_what_is_no_time_to_live_is_an_error_and_changes_nothing",
        f"{CONTRACT}::test_the_longest_key_and_value_are_kept_and_longer_ones_are_errors",
        f"{CONTRACT}::test_a_value_that_is_no_text_is_an_error_and_changes_nothing",
        f"{CONTRACT}::test_one_of_many_who_delete_a_value_is_told_that_it_did",
        f"{CONTRACT}::test_set_keeps_a_value_for_the_default_time",
    ),
    "`memory` is": (
        f"{IN_MEMORY}::test_every_use_in_the_process_shares_its_values_in_whichever_event_loop",
        f"{IN_MEMORY}::test_threads_share_the_values_too",
        f"{IN_MEMORY}::test_of_too_many_values_those_that_end_first_give_way",
    ),
    "`sqlite` is durable": (
        f"{IN_A_FILE}::test_what_was_acknowledged_before_a_kill_is_kept",
        f"{IN_A_FILE}::test_a_full_file_refuses_what_is_new_and_keeps_what_is_there",
    ),
    "A file is one event loop's": (
        f"{IN_A_FILE}::test_a_second_process_gets_an_error_until_the_first_has_ended",
        f"{IN_A_FILE}::test_uses_of_one_event_loop_share_the_open_file_and_others_get_an_error",
    ),
    "Time counts while": (
        f"{IN_MEMORY}::test_steps_of_the_wall_clock_end_nothing_and_prolong_nothing",
        f"{IN_A_FILE}::test_a_wall_clock_that_is_set_meanwhile_ends_nothing",
        f"{IN_A_FILE}::test_time_while_the_machine_is_off_does_not_count",
    ),
    "A provider of your own": (
        "unit/test_providers_choosing.py::test_a_module_of_ones_own_is_a_provider_as_documented",
        "unit/test_providers_choosing.py::test_a_provider_is_found_by_its_entry_point",
        "system/test_providers_custom.py::test_the_suite_passes_a_good_provider_that_is_installed",
        "system/test_providers_custom.py::test_the_suite_finds_a_bad_provider",
    ),
    "What is entered is restored": (
        f"{CONTEXT}::test_a_request_context_sets_what_is_given_and_restores_all_four",
        f"{CONTEXT}::test_an_inner_context_wins_and_inherits_what_it_does_not_name",
        f"{CONTEXT}::test_clear_takes_away_what_the_outer_context_has",
    ),
    "Requests never mix": (
        f"{CONTEXT}::test_child_tasks_inherit_and_what_they_set_does_not_leak_back",
        f"{CONTEXT}::test_threads_inherit_and_what_they_set_does_not_leak_back",
        f"{CONTEXT}::test_two_tasks_that_enter_one_instance_do_not_mix",
    ),
    "Notes are copies": (f"{CONTEXT}::test_metadata_is_never_aliased_at_any_depth",),
    "A generated id passes": (
        "properties/test_session_id_properties.py::test_thousands_of_generated_ids_all_pass_their_own_validator",
        "unit/test_session_ids.py::test_characters_and_length_decide",
    ),
    "Two things never have": (
        "properties/test_grid_path_properties.py::test_two_things_never_have_one_path",
        "properties/test_grid_path_properties.py::test_ordinary_ids_stand_as_they_are",
    ),
    "Reading never fails": (
        "properties/test_grid_path_properties.py::test_any_text_is_read_without_an_error",
        "unit/test_grid_paths.py::test_all_three_old_forms_are_read",
    ),
}
"""How each promise begins, and the tests that show it."""

ERRORS = {
    "project_needed": f"{TOOLS}::test_without_a_project_a_tool_that_needs_one_fails_and_one_that_does_not_runs",
    "invalid_config": f"{TOOLS}::test_a_broken_config_is_no_missing_project",
    "invalid_directory": f"{TOLD}::test_what_cannot_be_done_is_told_by_code",
    "unknown_project": f"{TOLD}::test_what_cannot_be_done_is_told_by_code",
    "session_needed": f"{TOOLS}::test_a_session_that_is_not_there_is_an_error_that_says_which",
    "unknown_session": f"{TOOLS}::test_a_session_that_is_not_there_is_an_error_that_says_which",
    "invalid_session": f"{HTTP}::test_the_header_names_a_session_and_a_made_up_one_is_none",
    "closed_session": f"{TOOLS}::test_a_session_that_is_not_there_is_an_error_that_says_which",
    "expired_session": f"{TOLD}::test_a_session_that_was_idle_for_too_long_is_told_from_an_unknown_one",
    "session_ended": f"{TOLD}::test_what_cannot_be_done_is_told_by_code",
    "session_required": f"{TOLD}::test_an_error_of_workroots_in_a_tools_body_reaches_the_client_as_it_is",
    "user_required": f"{TOLD}::test_an_error_of_workroots_in_a_tools_body_reaches_the_client_as_it_is",
    "channel_unavailable": f"{TOLD}::test_an_error_of_workroots_in_a_tools_body_reaches_the_client_as_it_is",
    "invalid_arguments": f"{TOOLS}::test_an_argument_that_a_tool_does_not_take_is_refused_with_the_near_match",
    "signs_disagree": f"{HTTP}::test_the_directory_in_the_url_counts_as_the_header_does",
    "strict_mode": f"{TOOLS}::test_a_strict_project_answers_for_nothing_outside_of_it",
    "store_in_use": f"{STORES}::test_a_second_process_on_the_file_tells_every_call_to_be_a_client_instead",
    "store_unavailable": f"{STORES}::test_a_failed_start_is_told_and_tried_again",
    "daemon_unavailable": f"{STORES}::test_without_a_daemon_every_call_says_so",
}
"""Each error of the table, and the test that meets it."""

VARIABLES = {
    "`WORKROOT_SESSION_PROVIDER`, else `SESSION_PROVIDER`": (
        "unit/test_providers_choosing.py::test_a_variable_of_ours_wins_over_one_of_theirs"
    ),
    "`WORKROOT_SESSION_DEFAULT_TTL`, else `SESSION_DEFAULT_TTL`": (
        "unit/test_providers_choosing.py::test_the_default_time_to_live_is_read_from_the_environment"
    ),
    "`WORKROOT_SESSION_PROVIDER_PATH`": (
        "unit/test_providers_choosing.py::test_sqlite_keeps_its_values_in_the_file_that_is_named"
    ),
}
"""Each row of the table of variables, and the test that sets it."""

SAID = {
    "`await send_progress(progress, total, message)`": (
        f"{CHANNELS}::test_two_clients_calls_at_once_each_hear_their_own_five_lines_and_progress"
    ),
    "`await send_log(level, data, logger_name)`": (
        f"{CHANNELS}::test_a_modern_client_hears_the_levels_that_it_asked_for"
    ),
    "`add_resource_link(uri, name, description, mime_type)`": (
        f"{CHANNELS}::test_two_calls_of_one_client_add_links_each_to_its_own_result"
    ),
    "`get_http_request()`": f"{CHANNELS}::test_a_tool_sees_its_request_and_what_its_client_can_be_asked_for",
    "`await list_roots()`": f"{CHANNELS}::test_each_client_of_the_handshake_era_answers_its_own_calls_questions",
    "`await create_message(messages, max_tokens)`": (
        f"{CHANNELS}::test_each_client_of_the_handshake_era_answers_its_own_calls_questions"
    ),
    "`await create_elicitation(message, schema)`": (
        f"{CHANNELS}::test_each_client_of_the_handshake_era_answers_its_own_calls_questions"
    ),
}
"""Each row of the table of channels, and the test that uses it."""

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
    assert first_cells("What a tool can say to its client") == list(SAID)
    assert first_cells("Small values with a time to live") == list(VARIABLES)


@pytest.mark.parametrize(
    "named",
    sorted(
        {
            *ERRORS.values(),
            *KEPT.values(),
            *SAID.values(),
            *VARIABLES.values(),
            *(test for tests in SHOWN_BY.values() for test in tests),
        }
    ),
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
