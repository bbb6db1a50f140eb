"""/admin: users, what everybody is told, maintenance; for administrators alone.

Whatever touches somebody else is asked about first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final

from atf.errors import Conflict
from atf.security.audit import AuditEvent, AuditOutcome
from atf.security.caller import acting
from atf.security.user import Quotas, User, UserStatus, checked_role
from atf.telegram.ask import Ask, UsageError
from atf.telegram.command import Access, Command
from atf.telegram.commands.health import health
from atf.telegram.commands.public_messages import announcement, approval, broadcast
from atf.telegram.confirmation import confirmed
from atf.telegram.paging import page_of
from atf.telegram.reply import Button, Keyboard, Reply
from atf.telegram.rich_text import RichText, bold, lines, rich

_LIMITS: Final = tuple(Quotas.__dataclass_fields__)
_DEFAULT: Final = "default"
_LONGEST_TEXT: Final = 3000
_LONGEST_NOTICE: Final = 500

Action = Callable[[Ask, str], Awaitable[Reply]]


async def admin(ask: Ask) -> Reply:
    """Do what an administrator says; the chat gets the administrator's menu."""
    verb, rest = _split(ask.words)
    action = _ACTIONS.get(verb.lower())
    if action is None and verb:
        raise UsageError(ask.texts("admin-words"), field="admin")
    reply = await (_overview if action is None else action)(ask, rest)
    return replace(reply, menu=ask.texts.language)


async def _overview(ask: Ask, _: str) -> Reply:
    is_closed = await ask.house.maintenance.notice() is not None
    switch = "off" if is_closed else "on"
    buttons = (
        (Button(ask.texts("admin-button-users"), "admin users"), _pending_button(ask)),
        (
            Button(ask.texts("admin-button-health"), "admin health"),
            Button(ask.texts(f"admin-button-maintenance-{switch}"), f"admin maintenance {switch}"),
        ),
    )
    return Reply(rich(ask.texts("help-admin")), buttons)


async def _users(ask: Ask, rest: str) -> Reply:
    number = ask.number(rest, "page") if rest else 1
    found = await ask.user.users.list_users()
    page = page_of(found, number)
    head = bold(ask.texts("admin-users", count=len(found))) + f" {page.words(ask.texts)}".rstrip()
    text = lines([head, *(_line(ask, one) for one in page.items)])
    return Reply(text, (*page.turning("admin users", ask.texts), (_pending_button(ask),)))


async def _pending(ask: Ask, _: str) -> Reply:
    waiting = [one for one in await ask.user.users.list_users() if one.status is UserStatus.PENDING]
    if not waiting:
        return Reply.of(ask.texts("admin-nobody-waits"))
    page = page_of(waiting, 1)
    keyboard: Keyboard = tuple(
        tuple(
            Button(ask.texts(f"admin-button-{verb}", name=one.name), f"admin {verb} {one.name}")
            for verb in ("approve", "reject")
        )
        for one in page.items
    )
    head = bold(ask.texts("admin-pending", count=len(waiting)))
    return Reply(lines([head, *(_line(ask, one) for one in page.items)]), keyboard)


async def _approve(ask: Ask, rest: str) -> Reply:
    user = await ask.user.users.get_user(_one(ask, rest))
    if user.status is UserStatus.ACTIVE:
        raise Conflict(ask.texts("admin-is-active", name=user.name))
    question = await confirmed(ask, ask.texts("admin-approve-question", name=user.name, role=user.role))
    if question is not None:
        return question
    changed = await ask.user.users.approve_user(user.name)
    with acting(ask.user.caller):
        await ask.house.messages.add([approval(changed.id, await ask.house.people.language(changed.id))])
    return Reply.of(ask.texts("admin-approved", name=changed.name))


async def _reject(ask: Ask, rest: str) -> Reply:
    user = await ask.user.users.get_user(_one(ask, rest))
    if user.status is not UserStatus.PENDING:
        raise Conflict(ask.texts("admin-does-not-wait", name=user.name))
    question = await confirmed(ask, ask.texts("admin-reject-question", name=user.name))
    if question is not None:
        return question
    await ask.user.users.disable_user(user.name)
    return Reply.of(ask.texts("admin-rejected", name=user.name))


async def _role(ask: Ask, rest: str) -> Reply:
    match rest.split():
        case [name, word]:
            role, user = checked_role(word), await ask.user.users.get_user(name)
        case _:
            raise UsageError(ask.texts("admin-role-words"), field="admin")
    question = await confirmed(ask, ask.texts("admin-role-question", name=user.name, old=user.role, new=role))
    if question is not None:
        return question
    changed = await ask.user.users.set_role(user.name, role)
    return Reply.of(ask.texts("admin-role-set", name=changed.name, role=changed.role))


async def _set_limit(ask: Ask, rest: str) -> Reply:
    match rest.split():
        case [name, what, number] if what in _LIMITS:
            limit = _amount(ask, what, number)
        case _:
            raise UsageError(ask.texts("admin-limit-words", limits=", ".join(_LIMITS)), field="admin")
    user = await ask.user.users.get_user(name)
    words = {"name": user.name, "limit": what, "number": _DEFAULT if limit is None else str(limit)}
    Quotas(**{what: limit})
    question = await confirmed(ask, ask.texts("admin-limit-question", **words))
    if question is not None:
        return question
    await ask.user.users.change_limits(user.name, {what: limit})
    return Reply.of(ask.texts("admin-limit-set", **words))


async def _broadcast(ask: Ask, rest: str) -> Reply:
    return await _tell_all(ask, rest, is_urgent=True)


async def _announce(ask: Ask, rest: str) -> Reply:
    return await _tell_all(ask, rest, is_urgent=False)


async def _tell_all(ask: Ask, words: str, *, is_urgent: bool) -> Reply:
    name = "broadcast" if is_urgent else "announce"
    if not rich(words).plain.strip():
        raise UsageError(ask.texts("admin-no-text"), field="admin")
    if len(words) > _LONGEST_TEXT:
        raise UsageError(ask.texts("bot-too-long", most=_LONGEST_TEXT), field="TEXT")
    readers = await ask.house.messages.readers()
    head = bold(ask.texts(f"admin-{name}-question", count=len(readers)))
    question = await confirmed(ask, lines([head, rich(words)]))
    if question is not None:
        return question
    messages = broadcast(readers, words) if is_urgent else announcement(readers, words)
    with acting(ask.user.caller):
        await ask.house.messages.add(messages)
        await ask.house.log.record(
            AuditEvent(f"message.{name}", AuditOutcome.DONE, "message", None, None, f"to {len(messages)} users")
        )
    return Reply.of(ask.texts("admin-told", count=len(messages)))


async def _health(ask: Ask, _: str) -> Reply:
    return await health(ask)


async def _maintenance(ask: Ask, rest: str) -> Reply:
    switch, words = _split(rest)
    if switch not in ("on", "off") or (switch == "off" and words):
        raise UsageError(ask.texts("admin-maintenance-words"), field="admin")
    if len(words) > _LONGEST_NOTICE:
        raise UsageError(ask.texts("bot-too-long", most=_LONGEST_NOTICE), field="TEXT")
    question = await confirmed(ask, _maintenance_question(ask, switch, words))
    if question is not None:
        return question
    with acting(ask.user.caller):
        if switch == "on":
            await ask.house.maintenance.begin(words)
            return Reply.of(ask.texts("admin-maintenance-begun"))
        was_on = await ask.house.maintenance.end()
    return Reply.of(ask.texts("admin-maintenance-ended" if was_on else "admin-maintenance-was-off"))


def _maintenance_question(ask: Ask, switch: str, words: str) -> RichText:
    told = rich(words or ask.texts("bot-maintenance")) if switch == "on" else rich("")
    parts = (bold(ask.texts(f"admin-maintenance-{switch}-question")), told)
    return lines(part for part in parts if not part.is_empty)


def _line(ask: Ask, user: User) -> RichText:
    limits = [f"{name} {value}" for name in _LIMITS if (value := getattr(user.limits, name)) is not None]
    words = [str(user.role), ask.texts(f"user-status-{user.status}"), *limits]
    return bold(user.name) + f" {', '.join(words)}"


def _pending_button(ask: Ask) -> Button:
    return Button(ask.texts("admin-button-pending"), "admin pending")


def _split(words: str) -> tuple[str, str]:
    """Return the first word, and what stands behind it as it was written."""
    first, *rest = words.split(None, 1) or [""]
    return first, rest[0] if rest else ""


def _one(ask: Ask, rest: str) -> str:
    match rest.split():
        case [name]:
            return name
        case _:
            raise UsageError(ask.texts("admin-one-name"), field="admin")


def _amount(ask: Ask, what: str, word: str) -> int | None:
    return None if word == _DEFAULT else ask.number(word, what)


_ACTIONS: Final[Mapping[str, Action]] = {
    "users": _users,
    "pending": _pending,
    "approve": _approve,
    "reject": _reject,
    "role": _role,
    "setlimit": _set_limit,
    "broadcast": _broadcast,
    "announce": _announce,
    "health": _health,
    "maintenance": _maintenance,
}

COMMANDS: Final = (
    Command(
        "admin",
        admin,
        usage="users|pending|approve NAME|reject NAME|role NAME ROLE|setlimit NAME WHAT NUMBER|broadcast TEXT"
        "|announce TEXT|health|maintenance on|off [TEXT]",
        access=Access.ADMIN,
    ),
)
