"""LetterWriter: deliveries as their recipient reads them, by templates, in the recipient's language.

A template that fails costs a message its form and never its words: the next template is tried, at last none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from atf.notifications.channel import Recipient, TextForm
from atf.notifications.foreign_text import one_line
from atf.notifications.letter_environment import User, formed, marked
from atf.notifications.letter_templates import DIGEST, TemplateBook, TemplateFailure, TemplateFile
from atf.notifications.markdown import escape_markdown
from atf.notifications.message import Delivery, Priority
from atf.notifications.texts import texts_in

_LOGGER = logging.getLogger(__name__)
OnFailure = Callable[[TemplateFile, TextForm, TemplateFailure], None]
_BETWEEN: Final = 2
"""Characters that a channel may put between title and text."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a letter says: its title, of one line, and below it the same in plain text and in the channel's form.

    ``formatted`` is None if the form is plain. In neither text is the title: a channel that has no place for a
    title puts it before the text, escaped for its form.
    """

    title: str
    text: str
    formatted: str | None = None


@dataclass(frozen=True, slots=True)
class DigestEntry:
    """One message of a digest, as templates see it; ``text`` is in the template's form already."""

    title: str
    text: str
    type: str
    priority: Priority
    created_at: datetime


@dataclass(frozen=True, slots=True)
class _Page:
    """For whom it is written, and how."""

    user: User
    channel: str
    form: TextForm

    @property
    def ways(self) -> tuple[tuple[str, TextForm], ...]:
        """Each text that is written: the channel whose own templates count, and the form."""
        if self.form is TextForm.PLAIN:
            return ((self.channel, TextForm.PLAIN),)
        return (("", TextForm.PLAIN), (self.channel, self.form))


class LetterWriter:
    """Writes letters; ``templates`` are read when it is made, so a changed file counts from the next start on.

    ``overrides``: the folder of the user's templates; it need not be there. ``on_failure`` is told each time when
    a template fails; without it that is logged, once a template.
    """

    def __init__(self, overrides: Path | None = None, *, on_failure: OnFailure | None = None) -> None:
        self.templates = TemplateBook(overrides)
        self._tell = on_failure or self._log
        self._failed: set[tuple[str, TextForm]] = set()
        if on_failure is None:
            for problem in self.templates.problems:
                _LOGGER.warning("template %s", problem)

    def write(
        self, deliveries: Sequence[Delivery], recipient: Recipient, channel_name: str, form: TextForm
    ) -> Written:
        """Return the letter of one delivery, or the digest of several, in their order. Nothing is cut."""
        page = _Page(User(recipient.language, recipient.timezone), channel_name, form)
        letters = [self._single(delivery, page) for delivery in deliveries]
        return letters[0] if len(letters) == 1 else self._digest(deliveries, letters, page)

    def fitting(
        self,
        deliveries: Sequence[Delivery],
        recipient: Recipient,
        channel_name: str,
        form: TextForm,
        longest_text: int,
    ) -> int:
        """Return how many of the first deliveries one letter holds, title and marks included; at least one.

        Units: UTF-16 units, as Telegram counts them; where a channel counts characters, that is the safe side.
        """
        page = _Page(User(recipient.language, recipient.timezone), channel_name, form)
        letters: list[Written] = []
        taken = 0
        for delivery in deliveries:
            letters.append(self._single(delivery, page))
            taken += max(map(_units, _texts(letters[-1])))
            if taken > longest_text:
                break  # a digest is longer than what it holds
        fits, too_many = 1, len(letters) + 1
        while too_many - fits > 1:
            count = (fits + too_many) // 2
            written = self._digest(deliveries[:count], letters[:count], page)
            fits, too_many = (count, too_many) if _length(written, form) <= longest_text else (fits, count)
        return fits

    def _single(self, delivery: Delivery, page: _Page) -> Written:
        title = one_line(delivery.title)
        about: dict[str, Any] = {"title": title, "body": delivery.body, "payload": delivery.payload}
        about |= {"priority": str(delivery.priority), "created_at": delivery.created_at}
        texts = [
            self._rendered(delivery.notification_type, way, page.user, about) or formed(way[1], delivery.body)
            for way in page.ways
        ]
        return Written(title, *texts)

    def _digest(self, deliveries: Sequence[Delivery], letters: Sequence[Written], page: _Page) -> Written:
        title = texts_in(page.user.language)("digest-title", count=len(deliveries))
        about: dict[str, Any] = {"title": title, "body": "", "payload": {}, "priority": str(_highest(deliveries))}
        about["created_at"] = deliveries[-1].created_at
        texts = []
        for place, way in enumerate(page.ways):
            entries = [
                _entry(delivery, letter, marked(way[1], _texts(letter)[place]))
                for delivery, letter in zip(deliveries, letters, strict=True)
            ]
            written = self._rendered(DIGEST, way, page.user, {**about, "messages": entries})
            texts.append(written or _joined(entries, way[1]))
        return Written(title, *texts)

    def _rendered(
        self, notification_type: str, way: tuple[str, TextForm], user: User, about: Mapping[str, Any]
    ) -> str | None:
        """Return what the first template that does not fail writes; None if all fail."""
        channel, form = way
        context = {**about, "type": notification_type, "user": user, "words": texts_in(user.language)}
        for file in self.templates.chosen(notification_type, channel, form):
            if notification_type == DIGEST and file.notification_type != DIGEST:
                continue  # a digest has no body of its own
            try:
                return self.templates.render(file, form, context)
            except TemplateFailure as failure:
                self._tell(file, form, failure)
        return None

    def _log(self, file: TemplateFile, form: TextForm, failure: TemplateFailure) -> None:
        if (file.shown, form) not in self._failed:
            self._failed.add((file.shown, form))
            _LOGGER.warning("template %s failed, the next one is used: %s", file.shown, failure)


def _entry(delivery: Delivery, letter: Written, text: str) -> DigestEntry:
    return DigestEntry(letter.title, text, delivery.notification_type, delivery.priority, delivery.created_at)


def _texts(letter: Written) -> tuple[str, ...]:
    return (letter.text,) if letter.formatted is None else (letter.text, letter.formatted)


def _joined(entries: Iterable[DigestEntry], form: TextForm) -> str:
    """Return a digest that no template has written."""
    return "\n\n".join(f"{formed(form, entry.title)}\n{entry.text}" for entry in entries)


def _highest(deliveries: Iterable[Delivery]) -> Priority:
    return max((delivery.priority for delivery in deliveries), key=list(Priority).index)


def _length(letter: Written, form: TextForm) -> int:
    title = escape_markdown(letter.title) if form is TextForm.MARKDOWN_V2 else letter.title
    return _units(title) + _BETWEEN + max(map(_units, _texts(letter)))


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
