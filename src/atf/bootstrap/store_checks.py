"""What is looked up before a job is stored: whether its user may store it, and whether what it names is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.alerts.action_permission import ActionPermission
from atf.alerts.action_urls import require_allowed_urls
from atf.bootstrap.providers import require_provider
from atf.errors import InvalidInput, NotFound
from atf.jobs.run import JobType
from atf.security.outgoing_address import OutgoingAddresses
from atf.storage.universes_repository import PostgresUniverses


@dataclass(frozen=True, slots=True)
class StoreChecks:
    """Refuses what could only fail whenever it runs; parameters have been checked against their schema before."""

    actions: ActionPermission
    calendars: ExchangeCalendars
    universes: PostgresUniverses
    outgoing: OutgoingAddresses

    async def require_allowed(self, user_id: int, job_type: str, task_params: Mapping[str, Any]) -> None:
        """Do nothing if the user may store this and all that it names is known.

        Errors: InvalidInput that names the field, what was found and what is allowed.
        """
        await self.actions.require_allowed(user_id, job_type, task_params)
        if job_type == JobType.ALERT:
            require_allowed_urls(task_params, self.outgoing)
            await self._require_calendar(task_params.get("calendar"))
        elif job_type == JobType.DATA_PROCESSING:
            await require_provider(task_params.get("data_source"), field="task_params.data_source")
            await self._require_universe(user_id, task_params.get("universe"))

    async def _require_calendar(self, name: str | None) -> None:
        if name is None:
            return
        try:
            await self.calendars.trading_calendar(name)
        except InvalidInput as exc:
            raise InvalidInput(exc.reason, field="task_params.calendar") from exc

    async def _require_universe(self, user_id: int, name: str | None) -> None:
        """Refuse a universe of which no list was ever loaded, as one that is used cannot be deleted either."""
        if name is None:
            return
        try:
            await self.universes.history(user_id, name)
        except NotFound as exc:
            raise InvalidInput(str(exc), field="task_params.universe") from exc
