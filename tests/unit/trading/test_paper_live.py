"""What of a forming bar is new since the last look: nothing is seen twice, and nothing is left out."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from tests.paper_bars import BEGIN, BTC, MINUTES

from atf.trading.bot_messages import Candle
from atf.trading.paper.bar import PaperBar
from atf.trading.paper.live import Look, piece_between


def look(seconds: float, *candle: float, minute: int = 0) -> Look:
    opened = BEGIN + timedelta(minutes=minute)
    made: Candle = (candle[0], candle[1], candle[2], candle[3], candle[4] if len(candle) > 4 else 0.0)
    return Look(MINUTES, opened, opened + timedelta(seconds=seconds), made)


def prices(piece: PaperBar | None) -> tuple[str, ...]:
    assert piece is not None
    return tuple(str(one.normalize()) for one in (piece.open, piece.high, piece.low, piece.close))


def test_the_first_look_at_a_bar_has_all_of_it_until_then() -> None:
    piece = piece_between(None, look(20, 100, 103, 98, 101, 7))
    assert piece == PaperBar(
        BTC,
        BEGIN,
        BEGIN + timedelta(seconds=20),
        open=Decimal(100),
        high=Decimal(103),
        low=Decimal(98),
        close=Decimal(101),
        volume=Decimal(7),
    )
    assert piece_between(look(60, 1, 1, 1, 1), look(5, 100, 103, 98, 101, minute=1)) is not None


def test_extremes_that_have_not_moved_are_from_before() -> None:
    before = look(20, 100, 103, 98, 101, 7)
    assert prices(piece_between(before, look(40, 100, 103, 98, 102, 9))) == ("101", "102", "101", "102")
    assert prices(piece_between(before, look(40, 100, 104, 98, 99, 9))) == ("101", "104", "99", "99")
    assert prices(piece_between(before, look(60, 100, 103, 95, 102.5, 9))) == ("101", "102.5", "95", "102.5")


def test_a_piece_lasts_from_look_to_look_and_has_the_volume_of_that_time() -> None:
    piece = piece_between(look(20, 100, 103, 98, 101, 7), look(40, 100, 103, 98, 102, 9.5))
    assert piece is not None
    assert (piece.opens_at, piece.closes_at) == (BEGIN + timedelta(seconds=20), BEGIN + timedelta(seconds=40))
    assert piece.volume == Decimal("2.5")


def test_a_volume_that_shrinks_or_is_missing_is_not_known() -> None:
    before = look(20, 100, 103, 98, 101, 7)
    for volume in (6.0, math.nan):
        piece = piece_between(before, look(40, 100, 103, 98, 102, volume))
        assert piece is not None
        assert piece.volume is None


def test_nothing_happens_between_a_look_and_an_older_one() -> None:
    assert piece_between(look(20, 100, 103, 98, 101), look(20, 100, 104, 98, 101)) is None
    assert piece_between(look(60, 100, 103, 98, 101), look(59, 100, 104, 98, 101)) is None
    assert piece_between(look(5, 100, 103, 98, 101, minute=1), look(60, 100, 104, 98, 101)) is None


def test_prices_that_no_market_could_have_made_fill_nothing() -> None:
    assert piece_between(None, look(20, 100, 99, 98, 101)) is None
    assert piece_between(look(20, 100, 103, 98, 101), look(40, 100, 103, 98, math.nan)) is None


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.data())
def test_pieces_together_are_the_bar(walk: list[int], data: st.DataObject) -> None:
    """However often it is looked at: from the open to the close, to both extremes, and with all the volume."""
    seen_after = data.draw(st.sets(st.integers(1, len(walk))).map(lambda found: sorted({*found, len(walk)})))
    before: Look | None = None
    pieces: list[PaperBar] = []
    for count in seen_after:
        so_far = walk[:count]
        now = look(count, so_far[0], max(so_far), min(so_far), so_far[-1], float(count))
        piece = piece_between(before, now)
        assert piece is not None
        pieces.append(piece)
        before = now
    assert pieces[0].open == walk[0]
    assert pieces[-1].close == walk[-1]
    assert max(one.high for one in pieces) == max(walk)
    assert min(one.low for one in pieces) == min(walk)
    assert sum(one.volume or 0 for one in pieces) == len(walk)
    for earlier, later in pairwise(pieces):
        assert (earlier.closes_at, earlier.close) == (later.opens_at, later.open)
