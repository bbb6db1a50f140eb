"""Questions that are answered together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from atf.errors import NotFound
from atf.gathering import Gathering


class Oracle:
    """Answers when it is let; says ``7!`` to 7, in which round, and raises what it is told to."""

    def __init__(self) -> None:
        self.rounds: list[list[int]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.error: Exception | None = None

    async def answer(self, questions: Sequence[int]) -> Sequence[str | Exception]:
        self.rounds.append(list(questions))
        number = len(self.rounds)
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return [NotFound(f"no {one}") if one < 0 else f"{one}! in round {number}" for one in questions]


async def _waited(event: asyncio.Event) -> None:
    await event.wait()


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def asked(oracle: Oracle, *rounds: list[int]) -> None:
    """Wait until these rounds have begun."""
    async with asyncio.timeout(5):
        while oracle.rounds != list(rounds):  # noqa: ASYNC110 - it is a turn or two
            await asyncio.sleep(0)


async def test_one_alone_waits_for_nobody() -> None:
    oracle = Oracle()
    gathering = Gathering(oracle.answer)
    assert await gathering.ask(7) == "7! in round 1"
    assert await gathering.ask(8) == "8! in round 2"
    assert oracle.rounds == [[7], [8]]


async def test_those_that_come_together_are_answered_together_each_with_its_own_answer() -> None:
    oracle = Oracle()
    gathering = Gathering(oracle.answer)
    assert await asyncio.gather(*map(gathering.ask, range(5))) == [f"{n}! in round 1" for n in range(5)]
    assert oracle.rounds == [[0, 1, 2, 3, 4]]


async def test_what_comes_while_others_are_answered_is_asked_afterwards_and_together() -> None:
    """No answer is older than its question."""
    oracle = Oracle()
    oracle.may_answer.clear()
    gathering = Gathering(oracle.answer)
    first = asyncio.create_task(gathering.ask(1))
    await asked(oracle, [1])
    later = [asyncio.create_task(gathering.ask(number)) for number in (1, 2)]
    await asyncio.sleep(0)
    assert oracle.rounds == [[1]]
    oracle.may_answer.set()
    assert await asyncio.gather(first, *later) == ["1! in round 1", "1! in round 2", "2! in round 2"]
    assert oracle.rounds == [[1], [1, 2]]


async def test_no_round_has_more_than_the_most() -> None:
    oracle = Oracle()
    gathering = Gathering(oracle.answer, most=3)
    assert len(await asyncio.gather(*map(gathering.ask, range(7)))) == 7
    assert oracle.rounds == [[0, 1, 2], [3, 4, 5], [6]]


async def test_those_who_can_wait_gather_until_what_they_wait_for_has_come() -> None:
    oracle, may_begin = Oracle(), asyncio.Event()
    gathering = Gathering(oracle.answer, after=lambda: _waited(may_begin))
    tasks = [asyncio.create_task(gathering.ask(1))]
    await _turns(5)
    tasks.append(asyncio.create_task(gathering.ask(2)))
    await _turns(5)
    assert oracle.rounds == []
    may_begin.set()
    await asyncio.gather(*tasks)
    assert oracle.rounds == [[1, 2]]


async def test_after_one_alone_it_is_quiet_at_once() -> None:
    gathering = Gathering(Oracle().answer)
    await gathering.ask(1)
    begin = asyncio.get_running_loop().time()
    await gathering.quiet(30, 60)
    assert asyncio.get_running_loop().time() - begin < 10


async def test_after_many_it_is_quiet_a_moment_later() -> None:
    oracle = Oracle()
    oracle.may_answer.clear()
    gathering = Gathering(oracle.answer)
    await gathering.quiet(0.01, 60)  # nobody has ever asked
    asking = [asyncio.create_task(gathering.ask(number)) for number in (1, 2)]
    await asked(oracle, [1, 2])
    quiet = asyncio.create_task(gathering.quiet(0.05, 60))
    await asyncio.sleep(0.1)
    assert not quiet.done(), "they are not answered yet"
    oracle.may_answer.set()
    await asyncio.gather(quiet, *asking)
    begin = asyncio.get_running_loop().time()
    await asyncio.gather(gathering.ask(3), gathering.ask(4))
    await gathering.quiet(0.05, 60)
    assert asyncio.get_running_loop().time() - begin >= 0.05


async def test_one_waits_for_quiet_at_the_most_so_long() -> None:
    oracle = Oracle()
    oracle.may_answer.clear()
    gathering = Gathering(oracle.answer)
    asking = asyncio.create_task(gathering.ask(1))
    await asked(oracle, [1])
    await gathering.quiet(60, 0.01)
    oracle.may_answer.set()
    await asking
    await gathering.quiet(60, 0.01)


async def test_an_error_that_is_an_answer_is_raised_to_whose_it_is() -> None:
    gathering = Gathering(Oracle().answer)
    found = await asyncio.gather(*map(gathering.ask, (1, -2, 3)), return_exceptions=True)
    assert [str(one) for one in found] == ["1! in round 1", "no -2", "3! in round 1"]
    assert isinstance(found[1], NotFound)


async def test_an_error_of_all_is_raised_to_all_and_the_next_ones_are_asked_anew() -> None:
    oracle = Oracle()
    oracle.error = OSError("no route")
    gathering = Gathering(oracle.answer)
    found = await asyncio.gather(*map(gathering.ask, (1, 2)), return_exceptions=True)
    assert [str(one) for one in found] == ["no route", "no route"]
    oracle.error = None
    assert await gathering.ask(3) == "3! in round 2"


async def test_a_wrong_number_of_answers_is_an_error_and_leaves_nobody_waiting() -> None:
    async def answer(questions: Sequence[int]) -> Sequence[str | Exception]:
        return ["only one"]

    gathering = Gathering(answer)
    async with asyncio.timeout(5):
        found = await asyncio.gather(*map(gathering.ask, (1, 2)), return_exceptions=True)
    assert all(isinstance(one, ValueError) for one in found)
    assert await gathering.ask(3) == "only one"


async def test_who_has_gone_keeps_nobody_from_an_answer() -> None:
    oracle = Oracle()
    oracle.may_answer.clear()
    gathering = Gathering(oracle.answer)
    tasks = [asyncio.create_task(gathering.ask(number)) for number in (1, 2)]
    await asked(oracle, [1, 2])
    behind = [asyncio.create_task(gathering.ask(number)) for number in (3, 4)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    behind[0].cancel()
    oracle.may_answer.set()
    assert await tasks[1] == "2! in round 1"
    assert await behind[1] == "4! in round 2"
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
