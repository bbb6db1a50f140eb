"""``GET /api/notifications`` and ``/stats`` below it: users see what became of their messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Protocol

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from atf.errors import Forbidden
from atf.notifications.history import ChannelStatistics, DeliveryFilter
from atf.notifications.message import DeliveryRecord, DeliveryStatus
from atf.security.caller import Caller
from atf.services.http.callers import bearer_token, stranger_of
from atf.services.notifications.access import NotifyAccess


class Deliveries(Protocol):
    """The history of deliveries, as one caller may see it."""

    async def list_deliveries(self, wanted: DeliveryFilter) -> Sequence[DeliveryRecord]:
        """Return a user's deliveries, newest first. Errors: Forbidden."""
        ...

    async def statistics(self, user_id: int | None, hours: int) -> Sequence[ChannelStatistics]:
        """Return figures by channel, of a user or (None) of all. Errors: Forbidden."""
        ...


DeliveriesOf = Callable[[Caller], Deliveries]
UserId = Annotated[int, Field(ge=1, lt=2**31)]
Words = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
"""Without NUL, for which the database has no place."""


class Wanted(BaseModel):
    """Which deliveries; what is not given does not matter."""

    model_config = ConfigDict(extra="forbid")

    user_id: UserId | None = Field(default=None, description="whose; none: the caller's own")
    status: DeliveryStatus | None = None
    channel: Words | None = None
    type: Words | None = Field(default=None, description="such as alert, report, screener")
    search: Words | None = Field(default=None, description="a part of the title or the text")
    since: AwareDatetime | None = Field(default=None, description="written then or later")
    until: AwareDatetime | None = Field(default=None, description="written before")
    actions: bool = Field(default=False, description="what alerts made happen, in place of messages")
    before: int | None = Field(default=None, ge=1, lt=2**63, description="older ones than this id: next page")
    limit: int = Field(default=50, ge=1, le=500)


class DeliveriesPage(BaseModel):
    """Deliveries, newest first; ``next``: what to give as ``before`` for older ones, null if there are none."""

    deliveries: list[DeliveryRecord]
    next: int | None


class Hours(BaseModel):
    """Of which messages there are to be figures."""

    model_config = ConfigDict(extra="forbid")

    hours: int = Field(default=24, ge=1, le=8760, description="what went within so many hours")
    user_id: UserId | None = Field(default=None, description="whose; none: the caller's own")
    everybody: bool = Field(default=False, description="of all users, for administrators")


class FiguresByChannel(BaseModel):
    """The figures of each channel that has any."""

    hours: int
    channels: list[ChannelStatistics]


def history_routes(access: NotifyAccess, deliveries_of: DeliveriesOf) -> APIRouter:
    """Return the routes; each call sees what its token's user may see."""
    router = APIRouter()

    async def user_of(request: Request) -> Caller:
        caller = await access.caller(bearer_token(request), stranger_of(request))
        if isinstance(caller, Caller):
            return caller
        raise Forbidden("a service's token hands messages over and reads none; take a user's token")

    @router.get("/api/notifications", name="List deliveries")
    async def list_deliveries(
        request: Request, response: Response, wanted: Annotated[Wanted, Query()]
    ) -> DeliveriesPage:
        caller = await user_of(request)
        found = await deliveries_of(caller).list_deliveries(_filter(wanted, caller))
        response.headers["Cache-Control"] = "no-store"
        return DeliveriesPage(
            deliveries=list(found[: wanted.limit]),
            next=found[wanted.limit - 1].id if len(found) > wanted.limit else None,
        )

    @router.get("/api/notifications/stats", name="Count by channel")
    async def statistics(
        request: Request, response: Response, wanted: Annotated[Hours, Query()]
    ) -> FiguresByChannel:
        caller = await user_of(request)
        whose = None if wanted.everybody else _whose(wanted.user_id, caller)
        found = await deliveries_of(caller).statistics(whose, wanted.hours)
        response.headers["Cache-Control"] = "no-store"
        return FiguresByChannel(hours=wanted.hours, channels=list(found))

    return router


def _filter(wanted: Wanted, caller: Caller) -> DeliveryFilter:
    return DeliveryFilter(
        _whose(wanted.user_id, caller),
        wanted.status,
        wanted.channel,
        wanted.type,
        wanted.search,
        wanted.since,
        wanted.until,
        actions=wanted.actions,
        before_id=wanted.before,
        limit=wanted.limit + 1,  # one more tells whether there is another page
    )


def _whose(user_id: int | None, caller: Caller) -> int:
    return caller.user_id if user_id is None else user_id
