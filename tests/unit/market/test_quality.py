from datetime import UTC, datetime, timedelta
from math import nan
from pathlib import Path

import pytest

from atf.adapters.providers.bar_files import read_bars
from atf.market.bars import Bars, Timeframe
from atf.market.quality import Finding, Flaw, findings, sort_out

SHARED = Path(__file__).parents[3] / "../shared/data/ohlcv"
MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
GOOD = (10.0, 11.0, 9.0, 10.0, 5.0)


def bars_with(
    *changed: tuple[int, tuple[float, float, float, float, float]], shift: timedelta | None = None
) -> Bars:
    """Nine good days, some of them changed; the third one opens later by ``shift``."""
    rows = [[MONDAY + timedelta(days=n), *GOOD] for n in range(9)]
    for index, values in changed:
        rows[index][1:] = values
    if shift is not None:
        rows[2][0] = MONDAY + timedelta(days=2) + shift
    return Bars.from_rows([tuple(row) for row in rows])  # type: ignore[misc]


def test_good_bars_have_no_flaw() -> None:
    assert findings(bars_with(), Timeframe.D1) == []


@pytest.mark.parametrize(
    ("values", "flaw"),
    [
        ((10, 9, 11, 10, 5), Flaw.HIGH_BELOW_LOW),
        ((10, 11, 10.5, 11, 5), Flaw.OUTSIDE_RANGE),
        ((10, 10.5, 9, 11, 5), Flaw.OUTSIDE_RANGE),
        ((0, 11, 0, 10, 5), Flaw.NOT_POSITIVE),
        ((10, 11, -1, 10, 5), Flaw.NOT_POSITIVE),
        ((10, 11, 9, 10, -1), Flaw.NEGATIVE_VOLUME),
        ((10, 11, 9, nan, 5), Flaw.NO_PRICE),
        ((10, 25, 9, 24, 5), Flaw.SPIKE),
        ((10, 11, 2, 3, 5), Flaw.SPIKE),
    ],
)
def test_each_flaw_is_found_where_it_is(values: tuple[float, ...], flaw: Flaw) -> None:
    assert findings(bars_with((4, values)), Timeframe.D1) == [Finding(4, flaw)]  # type: ignore[arg-type]


def test_a_bar_between_two_others_is_misaligned() -> None:
    assert findings(bars_with(shift=timedelta(minutes=1)), Timeframe.D1) == [Finding(2, Flaw.MISALIGNED)]


def test_missing_values_that_are_not_needed_are_no_flaw() -> None:
    assert findings(bars_with((4, (nan, nan, nan, 10.0, nan))), Timeframe.D1) == []


def test_a_price_that_stays_where_it_jumped_is_no_spike() -> None:
    jumped = [(n, (24.0, 25.0, 23.0, 24.0, 5.0)) for n in range(4, 9)]
    assert findings(bars_with(*jumped), Timeframe.D1) == []


def test_impossible_bars_are_put_aside_with_their_reason_and_a_spike_is_kept() -> None:
    parted = sort_out(
        bars_with((1, (10, 9, 11, 10, 5)), (4, (10, 25, 9, 24, 5)), (7, (1, 1, 1, nan, 1))), Timeframe.D1
    )
    assert [parted.bad.time_at(i).day for i in range(2)] == [2, 8]
    assert parted.reasons == (Flaw.HIGH_BELOW_LOW, Flaw.NO_PRICE)
    assert len(parted.good) == 7
    assert parted.good.close.max() == 24


def test_no_bars_have_no_flaws() -> None:
    assert len(sort_out(Bars.empty(), Timeframe.D1).good) == 0


@pytest.mark.skipif(not SHARED.exists(), reason="the shared market data are not on this machine")
@pytest.mark.parametrize(
    ("file", "timeframe"),
    [
        ("equity/1d/AAPL.csv", Timeframe.D1),
        ("crypto/5m/ETH_BTC.csv", Timeframe.M5),
        ("equity/1d/SPY.csv", Timeframe.D1),
    ],
)
def test_of_real_bars_none_is_impossible(file: str, timeframe: Timeframe) -> None:
    assert sort_out(read_bars(SHARED / file), timeframe).reasons == ()
