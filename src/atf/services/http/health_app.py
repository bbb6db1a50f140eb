"""The application that every process serves: what it says of itself, for people, monitors and supervisors."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from atf.errors import TemporaryFailure
from atf.health.service_health import ServiceHealth
from atf.health.status import OverallHealth
from atf.services.http.metrics import metrics_text
from atf.services.http.payloads import health_payload, stats_payload
from atf.services.http.request_wall import RequestWall

_NOT_STORED: Mapping[str, str] = {"Cache-Control": "no-store"}


def build_health_app(health: ServiceHealth) -> Starlette:
    """Return the application; it asks nobody for a token, so it may listen on the machine itself only."""
    return Starlette(routes=health_routes(health), middleware=[Middleware(RequestWall)])


def health_routes(health: ServiceHealth) -> list[BaseRoute]:
    """Return what every process answers."""
    endpoints = _Endpoints(health)
    routes: list[BaseRoute] = [
        Route("/livez", endpoints.livez),
        Route("/readyz", endpoints.readyz),
        Route("/health", endpoints.health),
        Route("/metrics", endpoints.metrics),
    ]
    if health.counts:
        routes.append(Route("/stats", endpoints.stats))
    return routes


class _Endpoints:
    def __init__(self, health: ServiceHealth) -> None:
        self._health = health

    async def livez(self, _: Request) -> Response:
        return PlainTextResponse("ok\n", headers=_NOT_STORED)

    async def readyz(self, _: Request) -> Response:
        is_ready = await self._health.is_ready()
        word, status = ("ok\n", 200) if is_ready else ("not ready\n", 503)
        return PlainTextResponse(word, status, headers=_NOT_STORED)

    async def health(self, _: Request) -> Response:
        report = await self._health.report()
        status = 503 if report.status is OverallHealth.UNHEALTHY else 200
        payload = health_payload(report, counts=self._health.counts)
        return JSONResponse(payload, status, headers=_NOT_STORED)

    async def metrics(self, _: Request) -> Response:
        text = metrics_text(await self._health.report())
        return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4, headers=_NOT_STORED)

    async def stats(self, _: Request) -> Response:
        try:
            statistics = await self._health.statistics()
        except TemporaryFailure as exc:
            problem = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": str(exc)}
            return JSONResponse(problem, 503, headers=_NOT_STORED, media_type="application/problem+json")
        return JSONResponse(stats_payload(statistics), headers=_NOT_STORED)
