"""Recent[T]: an answer that is asked for at most once at a time and kept for a while."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from atf.errors import AtfError, DatabaseUnavailable

T = TypeVar("T")


class Recent(Generic[T]):
    """Shields what answers from those who ask often, and those who ask from what does not answer.

    However many ask, one question is under way. Who asks waits no longer than ``patience_seconds``; the question
    goes on and its answer serves whoever asks next, until ``abandon_seconds`` have passed.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[T]],
        *,
        keep_seconds: float,
        patience_seconds: float,
        abandon_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._keep = keep_seconds
        self._patience = patience_seconds
        self._abandon = abandon_seconds
        self._clock = clock
        self._question: asyncio.Task[T] | None = None
        self._asked_at = 0.0
        self._answer: tuple[float, T] | None = None

    async def get(self) -> T:
        """Return an answer that is not older than it may be.

        Errors: those of the question; DatabaseUnavailable if there is no answer in time.
        """
        if self._answer is not None and self._clock() - self._answer[0] < self._keep:
            return self._answer[1]
        question = self._under_way()
        await asyncio.wait({question}, timeout=self._patience)
        if not question.done() or question.cancelled():
            raise DatabaseUnavailable(f"the database does not answer within {self._patience:g} s")
        if self._question is question:
            self._question = None
        try:
            answer = question.result()
        except OSError as exc:
            raise DatabaseUnavailable(f"the database does not answer: {exc}") from exc
        self._answer = (self._asked_at, answer)
        return answer

    async def close(self) -> None:
        """End what is under way."""
        question, self._question = self._question, None
        if question is not None:
            question.cancel()
            with contextlib.suppress(asyncio.CancelledError, AtfError, OSError):
                await question

    def _under_way(self) -> asyncio.Task[T]:
        now = self._clock()
        if self._question is not None and now - self._asked_at > self._abandon:
            self._question.cancel()
            self._question = None
        if self._question is None:
            self._question = asyncio.create_task(self._asked())
            self._asked_at = now
        return self._question

    async def _asked(self) -> T:
        return await self._ask()
