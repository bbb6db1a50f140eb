import pickle
from datetime import UTC, datetime, timedelta

import pytest

from atf.adapters.apscheduler.cron_trigger import CronExpressionTrigger
from atf.errors import InvalidCron

FRIDAY = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def test_weekdays_are_monday_to_friday() -> None:
    trigger = CronExpressionTrigger("0 9 * * 1-5", "America/New_York")
    first = trigger.get_next_fire_time(None, FRIDAY)
    second = trigger.get_next_fire_time(first, FRIDAY)
    assert [first.isoformat(), second.isoformat()] == [
        "2026-11-27T09:00:00-05:00",
        "2026-11-30T09:00:00-05:00",
    ]


def test_next_is_after_the_previous_run_and_not_after_now() -> None:
    trigger = CronExpressionTrigger("0 * * * *")
    assert trigger.get_next_fire_time(FRIDAY, FRIDAY + timedelta(days=1)) == FRIDAY + timedelta(hours=1)


def test_six_fields_have_the_seconds_first() -> None:
    trigger = CronExpressionTrigger("*/20 * * * * *")
    assert trigger.get_next_fire_time(None, FRIDAY) == FRIDAY + timedelta(seconds=20)


def test_pickled_trigger_fires_at_the_same_times() -> None:
    trigger = CronExpressionTrigger("30 2 * * *", "Europe/Berlin")
    restored = pickle.loads(pickle.dumps(trigger))
    assert repr(restored) == repr(trigger)
    assert restored.get_next_fire_time(None, FRIDAY) == trigger.get_next_fire_time(None, FRIDAY)


def test_state_of_another_release_is_refused() -> None:
    trigger = CronExpressionTrigger("* * * * *")
    with pytest.raises(ValueError, match="version 2"):
        trigger.__setstate__({"version": 2})


def test_invalid_expression_is_rejected_when_the_trigger_is_made() -> None:
    with pytest.raises(InvalidCron, match="minute: 60 is outside 0-59"):
        CronExpressionTrigger("60 * * * *")
