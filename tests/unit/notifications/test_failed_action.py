"""What a user is told of an action that was not done."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atf.notifications.failed_action import failure_message
from atf.notifications.message import ACTION, Delivery, DeliveryStatus, Priority
from atf.notifications.outbox import Settled

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
DELIVERY = Delivery(
    id=1,
    message_id=1,
    user_id=2,
    channel="webhook",
    attempts=0,
    dedup_key="k:1:webhook",
    notification_type=ACTION,
    title="Action 1 of alert breakout",
    body="request to https://example.com",
    payload={"alert_id": 9, "tell": ["inbox", "telegram"]},
    created_at=NOON,
)


def test_it_goes_where_the_alert_tells_of_its_triggers() -> None:
    found = failure_message(Settled(DELIVERY, DeliveryStatus.FAILED, error="answered 410"), NOON)
    assert found is not None
    assert (found.user_id, found.channels, found.priority) == (2, ("inbox", "telegram"), Priority.HIGH)
    assert found.title == "Action 1 of alert breakout: not done"
    assert found.body == (
        "request to https://example.com was not done: answered 410. "
        "Look at others of this hour: atf alerts show 9"
    )


def test_what_was_decided_before_goes_to_the_inbox() -> None:
    settled = Settled(replace(DELIVERY, payload={"alert_id": 9}), DeliveryStatus.DEAD)
    found = failure_message(settled, NOON)
    assert found is not None
    assert (found.channels, "no reason was given" in found.body) == (("inbox",), True)


@pytest.mark.parametrize(
    ("change", "later", "keys_in_all"),
    [
        ({"id": 5, "title": "Action 2 of alert breakout"}, 59, 1),
        ({}, 60, 2),
        ({"user_id": 3}, 0, 2),
        ({"payload": {"alert_id": 10}}, 0, 2),
    ],
)
def test_one_message_an_alert_and_hour(change: dict[str, Any], later: int, keys_in_all: int) -> None:
    keys = set()
    for delivery, minutes in ((DELIVERY, 0), (replace(DELIVERY, **change), later)):
        settled = Settled(delivery, DeliveryStatus.DEAD, error="x")
        found = failure_message(settled, NOON + timedelta(minutes=minutes))
        assert found is not None
        keys.add(found.dedup_key)
    assert len(keys) == keys_in_all


@pytest.mark.parametrize("status", [DeliveryStatus.SENT, DeliveryStatus.PENDING])
def test_of_what_was_done_or_is_tried_again_nobody_is_told(status: DeliveryStatus) -> None:
    assert failure_message(Settled(DELIVERY, status), NOON) is None


def test_of_messages_that_failed_nobody_is_told() -> None:
    message = replace(DELIVERY, notification_type="alert")
    assert failure_message(Settled(message, DeliveryStatus.FAILED), NOON) is None


@pytest.mark.parametrize(
    ("before", "words"), [(0, "was not done: x"), (1, "was not done after 2 tries: x"), (3, "after 4 tries: x")]
)
def test_it_says_after_how_many_tries_if_there_was_more_than_one(before: int, words: str) -> None:
    found = failure_message(Settled(replace(DELIVERY, attempts=before), DeliveryStatus.DEAD, error="x"), NOON)
    assert found is not None
    assert words in found.body
