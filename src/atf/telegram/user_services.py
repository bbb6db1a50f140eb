"""What the bot needs of the rooms' services, as one user may use them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from atf.alerts.alert import Alert
from atf.alerts.alerts_service import AlertsService
from atf.alerts.explainer import AlertExplainer
from atf.alerts.freshness import Freshness
from atf.alerts.preview import Preview
from atf.jobs.jobs_service import JobsService
from atf.market.bars import Bars, Series
from atf.market.data_manager import DataManager
from atf.market.market_clock import MarketClock
from atf.notifications.history import ChannelStatistics
from atf.notifications.preferences_service import PreferencesService
from atf.security.caller import Caller
from atf.security.credentials_service import CredentialsService
from atf.security.identities_service import IdentitiesService
from atf.security.users_service import UsersService


class DeliveryStatistics(Protocol):
    """What became of messages, in figures."""

    async def statistics(self, user_id: int | None, hours: int) -> Sequence[ChannelStatistics]:
        """Return what went over each channel within some hours; None: of everybody."""
        ...


class UserServices(Protocol):
    """The services behind the gate."""

    @property
    def caller(self) -> Caller:
        """Whose they are."""
        ...

    @property
    def user_id(self) -> int:
        """Whose things these are."""
        ...

    @property
    def alerts(self) -> AlertsService:
        """Alerts."""
        ...

    @property
    def jobs(self) -> JobsService:
        """Schedules and runs."""
        ...

    @property
    def users(self) -> UsersService:
        """Users, for administrators."""
        ...

    @property
    def identities(self) -> IdentitiesService:
        """What the user is known by elsewhere."""
        ...

    @property
    def credentials(self) -> CredentialsService:
        """Links."""
        ...

    @property
    def preferences(self) -> PreferencesService:
        """How the user is told."""
        ...

    @property
    def deliveries(self) -> DeliveryStatistics:
        """What became of messages."""
        ...

    @property
    def data(self) -> DataManager:
        """Bars."""
        ...

    @property
    def clock(self) -> MarketClock:
        """The market's time."""
        ...

    @property
    def explainer(self) -> AlertExplainer:
        """What explains alerts."""
        ...

    @property
    def freshness(self) -> Freshness:
        """What knows which alerts get no bars any more."""
        ...

    async def chart(self, series: Series, bars: Bars) -> bytes:
        """Return a picture of bars as PNG."""
        ...

    async def alert_chart(self, alert: Alert, most: int) -> tuple[Preview, bytes]:
        """Return what an alert would have done on its newest closed bars, and a picture of that as PNG."""
        ...
