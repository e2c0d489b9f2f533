"""Each promise of `docs/security.md` is one that a test shows: who removes the test has to change the page."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from readme_document import ROOT, links

PAGE = "docs/security.md"
NOT_PROMISED = "What is not promised"

SHOWN_BY = {
    "Nothing in a repository is executed": (
        "system/test_readme.py::test_nothing_of_a_project_runs",
        "system/test_connector_start.py::test_the_daemon_of_this_installation_is_started_isolated",
        "unit/test_rendezvous.py::test_a_daemon_inherits_only_what_is_on_the_list",
        "system/test_daemon.py::test_a_daemon_works_in_the_root_directory_wherever_it_was_started",
    ),
    "What a config could have others do": (
        "system/test_trust_in_answers.py::test_what_a_project_asks_for_is_withheld_until_that_very_content_is_allowed",
        "properties/test_trust_properties.py::test_a_config_with_one_byte_changed_is_asked_for_again",
        "system/test_trust_command.py::test_a_project_cannot_grant_itself_anything",
    ),
    "A config counts only if": (
        "system/test_hostile_files.py::test_what_is_no_honest_config_is_refused_and_ends_the_search",
        "system/test_hostile_files.py::test_no_directory_on_the_way_to_a_config_may_be_a_link",
        "system/test_hostile_files.py::test_a_config_of_another_user_in_ones_own_directory_is_refused",
    ),
    "The search for a project ends": (
        "system/test_readme.py::test_the_search_ends_at_home_at_what_others_may_write_and_at_the_64th_level",
        "system/test_project_finder.py::test_another_users_directory_is_not_looked_into_and_roots_is",
        "system/test_project_finder.py::test_the_search_does_not_leave_a_mount",
    ),
    "A config has at most": (
        "system/test_config_document.py::test_the_limits_are_those_of_the_parser",
        "system/test_hostile_files.py::test_a_large_file_takes_no_memory",
        "system/test_hostile_files.py::test_all_files_of_one_answer_together_are_bounded",
    ),
    "A repository cannot pass for another": (
        "system/test_repositories.py::test_a_git_file_cannot_claim_another_checkout",
        "system/test_repositories.py::test_a_submodule_s_directory_cannot_be_claimed_by_another",
        "system/test_project_ids.py::test_two_clones_with_one_committed_id_are_two_projects_also_after_a_restart",
    ),
    "An error about a config": (
        "unit/test_project_config.py::test_a_field_that_is_not_valid_is_named_with_its_line",
        "unit/test_project_config.py::test_no_answer_holds_a_refused_value",
    ),
    "Text of a project adds no line": (
        "system/test_hostile_text.py::test_a_directory_s_name_adds_no_line_to_an_answer",
        "unit/test_logs.py::test_a_newline_from_outside_does_not_forge_a_record",
    ),
    "A file or mount that never answers": (
        "system/test_hung_mounts.py::"
        "test_a_look_at_a_hung_mount_ends_in_time_and_says_which_and_when_it_is_tried_again",
        "system/test_hung_mounts.py::test_other_looks_go_on_while_one_hangs",
    ),
    "HTTP is off until": (
        "system/test_streamable_http.py::test_it_listens_on_loopback_and_leaves_signals_alone",
        "unit/test_settings.py::test_without_file_and_variables_the_defaults_hold",
        "system/test_doctor.py::test_the_daemons_own_port_is_fine_and_on_127_0_0_1_only",
    ),
    "A request counts only with `Host`": (
        "unit/test_http_guard.py::test_anything_else_is_refused_before_its_body_is_read",
        "unit/test_http_guard.py::test_an_evil_host_learns_no_path",
    ),
    "An `Origin` other than": (
        "system/test_operations_document.py::test_http_refuses_what_the_table_says_in_its_words",
        "system/test_streamable_http.py::test_a_preflight_is_not_answered_as_one",
        "system/test_streamable_http.py::test_other_paths_lead_nowhere",
    ),
    "All of this, the path": (
        "system/test_streamable_http.py::test_who_may_not_speak_is_refused_before_sending_a_body",
        "system/test_http_limits.py::test_no_body_is_asked_for_from_those_who_may_not_send_one",
    ),
    "State lies in directories of mode 0700": (
        "system/test_daemon.py::test_only_this_user_can_reach_the_socket_and_the_state",
        "unit/test_rendezvous.py::test_the_meeting_place_is_made_for_its_user_alone_whatever_the_umask",
        "unit/test_rendezvous.py::test_a_directory_that_others_may_enter_is_refused_with_the_cure",
    ),
    "The daemon asks the system who connects": (
        "system/test_daemon.py::test_another_user_is_not_answered_even_where_the_modes_let_him_in",
        "system/test_connector_start.py::test_a_daemon_of_another_user_is_refused",
    ),
    "A lock, a socket or a file": (
        "system/test_connector_start.py::test_what_is_in_the_way_is_named_with_the_cure_and_left_as_it_is",
        "unit/test_instance.py::test_a_lock_of_another_user_is_refused",
        "unit/test_private_file.py::test_a_link_a_second_name_a_pipe_and_a_directory_are_refused",
    ),
    "A socket that a service manager hands over": (
        "unit/test_inherited_sockets.py::test_a_socket_at_another_path_is_refused",
        "unit/test_inherited_sockets.py::test_a_socket_of_another_user_is_refused",
        "unit/test_inherited_sockets.py::test_http_beyond_this_machine_is_refused",
    ),
    "Over HTTP nobody is answered without a token": (
        "unit/test_identity.py::test_the_token_itself_is_not_kept",
        "unit/test_identity.py::test_what_is_nearly_a_token_is_nobodys",
        "unit/test_identity.py::test_a_token_is_compared_in_constant_time_with_every_one_that_is_kept",
        "system/test_streamable_http.py::test_a_revoked_token_is_refused_at_the_next_request",
        "system/test_streamable_http.py::"
        "test_a_stream_of_the_handshake_era_ends_before_its_next_event_once_its_token_is_revoked",
        "system/test_streamable_http.py::"
        "test_a_stream_of_the_modern_era_ends_before_its_next_event_once_its_token_is_revoked",
        "system/test_observability.py::test_health_needs_no_token_and_metrics_do",
    ),
    "A session belongs to the user": (
        "properties/test_isolation.py::test_nobody_ever_sees_or_moves_anybody_elses_session",
        "system/test_streamable_http.py::test_somebody_elses_session_does_not_exist",
    ),
    "Sessions of two sandboxes": ("system/test_http_limits.py::test_sessions_of_two_sandboxes_never_meet",),
    "Answers do not cross": (
        "system/test_isolation_of_clients.py::test_clients_that_use_the_same_request_ids_each_get_their_own_answers",
        "system/test_protocol_sessions_cancel.py::"
        "test_a_client_on_the_socket_cancels_its_own_call_and_not_the_one_of_the_same_id",
        "system/test_protocol_sessions_cancel.py::"
        "test_a_session_over_http_cancels_its_own_call_and_not_the_one_of_the_same_id",
        "system/test_protocol_sessions_cancel.py::"
        "test_who_hangs_up_cancels_its_own_call_and_not_the_one_of_the_same_id",
        "system/test_protocol_sessions_ids.py::test_nobody_answers_for_another",
        "system/test_protocol_sessions_ids.py::test_what_is_told_unasked_reaches_those_whose_it_is_and_nobody_else",
    ),
    "An `Mcp-Session-Id`": (
        "system/test_http_sessions.py::test_ids_that_are_not_ones_own_are_unknown_and_nobody_learns_why",
    ),
    "A message has at most 1 MiB": (
        "properties/test_strict_json.py::test_each_rule_names_itself",
        "system/test_http_limits.py::test_what_is_not_strict_json_has_one_answer_in_both_eras",
        "system/test_bad_clients.py::test_a_line_of_two_mebibytes_ends_that_connection_alone",
        "system/test_streamable_http.py::test_a_body_in_chunks_is_cut_off_at_the_limit",
    ),
    "Connections, requests in flight": (
        "system/test_http_limits.py::test_one_user_cannot_take_all_connections",
        "system/test_http_limits.py::test_one_user_cannot_send_too_many_requests",
        "system/test_socket_limits.py::test_requests_beyond_those_in_flight_wait_and_are_all_answered",
        "system/test_socket_limits.py::test_clients_that_say_nothing_give_way_to_those_that_do",
        "system/test_http_sessions.py::test_more_sessions_than_are_held_all_go_on",
        "system/test_http_sessions.py::test_streams_above_the_limits_are_refused_by_name",
    ),
    "Where you limit how often": (
        "system/test_protocol_sessions_rates.py::"
        "test_a_user_who_asks_too_often_is_told_when_to_ask_again_on_whatever_connection",
        "system/test_protocol_sessions_rates.py::test_a_new_session_id_is_no_way_round_the_rate",
    ),
    "The head of an HTTP request": (
        "system/test_http_limits.py::test_a_head_that_does_not_end_is_not_waited_for",
        "system/test_http_limits.py::test_a_body_that_does_not_come_is_not_waited_for",
        "system/test_socket_limits.py::test_a_client_that_reads_nothing_takes_little_memory_and_loses_its_connection",
    ),
    "A request that can be read in two ways": (
        "system/test_http_limits.py::test_a_head_that_can_be_read_in_two_ways_is_not_read_at_all",
        "system/test_http_limits.py::test_a_body_in_broken_chunks_is_refused_and_harms_nobody",
    ),
    "Hanging up, garbage": (
        "system/test_bad_clients.py::test_a_client_that_hangs_up_in_the_middle_of_a_line_harms_nobody",
        "system/test_socket_limits.py::test_a_flood_of_garbage_connections_is_not_felt_by_another_client",
        "system/test_streamable_http.py::test_garbage_ends_its_own_connection_only",
    ),
    "When no descriptor is left": (
        "system/test_socket_limits.py::"
        "test_with_no_descriptor_left_at_all_newcomers_see_an_end_and_the_log_stays_short",
        "system/test_http_limits.py::test_a_full_descriptor_table_is_survived_and_hardly_logged",
    ),
    "The log takes at most 25 MB": (
        "unit/test_logs.py::test_the_log_never_takes_more_than_its_files",
        "unit/test_logs.py::test_the_log_takes_less_than_a_megabyte_a_minute_whatever_comes",
        "unit/test_logs.py::test_neither_a_token_nor_a_whole_handle_is_in_the_log",
    ),
    "A daemon whose places are all taken": ("system/test_socket_limits.py::test_a_full_daemon_can_be_stopped",),
    "No MCP tool grants trust": (
        "system/test_trust_command.py::test_no_tool_grants_trust",
        "system/test_trust_command.py::test_without_a_terminal_nothing_can_be_allowed",
        "system/test_trust_command.py::test_only_the_command_decides_and_nothing_that_clients_reach_does",
    ),
    "No tool writes into a project": (
        "system/test_readme.py::test_the_table_of_tools_is_what_a_server_lists",
        "system/test_readme.py::test_working_in_a_project_writes_nothing_into_it",
        "system/test_readme.py::test_what_was_allowed_is_shown_and_not_done",
    ),
    "With `model_may_move`": (
        "unit/test_resolution_limits.py::test_how_far_an_argument_reaches",
        "unit/test_switching.py::test_an_argument_out_of_reach_changes_nothing",
    ),
    "Telemetry, if you switch it on": (
        "unit/test_tracing.py::test_nothing_of_opentelemetry_is_begun_unasked",
        "unit/test_tracing.py::test_a_span_says_what_was_asked_and_nothing_of_what_was_in_it",
    ),
    "What was acknowledged": (
        "system/test_crashes.py::"
        "test_nothing_acknowledged_is_lost_or_crossed_or_done_twice_whenever_the_daemon_is_killed",
        "system/test_power_loss.py::test_the_log_is_synced_between_every_request_and_its_answer",
        "system/test_sqlite_store.py::test_the_settings_that_keep_data_safe_are_in_force",
    ),
    "A change that a full or failing disk": (
        "system/test_disk_faults.py::test_whichever_call_fails_nothing_acknowledged_is_lost_and_the_daemon_heals",
        "system/test_disk_faults.py::"
        "test_a_disk_that_fills_under_the_daemon_loses_nothing_and_needs_no_restart_when_it_has_room_again",
        "system/test_disk_faults.py::"
        "test_a_daemon_that_starts_on_a_full_disk_serves_what_it_reads_and_keeps_the_rest_when_there_is_room",
        "system/test_store_faults.py::test_whichever_call_fails_the_answers_are_true_and_it_heals",
    ),
    "A database that was deleted": (
        "system/test_lost_files.py::test_a_lost_file_is_written_anew_before_the_next_answer",
        "system/test_lost_files.py::test_what_lay_in_the_place_of_the_database_is_kept_and_named",
        "system/test_sqlite_store.py::test_nothing_is_acknowledged_once_the_file_is_no_longer_there",
        "system/test_disk_faults.py::"
        "test_a_database_that_is_spoilt_between_two_daemons_is_kept_aside_and_a_new_one_serves",
    ),
    "A clock that is set": (
        "system/test_clocks.py::test_a_step_while_it_runs_ends_nothing_in_use",
        "system/test_clocks.py::test_a_step_between_two_daemons_ends_nothing_in_use",
        "system/test_clocks.py::test_a_machine_that_sleeps_ends_nothing_in_use",
        "system/test_clocks.py::test_a_machine_that_was_off_ends_nothing_in_use",
        "unit/test_sweeps.py::test_very_many_are_looked_at_twice",
    ),
    "An archive that is cut short": (
        "system/test_archive.py::test_an_archive_that_is_cut_short_changes_nothing",
        "system/test_archive.py::test_a_second_import_changes_nothing_and_what_is_here_stays",
        "unit/test_archive_document.py::test_a_wrong_field_is_named_with_its_line",
        "unit/test_archive_document.py::test_an_archive_holds_records_of_these_kinds_and_no_others",
    ),
    "A database of a newer workroot": (
        "system/test_sqlite_store.py::test_a_newer_database_is_left_as_it_was_to_the_byte",
        "system/test_sqlite_store.py::test_a_migration_keeps_the_sessions_and_a_backup_of_the_version_before",
    ),
    "There is never a second daemon": (
        "system/test_daemon.py::test_of_daemons_started_at_once_over_a_stale_socket_one_is_left",
        "unit/test_instance.py::test_of_two_the_second_is_refused",
    ),
}
"""How each promise begins, and the tests that show it."""


def promises() -> list[str]:
    """Return the items of all sections but the last, each on one line."""
    text, _, _ = (ROOT / PAGE).read_text("utf-8").partition(f"## {NOT_PROMISED}")
    items = re.findall(r"^- (.+?)(?=^- |^#|\Z)", text, re.MULTILINE | re.DOTALL)
    return [" ".join(item.split()) for item in items]


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(each.name for each in ast.walk(tree) if isinstance(each, functions))


def test_every_promise_is_in_the_table_once_and_none_is_there_that_is_not_made() -> None:
    begun = [[start for start in SHOWN_BY if promise.startswith(start)] for promise in promises()]

    assert [promise for promise, starts in zip(promises(), begun, strict=True) if len(starts) != 1] == []
    assert [starts[0] for starts in begun] == list(SHOWN_BY)


@pytest.mark.parametrize("promise", SHOWN_BY)
def test_the_tests_that_show_a_promise_are_there(promise: str) -> None:
    assert SHOWN_BY[promise]
    for shown_by in SHOWN_BY[promise]:
        file, _, name = shown_by.partition("::")
        assert name in names_in(file), shown_by


def test_what_is_not_promised_is_said_and_links_lead_somewhere() -> None:
    text = (ROOT / PAGE).read_text("utf-8")

    assert "root" in text.partition(f"## {NOT_PROMISED}")[2]
    assert [link for link in links(PAGE) if not (ROOT / "docs" / link).is_file()] == []
    assert PAGE in links()
