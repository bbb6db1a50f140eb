"""What every process has beside its main service: the HTTP endpoints, its row in the registry, its heartbeat."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from typing import Final

from starlette.types import ASGIApp

from atf.clock import SystemClock
from atf.health.heartbeat_manager import HeartbeatManager
from atf.health.service_health import ServiceHealth, Watched
from atf.health.service_registry import Registration, ServiceInstance, new_instance_id
from atf.health.status import Component
from atf.jobs.run_metrics import RunMetrics
from atf.lifecycle import Progress, Service, ServiceGroup
from atf.notifications.sending_metrics import SendingMetrics
from atf.services.http.health_app import build_health_app
from atf.services.http.server import Address, HttpServer, require_loopback
from atf.settings import Settings
from atf.storage.database import Database, DatabaseLimits
from atf.storage.health_repository import PostgresHeartbeats
from atf.storage.registry_repository import PostgresRegistry
from atf.storage.statistics_repository import PostgresStatistics

_LIMITS: Final = DatabaseLimits(
    pool_size=3, statement_timeout=timedelta(seconds=2), lock_timeout=timedelta(seconds=1)
)
"""Health has connections of its own, so that it neither waits for the work nor holds it up.

Mostly one is open; the others keep a slow count from looking like a database that does not answer.
"""


@dataclass(frozen=True, slots=True)
class MainService:
    """The service that a process is there for, and what health must know of it.

    ``app`` and ``endpoints``: what it answers beside that, by paths; ``port`` names the field of the settings;
    ``counts``: whether it answers for the queue as a whole; ``runs`` is what a worker counts of its own.
    """

    service: Service
    system: str
    progress: Progress
    stalled_after_seconds: float
    port: str
    word: Callable[[], str] | None = None
    counts: bool = False
    is_replay: bool = False
    runs: RunMetrics | None = None
    parts: Callable[[], Sequence[Component]] = tuple
    sending: SendingMetrics | None = None
    app: Callable[[ServiceHealth], ASGIApp] = build_health_app
    endpoints: tuple[str, ...] = ()


@asynccontextmanager
async def with_health(settings: Settings, database: Database, main: MainService) -> AsyncIterator[Service]:
    """Yield the main service with everything that tells of it; health answers before the main service starts."""
    own = Database(database.url.render_as_string(hide_password=False), limits=_LIMITS)
    watched = _watched(main)
    health = ServiceHealth(
        watched,
        PostgresStatistics(own, is_replay=main.is_replay),
        SystemClock(),
        counts=main.counts,
        runs=main.runs,
        sending=main.sending,
    )
    try:
        server = HttpServer(main.app(health), _address(settings, main.port))
        registration = Registration(PostgresRegistry(own), lambda: _instance(watched, server, main))
        heartbeat = HeartbeatManager(
            main.system,
            settings.health_check_interval_seconds,
            store=PostgresHeartbeats(own),
            component=watched.instance_id,
        )
        heartbeat.set_health_check_function(watched.check)
        yield ServiceGroup(main.service.name, [server, registration, heartbeat, main.service])
    finally:
        await health.close()
        await own.close()


def _watched(main: MainService) -> Watched:
    service = main.service
    return Watched(
        service=service.name,
        instance_id=new_instance_id(service.name),
        version=version("atf"),
        word=main.word or (lambda: "running" if service.is_started else "starting"),
        is_started=lambda: service.is_started,
        progress=main.progress,
        stalled_after_seconds=main.stalled_after_seconds,
        parts=main.parts,
    )


def _address(settings: Settings, port: str) -> Address:
    """A port that somebody has set is that port or none; the default of two processes may be the same."""
    return Address(
        host=require_loopback(settings.health_host),
        port=getattr(settings, port),
        setting=f"ATF_{port.upper()}",
        may_move=port not in settings.model_fields_set,
    )


def _instance(watched: Watched, server: HttpServer, main: MainService) -> ServiceInstance:
    paths = ["health", "livez", "readyz", "metrics", *(["stats"] if main.counts else [])]
    endpoints = {path: f"{server.url}/{path}" for path in paths}
    endpoints |= {path.rpartition("/")[2]: f"{server.url}{path}" for path in main.endpoints}
    return ServiceInstance.of_this_process(watched.service, watched.instance_id, watched.version, endpoints)
