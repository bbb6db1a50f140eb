"""When the next letter may go: over all, to one recipient, to one group."""

from __future__ import annotations

from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atf.notifications.channel import UNLIMITED, ChannelLimits, Recipient
from atf.notifications.rate_limit import RateLimits

ANN, BOB, GROUP = Recipient(1, "111"), Recipient(2, "222"), Recipient(3, "-333")
ALMOST = 1 - 1e-9


def sent_at(limits: RateLimits, wanted: list[tuple[float, Recipient]]) -> list[float]:
    """When letters go that are wanted at some instants, each as soon as it may."""
    found, now = [], 0.0
    for at, recipient in wanted:
        now = max(now, at, limits.free_at(), limits.recipient_free_at(recipient))
        limits.spend(recipient, now)
        found.append(now)
    return found


def most_within(instants: list[float], seconds: float) -> int:
    return max(sum(begin <= one < begin + seconds * ALMOST for one in instants) for begin in instants)


def test_without_limits_all_may_go_at_once() -> None:
    assert sent_at(RateLimits(UNLIMITED), [(5.0, ANN)] * 100) == [5.0] * 100


@pytest.mark.parametrize("rate", [30, 20, 3, 1, 0.5])
def test_the_first_letter_after_a_pause_goes_at_once_and_the_others_each_in_its_time(rate: float) -> None:
    found = sent_at(RateLimits(ChannelLimits(per_second=rate)), [(7.0, Recipient(n, str(n))) for n in range(100)])
    assert found[0] == 7.0
    assert [later - earlier for earlier, later in pairwise(found)] == pytest.approx([1 / rate] * 99)


@settings(max_examples=40)
@given(
    st.floats(0.2, 50),
    st.lists(st.tuples(st.floats(0, 20), st.sampled_from([ANN, BOB, GROUP])), min_size=1, max_size=150),
)
def test_however_letters_come_no_second_has_more_than_the_rate(
    rate: float, wanted: list[tuple[float, Recipient]]
) -> None:
    found = sent_at(RateLimits(ChannelLimits(per_second=rate)), sorted(wanted, key=lambda one: one[0]))
    assert most_within(found, 1.0) <= max(1, ceil(rate))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 300), st.sampled_from([ANN, BOB, GROUP])), min_size=1, max_size=80))
def test_however_letters_come_no_recipient_and_no_group_gets_too_many(
    wanted: list[tuple[float, Recipient]],
) -> None:
    wanted = sorted(wanted, key=lambda one: one[0])
    found = sent_at(RateLimits(ChannelLimits(per_recipient_second=1.0, per_group_minute=20.0)), wanted)
    for recipient in (ANN, BOB, GROUP):
        own = [at for at, (_, one) in zip(found, wanted, strict=True) if one is recipient]
        assert not own or most_within(own, 1.0) == 1
        assert not own or most_within(own, 60.0) <= (20 if recipient is GROUP else 60)


def test_the_interval_is_the_longest_that_holds_for_a_recipient() -> None:
    limits = RateLimits(ChannelLimits(per_recipient_second=1.0, per_group_minute=20.0))
    assert (limits.interval(ANN), limits.interval(GROUP)) == (1.0, 3.0)
    assert RateLimits(ChannelLimits(per_group_minute=20.0)).interval(ANN) == 0.0
    assert RateLimits(UNLIMITED).interval(GROUP) == 0.0


def test_one_recipient_s_limit_is_not_another_s() -> None:
    limits = RateLimits(ChannelLimits(per_recipient_second=1.0))
    assert sent_at(limits, [(0.0, ANN), (0.0, BOB), (0.0, ANN)]) == [0.0, 0.0, 1.0]


def test_users_of_one_address_are_one_recipient_and_those_without_any_are_each_one() -> None:
    limits = RateLimits(ChannelLimits(per_recipient_second=1.0))
    limits.spend(Recipient(1, "111"), 0.0)
    assert limits.recipient_free_at(Recipient(9, "111")) == 1.0
    limits.pause(Recipient(4), 60.0, 0.0)
    assert limits.recipient_free_at(Recipient(4)) == 60.0
    assert limits.recipient_free_at(Recipient(5)) == float("-inf")


def test_a_pause_of_a_recipient_holds_and_none_is_shortened_by_a_letter() -> None:
    limits = RateLimits(ChannelLimits(per_recipient_second=1.0))
    limits.pause(ANN, 30.0, 0.0)
    limits.pause(ANN, 10.0, 0.0)
    assert limits.recipient_free_at(ANN) == 30.0
    assert limits.free_at() <= 0.0
    limits.spend(ANN, 30.0)
    assert limits.recipient_free_at(ANN) == 31.0


def test_of_many_recipients_those_who_must_wait_are_remembered() -> None:
    limits = RateLimits(ChannelLimits(per_recipient_second=1.0))
    limits.pause(ANN, 1e6, 0.0)
    for number in range(10_100):
        limits.spend(Recipient(number, f"chat-{number}"), float(number))
    assert limits.recipient_free_at(ANN) == 1e6
    assert limits.recipient_free_at(Recipient(10_099, "chat-10099")) == 10_100.0
