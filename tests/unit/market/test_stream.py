"""The run of newest bars: what it believes of a stream, and what it leaves to be asked for."""

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atf.market.bars import Bars, Series, Timeframe
from atf.market.stream import BarRun, BarUpdate, Taken

MINUTES = Series("BTC/USDT", Timeframe.M1)
WEEKS = Series("BTC/USDT", Timeframe.W1)
FIRST = datetime(2024, 1, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def opens(index: int) -> datetime:
    return FIRST + index * MINUTE


def bars(first: int, end: int, close: float = 100.0) -> Bars:
    """Bars from an index to before another."""
    return Bars.from_rows([(opens(i), close, close, close, close + i, 1.0) for i in range(first, end)])


def update(
    index: int, *, is_closed: bool = True, close: float = 100.0, sent_after: timedelta = MINUTE
) -> BarUpdate:
    values = (close, close, close, close + index, 1.0)
    return BarUpdate(MINUTES, opens(index), values, is_closed, opens(index) + sent_after)


def run_with(held: Bars, *, is_all: bool = False) -> BarRun:
    run = BarRun(MINUTES)
    run.mend(held, is_all=is_all, is_sure=True)
    return run


def indices(of: Bars | None) -> list[int]:
    assert of is not None
    return [(of.time_at(i) - FIRST) // MINUTE for i in range(len(of))]


def test_a_run_without_bars_answers_nothing_and_takes_only_forming_bars() -> None:
    run = BarRun(MINUTES)
    assert run.take(update(0)) is Taken.SKIPPED
    assert run.take(update(1, is_closed=False)) is Taken.FORMING
    assert run.answer(opens(1), 1, None) is None


def test_the_next_bar_is_appended_and_closes_the_forming_one() -> None:
    run = run_with(bars(0, 3))
    run.take(update(3, is_closed=False, sent_after=timedelta(seconds=1)))
    assert run.take(update(3)) is Taken.APPENDED
    assert run.forming is None
    assert indices(run.answer(opens(4), 2, None)) == [2, 3]


def test_a_bar_after_a_missing_one_is_not_appended() -> None:
    run = run_with(bars(0, 3))
    assert run.take(update(4)) is Taken.SKIPPED
    assert run.answer(opens(5), 2, None) is None
    assert indices(run.answer(opens(3), 2, None)) == [1, 2]


def test_a_bar_is_closed_from_the_instant_at_which_the_sender_reaches_its_close() -> None:
    run = run_with(bars(0, 3))
    assert run.take(update(3, sent_after=MINUTE - timedelta(milliseconds=1))) is Taken.FORMING
    assert run.take(update(3)) is Taken.APPENDED


def test_bars_of_the_future_or_between_two_bars_are_ignored() -> None:
    run = run_with(bars(0, 3))
    assert run.take(update(3, is_closed=False, sent_after=-timedelta(seconds=1))) is Taken.IGNORED
    between = BarUpdate(MINUTES, opens(3) + timedelta(seconds=5), (1.0,) * 5, True, opens(9))
    assert run.take(between) is Taken.IGNORED


def test_forming_states_that_come_late_are_ignored() -> None:
    run = run_with(bars(0, 3))
    newer = update(3, is_closed=False, close=7.0, sent_after=timedelta(seconds=9))
    assert run.take(newer) is Taken.FORMING
    assert run.take(update(3, is_closed=False, sent_after=timedelta(seconds=8))) is Taken.IGNORED
    assert run.forming == newer


def test_a_late_closing_does_not_end_the_bar_that_forms_after_it() -> None:
    run = run_with(bars(0, 3))
    run.take(update(4, is_closed=False, sent_after=timedelta(seconds=1)))
    assert run.take(update(3)) is Taken.APPENDED
    assert run.forming is not None


def test_an_interrupted_run_answers_only_after_it_was_compared() -> None:
    run = run_with(bars(0, 3))
    run.take(update(3, is_closed=False))
    run.interrupt()
    assert run.forming is None
    assert run.answer(opens(3), 1, None) is None
    run.mend(bars(1, 3), is_all=False, is_sure=False)
    assert run.answer(opens(3), 1, None) is None
    run.mend(bars(1, 3), is_all=False, is_sure=True)
    assert indices(run.answer(opens(3), 3, None)) == [0, 1, 2]


def test_an_answer_that_ends_before_what_is_held_does_not_settle_the_newest() -> None:
    run = run_with(bars(0, 6))
    run.interrupt()
    run.mend(bars(0, 3), is_all=False, is_sure=True)
    assert run.answer(opens(6), 1, None) is None


def test_what_was_asked_for_replaces_what_was_streamed() -> None:
    run = run_with(bars(0, 3))
    run.take(update(3, close=500.0))
    run.mend(bars(2, 4, close=900.0), is_all=False, is_sure=True)
    answer = run.answer(opens(4), 4, None)
    assert answer is not None
    assert answer.close.tolist() == [100.0, 101.0, 902.0, 903.0]


def test_bars_streamed_during_a_question_are_kept_behind_its_answer() -> None:
    run = run_with(bars(0, 3))
    run.take(update(3))
    run.mend(bars(0, 3), is_all=False, is_sure=True)
    assert indices(run.answer(opens(4), 4, None)) == [0, 1, 2, 3]


def test_after_a_hole_only_the_newer_side_is_held() -> None:
    run = run_with(bars(0, 3), is_all=True)
    assert indices(run.mend(bars(7, 9), is_all=False, is_sure=True)) == [7, 8]
    assert run.answer(opens(9), 3, None) is None
    assert indices(run.answer(opens(9), 3, opens(7))) == [7, 8]


def test_bars_of_long_ago_are_returned_and_not_kept() -> None:
    run = run_with(bars(50, 60))
    assert indices(run.mend(bars(0, 3), is_all=False, is_sure=True)) == [0, 1, 2]
    assert indices(run.answer(opens(60), 2, None)) == [58, 59]


def test_holes_that_a_provider_vouches_for_stay_holes() -> None:
    run = run_with(bars(0, 3).followed_by(bars(5, 7)))
    assert indices(run.answer(opens(7), 4, None)) == [1, 2, 5, 6]


def test_no_answer_leaves_all_as_it_was() -> None:
    run = run_with(bars(0, 3))
    assert indices(run.mend(Bars.empty(), is_all=True, is_sure=True)) == [0, 1, 2]
    assert run.answer(opens(3), 9, None) is None


def test_fewer_bars_than_wanted_are_enough_where_history_begins() -> None:
    assert run_with(bars(0, 3)).answer(opens(3), 9, None) is None
    assert indices(run_with(bars(0, 3), is_all=True).answer(opens(3), 9, None)) == [0, 1, 2]
    assert indices(run_with(bars(0, 3)).answer(opens(3), 9, opens(1))) == [1, 2]


def test_a_run_forgets_its_oldest_bars_and_that_history_began_there() -> None:
    run = BarRun(MINUTES, most=3)
    assert indices(run.mend(bars(0, 5), is_all=True, is_sure=True)) == [0, 1, 2, 3, 4]
    assert indices(run.answer(opens(5), 3, None)) == [2, 3, 4]
    assert run.answer(opens(5), 9, None) is None


def test_a_week_is_due_from_monday_on() -> None:
    monday = datetime(2024, 1, 1, tzinfo=UTC)
    run = BarRun(WEEKS)
    run.mend(Bars.from_rows([(monday, 1.0, 1.0, 1.0, 1.0, 1.0)]), is_all=True, is_sure=True)
    next_monday = monday + timedelta(weeks=1)
    assert run.answer(next_monday + timedelta(days=6, hours=23), 1, None) is not None
    assert run.answer(next_monday + timedelta(weeks=1), 1, None) is None


@st.composite
def messages(draw: st.DrawFn) -> list[BarUpdate]:
    """A stream that repeats, loses, disorders, revises and mislabels."""
    sent = st.builds(
        update,
        st.integers(0, 12),
        is_closed=st.booleans(),
        close=st.sampled_from([100.0, 500.0]),
        sent_after=st.sampled_from([-MINUTE, timedelta(0), MINUTE / 2, MINUTE, 2 * MINUTE]),
    )
    return draw(st.lists(sent, max_size=40))


@given(messages(), st.integers(1, 14), st.integers(1, 9))
def test_whatever_is_sent_an_answer_has_no_hole_no_unclosed_bar_and_reaches_up(
    sent: list[BarUpdate], until: int, count: int
) -> None:
    run = run_with(bars(0, 2))
    for each in sent:
        before = run.bars
        run.take(each)
        assert np.array_equal(run.bars.close[: len(before)], before.close)
    answer = run.answer(opens(until), count, None)
    if answer is not None:
        assert indices(answer) == list(range(until - count, until))
        closings = {(s.open_time, s.values[3]) for s in sent if s.is_closed and s.closes_at <= s.sent_at}
        streamed = [i for i in range(len(answer)) if answer.time_at(i) >= opens(2)]
        assert all((answer.time_at(i), answer.close[i]) in closings for i in streamed)
