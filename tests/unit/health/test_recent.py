import asyncio

import pytest

from atf.errors import DatabaseUnavailable
from atf.health.recent import Recent


class Source:
    """Counts how often it is asked; answers with that when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.now = 1000.0

    async def ask(self) -> int:
        self.asked += 1
        number = self.asked
        await self.may_answer.wait()
        return number

    def recent(self) -> Recent[int]:
        return Recent(self.ask, keep_seconds=5, patience_seconds=0.02, clock=lambda: self.now)


async def test_an_answer_is_kept_for_a_while() -> None:
    source = Source()
    recent = source.recent()
    assert [await recent.get() for _ in range(3)] == [1, 1, 1]
    source.now += 5
    assert await recent.get() == 2


async def test_many_who_ask_at_once_ask_once() -> None:
    source = Source()
    recent = source.recent()
    assert await asyncio.gather(*(recent.get() for _ in range(50))) == [1] * 50
    assert source.asked == 1


async def test_who_waits_too_long_is_told_and_the_late_answer_serves_the_next() -> None:
    source = Source()
    source.may_answer.clear()
    recent = source.recent()
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable, match="does not answer within"):
            await recent.get()
    assert source.asked == 1
    source.may_answer.set()
    assert await recent.get() == 1


async def test_a_question_without_an_answer_is_given_up_and_asked_anew() -> None:
    source = Source()
    source.may_answer.clear()
    recent = source.recent()
    with pytest.raises(DatabaseUnavailable):
        await recent.get()
    source.now += 6
    source.may_answer.set()
    assert await recent.get() == 2


async def test_failures_are_not_kept() -> None:
    answers: list[Exception] = [DatabaseUnavailable("gone"), ConnectionRefusedError("gone")]

    async def ask() -> str:
        if answers:
            raise answers.pop()
        return "back"

    recent = Recent(ask, keep_seconds=60, patience_seconds=1)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable, match="gone"):
            await recent.get()
    assert await recent.get() == "back"


async def test_closing_ends_what_is_under_way() -> None:
    source = Source()
    source.may_answer.clear()
    recent = source.recent()
    with pytest.raises(DatabaseUnavailable):
        await recent.get()
    await recent.close()
    await recent.close()
