"""Confirmation: a command that trades or deletes is done once its person has pressed yes, and once only."""

from __future__ import annotations

import secrets
from typing import Final

from atf.telegram.ask import Ask
from atf.telegram.reply import Button, Reply
from atf.telegram.rich_text import RichText

YES: Final = "yes"
NO: Final = "no"


async def confirmed(ask: Ask, question: RichText | str) -> Reply | None:
    """Return None if the person has said yes, else the question; the command is done by the answer to it.

    The question is kept in the database, so it can be answered after a restart; a newer one takes its place.
    """
    if ask.is_confirmed:
        return None
    nonce = secrets.token_hex(8)
    await ask.house.conversations.ask(ask.person, nonce, f"{ask.command} {ask.words}".strip())
    return Reply.of(
        question,
        (
            Button(ask.texts("bot-yes"), f"{YES} {nonce}"),
            Button(ask.texts("bot-no"), f"{NO} {nonce}"),
        ),
    )
