"""The methods of the Bot API that the local Telegram has, by their names in small letters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from atf.testing.telegram_api import commands, editing, sending
from atf.testing.telegram_api.access import Outcome, find_chat
from atf.testing.telegram_api.calls import Call
from atf.testing.telegram_api.refusals import Refusal, bad_request, too_many_requests, unauthorized
from atf.testing.telegram_api.stored_files import LARGEST_DOWNLOAD
from atf.testing.telegram_messages import AcceptedCall, RefusedCall
from atf.testing.telegram_payloads import file_document, full_chat_document, own_document
from atf.testing.telegram_world import TelegramWorld

Method = Callable[[TelegramWorld, Call], Outcome | Awaitable[Outcome]]
_CLOSABLE_AFTER: Final = 600


async def perform(world: TelegramWorld, token: str, call: Call) -> Outcome:
    """Do what a call asks for and keep it among the accepted or the refused ones. Errors: Refusal."""
    try:
        outcome = await _perform(world, token, call)
    except Refusal as refusal:
        world.refused.append(
            RefusedCall(
                call.method,
                call.text("chat_id"),
                world.monotonic(),
                refusal.code,
                refusal.description,
                call.frozen_values,
            )
        )
        world.changes.tell()
        raise
    if outcome.is_effect:
        _keep(world, call, outcome)
    return outcome


async def _perform(world: TelegramWorld, token: str, call: Call) -> Outcome:
    check_token(world, token)
    if world.is_logged_out:
        raise Refusal(400, "Logged out")
    method = METHODS.get(call.method.lower())
    if method is None:
        raise Refusal(404, "Not Found: method not found")
    outcome = method(world, call)
    return outcome if isinstance(outcome, Outcome) else await outcome


def check_token(world: TelegramWorld, token: str) -> None:
    """Refuse a token that is not the bot's, or was revoked. Errors: Refusal (401)."""
    if not token.partition(":")[0].isdecimal() or ":" not in token:
        raise Refusal(401, "Unauthorized: invalid token specified")
    if token != world.token or world.is_revoked:
        raise unauthorized()


def _keep(world: TelegramWorld, call: Call, outcome: Outcome) -> None:
    world.accept(
        AcceptedCall(
            len(world.accepted) + 1,
            call.method,
            outcome.chat_id,
            world.monotonic(),
            world.now,
            outcome.text,
            call.frozen_values,
            outcome.message,
        )
    )


# --- the bot itself, chats, files ---


def _get_me(world: TelegramWorld, _call: Call) -> Outcome:
    return Outcome(own_document(world.bot, reads_all=world.reads_all), is_effect=False)


async def _get_updates(world: TelegramWorld, call: Call) -> Outcome:
    return Outcome(await world.updates.take(call), is_effect=False)


async def _set_webhook(world: TelegramWorld, call: Call) -> Outcome:
    return Outcome(True, text=call.text("url"), description=await world.webhook.set(call))


async def _delete_webhook(world: TelegramWorld, call: Call) -> Outcome:
    return Outcome(True, description=await world.webhook.delete(call))


def _get_webhook_info(world: TelegramWorld, _call: Call) -> Outcome:
    return Outcome(world.webhook.info, is_effect=False)


def _get_chat(world: TelegramWorld, call: Call) -> Outcome:
    return Outcome(full_chat_document(find_chat(world, call).payload), is_effect=False)


def _leave_chat(world: TelegramWorld, call: Call) -> Outcome:
    chat = find_chat(world, call)
    if not chat.is_group:
        raise bad_request("chat member status can't be changed in private chats")
    chat.has_left = True
    return Outcome(True, chat.chat_id)


def _get_file(world: TelegramWorld, call: Call) -> Outcome:
    stored = world.files.find(call.text("file_id"))
    if stored is None:
        raise bad_request("invalid file_id")
    if len(stored.content) > LARGEST_DOWNLOAD:
        raise bad_request("file is too big")
    return Outcome(file_document(stored), is_effect=False)


def _log_out(world: TelegramWorld, _call: Call) -> Outcome:
    world.is_logged_out = True
    return Outcome(True)


def _close(world: TelegramWorld, _call: Call) -> Outcome:
    """End the bot's instance, which Telegram does not do in the first ten minutes."""
    wait = _CLOSABLE_AFTER - (world.monotonic() - world.started_at)
    if wait > 0:
        raise too_many_requests(max(1, int(wait)))
    return Outcome(True)


METHODS: Final[Mapping[str, Method]] = {
    "getme": _get_me,
    "getupdates": _get_updates,
    "setwebhook": _set_webhook,
    "deletewebhook": _delete_webhook,
    "getwebhookinfo": _get_webhook_info,
    "sendmessage": sending.send_message,
    "sendphoto": sending.send_photo,
    "senddocument": sending.send_document,
    "sendchataction": sending.send_chat_action,
    "editmessagetext": editing.edit_message_text,
    "editmessagecaption": editing.edit_message_caption,
    "editmessagereplymarkup": editing.edit_message_reply_markup,
    "editmessagemedia": editing.edit_message_media,
    "deletemessage": editing.delete_message,
    "answercallbackquery": editing.answer_callback_query,
    "setmycommands": commands.set_my_commands,
    "getmycommands": commands.get_my_commands,
    "deletemycommands": commands.delete_my_commands,
    "getchat": _get_chat,
    "getfile": _get_file,
    "leavechat": _leave_chat,
    "logout": _log_out,
    "close": _close,
}
