"""What a command needs: the services of the rooms, on one open database, for one user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isnan
from typing import Final

from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.alerts.action_permission import ActionPermission
from atf.alerts.alert import Alert
from atf.alerts.alerts_service import AlertsService
from atf.alerts.explainer import AlertExplainer
from atf.alerts.freshness import Freshness
from atf.alerts.past_bars import PastBars
from atf.alerts.preview import Preview
from atf.bootstrap import rights
from atf.bootstrap.bots import build_bots
from atf.bootstrap.database import open_database
from atf.bootstrap.duties import handled_types
from atf.bootstrap.job_types import build_job_types
from atf.bootstrap.market import build_market_clock, open_data_manager
from atf.bootstrap.notification_client import database_client, http_client
from atf.bootstrap.outgoing import outgoing_addresses
from atf.bootstrap.pictures import picture_of_alert, picture_of_bars
from atf.bootstrap.providers import open_providers
from atf.bootstrap.quotas import default_quotas
from atf.bootstrap.secrets import build_seals, build_secrets
from atf.bootstrap.store_checks import StoreChecks
from atf.indicators.indicator import IndicatorRequest
from atf.indicators.indicator_service import IndicatorService
from atf.jobs.jobs_service import JobsService
from atf.jobs.schedules_service import UserLimits
from atf.market.bars import Bars, Series
from atf.market.data_manager import DataManager
from atf.market.market_clock import MarketClock
from atf.notifications.client import NotificationServiceClient
from atf.notifications.intake import NewNotification, Receipt
from atf.notifications.preferences_service import PreferencesService
from atf.notifications.texts import installed_languages
from atf.schedules.schedule import ScheduleDefaults
from atf.security.caller import Caller, Origin
from atf.security.credentials_service import CredentialsService
from atf.security.gate import gated
from atf.security.identities_service import IdentitiesService
from atf.security.password import Passwords
from atf.security.secrets_service import SecretsService
from atf.security.tokens_service import TokensService
from atf.security.users_service import UsersService
from atf.settings import Settings
from atf.storage.addresses_repository import PostgresAddresses
from atf.storage.alerts_repository import PostgresAlerts
from atf.storage.audit_repository import PostgresAuditLog
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.credentials_repository import PostgresCredentials
from atf.storage.database import Database
from atf.storage.deliveries_repository import PostgresDeliveries
from atf.storage.identities_repository import PostgresIdentities
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.preferences_repository import PostgresPreferences
from atf.storage.quiet_hours_repository import PostgresQuietHours
from atf.storage.schedules_repository import PostgresJobsRepository
from atf.storage.tokens_repository import PostgresTokens
from atf.storage.universes_repository import PostgresUniverses
from atf.storage.users_repository import PostgresUsers
from atf.trading.bots_service import BotsService

_PATIENCE: Final = timedelta(seconds=10)
"""A person waits rather than being told that it is not known; a first answer loads libraries, too."""


@dataclass(frozen=True, slots=True)
class Client:
    """The rooms' services as one user sees them."""

    caller: Caller
    users: UsersService
    secrets: SecretsService
    audit: PostgresAuditLog
    credentials: CredentialsService
    tokens: TokensService
    identities: IdentitiesService
    alerts: AlertsService
    jobs: JobsService
    clock: MarketClock
    deliveries: PostgresDeliveries
    notifier: NotificationServiceClient
    settings: Settings
    database: Database
    preferences: PreferencesService
    quiet_hours: PostgresQuietHours
    data: DataManager
    past: PastBars
    freshness: Freshness
    bots: BotsService

    @property
    def user_id(self) -> int:
        """Whose things these are."""
        return self.caller.user_id

    @property
    def explainer(self) -> AlertExplainer:
        """What explains the user's alerts."""
        return AlertExplainer(self.alerts, self.past, self.clock)

    async def send_by_http(self, new: NewNotification) -> Receipt:
        """Hand a message over to who serves that by HTTP, whose token says who may."""
        async with http_client(self.settings, self.database) as client:
            return await client.send(new)

    async def chart(self, series: Series, bars: Bars) -> bytes:
        """Return a picture of bars as PNG. Errors: ConfigurationError without the extra ``charts``."""
        return await picture_of_bars(series, bars)

    async def alert_chart(self, alert: Alert, most: int) -> tuple[Preview, bytes]:
        """Return what an alert would have done on its newest closed bars, and a picture of that as PNG.

        Errors: as ``picture_of_alert``.
        """
        return await picture_of_alert(self.past, self.clock, alert, most)

    async def indicator_values(
        self, series: Series, request: IndicatorRequest, last: int
    ) -> list[tuple[datetime, float | None]]:
        """Return an indicator at the newest closed bars, None where it is unknown.

        Errors: NotFound if there are no such bars; TemporaryFailure if they do not come in time.
        """
        service = IndicatorService()
        count = service.lookback(request) + last - 1
        until = await self.clock.now()
        bars = await self.data.closed_bars(series.symbol, series.timeframe, until, count)
        first = max(0, len(bars) - last)
        values = service.values(bars, request, first)
        times = [bars.time_at(index) for index in range(first, len(bars))]
        return [(at, None if isnan(value) else float(value)) for at, value in zip(times, values, strict=True)]


@dataclass(frozen=True, slots=True)
class Clients:
    """The rooms' services for whoever calls; each gets them behind the gate."""

    settings: Settings
    database: Database
    clock: MarketClock
    alerts: AlertsService
    jobs: JobsService
    data: DataManager
    past: PastBars
    freshness: Freshness
    bots: BotsService

    def of(self, caller: Caller) -> Client:
        """Return the services as one user may use them."""
        database, log = self.database, PostgresAuditLog(self.database)
        identities = IdentitiesService(PostgresIdentities(database), log)
        return Client(
            caller,
            gated(UsersService(PostgresUsers(database)), caller, rights.USERS, log),
            gated(build_secrets(self.settings, database), caller, rights.SECRETS, log),
            gated(log, caller, rights.AUDIT, log),
            gated(build_credentials(database), caller, rights.CREDENTIALS, log),
            gated(TokensService(PostgresTokens(database)), caller, rights.TOKENS, log),
            gated(identities, caller, rights.IDENTITIES, log),
            gated(self.alerts, caller, rights.ALERTS, log),
            gated(self.jobs, caller, rights.JOBS, log),
            self.clock,
            gated(PostgresDeliveries(database), caller, rights.MESSAGES, log),
            gated(database_client(database), caller, rights.NOTIFIER, log),
            self.settings,
            database,
            gated(build_preferences(database), caller, rights.PREFERENCES, log),
            gated(PostgresQuietHours(database), caller, rights.QUIET_HOURS, log),
            self.data,
            self.past,
            self.freshness,
            gated(self.bots, caller, rights.BOTS, log),
        )


@asynccontextmanager
async def open_clients(settings: Settings, database: Database) -> AsyncIterator[Clients]:
    """Open what the services need beside the database."""
    clock = await build_market_clock(database)
    async with (
        open_providers(settings) as providers,
        open_data_manager(database, settings, clock, providers, least_patience=_PATIENCE) as data,
    ):
        jobs = build_jobs(settings, database, clock, providers.calendars)
        yield Clients(
            settings,
            database,
            clock,
            AlertsService(PostgresAlerts(database, default_quotas(settings)), jobs, data, clock),
            jobs,
            data,
            PastBars(data, PostgresBarStore(database)),
            Freshness(providers.due, providers.calendars, clock),
            build_bots(settings, database, providers.calendars, data),
        )


@asynccontextmanager
async def open_client(
    settings: Settings, user: str = "owner", origin: Origin = Origin.CLI
) -> AsyncIterator[Client]:
    """Open the database as a user. Errors: NotFound if there is no such user."""
    async with open_database(settings) as database:
        caller = await known_caller(PostgresUsers(database), user, origin)
        async with open_clients(settings, database) as clients:
            yield clients.of(caller)


async def known_caller(users: PostgresUsers, name: str, origin: Origin) -> Caller:
    """Return a user as a caller, with the role that counts now. Errors: NotFound if there is no such user."""
    user = await users.active(name)
    return Caller(user.id, user.name, user.role, origin)


def build_credentials(database: Database) -> CredentialsService:
    """Return the service of passwords and links."""
    return CredentialsService(PostgresCredentials(database), Passwords(), PostgresAuditLog(database))


def build_preferences(database: Database) -> PreferencesService:
    """Return the service of what users wish of their messages."""
    return PreferencesService(
        PostgresPreferences(database), PostgresAddresses(database), PostgresOutbox(database), installed_languages
    )


def build_jobs(
    settings: Settings, database: Database, clock: MarketClock, calendars: ExchangeCalendars
) -> JobsService:
    """Return the service of schedules and runs."""
    installed = build_job_types(settings)
    return JobsService(
        PostgresJobsRepository(database, default_quotas(settings)),
        clock,
        _schedule_defaults(settings),
        types=installed.types,
        calendars=calendars,
        limits=UserLimits(settings.user_pending_runs_limit),
        handled=handled_types(installed),
        permission=StoreChecks(
            ActionPermission(PostgresUsers(database)),
            calendars,
            PostgresUniverses(database),
            outgoing_addresses(settings),
        ),
        seals=build_seals(settings, database),
    )


def _schedule_defaults(settings: Settings) -> ScheduleDefaults:
    given = settings.job_defaults
    return ScheduleDefaults(given.coalesce, given.max_instances, given.misfire_grace_seconds)
