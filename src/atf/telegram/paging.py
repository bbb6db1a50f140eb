"""Pages of long lists: which part is shown, and the buttons that turn them in place. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from atf.notifications.texts import Texts
from atf.telegram.reply import Button, Keyboard

T = TypeVar("T")
PAGE_SIZE: Final = 10


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list: what is on it, its number from 1 on, and how many pages there are."""

    items: Sequence[T]
    number: int
    count: int

    def words(self, texts: Texts) -> str:
        """Return which page of how many it is; nothing if it is the only one."""
        return texts("bot-page", page=self.number, pages=self.count) if self.count > 1 else ""

    def turning(self, command: str, texts: Texts) -> Keyboard:
        """Return the row of buttons to the pages beside it; ``command`` takes the number of a page."""
        row = []
        if self.number > 1:
            row.append(Button(texts("page-previous"), f"{command} {self.number - 1}"))
        if self.number < self.count:
            row.append(Button(texts("page-next"), f"{command} {self.number + 1}"))
        return (tuple(row),) if row else ()


def page_of(items: Sequence[T], number: int) -> Page[T]:
    """Return a page of a list; a number that is too high is the last page, one that is too low the first."""
    count = max(1, -(-len(items) // PAGE_SIZE))
    number = min(max(1, number), count)
    return Page(items[(number - 1) * PAGE_SIZE : number * PAGE_SIZE], number, count)
