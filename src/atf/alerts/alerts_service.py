"""AlertsService: what a user does with alerts; an alert is a schedule whose parameters configure it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from atf.alerts.alert import Alert, compile_alert, fresh_state, parse_alert
from atf.alerts.default_rhythm import default_rhythm
from atf.alerts.state import AlertState
from atf.errors import InvalidAlertRule, InvalidInput, NotFound
from atf.jobs.run import JobType
from atf.jobs.schedules_service import SchedulesService
from atf.market.closing import Closing
from atf.market.data_manager import DataManager
from atf.market.market_clock import MarketClock
from atf.notifications.message import DeliveryStatus
from atf.schedules.cron_parser import CronParser
from atf.schedules.schedule import Schedule, ScheduleCreate, ScheduleUpdate

_FOR_GOOD: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NewAlert:
    """What a user gives to make an alert; None means a default made from the configuration."""

    config: object
    name: str | None = None
    cron: str | None = None
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert as stored, with its state as people see it; ``calendar`` is its schedule's."""

    id: int
    user_id: int
    name: str
    task_params: Mapping[str, Any]
    cron: str
    timezone: str
    enabled: bool
    created_at: datetime
    next_run_at: datetime | None
    state_json: Mapping[str, Any] | None
    updated_at: datetime | None = None
    calendar: str | None = None


@dataclass(frozen=True, slots=True)
class TriggerRecord:
    """One decision of an alert, as stored.

    ``live_at``: when its bar was looked at while it was forming. ``explanation``: the rule's tree as it was
    judged, and the state before and after (see ``explanation.to_keep``); None if it was not kept.
    """

    bar_time: datetime
    trigger_number: int
    dedup_key: str
    readings: Mapping[str, float | None]
    is_late: bool
    decided_at: datetime
    is_muted: bool = False
    acknowledged_at: datetime | None = None
    live_at: datetime | None = None
    explanation: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """What became of one action of a trigger; ``number`` counts the alert's actions from 1."""

    bar_time: datetime
    trigger_number: int
    number: int
    words: str
    channel: str
    status: DeliveryStatus
    attempts: int
    error: str | None
    sent_at: datetime | None


class AlertsRepository(Protocol):
    """Alerts in the database."""

    async def add(
        self, user_id: int, schedule: ScheduleCreate, *, state: AlertState, now: datetime, next_fire_at: datetime
    ) -> Schedule:
        """Store an alert's schedule together with its first state."""
        ...

    async def list_alerts(self, user_id: int) -> Sequence[AlertRecord]:
        """Return a user's alerts, oldest first."""
        ...

    async def get_alert(self, user_id: int, schedule_id: int) -> AlertRecord | None:
        """Return one alert."""
        ...

    async def last_seen(self, user_id: int, schedule_id: int, version: int) -> bytes | None:
        """Return what is kept of the bar that an alert evaluated last, if its state still has that version."""
        ...

    async def list_triggers(self, schedule_id: int, limit: int) -> Sequence[TriggerRecord]:
        """Return an alert's triggers, newest first."""
        ...

    async def list_actions(self, schedule_id: int, limit: int) -> Sequence[ActionRecord]:
        """Return what became of the actions of an alert's newest triggers."""
        ...

    async def mute(self, schedule_id: int, until: datetime | None) -> None:
        """Tell nobody of an alert's triggers until then; None ends that."""
        ...

    async def begin_anew(self, schedule_id: int, state: AlertState) -> None:
        """Replace an alert's state by a fresh one."""
        ...

    async def acknowledge(self, schedule_id: int) -> int:
        """Note that somebody has seen an alert's triggers; return how many were new."""
        ...


class AlertsService:
    """Adds, shows and changes alerts for a user."""

    def __init__(
        self, repository: AlertsRepository, jobs: SchedulesService, data: DataManager, clock: MarketClock
    ) -> None:
        self._repository = repository
        self._jobs = jobs
        self._data = data
        self._clock = clock

    async def add(self, user_id: int, new: NewAlert) -> AlertRecord:
        """Check and store an alert; bars that have closed by now will never trigger it.

        Errors: InvalidInput that names the field, Conflict if the user has as many as allowed; nothing is stored
                then.
        """
        alert = parse_alert(new.config)
        now = await self._clock.now()
        closing = await self._require_watchable(alert, now)
        series = alert.series
        cron, zone = (new.cron, None) if new.cron else default_rhythm(closing, alert.is_live, now)
        wanted = ScheduleCreate(
            name=new.name or f"{series.symbol} {series.timeframe}",
            job_type=JobType.ALERT,
            target=series.symbol,
            cron=cron,
            timezone=zone or new.timezone,
            task_params=_document(new.config),
        )
        schedule = self._jobs.prepare(wanted)
        await self._jobs.require_allowed(user_id, schedule)
        upcoming = CronParser.calculate_next_run(schedule.cron, schedule.timezone, after=now)
        stored = await self._repository.add(
            user_id, schedule, state=fresh_state(alert, now), now=now, next_fire_at=upcoming
        )
        return await self.get(user_id, stored.id)

    async def list_alerts(self, user_id: int) -> Sequence[AlertRecord]:
        """Return the user's alerts, oldest first."""
        return await self._repository.list_alerts(user_id)

    async def get(self, user_id: int, alert_id: int) -> AlertRecord:
        """Return an alert. Errors: NotFound."""
        alert = await self._repository.get_alert(user_id, alert_id)
        if alert is None:
            raise NotFound(f"there is no alert {alert_id}")
        return alert

    async def last_seen(self, stored: AlertRecord) -> bytes | None:
        """Return what is kept of the bar evaluated last (see ``seen``); None if the state has moved on."""
        if stored.state_json is None:
            return None
        return await self._repository.last_seen(stored.user_id, stored.id, stored.state_json["version"])

    async def triggers(self, user_id: int, alert_id: int, limit: int = 20) -> Sequence[TriggerRecord]:
        """Return an alert's newest triggers. Errors: NotFound."""
        await self.get(user_id, alert_id)
        return await self._repository.list_triggers(alert_id, limit)

    async def actions(self, user_id: int, alert_id: int, limit: int = 20) -> Sequence[ActionRecord]:
        """Return what became of the actions of an alert's newest triggers. Errors: NotFound."""
        await self.get(user_id, alert_id)
        return await self._repository.list_actions(alert_id, limit)

    async def pause(self, user_id: int, alert_id: int) -> AlertRecord:
        """Stop evaluating an alert; harmless when it is paused already."""
        await self.get(user_id, alert_id)
        await self._jobs.pause_schedule(user_id, alert_id)
        return await self.get(user_id, alert_id)

    async def resume(self, user_id: int, alert_id: int) -> AlertRecord:
        """Evaluate a paused alert again; bars that closed meanwhile are history."""
        await self.get(user_id, alert_id)
        await self._jobs.resume_schedule(user_id, alert_id)
        return await self.get(user_id, alert_id)

    async def edit(self, user_id: int, alert_id: int, config: object) -> AlertRecord:
        """Replace an alert's configuration; with another rule its state begins anew.

        Bars that were evaluated stay history. Runs that wait already evaluate the new configuration. Whoever has
        the default cron of the old configuration gets that of the new one.

        Errors: InvalidInput that names the field; NotFound; Conflict if somebody else changed it first; nothing
                is changed then.
        """
        alert = parse_alert(config)
        record = await self.get(user_id, alert_id)
        now = await self._clock.now()
        closing = await self._require_watchable(alert, now)
        update = ScheduleUpdate(target=alert.series.symbol, task_params=_document(config))
        if await self._has_default_rhythm(record, now):
            cron, zone = default_rhythm(closing, alert.is_live, now)
            update = replace(update, cron=cron, timezone=zone or "UTC")
        await self._jobs.update_schedule(user_id, alert_id, update)
        return await self.get(user_id, alert_id)

    async def mute(self, user_id: int, alert_id: int, until: datetime | None = None) -> AlertRecord:
        """Record an alert's triggers and tell nobody of them, also not afterwards, until then or for good."""
        await self.get(user_id, alert_id)
        await self._repository.mute(alert_id, until or _FOR_GOOD)
        return await self.get(user_id, alert_id)

    async def unmute(self, user_id: int, alert_id: int) -> AlertRecord:
        """Tell of an alert's triggers again; harmless when it is not muted."""
        await self.get(user_id, alert_id)
        await self._repository.mute(alert_id, None)
        return await self.get(user_id, alert_id)

    async def reset(self, user_id: int, alert_id: int) -> AlertRecord:
        """Let an alert begin anew, also one that is completed or expired; what has closed by now is history."""
        record = await self.get(user_id, alert_id)
        alert = compile_alert(record.task_params)
        await self._repository.begin_anew(alert_id, fresh_state(alert, await self._clock.now()))
        return await self.get(user_id, alert_id)

    async def acknowledge(self, user_id: int, alert_id: int) -> int:
        """Note that the user has seen the alert's triggers; return how many were new."""
        await self.get(user_id, alert_id)
        return await self._repository.acknowledge(alert_id)

    async def delete(self, user_id: int, alert_id: int) -> None:
        """Delete an alert; what it triggered stays on record."""
        await self.get(user_id, alert_id)
        await self._jobs.delete_schedule(user_id, alert_id)

    async def _has_default_rhythm(self, record: AlertRecord, now: datetime) -> bool:
        """Whether an alert is looked at as one is whose user did not say when."""
        try:
            alert = compile_alert(record.task_params)
            closing = await self._data.closing(alert.series.timeframe, alert.watched.calendar)
        except InvalidInput:  # it was changed by hand in the database
            return False
        cron, zone = default_rhythm(closing, alert.is_live, now)
        return (record.cron, record.timezone) == (cron, zone or "UTC")

    async def _require_watchable(self, alert: Alert, now: datetime) -> Closing:
        """Return when the bars of an alert close, if there are such bars here.

        Errors: InvalidInput that names the field of what there is not.
        """
        series = alert.series
        closing = await self._data.closing(series.timeframe, alert.watched.calendar)
        await self._data.require_known(series.symbol, series.timeframe, field="ticker")
        if alert.is_live:
            field = "options.evaluate_on"
            await self._data.require_forming(series.symbol, series.timeframe, now=now, field=field)
        return closing


def _document(config: object) -> Mapping[str, Any]:
    if not isinstance(config, Mapping):
        raise InvalidAlertRule(f"must be a JSON object, got {config!r}")
    return config
