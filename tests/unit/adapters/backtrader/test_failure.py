"""What a strategy's error is told as: words that logs and a database can hold."""

from __future__ import annotations

from atf.adapters.backtrader.failure import failed


def test_what_no_text_may_hold_is_left_out_of_the_sentence_and_the_trace() -> None:
    told = failed(ValueError("a\0b \ud800"))
    # Compared as ASCII: a report of half a character would end pytest's worker, and with it the run.
    assert ascii(told.error) == "'the strategy raised ValueError: ab ?'"
    assert ascii(told.trace) == r"'ValueError: ab ?\n'"


def test_both_are_cut() -> None:
    told = failed(ValueError("x" * 20_000))
    assert (len(told.error), len(told.trace)) == (1000, 8000)
