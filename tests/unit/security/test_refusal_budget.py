from datetime import UTC, datetime, timedelta

from atf.security.refusal_budget import RefusalBudget

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_the_first_of_a_minute_are_recorded_and_the_others_counted_by_the_next() -> None:
    budget = RefusalBudget(a_minute=2)
    assert [budget.spend("192.0.2.1", NOW) for _ in range(5)] == [0, 0, None, None, None]
    assert budget.spend("192.0.2.1", NOW + timedelta(seconds=59)) is None
    assert budget.spend("192.0.2.1", NOW + timedelta(seconds=60)) == 4
    assert budget.spend("192.0.2.1", NOW + timedelta(seconds=61)) == 0


def test_one_address_does_not_use_up_what_another_has() -> None:
    budget = RefusalBudget(a_minute=1)
    assert budget.spend("192.0.2.1", NOW) == 0
    assert budget.spend("192.0.2.1", NOW) is None
    assert budget.spend(None, NOW) == 0
    assert budget.spend("192.0.2.2", NOW) == 0


def test_a_clock_that_is_set_back_begins_a_new_minute() -> None:
    budget = RefusalBudget(a_minute=1)
    assert budget.spend("192.0.2.1", NOW) == 0
    assert budget.spend("192.0.2.1", NOW - timedelta(hours=1)) == 0


def test_memory_is_bounded_whatever_the_number_of_addresses() -> None:
    budget = RefusalBudget()
    for number in range(20_000):
        budget.spend(f"address {number}", NOW)
    assert len(budget._windows) == 10_000
