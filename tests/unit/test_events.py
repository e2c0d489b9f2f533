"""One small event per change, to everybody who listens."""

from __future__ import annotations

import logging

import pytest

from workroot.core.projects import ProjectId
from workroot.core.sessions import Owner
from workroot.events import Event, EventBus, ProjectsChanged

EVENT = ProjectsChanged(Owner("uid:1000"), ProjectId("p"))


def test_every_listener_is_told_in_the_order_of_subscription() -> None:
    bus, told = EventBus(), list[tuple[str, Event]]()
    bus.subscribe(lambda event: told.append(("first", event)))
    bus.subscribe(lambda event: told.append(("second", event)))

    bus.publish(EVENT)

    assert told == [("first", EVENT), ("second", EVENT)]


def test_one_listener_subscribed_twice_is_told_twice_until_each_ends() -> None:
    bus, told = EventBus(), list[Event]()
    first = bus.subscribe(told.append)
    bus.subscribe(told.append)
    bus.publish(EVENT)
    assert told == [EVENT, EVENT]

    first()
    first()
    bus.publish(EVENT)

    assert told == [EVENT] * 3


def test_an_event_that_nobody_listens_to_is_gone() -> None:
    bus, told = EventBus(), list[Event]()
    bus.publish(EVENT)

    bus.subscribe(told.append)

    assert told == []


def test_a_listener_that_raises_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    bus, told = EventBus(), list[Event]()

    def raise_always(_: Event) -> None:
        raise ValueError("listener")

    bus.subscribe(raise_always)
    bus.subscribe(told.append)
    with caplog.at_level(logging.ERROR):
        bus.publish(EVENT)
        bus.publish(EVENT)

    assert told == [EVENT, EVENT]
    assert [record.getMessage() for record in caplog.records] == ["a listener failed at ProjectsChanged"] * 2


def test_a_listener_may_subscribe_and_unsubscribe_while_it_is_told() -> None:
    bus, told = EventBus(), list[Event]()

    def once(event: Event) -> None:
        end()
        bus.subscribe(told.append)

    end = bus.subscribe(once)
    bus.publish(EVENT)
    assert told == []

    bus.publish(EVENT)
    assert told == [EVENT]
