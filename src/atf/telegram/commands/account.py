"""/register, /verify, /info, /language, /timezone, /settings, /unlink: who somebody is, and how they are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from atf.errors import InvalidInput
from atf.notifications.preferences_service import NotificationSettings
from atf.notifications.texts import ENGLISH
from atf.telegram.ask import Ask, UsageError
from atf.telegram.command import Access, Command
from atf.telegram.confirmation import confirmed
from atf.telegram.reply import Button, Reply
from atf.telegram.rich_text import RichText, bold, lines, rich
from atf.telegram.texts import bot_languages, bot_texts

_TYPES: Final = ("alert", "report", "screener", "*")


async def register(ask: Ask) -> Reply:
    """Send a code to the e-mail address of who wants to become a user."""
    if len(ask.parts()) != 1:
        raise UsageError(ask.texts("bot-one-address"), field="email")
    if not ask.person.is_alone:
        raise InvalidInput(ask.texts("bot-alone-only"))
    await ask.house.registry.register(ask.person, ask.words)
    return Reply.of(ask.texts("bot-code-sent"))


async def verify(ask: Ask) -> Reply:
    """Take the code back."""
    if len(ask.parts()) != 1:
        raise UsageError(ask.texts("bot-one-code"), field="code")
    is_in = await ask.house.registry.verify(ask.person, ask.words)
    return Reply.of(ask.texts("bot-registered" if is_in else "bot-waits-for-approval"))


async def unlink(ask: Ask) -> Reply:
    """Forget that this Telegram account is the user's."""
    question = await confirmed(ask, ask.texts("bot-unlink-question"))
    if question is not None:
        return question
    await ask.house.registry.unlink(ask.person)
    return Reply.of(ask.texts("bot-unlinked"))


async def info(ask: Ask) -> Reply:
    """Say who the person is here."""
    caller, found = ask.user.caller, await ask.user.preferences.settings(ask.user.user_id)
    parts: list[RichText] = [
        bold(ask.texts("bot-info-user")) + f" {caller.name}",
        bold(ask.texts("bot-info-role")) + f" {caller.role}",
        *_told(ask, found),
    ]
    return Reply(lines(parts))


async def language(ask: Ask) -> Reply:
    """Show the languages, or choose one."""
    if not ask.words:
        rows = tuple((Button(ask.texts(f"language-{one}"), f"language {one}"),) for one in bot_languages())
        now = _spoken(ask)
        return Reply(rich(ask.texts("bot-language-now", language=now)), rows)
    changed = await ask.user.preferences.change(ask.user.user_id, language=ask.words)
    texts = bot_texts(changed.language)
    return Reply.of(texts("bot-language-set", language=texts(f"language-{changed.language}")))


async def timezone(ask: Ask) -> Reply:
    """Show the time zone, or choose one."""
    if not ask.words:
        found = await ask.user.preferences.settings(ask.user.user_id)
        return Reply.of(ask.texts("bot-timezone-now", timezone=found.preferences.timezone))
    changed = await ask.user.preferences.change(ask.user.user_id, timezone=ask.words)
    return Reply.of(ask.texts("bot-timezone-set", timezone=changed.timezone))


async def settings(ask: Ask) -> Reply:
    """Show how the person is told, and change it: types by channel, digest, a test."""
    words = ask.parts()
    match words:
        case []:
            pass
        case ["digest", value]:
            await ask.user.preferences.change(ask.user.user_id, digest=value)
        case ["fallback", value]:
            await ask.user.preferences.change(ask.user.user_id, fallback=value)
        case ["route", value]:
            await ask.user.preferences.set_route(ask.user.user_id, value)
        case ["test", channel]:
            await ask.user.preferences.send_test(ask.user.user_id, channel)
            return Reply.of(ask.texts("bot-test-sent", channel=channel))
        case _:
            raise UsageError(ask.texts("bot-settings-words"), field="settings")
    found = await ask.user.preferences.settings(ask.user.user_id)
    return Reply(lines([bold(ask.texts("bot-settings-head")), *_told(ask, found)]), _buttons(ask, found))


def _spoken(ask: Ask) -> str:
    """Return the language of this talk by its name: the chosen one, else Telegram's, else English."""
    spoken = ask.texts.language.partition("-")[0].lower()
    return ask.texts(f"language-{spoken if spoken in bot_languages() else ENGLISH}")


def _told(ask: Ask, found: NotificationSettings) -> Sequence[RichText]:
    wishes = found.preferences
    every = wishes.digest
    digest = (
        ask.texts("bot-digest-off")
        if every is None
        else ask.texts("bot-digest-every", minutes=int(every.total_seconds()) // 60)
    )
    parts = [
        bold(ask.texts("bot-info-language")) + " " + _spoken(ask),
        bold(ask.texts("bot-info-timezone")) + f" {wishes.timezone}",
        bold(ask.texts("bot-info-digest")) + f" {digest}",
        bold(ask.texts("bot-info-fallback")) + f" {wishes.fallback or 'inbox'}",
    ]
    parts += [rich(f"{one.channel}: {one.address}") for one in found.addresses]
    parts += [
        rich(f"{name}: {channel} {'on' if is_on else 'off'}")
        for (name, channel), is_on in sorted(wishes.routes.items())
    ]
    parts += [rich(f"{one.channel}: {one.reason}") for one in found.unreachable]
    return parts


def _buttons(ask: Ask, found: NotificationSettings) -> tuple[tuple[Button, ...], ...]:
    """Return a switch for each usual type of message at Telegram, and what else is usual."""
    routes = found.preferences.routes
    switches = []
    for name in _TYPES:
        is_on = routes.get((name, "telegram"), True)
        label = ask.texts("bot-all-types") if name == "*" else ask.texts.type_name(name)
        switch = "off" if is_on else "on"
        switches.append(Button(f"{'✓' if is_on else '✗'} {label}", f"settings route {name}:telegram={switch}"))
    is_off = found.preferences.digest is None
    digest = Button(
        ask.texts("bot-button-digest-on" if is_off else "bot-button-digest-off"),
        f"settings digest {'60' if is_off else 'off'}",
    )
    test = Button(ask.texts("bot-button-test"), "settings test telegram")
    return (tuple(switches[:2]), tuple(switches[2:]), (digest, test))


COMMANDS: Final = (
    Command("register", register, usage="EMAIL", access=Access.ANYBODY, in_menu=False),
    Command("verify", verify, usage="CODE", access=Access.ANYBODY, in_menu=False, is_secret=True),
    Command("info", info),
    Command("language", language, usage="[LANGUAGE]"),
    Command("timezone", timezone, usage="[ZONE]"),
    Command(
        "settings",
        settings,
        usage="[digest MINUTES|off] [fallback CHANNEL] [route TYPE:CHANNEL=on|off] [test CHANNEL]",
    ),
    Command("unlink", unlink, in_menu=False),
)
