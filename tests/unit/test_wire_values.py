"""Values that cross as JSON: they come back as they were, and garbage is told from them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workroot import errors
from workroot.core.allocations import AllocatedSession, Allocation, SessionStatus
from workroot.core.answer import Alternative, Outcome, Resolution, SessionClaim, Step, Switch, Verdict
from workroot.core.projects import (
    ConfigProblem,
    DirectoryNode,
    KnownId,
    KnownProject,
    Place,
    Project,
    ProjectConfig,
    ProjectKey,
    ServerDeclaration,
    StopReason,
)
from workroot.core.sessions import EndedSession, Ending, Owner, PinnedSign, SessionContext
from workroot.core.signs import Authority, ClientTraits, Hint, Roots, RootsAnswer, Signs, Source
from workroot.errors import ControlError, WorkrootError
from workroot.mover import Entered
from workroot.wire_values import places as place_records
from workroot.wire_values import records
from workroot.wire_values.codec import BOOLEAN, INTEGER, JSON, NUMBER, OBJECT, REAL, TEXT, Codec
from workroot.wire_values.errors import ATTRIBUTES, error_of, fields_of_error


def whole(kind: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values of a class; each of its fields has to be named, so that none is left out of a round trip."""
    names = {each.name for each in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set(kind._fields)
    assert names == set(fields), names ^ set(fields)
    return st.builds(kind, **fields)


text = st.text(alphabet=st.characters(), max_size=12)
maybe_text = st.none() | text
texts = st.lists(text, max_size=3).map(tuple)
pairs = st.lists(st.tuples(text, text), max_size=2).map(tuple)
number = st.integers(min_value=-(2**63) + 1, max_value=2**63 - 1)
real = st.floats(allow_nan=False, allow_infinity=False)
flag = st.booleans()


def several(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(strategy, max_size=2).map(tuple)


owners = whole(Owner, principal=text, sandbox=text)
hints = whole(
    Hint,
    source=st.sampled_from(Source),
    detail=text,
    directory=text,
    authority=st.sampled_from(Authority),
    problem=maybe_text,
)
signs = whole(
    Signs,
    session_id=maybe_text,
    directory=maybe_text,
    meta_session=maybe_text,
    header_session=maybe_text,
    conversation=maybe_text,
    alias=maybe_text,
    hints=several(hints),
    roots=whole(Roots, answer=st.sampled_from(RootsAnswer), uris=texts, left_out=number),
    traits=whole(ClientTraits, first_root_is_working_directory=flag, shares_process=flag, conversation_keys=texts),
)
servers = whole(
    ServerDeclaration,
    name=text,
    command=maybe_text,
    args=texts,
    environment=pairs,
    url=maybe_text,
    headers=pairs,
    enabled=flag,
)
configs = whole(
    ProjectConfig,
    name=text,
    version=text,
    project_id=maybe_text,
    description=maybe_text,
    created_at=maybe_text,
    updated_at=maybe_text,
    auto_switch=flag,
    strict_mode=flag,
    dry_run=flag,
    instructions=maybe_text,
    commands=pairs,
    servers=several(servers),
    digest=text,
    ignored=texts,
)
projects = whole(
    Project,
    project_id=text,
    name=text,
    root=text,
    worktree_of=maybe_text,
    config_path=maybe_text,
    config=st.none() | configs,
)
keys = whole(ProjectKey, repository=text, path=text)
known_ids = whole(
    KnownId,
    key=keys,
    project_id=text,
    name=text,
    root=text,
    is_joined=flag,
    node=st.none() | whole(DirectoryNode, device=number, inode=number),
)
places = whole(
    Place,
    directory=text,
    given=text,
    project=st.none() | projects,
    config_path=maybe_text,
    config_error=st.none() | whole(ConfigProblem, path=text, problem=text, line=st.none() | number, field=maybe_text),
    stopped_at=text,
    stop=st.sampled_from(StopReason),
    key=st.none() | keys,
    known_id=st.none() | known_ids,
    displaced=several(known_ids),
    identities_seen=st.none() | number,
    warnings=texts,
    rests_on=texts,
)
pins = whole(PinnedSign, sign=text, directory=text, agreed=flag)
sessions = whole(
    SessionContext,
    session_id=text,
    owner=owners,
    working_directory=text,
    given_directory=text,
    config_path=maybe_text,
    project_id=maybe_text,
    project_root=maybe_text,
    project_name=maybe_text,
    signs=several(pins),
    set_at=real,
    last_used=real,
    revision=number,
)
resolutions = whole(
    Resolution,
    session=st.none() | sessions,
    claim=whole(SessionClaim, by=st.sampled_from(["handle", "conversation", "alias", "none"]), name=maybe_text),
    is_default_session=flag,
    place=st.none() | places,
    looked_at=st.none() | places,
    outcome=st.sampled_from(Outcome),
    source=st.sampled_from(Source),
    detail=text,
    authority=st.none() | st.sampled_from(Authority),
    warnings=texts,
    alternatives=several(
        whole(Alternative, directory=text, source=st.sampled_from(Source), detail=text, project=maybe_text)
    ),
    steps=several(
        whole(
            Step,
            source=st.sampled_from(Source),
            detail=text,
            directory=text,
            verdict=st.sampled_from(Verdict),
            reason=text,
            project=maybe_text,
        )
    ),
    switch=st.none() | whole(Switch, place=places, signs=several(pins)),
    previous=st.none() | sessions,
)
allocated = whole(
    AllocatedSession,
    session_id=text,
    owner=owners,
    user_id=maybe_text,
    created_at=real,
    deadline=real,
    last_accessed=real,
    metadata=text,
    status=st.sampled_from(SessionStatus),
    ended_at=st.none() | real,
    seen=real,
    revision=number,
)

CROSSING: dict[str, tuple[Codec[Any], st.SearchStrategy[Any]]] = {
    "signs": (records.SIGNS, signs),
    "place": (place_records.PLACE, places),
    "session": (records.SESSION, sessions),
    "resolution": (records.RESOLUTION, resolutions),
    "entered": (
        records.ENTERED,
        whole(Entered, resolution=resolutions, before=st.none() | sessions, is_made=flag),
    ),
    "ended": (
        records.ENDED,
        whole(
            EndedSession,
            session_id=text,
            owner=owners,
            last_directory=text,
            ending=st.sampled_from(Ending),
            ended_at=real,
            seen=real,
        ),
    ),
    "known project": (
        place_records.KNOWN_PROJECT,
        whole(KnownProject, project_id=text, name=text, root=text, worktree_of=maybe_text, seen_at=real),
    ),
    "allocated": (records.ALLOCATED, allocated),
    "allocation": (records.ALLOCATION, whole(Allocation, session=allocated, is_new=flag)),
    "number": (NUMBER, number | real),
    "whole number": (INTEGER, number),
    "text": (TEXT, text),
}

json_values = st.recursive(
    st.none() | flag | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize("name", CROSSING)
@given(data=st.data())
def test_what_crosses_comes_back_as_it_was(name: str, data: st.DataObject) -> None:
    codec, values = CROSSING[name]
    value = data.draw(values)

    crossed = codec.read(json.loads(json.dumps(codec.write(value))), "value")

    assert crossed == value
    assert type(crossed) is type(value)
    if isinstance(value, Place):
        assert crossed.identities_seen == value.identities_seen  # it does not count for the comparison above


@pytest.mark.parametrize("name", CROSSING)
@given(data=st.data())
def test_garbage_in_any_place_is_an_error_that_says_where_or_a_value(name: str, data: st.DataObject) -> None:
    codec, values = CROSSING[name]
    said = json.loads(json.dumps(codec.write(data.draw(values))))
    spoilt = _with_garbage(said, data.draw)

    assert _problem(codec, spoilt).startswith("value")


def _problem(codec: Codec[Any], raw: object) -> str:
    """Return what is wrong with *raw*, or that nothing is; anything but a type or value error is raised."""
    try:
        codec.read(raw, "value")
    except (TypeError, ValueError) as error:
        return str(error)
    return "value: it is one"


def _with_garbage(said: Any, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """Return *said* with garbage in one place, or instead of all of it."""
    if isinstance(said, dict) and said and draw(flag):
        name = draw(st.sampled_from(sorted(said)))
        return {**said, name: _with_garbage(said[name], draw)}
    if isinstance(said, list) and said and draw(flag):
        return [_with_garbage(said[0], draw), *said[1:]]
    return draw(json_values)


@pytest.mark.parametrize("codec", [*(codec for codec, _ in CROSSING.values()), BOOLEAN, REAL, OBJECT, JSON])
@given(raw=json_values)
def test_nothing_but_a_type_or_value_error_comes_of_garbage(codec: Codec[Any], raw: object) -> None:
    assert _problem(codec, raw).startswith("value")


@pytest.mark.parametrize(
    ("codec", "raw", "problem"),
    [
        (records.ALLOCATION, {"session": {}, "is_new": True}, "value.session.session_id is missing"),
        (records.SIGNS, {"hints": [{"source": "pin"}]}, "value.hints[0].detail is missing"),
        (records.SIGNS, {"roots": {"uris": ["a", 7]}}, "value.roots.uris[1]: text is needed, not int"),
        (records.SIGNS, {"roots": None}, "value.roots: an object is needed, not null"),
        (records.SIGNS, {"roots": {"answer": "maybe"}}, "value.roots.answer: 'maybe' is none of not_asked, "),
        (INTEGER, 1.0, "value: a whole number is needed, not float"),
        (INTEGER, True, "value: a number is needed, not bool"),
        (REAL, 10**400, "value: the number is too large"),
        (NUMBER, float("nan"), "value: nan is no number"),
    ],
)
def test_an_error_names_the_place_and_what_is_wrong_there(codec: Codec[Any], raw: object, problem: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        codec.read(raw, "value")

    assert str(caught.value).startswith(problem)


def test_fields_of_a_newer_version_are_passed_over_and_those_left_out_have_their_defaults() -> None:
    assert records.SIGNS.read({"session_id": "s", "colour": "green"}, "value") == Signs(session_id="s")


def test_what_has_its_default_is_not_written() -> None:
    assert records.SIGNS.write(Signs(session_id="s")) == {"session_id": "s"}


CROSSING_ERRORS: list[WorkrootError] = [
    errors.ChangeRefusedError("a session", "it is too large"),
    errors.ClosedSessionError("s", "/app"),
    errors.ConfigError("/app/.workroot/config.toml", "is no text", line=3, field="project.name"),
    errors.ConfigError("/app/.workroot/config.toml", "is no text"),
    errors.DirectoryError("/app", "Directory does not exist"),
    errors.DryRunError("nothing was done"),
    errors.ExpiredSessionError("s", "/app"),
    errors.JoinRefusedError("/app", "there is no project"),
    errors.MetadataError("it is no JSON"),
    errors.MoveRefusedError("/app", "known", ["/other"]),
    errors.NotStartedError(),
    errors.ProjectNeededError("it is not known", ["/app"]),
    errors.ProjectUnknownError("app", [("app", "id", "/app"), ("app", "id2", "/app2")], is_ambiguous=True),
    errors.SessionEndedError("s", "expired"),
    errors.SessionError("s", "cannot be one"),
    errors.SessionTakenError("s"),
    errors.SignsDisagreeError("session", ("meta", "a"), ("header", "b")),
    errors.StoreError("it is full"),
    errors.StoreUnavailableError("it is full"),
    errors.StrictModeError("/app", "app", "/other"),
    errors.TimeToLiveError(-1),
    errors.TooManySessionsError(7),
    errors.UnknownSessionError("s"),
    errors.UserIdError("a user's id is text"),
]


def test_each_error_that_crosses_is_tried_below() -> None:
    assert {type(error) for error in CROSSING_ERRORS} == set(ATTRIBUTES)


@pytest.mark.parametrize("error", CROSSING_ERRORS, ids=lambda error: error.code)
def test_an_error_comes_back_as_the_same_class_with_its_text_and_attributes(error: WorkrootError) -> None:
    crossed = error_of(json.loads(json.dumps(fields_of_error(error))))

    assert type(crossed) is type(error)
    assert (str(crossed), crossed.code, vars(crossed)) == (str(error), error.code, vars(error))


def test_an_error_that_is_not_known_here_keeps_its_code_and_text() -> None:
    crossed = error_of({"code": "from_the_future", "message": "this is new", "attributes": {"when": "later"}})

    assert type(crossed) is ControlError
    assert (str(crossed), crossed.daemon_code) == ("this is new", "from_the_future")


def test_a_session_error_of_an_own_kind_crosses_with_what_is_known_of_it() -> None:
    class UnheardOfError(errors.SessionError):
        code = "unheard_of"

    crossed = error_of(fields_of_error(UnheardOfError("s", "never heard of it")))

    assert (type(crossed), str(crossed)) == (ControlError, "never heard of it")


@given(fields=st.dictionaries(st.sampled_from(["code", "message", "attributes"]), json_values))
def test_garbage_that_should_be_an_error_is_one(fields: dict[str, Any]) -> None:
    assert isinstance(error_of(fields), WorkrootError)


@given(code=st.sampled_from([kind.code for kind in ATTRIBUTES]), attributes=json_values)
def test_an_error_with_garbage_for_attributes_keeps_its_code(code: str, attributes: object) -> None:
    crossed = error_of({"code": code, "message": "it failed", "attributes": attributes})

    assert str(crossed) == "it failed"
    assert code in (crossed.code, getattr(crossed, "daemon_code", None))
