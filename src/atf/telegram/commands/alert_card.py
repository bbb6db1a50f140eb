"""How alerts look in a chat: one on a card with its buttons, many as a page of short lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from atf.alerts.alert import Alert, compile_alert
from atf.alerts.alerts_service import AlertRecord, TriggerRecord
from atf.alerts.freshness import STALE
from atf.alerts.rearm import Rearm
from atf.alerts.state import AlertStatus, DataStatus
from atf.errors import InvalidInput
from atf.market.bars import Timeframe
from atf.notifications.local_format import LocalFormat
from atf.notifications.texts import Texts
from atf.rules.words import rule_words
from atf.security.role import Permission
from atf.telegram.ask import Ask
from atf.telegram.local import bar_words, local_of, shortened
from atf.telegram.reply import Button, Keyboard, Reply
from atf.telegram.rich_text import RichText, bold, code, lines, rich

PAGE: Final = 10
_IN_A_ROW: Final = 5
_NAME: Final = 80
_RULE: Final = 1200
_READINGS: Final = 400
_FOR_GOOD: Final = timedelta(days=10 * 365)
"""Nobody is quiet for so long; it means until it is ended."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An alert with what a card says of it; ``alert`` is None if it was changed by hand in the database."""

    record: AlertRecord
    alert: Alert | None
    newest: TriggerRecord | None
    values: Mapping[str, float]
    now: datetime

    @property
    def state(self) -> Mapping[str, Any]:
        """The state as it is stored; empty if it was lost."""
        return self.record.state_json or {}

    @property
    def quiet_until(self) -> datetime | None:
        """Until when nobody is told."""
        return quiet_until(self.record, self.now)


async def card(ask: Ask, record: AlertRecord, head: str | None = None) -> Reply:
    """Return an alert with its buttons; ``head``: what has just been done to it."""
    user, alert = ask.user, alert_of(record)
    values = {} if alert is None else await user.explainer.last_values(record)
    triggers = await user.alerts.triggers(user.user_id, record.id, 1)
    [record] = await user.freshness.shown([record])
    shown = Shown(record, alert, next(iter(triggers), None), values, await user.clock.now())
    parts = [] if head is None else [rich(head)]
    parts += _card_lines(shown, ask.texts, await local_of(ask))
    return Reply(lines(parts), _card_buttons(ask, shown))


async def page(ask: Ask, alerts: Sequence[AlertRecord], wanted: int) -> Reply:
    """Return some of a user's alerts, newest first; too large a number is the last page."""
    if not alerts:
        return Reply.of(ask.texts("alerts-none"))
    pages = -(-len(alerts) // PAGE)
    number = min(max(wanted, 1), pages)
    newest_first = sorted(alerts, key=lambda one: one.id, reverse=True)
    part = await ask.user.freshness.shown(newest_first[(number - 1) * PAGE : number * PAGE])
    now = await ask.user.clock.now()
    parts = [bold(ask.texts("alerts-head", count=str(len(alerts))))]
    parts += [_line(one, ask.texts, now) for one in part]
    if pages > 1:
        parts.append(rich(ask.texts("bot-page", page=str(number), pages=str(pages))))
    return Reply(lines(parts), _page_buttons(ask.texts, part, number, pages))


def alert_of(record: AlertRecord) -> Alert | None:
    """Return an alert that can be evaluated; None if it was changed by hand in the database."""
    try:
        return compile_alert(record.task_params)
    except InvalidInput:
        return None


def called(record: AlertRecord) -> str:
    """Return what people call an alert, in short."""
    return shortened(record.name, _NAME)


def quiet_until(record: AlertRecord, now: datetime) -> datetime | None:
    """Return until when nobody is told of an alert; None if everybody is."""
    text = (record.state_json or {}).get("muted_until")
    until = None if text is None else datetime.fromisoformat(text)
    return until if until is not None and until > now else None


def quiet_words(until: datetime, now: datetime, texts: Texts, local: LocalFormat) -> str:
    """Return that nobody is told, and until when."""
    if until - now > _FOR_GOOD:
        return texts("alerts-quiet")
    return texts("alerts-quiet-until", time=local.local_time(until))


def _card_lines(shown: Shown, texts: Texts, local: LocalFormat) -> Iterator[RichText]:
    record, alert = shown.record, shown.alert
    yield bold(texts("alerts-card-head", id=str(record.id), name=called(record)))
    if alert is None:
        yield rich(texts("alerts-unreadable"))
        return
    yield code(shortened(f"{alert.series}: {rule_words(alert.rule)}", _RULE))
    yield _field(texts, "status", _status(shown, texts, local))
    yield _field(texts, "fires", _fires(alert.rearm, texts, local))
    yield _field(texts, "tells", ", ".join(alert.notify.channels))
    if ends := _ends(alert, texts, local):
        yield _field(texts, "ends", ends)
    if alert.is_live:
        yield rich(texts("alerts-live"))
    if alert.actions:
        yield _field(texts, "does", shortened("; ".join(one.words for one in alert.actions), _READINGS))
    yield _field(texts, "last-trigger", _last_trigger(shown, alert.series.timeframe, texts, local))
    yield _field(texts, "last-value", _last_value(shown, alert.series.timeframe, texts, local))
    next_look = record.next_run_at if record.enabled else None
    yield _field(texts, "next-look", local.local_time(next_look))


def _field(texts: Texts, name: str, value: str) -> RichText:
    return bold(texts(f"alerts-field-{name}")) + f" {value}"


def _status(shown: Shown, texts: Texts, local: LocalFormat) -> str:
    words = [status_words(shown.record, texts)]
    if (until := shown.quiet_until) is not None:
        words.append(quiet_words(until, shown.now, texts, local))
    return ", ".join(words)


def status_words(record: AlertRecord, texts: Texts) -> str:
    """Return how an alert stands, and whether it gets bars."""
    state = record.state_json or {}
    if not record.enabled:
        return texts("alerts-status-paused")
    status = AlertStatus(state.get("status", AlertStatus.ARMED))
    words = [texts(f"alerts-status-{status.lower()}")]
    data = state.get("data_status")
    if data in (STALE, DataStatus.NO_DATA) and not status.is_final:
        words.append(texts("alerts-data-stale" if data == STALE else "alerts-data-missing"))
    return ", ".join(words)


def _fires(rearm: Rearm, texts: Texts, local: LocalFormat) -> str:
    far = local.number(rearm.threshold) if rearm.is_absolute else local.percent(rearm.threshold, 10)
    words = [texts(f"alerts-fires-{rearm.type}", far=far)]
    if rearm.bars > 1:
        words.append(texts("alerts-fires-bars", bars=str(rearm.bars)))
    if rearm.cooldown:
        words.append(texts("alerts-fires-span", span=local.duration(rearm.cooldown)))
    return ", ".join(words)


def _ends(alert: Alert, texts: Texts, local: LocalFormat) -> str:
    words = []
    if alert.limits.expires_at is not None:
        words.append(local.local_time(alert.limits.expires_at))
    if alert.limits.max_triggers is not None:
        words.append(texts("alerts-after-triggers", count=alert.limits.max_triggers))
    return f" {texts('alerts-or')} ".join(words)


def _last_trigger(shown: Shown, timeframe: Timeframe, texts: Texts, local: LocalFormat) -> str:
    if shown.newest is None:
        return texts("alerts-never")
    name = "alerts-trigger" if shown.newest.acknowledged_at is None else "alerts-trigger-seen"
    bar = bar_words(shown.newest.bar_time, timeframe, texts, local)
    return texts(name, number=str(shown.newest.trigger_number), bar=bar)


def _last_value(shown: Shown, timeframe: Timeframe, texts: Texts, local: LocalFormat) -> str:
    bar = shown.state.get("last_bar")
    if not shown.values or bar is None:
        return texts("alerts-not-looked-yet")
    read = ", ".join(f"{name} = {local.number(value)}" for name, value in shown.values.items())
    return texts("alerts-value", values=shortened(read, _READINGS), bar=bar_words(bar, timeframe, texts, local))


def _card_buttons(ask: Ask, shown: Shown) -> Keyboard:
    """Return what can be done; who may change nothing is shown no buttons that would."""
    number, texts, record = shown.record.id, ask.texts, shown.record

    def button(action: str, words: str = "") -> Button:
        return Button(texts(f"alerts-button-{action}{words}"), f"alerts {action} {number} {words}".rstrip())

    looks = (button("explain"), button("chart"))
    back = Button(texts("alerts-button-list"), "alerts")
    if not ask.user.caller.may(Permission.EDIT):
        return (looks, (back,))
    is_quiet = shown.quiet_until is not None
    quiet = (button("unsnooze"),) if is_quiet else (button("snooze", "1h"), button("snooze", "1d"))
    return (
        (button("pause" if record.enabled else "resume"), *quiet),
        (button("ack"), *looks),
        (button("delete"), back),
    )


def _line(record: AlertRecord, texts: Texts, now: datetime) -> RichText:
    """Return an alert in one line: its number, what it watches for, and how it stands."""
    alert, status = alert_of(record), status_words(record, texts)
    if quiet_until(record, now) is not None:
        status = f"{status}, {texts('alerts-quiet')}"
    if alert is None:
        return bold(str(record.id)) + f" · {shortened(record.name, 32)} · {texts('alerts-unreadable-short')}"
    words = [str(alert.series), shortened(rule_words(alert.rule), 60), status]
    if record.name != str(alert.series):
        words.insert(0, shortened(record.name, 32))
    return bold(str(record.id)) + f" · {' · '.join(words)}"


def _page_buttons(texts: Texts, part: Sequence[AlertRecord], number: int, pages: int) -> Keyboard:
    each = [Button(str(one.id), f"alerts {one.id}") for one in part]
    rows = [tuple(each[begin : begin + _IN_A_ROW]) for begin in range(0, len(each), _IN_A_ROW)]
    turns = []
    if number > 1:
        turns.append(Button(texts("bot-button-previous"), f"alerts page {number - 1}"))
    if number < pages:
        turns.append(Button(texts("bot-button-next"), f"alerts page {number + 1}"))
    return (*rows, tuple(turns)) if turns else tuple(rows)
