"""/alert and /alerts: making alerts in one line, looking at them, and what can be done to them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from atf.alerts.alerts_service import AlertRecord, NewAlert
from atf.alerts.preview import Preview
from atf.errors import InvalidInput, NotFound
from atf.market.bars import Timeframe
from atf.notifications.local_format import LocalFormat
from atf.notifications.preferences import INBOX
from atf.notifications.texts import Texts
from atf.rules.line import read_alert_line
from atf.rules.line_error import InvalidLine
from atf.rules.words import rule_words
from atf.security.role import Permission
from atf.telegram.ask import Ask, UsageError
from atf.telegram.command import Command
from atf.telegram.commands.alert_card import alert_of, called, card, page
from atf.telegram.confirmation import confirmed
from atf.telegram.local import LONGEST_CAPTION, bar_words, drawn, in_time, local_of, shortened
from atf.telegram.reply import Button, Reply
from atf.telegram.rich_text import LONGEST_TEXT, RichText, block, bold, lines, rich

_CHANNELS: Final = ("telegram", INBOX)
_WIDEST_PICTURE: Final = 36
"""Letters of one width beside each other on a telephone."""
_SPAN: Final = re.compile(r"([0-9]{1,5})(m|h|d)")
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_SHORTEST_SNOOZE: Final = timedelta(minutes=15)
_LONGEST_SNOOZE: Final = timedelta(days=30)
_CHART_BARS: Final = 250
_NUMBER: Final = re.compile(r"[+-]?\d.*", re.DOTALL)

Action = Callable[[Ask, AlertRecord, Sequence[str]], Awaitable[Reply]]


async def alert(ask: Ask) -> Reply:
    """Make an alert of a line; it tells the person here unless the line says otherwise."""
    ask.user.caller.require(Permission.EDIT)
    try:
        line = read_alert_line(ask.words)
    except InvalidLine as exc:
        raise _unreadable(exc) from exc
    config = {**line.config, "notify": {"channels": list(_CHANNELS), **line.config.get("notify", {})}}
    try:
        made = await in_time(ask, ask.user.alerts.add(ask.user.user_id, NewAlert(config)))
    except InvalidInput as exc:
        raise _unreadable(line.refusal(exc)) from exc
    return await card(ask, made, ask.texts("alerts-made"))


async def alerts(ask: Ask) -> Reply:
    """Show a page of alerts or one alert, or do something to one."""
    match ask.parts():
        case []:
            return await _page(ask, 1)
        case ["page", number]:
            return await _page(ask, ask.number(number, "page"))
        case [number] if _NUMBER.fullmatch(number):
            return await card(ask, await _alert_of(ask, number))
        case [word, number, *more] if word.lower() in _ACTIONS:
            if more and word.lower() not in _TAKE_MORE:
                raise UsageError(ask.texts("alerts-words"), field="alerts")
            if word.lower() in _CHANGES:
                ask.user.caller.require(Permission.EDIT)
            return await _ACTIONS[word.lower()](ask, await _alert_of(ask, number), more)
        case _:
            raise UsageError(ask.texts("alerts-words"), field="alerts")


async def _page(ask: Ask, number: int) -> Reply:
    return await page(ask, await ask.user.alerts.list_alerts(ask.user.user_id), number)


async def _alert_of(ask: Ask, word: str) -> AlertRecord:
    """Return an alert of the person's own; of anybody else's it is said that there is none."""
    number = ask.number(word, "alert")
    try:
        return await ask.user.alerts.get(ask.user.user_id, number)
    except NotFound as exc:
        raise NotFound(ask.texts("alerts-no-such", id=str(number))) from exc


async def _pause(ask: Ask, found: AlertRecord, _: Sequence[str]) -> Reply:
    changed = await ask.user.alerts.pause(ask.user.user_id, found.id)
    return await card(ask, changed, ask.texts("alerts-paused", id=str(found.id)))


async def _resume(ask: Ask, found: AlertRecord, _: Sequence[str]) -> Reply:
    changed = await ask.user.alerts.resume(ask.user.user_id, found.id)
    return await card(ask, changed, ask.texts("alerts-resumed", id=str(found.id)))


async def _snooze(ask: Ask, found: AlertRecord, more: Sequence[str]) -> Reply:
    until = await ask.user.clock.now() + _span(ask, more)
    changed = await ask.user.alerts.mute(ask.user.user_id, found.id, until)
    time = (await local_of(ask)).local_time(until)
    return await card(ask, changed, ask.texts("alerts-snoozed", id=str(found.id), time=time))


async def _unsnooze(ask: Ask, found: AlertRecord, _: Sequence[str]) -> Reply:
    changed = await ask.user.alerts.unmute(ask.user.user_id, found.id)
    return await card(ask, changed, ask.texts("alerts-unsnoozed", id=str(found.id)))


async def _acknowledge(ask: Ask, found: AlertRecord, _: Sequence[str]) -> Reply:
    seen = await ask.user.alerts.acknowledge(ask.user.user_id, found.id)
    return await card(ask, found, ask.texts("alerts-acknowledged", count=seen, id=str(found.id)))


async def _delete(ask: Ask, found: AlertRecord, _: Sequence[str]) -> Reply:
    whole = alert_of(found)
    rule = "" if whole is None else f": {shortened(rule_words(whole.rule), 200)}"
    words = f"{called(found)}{rule}"
    question = await confirmed(ask, ask.texts("alerts-delete-question", id=str(found.id), alert=words))
    if question is not None:
        return question
    await ask.user.alerts.delete(ask.user.user_id, found.id)
    back = Button(ask.texts("alerts-button-list"), "alerts")
    return Reply.of(ask.texts("alerts-deleted", id=str(found.id)), (back,))


async def _explain(ask: Ask, found: AlertRecord, more: Sequence[str]) -> Reply:
    explained = await in_time(ask, ask.user.explainer.explain(ask.user.user_id, found.id, _instant(ask, more)))
    title, _, text = explained.as_text().partition("\n")
    del title  # it has the name as it is, of any length
    return Reply.of(
        lines([_head(ask.texts, found), block(_cut(text, LONGEST_TEXT - 200))]), _links(ask.texts, found, "chart")
    )


async def _chart(ask: Ask, found: AlertRecord, _: Sequence[str]) -> Reply:
    whole = alert_of(found)
    if whole is None:
        raise InvalidInput(ask.texts("alerts-unreadable"))
    preview, picture = await drawn(ask, ask.user.alert_chart(whole, _CHART_BARS))
    caption = [_head(ask.texts, found), rich(f"{whole.series}: {shortened(rule_words(whole.rule), 400)}")]
    caption.append(rich(_would_have(ask.texts, await local_of(ask), whole.series.timeframe, preview)))
    return Reply(lines(caption), (_links(ask.texts, found, "explain"),), photo=picture)


def _head(texts: Texts, found: AlertRecord) -> RichText:
    return bold(texts("alerts-card-head", id=str(found.id), name=called(found)))


def _links(texts: Texts, found: AlertRecord, other: str) -> tuple[Button, ...]:
    """Return the way to the alert, and to the other way of looking at it."""
    return (
        Button(texts("alerts-button-show", id=str(found.id)), f"alerts {found.id}"),
        Button(texts(f"alerts-button-{other}"), f"alerts {other} {found.id}"),
    )


def _would_have(texts: Texts, local: LocalFormat, timeframe: Timeframe, found: Preview) -> str:
    since, until = (bar_words(at, timeframe, texts, local) for at in (found.first_bar, found.last_bar))
    words = texts("alerts-would-have", count=len(found.triggers), bars=str(found.bars), since=since, until=until)
    if found.triggers:
        newest = bar_words(found.triggers[-1].bar_time, timeframe, texts, local)
        words = f"{words} {texts('alerts-would-have-last', bar=newest)}"
    return shortened(words, LONGEST_CAPTION // 3)


def _span(ask: Ask, more: Sequence[str]) -> timedelta:
    """Return how long to be quiet, an hour if nothing is said. Errors: UsageError."""
    found = _SPAN.fullmatch("".join(more).lower() or "1h")
    span = timedelta(0) if found is None else int(found[1]) * _UNITS[found[2]]
    if not _SHORTEST_SNOOZE <= span <= _LONGEST_SNOOZE:
        raise UsageError(ask.texts("alerts-snooze-span", span=shortened(" ".join(more), 40)), field="snooze")
    return span


def _instant(ask: Ask, more: Sequence[str]) -> datetime | None:
    """Return the instant of words such as ``2026-01-05 15:00Z``, None of none; without a zone it is UTC."""
    words = " ".join(word for word in more if word != "--at")
    if not words:
        return None
    try:
        found = datetime.fromisoformat(words)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise UsageError(ask.texts("alerts-no-time", words=shortened(words, 40)), field="explain") from exc


def _unreadable(problem: InvalidLine) -> UsageError:
    return UsageError(problem.reason, field=problem.field, picture=_narrow(problem.picture))


def _narrow(picture: str) -> str:
    """Return the part of a picture around its caret that a telephone shows without breaking the lines."""
    text, _, carets = picture.partition("\n")
    first = max(0, min(carets.find("^") - _WIDEST_PICTURE // 2, len(text) - _WIDEST_PICTURE))
    return "\n".join(one[first : first + _WIDEST_PICTURE].rstrip() for one in (text, carets))


def _cut(text: str, most: int) -> str:
    """Return as many whole lines as fit, as Telegram counts characters."""
    kept: list[str] = []
    for line in text.split("\n"):
        most -= len(line.encode("utf-16-le", "surrogatepass")) // 2 + 1
        if most < 0:
            return "\n".join([*kept, "…"])
        kept.append(line)
    return "\n".join(kept)


_ACTIONS: Final[Mapping[str, Action]] = {
    "pause": _pause,
    "resume": _resume,
    "snooze": _snooze,
    "unsnooze": _unsnooze,
    "ack": _acknowledge,
    "delete": _delete,
    "explain": _explain,
    "chart": _chart,
}
_TAKE_MORE: Final = frozenset({"snooze", "explain"})
_CHANGES: Final = frozenset(_ACTIONS) - {"explain", "chart"}

COMMANDS: Final = (
    Command("alert", alert, usage="LINE", asks=True),
    Command("alerts", alerts, usage=f"[ID | page N | {'|'.join(_ACTIONS)} ID]"),
)
