from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.jobs.retry import BackOff
from atf.jobs.run import RunStatus

P, R, C, F, X = (
    RunStatus.PENDING,
    RunStatus.RUNNING,
    RunStatus.COMPLETED,
    RunStatus.FAILED,
    RunStatus.CANCELLED,
)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("before", list(RunStatus))
@pytest.mark.parametrize("after", list(RunStatus))
def test_only_the_drawn_transitions_are_allowed(before: RunStatus, after: RunStatus) -> None:
    drawn = {(P, R), (P, X), (R, P), (R, C), (R, F), (R, X)}
    assert before.may_become(after) == ((before, after) in drawn)


def test_ended_runs_stay_ended() -> None:
    assert [status for status in RunStatus if status.is_final] == [C, F, X]


def test_waits_double_up_to_the_cap() -> None:
    back_off = BackOff(SECOND, cap=timedelta(seconds=10))
    waits = [back_off.delay(attempt, 1.0) / SECOND for attempt in range(1, 7)]
    assert waits == [1, 2, 4, 8, 10, 10]


@given(st.integers(1, 10_000), st.floats(0, 1), st.integers(1, 3600))
def test_wait_is_never_nothing_and_never_more_than_the_cap(attempt: int, jitter: float, first: int) -> None:
    back_off = BackOff(SECOND * first)
    wait = back_off.delay(attempt, jitter)
    assert min(SECOND * first, back_off.cap) / 10 <= wait <= back_off.cap


@given(st.integers(1, 40), st.floats(0, 1))
def test_more_failures_never_shorten_the_wait(attempt: int, jitter: float) -> None:
    back_off = BackOff(SECOND)
    assert back_off.delay(attempt, jitter) <= back_off.delay(attempt + 1, jitter)
