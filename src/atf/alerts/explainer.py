"""AlertExplainer: why a stored alert did or did not fire on a bar, from its bars and what is on record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Protocol

from atf.alerts.alert import Alert, compile_alert, fresh_state, renewed_state
from atf.alerts.alerts_service import AlertRecord, TriggerRecord
from atf.alerts.evaluation import HISTORY_BARS
from atf.alerts.explained import Explained
from atf.alerts.explanation import shown_time
from atf.alerts.past_bars import PastBars
from atf.alerts.readings import WatchedBars
from atf.alerts.rearm import Limits
from atf.alerts.seen import judged_bar
from atf.alerts.state import BEGINNING, AlertState, AlertStatus, DataStatus, Gate
from atf.alerts.trace import trace, watched_bars
from atf.alerts.traced_bar import TracedBar
from atf.alerts.watched import Watched
from atf.errors import NotFound
from atf.market.bars import Bars, Series
from atf.market.market_clock import MarketClock
from atf.rules.operands import Constant

_STEPS: Final = 2_000
"""So many bars before the wanted one are stepped through: gate, count and cooldown have settled by then."""
_ALL_TRIGGERS: Final = 1_000_000
_LISTED_BARS: Final = 100_000


ClosedTrigger = tuple[datetime, TriggerRecord]
"""A trigger on record, and when its bar closed."""


class AlertRecords(Protocol):
    """What is on record of alerts, as ``AlertsService`` tells it."""

    async def get(self, user_id: int, alert_id: int) -> AlertRecord:
        """Return an alert. Errors: NotFound."""
        ...

    async def last_seen(self, stored: AlertRecord) -> bytes | None:
        """Return what is kept of the bar evaluated last (see ``seen``); None if the state has moved on."""
        ...

    async def triggers(self, user_id: int, alert_id: int, limit: int = 20) -> Sequence[TriggerRecord]:
        """Return an alert's newest triggers. Errors: NotFound."""
        ...


class AlertExplainer:
    """Explains alerts of a user; changes nothing."""

    def __init__(self, alerts: AlertRecords, bars: PastBars, clock: MarketClock) -> None:
        self._alerts = alerts
        self._bars = bars
        self._clock = clock

    async def explain(self, user_id: int, alert_id: int, at: datetime | None = None) -> Explained:
        """Return what happened on the bar that is open at an instant, else on the newest evaluated bar.

        Errors: NotFound if there is no such alert or bar, InvalidAlertRule if it was stored unchecked;
                TemporaryFailure if the bars cannot be had now.
        """
        stored = await self._alerts.get(user_id, alert_id)
        alert, now = compile_alert(stored.task_params), await self._clock.now()
        state = _state_of(stored, alert, now)
        closing = await self._bars.closing(alert.watched)
        newest = await self._newest(alert.watched, now)
        bars = await self._bars_up_to(alert, at or state.last_bar or newest, now)
        triggers = await self._alerts.triggers(user_id, alert_id, _ALL_TRIGGERS)
        earlier = [(closing.at(one.bar_time), one) for one in triggers]
        is_shown_newest = at is None and bars.time_at(len(bars) - 1) == newest
        bar = await asyncio.to_thread(_traced, alert, state, watched_bars(bars, closing), now, earlier)
        return Explained(
            stored,
            alert,
            state,
            bar,
            recorded=tuple(one for one in triggers if one.bar_time == bar.open_time),
            last_seen=await self._alerts.last_seen(stored),
            newer=newest if at is None and not is_shown_newest else None,
        )

    async def last_values(self, stored: AlertRecord) -> Mapping[str, float]:
        """Return what the rule read on the newest evaluated bar, by its words; nothing if that was not kept.

        ``stored``: as it is stored, not as ``Freshness`` shows it.

        Errors: InvalidAlertRule if the alert was stored unchecked.
        """
        alert, kept = compile_alert(stored.task_params), await self._alerts.last_seen(stored)
        if kept is None or stored.state_json is None or stored.state_json["rule_hash"] != alert.rule_hash:
            return {}
        seen = judged_bar(alert, kept, _parsed(stored.state_json))
        if seen is None:
            return {}
        pairs = zip(alert.operands, seen.values, strict=True)
        return {str(operand): value for operand, value in pairs if not isinstance(operand, Constant)}

    async def _newest(self, watched: Watched, now: datetime) -> datetime:
        bars = await self._bars.watched_bars(watched, now, 1, now=now)
        if not len(bars):
            raise NotFound(f"no bar of {watched.series} has closed yet")
        return bars.time_at(len(bars) - 1)

    async def _bars_up_to(self, alert: Alert, at: datetime, now: datetime) -> Bars:
        """Return the bar that is open at an instant with those before it. Errors: NotFound."""
        length = alert.series.timeframe.length
        if at <= now:  # no bar that is open later is closed now
            most = _STEPS + HISTORY_BARS + alert.bars_behind + 1
            bars = await self._bars.watched_bars(alert.watched, min(now, at + length), most, now=now)
            bars = bars[: bars.first_after(at)]
            if len(bars) and at < bars.time_at(len(bars) - 1) + length:
                return bars
        listed = await self._bars.watched_bars(alert.watched, now, _LISTED_BARS, now=now)
        raise NotFound(_absence(alert.series, at, listed))


def _absence(series: Series, at: datetime, bars: Bars) -> str:
    """Return in a sentence that no bar is open at an instant, and which there are."""
    wanted = f"no closed bar of {series} is open at {shown_time(at)}"
    if not len(bars):
        return f"{wanted}, and no other has closed yet"
    place = bars.first_after(at)
    if 0 < place < len(bars):
        before, after = shown_time(bars.time_at(place - 1)), shown_time(bars.time_at(place))
        return f"{wanted}; those next to it open at {before} and {after}"
    first, last = shown_time(bars.time_at(0)), shown_time(bars.time_at(len(bars) - 1))
    return f"{wanted}; there are bars from {first} to {last}"


def _state_of(stored: AlertRecord, alert: Alert, now: datetime) -> AlertState:
    """Return the state from which the alert goes on, as its evaluation takes it."""
    if stored.state_json is None:
        return fresh_state(alert, now)
    state = _parsed(stored.state_json)
    return state if state.rule_hash == alert.rule_hash else renewed_state(alert, state)


def _parsed(document: Mapping[str, Any]) -> AlertState:
    instants = {
        name: None if document[name] is None else datetime.fromisoformat(document[name])
        for name in ("cooldown_until", "last_bar", "last_trigger_bar")
    }
    return AlertState(
        rule_hash=document["rule_hash"],
        history_until=datetime.fromisoformat(document["history_until"]),
        gate=Gate(document["gate"]),
        count=document["count"],
        trigger_count=document["trigger_count"],
        sides=document["sides"] or {},
        status=AlertStatus(document["status"]),
        data_status=DataStatus(document["data_status"]),
        version=document["version"],
        **instants,
    )


def _traced(
    alert: Alert, state: AlertState, watched: WatchedBars, now: datetime, triggers: Sequence[ClosedTrigger]
) -> TracedBar:
    """Return the newest of the bars, after the alert was stepped through those before it."""
    bars = watched.bars
    first = len(bars) - 1 - _STEPS
    begin = watched.closes_at(first - 1) if first > 0 else BEGINNING
    # Of bars that it did not watch, the alert did not use up what it may trigger.
    unlimited = replace(alert, limits=Limits())
    if watched.closes_at(len(bars) - 1) <= state.history_until:
        return trace(unlimited, fresh_state(alert, begin), watched, now).bars[-1]
    begin = max(begin, state.history_until)
    earlier = [one for one in triggers if one[0] <= begin]
    initial = _after_triggers(alert, fresh_state(alert, begin), earlier)
    if not initial.status.is_final:
        return trace(alert, initial, watched, now).bars[-1]
    bar = trace(unlimited, replace(initial, status=AlertStatus.ARMED), watched, now).bars[-1]
    return replace(bar, before=initial, after=initial, is_triggered=False)


def _after_triggers(alert: Alert, state: AlertState, triggers: Sequence[ClosedTrigger]) -> AlertState:
    """Return a state that has triggered before, newest first; those of an earlier rule do not count."""
    ours = [one for one in triggers if f":{alert.rule_hash[:16]}:" in one[1].dedup_key]
    if not ours:
        return state
    (closed_at, newest), most = ours[0], alert.limits.max_triggers
    ends = (newest.live_at or closed_at) + alert.rearm.cooldown
    return replace(
        state,
        trigger_count=newest.trigger_number,
        last_trigger_bar=newest.bar_time,
        cooldown_until=ends if alert.rearm.cooldown else None,
        status=AlertStatus.COMPLETED if most and newest.trigger_number >= most else state.status,
    )
