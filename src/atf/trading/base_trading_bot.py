"""BaseTradingBot: a strategy in its process, as its instance talks to it.

Messages are numbered and each is answered once, in order. A strategy that does not answer in time hangs, whatever
its process does; what it prints goes into its log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from atf.errors import AtfError, InvariantViolation
from atf.trading.bot_messages import (
    Answer,
    Candle,
    Failed,
    FromBot,
    Heartbeat,
    NewBar,
    OrderUpdate,
    OrderUpdates,
    Past,
    Ready,
    Said,
    Start,
    Stop,
    Stopped,
)
from atf.trading.bot_process import BotProcess, Exited

_BARS_AT_ONCE: Final = 100
"""Of a history in one message: to write them takes half a millisecond, for which all other bots wait."""
_TO_STOP: Final = timedelta(seconds=5)
"""For the strategy's own ``stop``; what takes longer is killed, and has nothing that is not committed."""


class BotFailed(AtfError):
    """The strategy or its process has ended otherwise than it was asked to, or does not answer."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What an answer is to: a bar that waits for it, or news up to a revision, that nobody waits for."""

    bar_at: datetime | None = None
    done: asyncio.Future[None] | None = None
    revision: int = 0


Take = Callable[[Answer, datetime | None], Awaitable[None]]
"""Takes an answer, with the bar's open time if it is to a bar."""


class BaseTradingBot:
    """One process of one strategy, from its start to its end."""

    def __init__(self, process: BotProcess, take: Take, say: Callable[[Said], None], step: timedelta) -> None:
        self._process = process
        self._take = take
        self._say = say
        self._step = step
        self._number = 0
        self._questions: dict[int, _Question] = {}
        self._analysis: Mapping[str, Any] | None = None
        self._busy_since = 0.0
        self._patience: asyncio.Timeout | None = None
        self.heard = 0
        """The book's revision up to which the strategy knows what became of its orders."""
        self.heartbeat: Heartbeat | None = None
        self.first_heartbeat: Heartbeat | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def begin(self, start: Start) -> None:
        """Hand the process what it begins with, before anything else; a long history piece by piece."""
        for number, feed in enumerate(start.feeds):
            older = len(feed.history) - _BARS_AT_ONCE
            for begin in range(0, older, _BARS_AT_ONCE):
                end = min(begin + _BARS_AT_ONCE, older)
                await self._process.send(Past(number, feed.history[begin:end]))
                await asyncio.sleep(0)  # others have their turn
        newest = [replace(feed, history=feed.history[-_BARS_AT_ONCE:]) for feed in start.feeds]
        await self._process.send(replace(start, feeds=newest))

    async def until_ready(self, within: timedelta) -> Ready:
        """Wait until the strategy is built and warm. Errors: BotFailed with what is wrong with it."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                while not isinstance(said := await self._receive(), Ready):
                    await self._hear(said)
        except TimeoutError:
            raise BotFailed(f"the strategy was not ready within {within.total_seconds():g} s") from None
        self._busy_since = asyncio.get_running_loop().time()  # what it was told meanwhile it hears from now on
        return said

    async def listen(self) -> None:
        """Take what the process says, until it has stopped as it was asked to.

        Errors: BotFailed; what taking an answer raises.
        """
        while self._analysis is None:
            try:
                async with asyncio.timeout_at(self._deadline()) as self._patience:
                    said = await self._receive()
            except TimeoutError:
                raise BotFailed(
                    f"the strategy hangs: no answer within {self._step.total_seconds():g} s"
                ) from None
            finally:
                self._patience = None
            await self._hear(said)

    async def bar(
        self, at: datetime, bars: Mapping[int, Candle], cash: Decimal, value: Decimal, *, is_history: bool
    ) -> None:
        """Hand a bar over, and return when what the strategy wants of it is committed.

        The caller cancels it when ``listen`` fails.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        number = self._ask(_Question(at, done))
        await self._process.send(NewBar(number, at, bars, cash, value, is_history))
        await done

    async def tell(self, updates: Sequence[OrderUpdate], cash: Decimal, revision: int) -> None:
        """Tell the strategy what became of its orders up to a revision; its answer is taken when it comes."""
        await self._process.send(OrderUpdates(self._ask(_Question(revision=revision)), updates, cash))

    async def stop(self, reason: str) -> Mapping[str, Any]:
        """Ask the strategy to stop and return what its analyzers found; nothing if it does not answer in time.

        ``listen`` must not run any more.
        """
        with suppress(TimeoutError, AtfError):
            await self._process.send(Stop(reason))
            async with asyncio.timeout(_TO_STOP.total_seconds()):
                await self.listen()
        return self._analysis or {}

    async def kill(self) -> None:
        """End the process at once; harmless when repeated."""
        await self._process.kill()

    def _ask(self, question: _Question) -> int:
        self._number += 1
        if not self._questions:
            self._busy_since = asyncio.get_running_loop().time()
        self._questions[self._number] = question
        if (
            self._patience is not None and not self._patience.expired()
        ):  # it has been listened for nothing in particular until now
            self._patience.reschedule(self._deadline())
        return self._number

    def _deadline(self) -> float | None:
        """Return when the strategy hangs, by the loop's time; what it says besides answers is no excuse."""
        return self._busy_since + self._step.total_seconds() if self._questions else None

    async def _receive(self) -> FromBot:
        said = await self._process.receive()
        if isinstance(said, Exited):
            how = f"was killed by signal {said.signal}" if said.signal else f"ended with status {said.code}"
            raise BotFailed(said.reason or f"the strategy's process {how}")
        return said

    async def _hear(self, said: FromBot) -> None:
        match said:
            case Answer():
                await self._answered(said)
            case Heartbeat():
                self.heartbeat = said
                self.first_heartbeat = self.first_heartbeat or said
            case Said():
                self._say(said)
            case Failed():
                self._say(Said("error", said.trace))
                raise BotFailed(said.error)
            case Stopped():
                self._analysis = said.analysis
            case Ready():
                raise InvariantViolation("a strategy is ready once")

    async def _answered(self, answer: Answer) -> None:
        question = self._questions.pop(answer.number, None)
        if question is None:
            raise InvariantViolation(f"message {answer.number} was answered twice, or never asked")
        self.heard = max(self.heard, question.revision)
        await self._take(answer, question.bar_at)
        self._busy_since = asyncio.get_running_loop().time()  # with the next question; storing is not its time
        if question.done is not None and not question.done.done():
            question.done.set_result(None)
