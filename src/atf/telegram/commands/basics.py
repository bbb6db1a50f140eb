"""/start, /help, /info, /status, /feedback: what a person tries first."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Final

from atf.notifications.message import OutgoingMessage
from atf.security.one_time import IdentityKind
from atf.security.role import Role
from atf.telegram.ask import Ask, UsageError
from atf.telegram.command import Access, Command
from atf.telegram.command_desk import help_of, stranger_of
from atf.telegram.reply import Button, Reply
from atf.telegram.rich_text import bold, lines, rich

FEEDBACK: Final = "feedback"
_LONGEST_FEEDBACK: Final = 2000


async def start(ask: Ask) -> Reply:
    """Greet; with a token, link this Telegram account to the user of the token."""
    if ask.words:
        return await _link(ask)
    welcome = Reply.of(
        lines([rich(ask.texts("bot-welcome", name=ask.user.caller.name)), rich(ask.texts("bot-try-help"))]),
        (Button(ask.texts("bot-button-alerts"), "alerts"), Button(ask.texts("bot-button-help"), "help")),
    )
    is_admin = ask.user.caller.role is Role.ADMIN
    return replace(welcome, menu=ask.texts.language) if is_admin else welcome


async def help_(ask: Ask) -> Reply:
    """List the commands that the person may use, or explain one."""
    from atf.telegram.commands import all_commands

    wanted = ask.words.removeprefix("/").lower()
    usable = [one for one in all_commands() if _may_see(ask, one)]
    if wanted:
        for command in usable:
            if command.name == wanted:
                return help_of(command, ask.texts)
        raise UsageError(ask.texts("bot-no-such-command", command=wanted[:40]), field="command")
    parts = [rich(ask.texts("bot-help-head"))]
    parts += [
        bold(f"/{one.name}") + f" {one.usage}".rstrip() + " - " + ask.texts(f"command-{one.name}")
        for one in usable
    ]
    return Reply(lines(parts))


async def feedback(ask: Ask) -> Reply:
    """Hand a message to the administrators."""
    if len(ask.words) > _LONGEST_FEEDBACK:
        raise UsageError(ask.texts("bot-too-long", most=_LONGEST_FEEDBACK), field="feedback")
    administrators = await ask.house.messages.administrators()
    key = uuid.uuid4()
    await ask.house.messages.add(
        [
            OutgoingMessage(
                user_id=user_id,
                notification_type=FEEDBACK,
                title=f"Feedback of {ask.user.caller.name}",
                body=ask.words,
                dedup_key=f"{FEEDBACK}:{key}:{user_id}",
                channels=None,
            )
            for user_id in administrators
        ]
    )
    return Reply.of(ask.texts("bot-feedback-thanks"))


async def _link(ask: Ask) -> Reply:
    token = ask.words if ask.words.startswith("atf_") else f"atf_link_{ask.words}"
    await ask.house.accounts.link_identity(
        token, IdentityKind.TELEGRAM, str(ask.person.telegram_id), stranger_of(ask.person)
    )
    return Reply.of(ask.texts("bot-linked"))


def _may_see(ask: Ask, command: Command) -> bool:
    return command.access is not Access.ADMIN or ask.user.caller.role is Role.ADMIN


COMMANDS: Final = (
    Command("start", start, access=Access.ANYBODY, is_secret=True),
    Command("help", help_, usage="[COMMAND]"),
    Command("feedback", feedback, usage="TEXT", asks=True),
)
