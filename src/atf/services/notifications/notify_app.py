"""``POST /api/notify``: other programs hand messages over; it answers when they are stored, never before."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from atf.errors import InvalidInput
from atf.notifications.intake import Intake, NewNotification
from atf.notifications.message import Attachment
from atf.security.limits import LARGEST_REQUEST
from atf.services.http.body_wall import BodyWall
from atf.services.http.callers import bearer_token, stranger_of
from atf.services.http.problems import add_problem_handlers, problem, problem_of_validation
from atf.services.notifications.access import NotifyAccess, require_may_notify


class AttachedFile(BaseModel):
    """A file that goes with a message."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="such as chart.png")
    media_type: str = Field(default="application/octet-stream", max_length=100, description="such as image/png")
    content: str = Field(description="the bytes in base64")


class NotificationRequest(BaseModel):
    """What a program wants to be told somebody."""

    model_config = ConfigDict(extra="forbid")

    user_id: int
    message: str
    priority: Literal["normal", "high", "urgent"] = "normal"
    notification_type: str = Field(default="alert", description="such as alert, report, screener")
    title: str | None = None
    channels: list[str] = Field(default_factory=list, max_length=20, description="none: as the user wishes")
    dedup_key: str | None = Field(default=None, description="a second message of the user's with it is none")
    scheduled_for: datetime | None = Field(default=None, description="not to be sent before")
    attachments: list[AttachedFile] = Field(default_factory=list)


class NotificationAnswer(BaseModel):
    """That the message is stored; ``duplicate``: it was before, by its dedup_key."""

    status: Literal["queued"] = "queued"
    message_id: str
    duplicate: bool = False


def build_notify_app(intake: Intake, access: NotifyAccess) -> FastAPI:
    """Return the application; others may add routes of their own."""
    app = FastAPI(title="ATF notifications", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")

    async def notify(request: Request, given: NotificationRequest) -> Response:
        """Store a message for a user; the answer comes after the commit."""
        caller = await access.caller(bearer_token(request), stranger_of(request))
        require_may_notify(caller, given.user_id)
        receipt = await intake.take(_notification(given))
        answer = {"status": "queued", "message_id": str(receipt.message_id), "duplicate": not receipt.is_new}
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    for path in ("/api/notify", "/api/notifications"):
        app.add_api_route(path, notify, methods=["POST"], response_model=NotificationAnswer)
    add_problem_handlers(app)
    app.add_exception_handler(RequestValidationError, _refuse_fields)
    app.add_middleware(BodyWall, largest=LARGEST_REQUEST)
    return app


async def _refuse_fields(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for these
    return problem(422, problem_of_validation(error))


def _notification(given: NotificationRequest) -> NewNotification:
    fields: dict[str, Any] = given.model_dump(exclude={"attachments", "channels"})
    return NewNotification(
        **fields, channels=tuple(given.channels), attachments=tuple(map(_attachment, given.attachments))
    )


def _attachment(given: AttachedFile) -> Attachment:
    try:
        content = base64.b64decode(given.content, validate=True)
    except binascii.Error as exc:
        raise InvalidInput("must be base64", field="attachments.content") from exc
    return Attachment(given.name, given.media_type, content)
