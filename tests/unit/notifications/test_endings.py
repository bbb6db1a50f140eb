"""What an error of a channel means for a delivery."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.notifications.sending_fakes import delivery

from atf.errors import PermanentFailure, TemporaryFailure
from atf.notifications.channel import (
    ChannelThrottled,
    ChannelUnavailable,
    RecipientThrottled,
    RecipientUnreachable,
)
from atf.notifications.endings import failed_try, postponed
from atf.notifications.message import DeliveryStatus
from atf.notifications.outbox import Settled

BUSY = TemporaryFailure("busy")


def tried(error: Exception, *, before: int = 0, retries: int = 3, jitter: float = 1.0) -> Settled:
    return failed_try(delivery(1, attempts=before), error, retries=retries, jitter=jitter)


def test_what_is_refused_for_good_has_failed() -> None:
    found = tried(PermanentFailure("too long"))
    assert (found.status, found.error, found.unreachable) == (DeliveryStatus.FAILED, "too long", False)
    assert found.counts


def test_whose_address_takes_nothing_any_more_is_unreachable() -> None:
    found = tried(RecipientUnreachable("the bot is blocked"))
    assert (found.status, found.error, found.unreachable) == (DeliveryStatus.FAILED, "the bot is blocked", True)


@pytest.mark.parametrize(("before", "seconds"), [(0, 10), (1, 20), (2, 40), (50, 900)])
def test_the_wait_doubles_with_each_try_up_to_a_quarter_of_an_hour(before: int, seconds: int) -> None:
    found = tried(BUSY, before=before, retries=100)
    assert (found.status, found.retry_in) == (DeliveryStatus.PENDING, timedelta(seconds=seconds))
    assert (found.counts, found.unreachable) == (True, False)


@pytest.mark.parametrize(
    ("retries", "before", "status"),
    [
        (3, 2, DeliveryStatus.PENDING),
        (3, 3, DeliveryStatus.DEAD),
        (0, 0, DeliveryStatus.DEAD),
        (3, 9, DeliveryStatus.DEAD),
    ],
)
def test_after_the_last_retry_it_is_dead(retries: int, before: int, status: DeliveryStatus) -> None:
    found = tried(BUSY, before=before, retries=retries)
    assert (found.status, found.error) == (status, "busy")


@pytest.mark.parametrize(("asked", "seconds"), [(120.0, 120), (0.5, 10), (None, 10), (1e7, 3600)])
def test_who_asks_for_more_time_gets_it_but_no_more_than_an_hour(asked: float | None, seconds: int) -> None:
    assert tried(TemporaryFailure("429", retry_after_seconds=asked)).retry_in == timedelta(seconds=seconds)


def test_what_nobody_expected_is_tried_again_and_says_what_it_was() -> None:
    found = tried(KeyError("x"))
    assert (found.status, found.error) == (DeliveryStatus.PENDING, "KeyError: 'x'")


@pytest.mark.parametrize(("asked", "seconds"), [(None, 0), (7.0, 7), (1e7, 3600)])
def test_what_is_postponed_costs_no_try_however_often(asked: float | None, seconds: int) -> None:
    found = postponed(delivery(1, attempts=99), RecipientThrottled("gone", retry_after_seconds=asked))
    assert (found.status, found.counts, found.error) == (DeliveryStatus.PENDING, False, "gone")
    assert found.retry_in == timedelta(seconds=seconds)


@pytest.mark.parametrize("error", [ChannelUnavailable, ChannelThrottled])
def test_the_pause_of_a_channel_is_the_channel_s(error: type[TemporaryFailure]) -> None:
    """Else the one that was tried would wait for long after the channel works again, and hold up its line."""
    found = postponed(delivery(1), error("gone", retry_after_seconds=600.0))
    assert (found.retry_in, found.counts) == (timedelta(0), False)
