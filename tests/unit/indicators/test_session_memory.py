"""What was computed of bars is used as long as the bars are the same, and not a bit longer."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atf.indicators.indicator_service import IndicatorService
from atf.indicators.registry import resolve
from atf.indicators.session_memory import SessionMemory
from atf.market.bars import COLUMNS, Bars

SMA = resolve("sma", {"period": 3})


def bars_of(count: int, seed: int = 1) -> Bars:
    values = np.random.default_rng(seed).uniform(1, 9, (count, 5))
    return Bars.from_columns(np.arange(count, dtype=np.int64) * 1_000, values)


def copied(bars: Bars) -> Bars:
    """The same bars in other arrays, as another read of the database gives them."""
    values = np.column_stack([bars.column(name) for name in COLUMNS])
    return Bars.from_columns(bars.open_time.copy(), values)


def test_the_same_bars_loaded_again_are_not_computed_again() -> None:
    service = IndicatorService()
    memory, bars = SessionMemory(service), bars_of(30)
    value = memory.session("T", bars).newest(SMA)
    assert memory.session("T", copied(bars)).newest(SMA) == value
    assert memory.session("T", copied(bars).last(20)).newest(SMA) == value
    assert service.calculations == 1
    assert memory.reach("T") == 30


def test_more_bars_newer_bars_and_another_key_are_computed_anew() -> None:
    service = IndicatorService()
    memory, bars = SessionMemory(service), bars_of(30)
    for count, (key, seen) in enumerate([("T", bars[5:20]), ("T", bars[:20]), ("T", bars), ("U", bars)], start=1):
        session = memory.session(key, seen)
        assert session.bars is seen
        session.newest(SMA)
        assert service.calculations == count
    assert (memory.reach("T"), memory.reach("U"), memory.reach("V")) == (30, 30, 0)


@given(st.integers(0, 19), st.sampled_from([*COLUMNS, "open_time"]), st.booleans())
def test_bars_that_differ_anywhere_are_others(place: int, name: str, to_missing: bool) -> None:
    memory, bars = SessionMemory(IndicatorService()), bars_of(20)
    known = memory.session("T", bars)
    times = bars.open_time.copy()
    values = np.column_stack([bars.column(one) for one in COLUMNS])
    if name == "open_time":
        times[place] += 1
    else:
        values[place, COLUMNS.index(name)] = np.nan if to_missing else 77.0
    revised = Bars.from_columns(times, values)
    assert memory.session("T", revised) is not known
    assert memory.session("T", copied(revised)).bars is revised


def test_no_bars_are_nobodys() -> None:
    memory = SessionMemory(IndicatorService())
    memory.session("T", bars_of(3))
    assert len(memory.session("T", Bars.empty()).bars) == 0
    assert memory.session("T", bars_of(3)).bars is not None
    assert memory.reach("T") == 3


def test_what_was_not_used_for_longest_goes_first_when_there_are_too_many_bars() -> None:
    memory = SessionMemory(IndicatorService(), most_bars=50)
    first, second = memory.session("A", bars_of(20)), memory.session("B", bars_of(20))
    assert memory.session("A", bars_of(20)) is first
    memory.session("C", bars_of(20))
    assert (memory.reach("A"), memory.reach("B"), memory.reach("C")) == (20, 0, 20)
    assert memory.session("B", bars_of(20)) is not second
    assert memory.reach("A") == 0
    assert len(memory.session("D", bars_of(80)).bars) == 80  # one is always remembered
    assert (memory.reach("D"), memory.reach("B")) == (80, 0)
