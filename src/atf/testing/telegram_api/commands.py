"""The lists of commands that people see behind the slash, by scope and language."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from atf.testing.telegram_api.access import Outcome
from atf.testing.telegram_api.calls import Call
from atf.testing.telegram_api.refusals import bad_request
from atf.testing.telegram_chat_records import ChatRecord
from atf.testing.telegram_messages import Person
from atf.testing.telegram_world import TelegramWorld

_SCOPES: Final = frozenset(
    {
        "default",
        "all_private_chats",
        "all_group_chats",
        "all_chat_administrators",
        "chat",
        "chat_administrators",
        "chat_member",
    }
)
_COMMAND: Final = re.compile(r"/?[a-z0-9_]{1,32}")
_MOST: Final = 100
_LONGEST_DESCRIPTION: Final = 256


def set_my_commands(world: TelegramWorld, call: Call) -> Outcome:
    """Replace the commands of a scope and a language."""
    given = call.document("commands", "commands") or []
    if not isinstance(given, list):
        raise bad_request("Expected an Array of BotCommand")
    if len(given) > _MOST:
        raise bad_request("BOT_COMMANDS_TOO_MUCH")
    commands = [_command(one) for one in given]
    key = _key(world, call)
    if commands:
        world.commands[key] = commands
    else:
        world.commands.pop(key, None)
    return Outcome(True, text=" ".join(one["command"] for one in commands))


def get_my_commands(world: TelegramWorld, call: Call) -> Outcome:
    """Return the commands of exactly this scope and language."""
    return Outcome(world.commands.get(_key(world, call), []), is_effect=False)


def delete_my_commands(world: TelegramWorld, call: Call) -> Outcome:
    """Forget the commands of a scope and a language, so that those of wider ones are seen."""
    world.commands.pop(_key(world, call), None)
    return Outcome(True)


def seen_commands(world: TelegramWorld, chat: ChatRecord, person: Person) -> list[dict[str, str]]:
    """Return the commands that somebody sees in a chat: of the narrowest scope, best in the own language."""
    wide = "all_group_chats" if chat.is_group else "all_private_chats"
    scopes = (
        {"type": "chat_member", "chat_id": chat.chat_id, "user_id": person.user_id},
        {"type": "chat", "chat_id": chat.chat_id},
        {"type": wide},
        {"type": "default"},
    )
    for scope in scopes:
        for language in ((person.language_code or "").partition("-")[0], ""):
            if (commands := world.commands.get((_canonical(scope), language))) is not None:
                return commands
    return []


def _key(world: TelegramWorld, call: Call) -> tuple[str, str]:
    scope = call.document("scope", "BotCommandScope") or {"type": "default"}
    if not isinstance(scope, dict) or scope.get("type") not in _SCOPES:
        raise bad_request("Can't parse BotCommandScope: BotCommandScope has unsupported type")
    language = call.text("language_code")
    if language and not re.fullmatch("[a-z]{2}", language):
        raise bad_request("LANG_CODE_INVALID")
    if "chat_id" in scope:
        if int(scope["chat_id"]) not in world.chats:
            raise bad_request("chat not found")
        scope = {**scope, "chat_id": int(scope["chat_id"])}
    return _canonical(scope), language


def _canonical(scope: Mapping[str, Any]) -> str:
    return json.dumps(scope, sort_keys=True)


def _command(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not all(isinstance(given.get(n), str) for n in ("command", "description")):
        raise bad_request("Can't parse BotCommand: expected an Object")
    if not _COMMAND.fullmatch(given["command"]):
        raise bad_request("BOT_COMMAND_INVALID")
    if not given["description"].strip() or len(given["description"]) > _LONGEST_DESCRIPTION:
        raise bad_request("BOT_COMMAND_DESCRIPTION_INVALID")
    return {"command": given["command"].removeprefix("/"), "description": given["description"]}
