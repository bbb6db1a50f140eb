from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.security.lockout import OF_ACCOUNTS, OF_ADDRESSES, Failures, LockoutRule, address_group

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
RULES = (OF_ACCOUNTS, OF_ADDRESSES)


def failed(times: int, rule: LockoutRule) -> Failures:
    failures = Failures()
    for _ in range(times):
        failures = failures.with_another(rule, NOW)
    return failures


def pause(times: int, rule: LockoutRule) -> timedelta | None:
    until = failed(times, rule).locked_until(rule)
    return None if until is None else until - NOW


def test_pauses_begin_after_the_free_failures_and_double_up_to_the_longest() -> None:
    assert [pause(times, OF_ACCOUNTS) for times in (0, 1, 4)] == [None, None, None]
    seconds = [30, 60, 120, 240, 480, 900, 900]
    assert [pause(times, OF_ACCOUNTS) for times in range(5, 12)] == [timedelta(seconds=s) for s in seconds]
    assert pause(19, OF_ADDRESSES) is None
    assert [pause(times, OF_ADDRESSES) for times in (20, 21, 26, 27)] == [
        timedelta(seconds=30),
        timedelta(seconds=60),
        timedelta(seconds=1920),
        timedelta(hours=1),
    ]


def test_a_lock_holds_to_just_before_its_end() -> None:
    failures = failed(5, OF_ACCOUNTS)
    assert failures.locks(OF_ACCOUNTS, NOW)
    assert failures.locks(OF_ACCOUNTS, NOW + timedelta(seconds=29.999))
    assert not failures.locks(OF_ACCOUNTS, NOW + timedelta(seconds=30))


def test_failures_are_forgotten_after_a_day_and_not_before() -> None:
    old = failed(9, OF_ACCOUNTS)
    assert old.with_another(OF_ACCOUNTS, NOW + timedelta(hours=23)).count == 10
    assert old.with_another(OF_ACCOUNTS, NOW + timedelta(hours=24)).count == 1


@pytest.mark.parametrize("rule", RULES)
@given(st.integers(0, 10**12))
def test_pauses_never_shrink_and_never_exceed_the_longest(rule: LockoutRule, times: int) -> None:
    shorter, longer = (Failures(count, NOW).locked_until(rule) for count in (times, times + 1))
    assert (shorter or NOW) <= (longer or NOW) <= NOW + rule.longest


@pytest.mark.parametrize("rule", RULES)
def test_brute_force_gets_no_more_than_a_hundred_tries_a_day_or_so(rule: LockoutRule) -> None:
    failures, at, tries = Failures(), NOW, 0
    while at < NOW + timedelta(days=1):
        failures = failures.with_another(rule, at)
        tries += 1
        at = failures.locked_until(rule) or at
    assert tries < 110


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", None),
        ("localhost", None),
        ("1' OR '1'='1", None),
        (None, None),
    ],
)
def test_what_one_person_can_have_many_of_is_counted_together(address: str | None, group: str | None) -> None:
    assert address_group(address) == group


@given(st.text())
def test_whatever_calls_itself_an_address_is_grouped_or_nothing(text: str) -> None:
    address_group(text)
