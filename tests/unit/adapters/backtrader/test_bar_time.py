"""A bar's time is its end, and the end of a day belongs to that day."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from atf.adapters.backtrader.bar_time import bar_end
from atf.market.bars import Timeframe

LAST = (23, 59, 59, 999990)


@pytest.mark.parametrize(
    ("open_time", "timeframe", "end"),
    [
        (datetime(2026, 3, 2, 10, 0), Timeframe.M1, datetime(2026, 3, 2, 10, 1)),
        (datetime(2026, 3, 2, 23, 59), Timeframe.M1, datetime(2026, 3, 2, *LAST)),
        (datetime(2026, 3, 2, 20, 0), Timeframe.H4, datetime(2026, 3, 2, *LAST)),
        (datetime(2026, 3, 2, 19, 30), Timeframe.H4, datetime(2026, 3, 2, 23, 30)),
        (datetime(2026, 3, 2), Timeframe.D1, datetime(2026, 3, 2, *LAST)),
        (datetime(2026, 3, 2, 14, 30), Timeframe.D1, datetime(2026, 3, 2, *LAST)),
        (datetime(2026, 3, 2), Timeframe.W1, datetime(2026, 3, 8, *LAST)),
    ],
)
def test_a_bar_ends_on_its_own_day(open_time: datetime, timeframe: Timeframe, end: datetime) -> None:
    assert bar_end(open_time.replace(tzinfo=UTC), timeframe) == end


def test_any_offset_is_utc_to_a_strategy() -> None:
    new_york = datetime(2026, 3, 2, 9, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert bar_end(new_york, Timeframe.M30) == datetime(2026, 3, 2, 15, 0)
