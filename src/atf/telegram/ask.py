"""Ask: one command as it was asked, and what its handler may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atf.errors import Forbidden, InvalidInput
from atf.notifications.texts import Texts
from atf.telegram.person import Person
from atf.telegram.user_services import UserServices

if TYPE_CHECKING:
    from atf.telegram.house import House


@dataclass(frozen=True, slots=True)
class Ask:
    """A command of a person.

    ``words``: what stands behind the command, as it was written. ``is_press``: it comes from a button, so that
    the answer takes the place of the message. ``is_confirmed``: the person has said yes to the question.
    """

    person: Person
    command: str
    words: str
    texts: Texts
    house: House
    services: UserServices | None = None
    is_press: bool = False
    is_confirmed: bool = False

    @property
    def user(self) -> UserServices:
        """The services of the user that the person is. Errors: Forbidden for who is none."""
        if self.services is None:
            raise Forbidden(self.texts("bot-not-linked"))
        return self.services

    def parts(self) -> list[str]:
        """Return the words one by one."""
        return self.words.split()

    def number(self, word: str, field: str) -> int:
        """Return a word that is an id. Errors: InvalidInput that names the field."""
        if not word.isascii() or not word.isdigit() or len(word) > _MOST_DIGITS:
            raise InvalidInput(self.texts("bot-not-a-number", word=word[:40]), field=field)
        return int(word)


_MOST_DIGITS = 18


class UsageError(InvalidInput):
    """The words behind a command are not what it takes; the person is shown how it is used.

    ``picture``: lines that show where in the words something is wrong.
    """

    def __init__(
        self, message: str, *, field: str = "", others: Sequence[InvalidInput] = (), picture: str = ""
    ) -> None:
        self.picture = picture
        super().__init__(message, field=field, others=others)
