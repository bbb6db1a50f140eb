"""Bars that come late, with real client libraries and local servers: they cost no question of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from atf.adapters.providers.ccxt_exchange import CcxtBarProvider
from atf.adapters.providers.yahoo import YahooBarProvider
from atf.market.bars import Bars, Series, Timeframe
from atf.testing.clocks import FakeClock
from atf.testing.market import open_market

NOON = datetime(2024, 3, 8, 12, tzinfo=UTC)  # a Friday
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
BTC = Series("BTC/USDT", Timeframe.M1)
AAPL = Series("AAPL", Timeframe.D1)


def bars_at(times: list[datetime]) -> Bars:
    return Bars.from_rows([(at, 100.0, 102.0, 99.0, 100.0 + at.minute / 100, 10.0) for at in times])


@pytest.mark.parametrize("hole", [range(120, 121), range(40, 120), range(15, 125)], ids=len)
async def test_an_exchange_is_asked_once_and_fills_what_a_page_reaches(hole: range) -> None:
    pytest.importorskip("ccxt")
    from atf.testing.exchange import KLINES, local_exchange

    minutes = bars_at([NOON + i * MINUTE for i in range(130)])
    async with local_exchange(NOON + 129 * MINUTE) as exchange:
        exchange.hold(BTC, minutes.where(~np.isin(np.arange(130), list(hole))))
        provider = CcxtBarProvider("binance", base_url=exchange.url, client_settings={"rateLimit": 1})
        data = open_market(provider)
        await data.closed_bars_of({BTC: 10}, until=NOON + 126 * MINUTE)
        asked = exchange.requests[KLINES]
        exchange.hold(BTC, minutes)
        fetched = await data.closed_bars_of({BTC: 10}, until=NOON + 127 * MINUTE)
        await provider.aclose()
    assert exchange.requests[KLINES] == asked + 1
    answer = fetched.ready[BTC]
    assert answer.time_at(0) == NOON + 117 * MINUTE, "the newest ten are there without a hole"
    assert len(answer) == 10


# yfinance uses what pandas calls outdated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")
async def test_weekends_of_a_stock_cost_no_question_and_a_late_day_comes_with_the_next() -> None:
    pytest.importorskip("yfinance")
    from atf.testing.yahoo import local_yahoo
    from atf.testing.yahoo_payloads import STOCK

    midnight = NOON.replace(hour=0)
    days = [midnight - n * DAY for n in range(40, -1, -1) if (midnight - n * DAY).weekday() < 5]
    with local_yahoo(midnight) as yahoo:
        clock = FakeClock(midnight)
        yahoo.hold(STOCK, "1d", bars_at([day for day in days if day != midnight - 2 * DAY]))
        data = open_market(YahooBarProvider(clock=clock))
        await data.closed_bars_of({AAPL: 8}, until=midnight)
        yahoo.hold(STOCK, "1d", bars_at(days))
        asked = len([one for one in yahoo.questions if "period1" in one])
        clock.at = yahoo.now = midnight + DAY
        fetched = await data.closed_bars_of({AAPL: 8}, until=midnight + DAY)
        assert len([one for one in yahoo.questions if "period1" in one]) == asked + 1
    answer = fetched.ready[AAPL]
    assert [answer.time_at(n) for n in range(8)] == days[-8:]
