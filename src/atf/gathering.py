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

    Each question is asked after it has come: no answer is older than its question. ``after``: what is waited for
    before those are taken that have gathered until then.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Question]], Awaitable[Sequence[Answer | Exception]]],
        *,
        most: int = _MOST,
        after: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._answer = answer
        self._most = most
        self._after = after
        self._asked_at = float("-inf")
        self._gathered = 0
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._answering: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """Return the answer. Errors: those that ``answer`` returns, or raises for all of them."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        self._asked_at = asyncio.get_running_loop().time()
        if self._answering is None:
            self._answering = asyncio.create_task(self._answer_all())
        return await future

    async def quiet(self, moment: float, at_most: float) -> None:
        """Return when all is answered, and after many questions a moment later, or at the latest; in seconds.

        Of many that come at the same time some come a moment later; one alone keeps nobody waiting.
        """
        now = asyncio.get_running_loop().time
        give_up_at = now() + at_most
        while (left := give_up_at - now()) > 0:
            if self._answering is not None:
                await asyncio.wait({self._answering}, timeout=left)
            elif self._gathered > 1 and (rest := self._asked_at + moment - now()) > 0:
                await asyncio.sleep(min(rest, left))
            else:
                return

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                if self._after is not None:
                    await self._after()
                taken, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                self._gathered = len(taken)
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
