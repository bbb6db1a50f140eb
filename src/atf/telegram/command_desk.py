"""CommandDesk: hears what a person says or presses, finds the command, asks who may, and answers.

Nobody who is not known learns anything but how to become known, and that once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from atf.errors import AtfError, Forbidden, InvalidInput
from atf.notifications.texts import Texts
from atf.security.audit import AuditEvent, AuditOutcome
from atf.security.caller import Caller, Origin, Stranger, acting
from atf.security.role import Role
from atf.telegram.ask import Ask, UsageError
from atf.telegram.command import Access, Command
from atf.telegram.confirmation import NO, YES
from atf.telegram.house import House
from atf.telegram.local import shortened
from atf.telegram.person import Person
from atf.telegram.reply import Reply
from atf.telegram.rich_text import block, bold, code, lines, rich
from atf.telegram.texts import bot_texts

_LOGGER = logging.getLogger(__name__)
_LONGEST_WORDS: Final = 4096
_LONGEST_ALERT: Final = 200
"""Characters that Telegram shows over a chat at a press."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a person said, or the command of a button that was pressed."""

    person: Person
    words: str
    is_press: bool = False


class CommandDesk:
    """Answers one thing at a time of each person; ``may_register``: whether strangers can become users."""

    def __init__(
        self, house: House, commands: Sequence[Command], *, bot_name: str = "", may_register: bool = False
    ) -> None:
        self._house = house
        self._commands: Mapping[str, Command] = {command.name: command for command in commands}
        self._may_register = may_register
        self.bot_name = bot_name

    @property
    def commands(self) -> Sequence[Command]:
        """All commands, in the order of the menu."""
        return tuple(self._commands.values())

    def recordable(self, heard: Heard) -> str:
        """Return what may be written down of what was heard: all of it, unless it could let somebody in."""
        name, _, _ = _command_in(heard.words)
        command = self._commands.get(name)
        return heard.words if command is None or not command.is_secret else f"/{name}"

    async def answer(self, heard: Heard) -> Reply | None:
        """Return what is answered; None for silence."""
        caller = await self._house.people.caller(heard.person)
        texts = bot_texts(await self._language(heard.person, caller))
        if caller is not None and (closed := await self._closed(heard, caller, texts)) is not None:
            return closed
        if heard.is_press and heard.words.partition(" ")[0] in (YES, NO):
            return await self._decide(heard, caller, texts)
        name, words = await self._meant(heard)
        return await self._do(heard, caller, texts, name, words)

    async def _language(self, person: Person, caller: Caller | None) -> str:
        chosen = None if caller is None else await self._house.people.language(caller.user_id)
        return chosen or person.language

    async def _closed(self, heard: Heard, caller: Caller | None, texts: Texts) -> Reply | None:
        """Return what is told instead of an answer while maintenance is on, None if there is to be an answer."""
        is_command = heard.is_press or heard.person.is_alone or heard.words.startswith("/")
        if not is_command or (caller is not None and caller.role is Role.ADMIN):
            return None
        notice = await self._house.maintenance.notice()
        if notice is None:
            return None
        words = notice.text or texts("bot-maintenance")
        return Reply(rich(words), alert=shortened(words, _LONGEST_ALERT) if heard.is_press else None)

    async def _meant(self, heard: Heard) -> tuple[str | None, str]:
        """Return the command and the words behind it; a bare text is for the command that waits for one."""
        words = heard.words[:_LONGEST_WORDS].strip()
        if heard.is_press or words.startswith("/"):
            name, addressee, rest = _command_in(words)
            if addressee and self.bot_name and addressee.lower() != self.bot_name.lower():
                return None, ""
            return name, rest
        return await self._house.conversations.expected(heard.person), words

    async def _decide(self, heard: Heard, caller: Caller | None, texts: Texts) -> Reply | None:
        """Do what a question was about, or leave it; each question is answered once."""
        answer, _, nonce = heard.words.partition(" ")
        stored = await self._house.conversations.answer(heard.person, nonce)
        if stored is None:
            return Reply(rich(texts("bot-question-gone")), alert=texts("bot-question-gone"))
        if answer == NO:
            return Reply.of(texts("bot-left-alone"))
        name, _, words = stored.partition(" ")
        return await self._do(heard, caller, texts, name, words, is_confirmed=True)

    async def _do(
        self,
        heard: Heard,
        caller: Caller | None,
        texts: Texts,
        name: str | None,
        words: str,
        *,
        is_confirmed: bool = False,
    ) -> Reply | None:
        command = self._commands.get(name or "")
        if caller is None and not self._is_open(command, words):
            return await self._greeting(heard.person, texts)
        if caller is None and (closed := await self._closed(heard, caller, texts)) is not None:
            return closed
        if command is None:
            return Reply.of(texts("bot-unknown-command")) if name or heard.person.is_alone else None
        ask = Ask(
            heard.person,
            command.name,
            words,
            texts,
            self._house,
            None if caller is None else self._house.services.of(caller),
            heard.is_press,
            is_confirmed,
        )
        reply, outcome, detail = await self._handled(command, ask, caller)
        await self._record(command, caller, heard.person, outcome, detail)
        return reply

    def _is_open(self, command: Command | None, words: str) -> bool:
        """Whether a stranger may use a command: to link an account by a token, and to register if that is on."""
        if command is None or command.access is not Access.ANYBODY:
            return False
        if command.name == "start":
            return bool(words)
        return self._may_register and command.name in ("register", "verify")

    async def _greeting(self, person: Person, texts: Texts) -> Reply | None:
        if not person.is_alone or not await self._house.people.greet(person):
            return None
        how = "bot-stranger-register" if self._may_register else "bot-stranger"
        return Reply.of(texts(how))

    async def _handled(
        self, command: Command, ask: Ask, caller: Caller | None
    ) -> tuple[Reply, AuditOutcome, str | None]:
        """Return the answer, what came of it, and why for the audit log."""
        try:
            if command.access is Access.ADMIN and (caller is None or caller.role is not Role.ADMIN):
                raise Forbidden(ask.texts("bot-admins-only"))
            if command.asks and not ask.words:
                await ask.house.conversations.expect(ask.person, command.name)
                return help_of(command, ask.texts, is_question=True), AuditOutcome.DONE, "asked for words"
            return await command.handler(ask), AuditOutcome.DONE, None
        except UsageError as exc:
            return usage_reply(command, ask.texts, exc), AuditOutcome.REFUSED, str(exc)
        except (InvalidInput, Forbidden) as exc:
            return Reply.of(str(exc)), AuditOutcome.REFUSED, str(exc)
        except AtfError as exc:
            return Reply.of(str(exc)), AuditOutcome.FAILED, str(exc)
        except Exception as exc:
            _LOGGER.exception("/%s failed", command.name)
            return Reply.of(ask.texts("bot-broken")), AuditOutcome.FAILED, f"{type(exc).__name__}"

    async def _record(
        self, command: Command, caller: Caller | None, person: Person, outcome: AuditOutcome, detail: str | None
    ) -> None:
        event = AuditEvent(
            "telegram.command",
            outcome,
            "command",
            f"/{command.name}",
            None if caller is None else caller.user_id,
            detail,
        )
        if caller is None:
            await self._house.log.record(replace(event, stranger=stranger_of(person)))
            return
        with acting(caller):
            await self._house.log.record(event)


def _command_in(words: str) -> tuple[str, str, str]:
    """Return the command, which bot it is for if that is said, and what stands behind it as it was written."""
    command, _, rest = re.sub(r"\s", " ", words.strip().removeprefix("/"), count=1).partition(" ")
    name, _, addressee = command.partition("@")
    return name.lower(), addressee, rest.strip()


def stranger_of(person: Person) -> Stranger:
    """Return a person who is no user, as the audit log has it."""
    return Stranger(Origin.TELEGRAM, f"telegram:{person.telegram_id}")


def help_of(command: Command, texts: Texts, *, is_question: bool = False) -> Reply:
    """Return what a command is for and how it is used; as a question, that its words may follow now."""
    parts = [
        bold(f"/{command.name} {command.usage}".strip()) if not is_question else rich(""),
        rich(texts(f"help-{command.name}")),
    ]
    if is_question:
        parts.append(rich(texts("bot-say-it-now")))
    return Reply(lines(part for part in parts if not part.is_empty))


def usage_reply(command: Command, texts: Texts, error: UsageError) -> Reply:
    """Return what was wrong with the words of a command, and how they should be."""
    usage = code(f"/{command.name} {command.usage}".strip())
    picture = [block(error.picture)] if error.picture else []
    return Reply(lines([rich(str(error)), *picture, rich(texts("bot-usage")) + " " + usage]))
