"""The judge of senders that are killed sees each broken promise."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest
from tests.chaos.judging import Written, judge

WRITTEN = [Written("a", 1), Written("b", 1), Written("c", 2), Written("d", 1)]


@pytest.mark.parametrize(
    "lives",
    [
        [["a", "b", "c", "d"]],
        [["c", "a", "b", "d"]],
        [["a", "b"], ["c", "d"]],
        [["a", "b"], ["b", "c", "d"]],
        [[], ["a", "b"], [], ["b", "d", "c"]],
        [["a", "b"], ["b"], ["b", "c", "d"]],
        [["a"], ["b"], ["a", "c", "d"]],
    ],
)
def test_what_was_promised_passes(lives: Sequence[Sequence[str]]) -> None:
    judge(WRITTEN, lives, under_way=1)


@pytest.mark.parametrize(
    ("lives", "repeatable", "words"),
    [
        ([["a", "b", "c"]], None, "never arrived"),
        ([["a", "b", "c", "d", "e"]], None, "nobody wrote"),
        ([["b", "a", "c", "d"]], None, "in line 1"),
        ([["a", "d"], ["b", "c"]], None, "in line 1"),
        ([["a", "b", "b", "c", "d"]], None, "by itself"),
        ([["a", "b"], ["a", "b", "c", "d"]], None, "at most 1"),
        ([["a", "b"], ["a", "c", "d"]], [["b"], []], "were not under way"),
    ],
)
def test_what_was_not_does_not(
    lives: Sequence[Sequence[str]], repeatable: Sequence[Collection[str]] | None, words: str
) -> None:
    with pytest.raises(AssertionError, match=words):
        judge(WRITTEN, lives, under_way=1, repeatable=repeatable)
