"""Gathering: questions that come while the last ones are being answered are answered together.

So many callers at once cost few transactions, and one caller alone waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")
_MOST: Final = 500


class Gathering(Generic[Question, Answer]):
    """Asks ``answer`` for all that have gathered; it returns an answer, or what to raise, for each in order.

    Each question is asked after it has come: no answer is older than its question.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Question]], Awaitable[Sequence[Answer | Exception]]],
        *,
        most: int = _MOST,
    ) -> None:
        self._answer = answer
        self._most = most
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._answering: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """Return the answer. Errors: those that ``answer`` returns, or raises for all of them."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._answering is None:
            self._answering = asyncio.create_task(self._answer_all())
        return await future

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._answer_some(taken)
        finally:
            self._answering = None

    async def _answer_some(self, taken: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> None:
        answered: list[tuple[tuple[Question, asyncio.Future[Answer]], Answer | Exception]]
        try:
            answers = await self._answer([question for question, _ in taken])
            answered = list(zip(taken, answers, strict=True))
        except Exception as exc:  # noqa: BLE001 - whoever asked gets it
            answered = [(one, exc) for one in taken]
        for (_, future), answer in answered:
            if future.done():  # who asked has gone
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
