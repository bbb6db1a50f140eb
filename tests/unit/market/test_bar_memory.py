from datetime import UTC, datetime, timedelta

from atf.market.bar_memory import BarMemory, Held
from atf.market.bars import Bars, Series, Timeframe

FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def series(name: str) -> Series:
    return Series(name, Timeframe.H1)


def held(count: int) -> Held:
    rows = [(FIRST + timedelta(hours=i), 1.0, 1.0, 1.0, 1.0, 1.0) for i in range(count)]
    return Held(0.0, count, Bars.from_rows(rows))


def test_of_too_many_bars_the_series_that_was_used_least_lately_goes() -> None:
    memory = BarMemory(most_bars=25)
    memory.put(series("A"), held(10))
    memory.put(series("B"), held(10))
    assert memory.get(series("A")) is not None
    memory.put(series("C"), held(10))
    assert [memory.get(series(name)) is not None for name in "ABC"] == [True, False, True]


def test_a_series_that_grows_is_counted_as_it_is_now() -> None:
    memory, growing = BarMemory(most_bars=25), held(10)
    memory.put(series("A"), growing)
    memory.put(series("B"), held(10))
    growing.replace(held(20).bars)
    memory.put(series("A"), growing)
    assert [memory.get(series(name)) is not None for name in "AB"] == [True, False]


def test_one_series_alone_is_kept_however_long_it_is() -> None:
    memory = BarMemory(most_bars=5)
    memory.put(series("A"), held(10))
    assert memory.get(series("A")) is not None


def test_an_answer_changes_when_bars_are_replaced() -> None:
    one = held(3)
    newest = FIRST + timedelta(hours=9)
    assert len(one.answer(10, newest)) == 3
    one.replace(held(5).bars)
    assert len(one.answer(10, newest)) == 5


def test_an_answer_is_the_same_object_until_a_bar_of_it_may_not_be_used() -> None:
    one = held(3)
    newest = FIRST + timedelta(hours=2)
    answer = one.answer(2, newest)
    assert one.answer(2, newest + timedelta(seconds=1)) is answer
    earlier = one.answer(2, newest - timedelta(seconds=1))
    assert earlier.open_time.tolist() == held(2).bars.open_time.tolist()
    assert one.answer(2, newest).open_time.tolist() == answer.open_time.tolist()


def test_the_newest_bar_is_that_of_what_is_borrowed_and_goes_with_it() -> None:
    one = held(3)
    assert one.newest_open() == FIRST + timedelta(hours=2)
    one.replace(one.bars, held(5).bars)
    assert one.newest_open() == FIRST + timedelta(hours=4)
    one.replace(one.bars)
    assert one.newest_open() == FIRST + timedelta(hours=2)
    one.replace(Bars.empty())
    assert one.newest_open() is None
