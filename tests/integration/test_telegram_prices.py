"""Prices and charts in a chat, and that nobody waits for them who asks for something else."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.bar_folder import write_bars
from tests.integration.telegram_desk import PATIENCE, TelegramDesk, telegram_desk

from atf.adapters.charts import candles
from atf.adapters.providers.files import FilesBarProvider
from atf.market.bars import Timeframe
from atf.storage.database import Database
from atf.telegram import local
from atf.telegram.commands import prices


@pytest.fixture
async def desk(tmp_path: Path, database_url: str, database: Database) -> AsyncIterator[TelegramDesk]:
    write_bars(tmp_path, "AAPL", Timeframe.D1, [*range(100, 250), 200, 201])
    write_bars(tmp_path, "AAPL", Timeframe.M1, [210, 199.5])
    write_bars(tmp_path, "BTC_USDT", Timeframe.D1, [60_000.5, 57_000.475])
    write_bars(tmp_path, "ONE", Timeframe.D1, [7])
    async with telegram_desk(tmp_path, database_url, database) as found:
        yield found
        assert not [one for one in found.telegram.refused if one.method.startswith("send")]


async def test_a_price_is_that_of_the_newest_closed_bar(desk: TelegramDesk) -> None:
    answer = (await desk.eve.say("/price AAPL, btcusdt one NOPE")).split("\n")  # viewers may look
    assert answer[0] == "AAPL 199.50 (-5%)"
    assert answer[1].startswith("1m bar, closed ")
    assert answer[1].endswith("; before it 210.00")
    assert answer[2].startswith("-0.75% since the close of ")
    assert answer[3] == "BTC/USDT 57,000.475 (-5%)"
    assert answer[4].startswith("1d bar of ")
    assert answer[5:] == ["ONE 7.00 (–)", answer[6], "NOPE nobody here knows this ticker"]
    assert (await desk.ann.say("/price")).endswith("Send it now, without a slash.")
    assert (await desk.ann.say("aapl 1D")).startswith("AAPL 201.00 (+0.5%)\n1d bar of ")


async def test_times_and_numbers_are_those_of_the_reader(desk: TelegramDesk) -> None:
    utc = (await desk.ann.say("/price AAPL 1d")).split("\n")[1]
    assert "12:00\u00a0AM" in utc  # the bar closes at 00:00Z
    await desk.ann.say("/timezone Asia/Tokyo")
    tokyo = (await desk.ann.say("/price AAPL 1d")).split("\n")[1]
    assert "9:00\u00a0AM" in tokyo
    assert tokyo.split(", closed")[0] == utc.split(", closed")[0]  # a day is called the same everywhere
    await desk.ann.press_for("German", await desk.ann.ask("/language"))
    answer = await desk.ann.say("/price BTC/USDT")
    assert answer.startswith("BTC/USDT 57.000,475 (-5\u00a0%)\n1d-Kerze vom ")
    assert "09:00; davor 60.000,50" in answer


async def test_a_chart_is_a_picture_of_the_newest_bars(desk: TelegramDesk) -> None:
    sent = await desk.eve.ask("/chart AAPL")
    assert sent.photo is not None
    assert sent.photo.content.startswith(b"\x89PNG")
    assert sent.text.startswith("AAPL 1d\n201.00 (+0.5%)\n1d bar of ")
    sent = await desk.eve.ask("/chart aapl 1M")
    assert sent.photo is not None
    assert sent.text.startswith("AAPL 1m\n199.50 (-5%)\n1m bar, closed ")
    assert (await desk.ann.ask("/chart ONE")).photo is not None


async def test_what_cannot_be_meant_is_answered_with_one_sentence(
    desk: TelegramDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "/chart NOPE": "nobody here knows NOPE with bars of 1d",
        "/chart ONE 1h": "nobody here knows ONE with bars of 1h",
        "/price NOPE 1h": "NOPE nobody here knows this ticker",
    }
    for words, answer in told.items():
        assert await desk.ann.say(words) == answer
    for words, answer in {
        "/price A B C D E F": "price: needs 1 to 5 tickers",
        "/price \u202eAAPL": "is no symbol",
        f"/price {'x' * 4000}": "is no symbol",
        "/price ../../etc/passwd": "is no symbol",
        "/price *_[`": "is no symbol",
        "/chart AAPL 7x": "timeframe: must be one of 1m, 5m",
        "/chart AAPL BTC 1d": "chart: needs one ticker",
        "/chart -1": "is no symbol",
    }.items():
        refused = await desk.ann.ask(words)
        assert answer in refused.text, words
        assert "Like this: /" in refused.text
        assert refused.parse_mode == "MarkdownV2"
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert (await desk.ann.say("/chart AAPL")).startswith("This installation draws no charts")


async def test_a_provider_that_does_not_answer_is_not_waited_for_long(
    desk: TelegramDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(prices, "_WITHIN", timedelta(seconds=0.2))
    monkeypatch.setattr(FilesBarProvider, "closed_bars", wait)
    late = "AAPL its bars did not come in time; please try again in a moment"
    assert await desk.ann.say("/price AAPL 1d") == late
    assert (await desk.ann.say("/chart AAPL")).startswith("The bars of AAPL did not come in time.")


async def test_who_draws_holds_up_nobody_else_and_not_for_ever(
    desk: TelegramDesk, monkeypatch: pytest.MonkeyPatch, stuck: threading.Event
) -> None:
    begun = threading.Event()

    def draw(*_: Any, **__: Any) -> None:
        begun.set()
        stuck.wait(PATIENCE.total_seconds())

    monkeypatch.setattr(candles, "draw_candles", draw)
    monkeypatch.setattr(local, "PATIENCE", timedelta(seconds=3))
    await desk.ann.chat.say("/chart AAPL")
    assert await asyncio.to_thread(begun.wait, PATIENCE.total_seconds())
    assert "User: eve" in await desk.eve.say("/info")
    assert desk.ann.chat.messages == []
    told = await desk.ann.chat.next_message(within=PATIENCE)
    assert told.text.startswith("This takes longer than 3 seconds")
    assert "AAPL" in await desk.ann.say("/price AAPL")


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """What hangs in a thread until the test is over."""
    event = threading.Event()
    yield event
    event.set()
