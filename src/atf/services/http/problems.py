"""Errors as answers: problem documents (RFC 9457) of one sentence, never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from atf.errors import (
    AtfError,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    TemporaryFailure,
    Unauthenticated,
)
from atf.secrecy import concealed

_LOGGER = logging.getLogger(__name__)
_STATUSES: Final[Mapping[type[AtfError], int]] = {
    InvalidInput: 422,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TemporaryFailure: 503,
}


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer that says what is wrong."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(
        document,
        status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type="application/problem+json",
    )


def add_problem_handlers(app: FastAPI) -> None:
    """Let an application answer errors with problems."""
    app.add_exception_handler(AtfError, _answer_atf_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(Exception, _answer_surprise)


def problem_of_validation(error: RequestValidationError) -> str:
    """Return one sentence that names each field and what is wrong with it, without what was sent."""
    found = []
    for one in error.errors():
        if one["type"] == "json_invalid":
            return "the body is not JSON"
        if tuple(one["loc"]) == ("body",):
            return "the body must be a JSON object, sent as application/json"
        where = ".".join(str(part) for part in one["loc"][1:]) or "body"
        found.append(f"{where}: {str(one['msg'])[:1].lower()}{str(one['msg'])[1:]}")
    return concealed("; ".join(found[:_MOST_TOLD]))


_MOST_TOLD: Final = 10


async def _answer_atf_error(_: Request, error: Exception) -> Response:
    status = next((code for kind, code in _STATUSES.items() if isinstance(error, kind)), 500)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TemporaryFailure):
        headers["Retry-After"] = str(int(error.retry_after_seconds or 1))
    if status == 500:
        _LOGGER.error("a request failed: %s", error, exc_info=error)
        return problem(500, "ATF could not do this; its log says why")
    return problem(status, str(error), headers)


async def _answer_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    return problem(error.status_code, error.detail, error.headers)


async def _answer_surprise(_: Request, error: Exception) -> Response:
    del error  # starlette logs it
    return problem(500, "ATF could not do this; its log says why")
