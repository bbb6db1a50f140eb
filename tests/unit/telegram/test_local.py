"""Short texts of others, and what bars are called."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from atf.market.bars import Timeframe
from atf.notifications.local_format import local_format
from atf.telegram.local import bar_words, shortened
from atf.telegram.texts import bot_texts


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("", ""),
        ("exactly ten", "exactly t…"),
        ("exactly 10", "exactly 10"),
        ("\U0001f680" * 5, "\U0001f680" * 5),
        ("\U0001f680" * 6, "\U0001f680" * 4 + "…"),
        ("two\nlines", "two lines"),
        ("\u202e\u200babc", "abc"),
        ("\u200b" * 1000, ""),
        ("x" * 1_000_000, "x" * 9 + "…"),
    ],
)
def test_a_text_is_cut_to_what_telegram_counts_as_ten_characters(text: str, short: str) -> None:
    assert shortened(text, 10) == short


def test_a_day_is_called_the_same_on_every_clock_and_an_hour_is_not() -> None:
    at, tokyo = datetime(2026, 1, 5, 20, tzinfo=UTC), local_format("en", "Asia/Tokyo")
    assert bar_words(at, Timeframe.D1, bot_texts("en"), tokyo) == "Jan 5, 2026"
    assert bar_words(at, Timeframe.H1, bot_texts("en"), tokyo) == "Jan 6, 2026, 5:00\u00a0AM"
    assert bar_words(at.isoformat(), Timeframe.W1, bot_texts("de"), tokyo) == "05.01.2026"
