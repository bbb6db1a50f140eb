"""What a worker does: a handler for each job type, and where the heavy ones compute."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from atf.adapters.processes.executor import ProcessExecutor
from atf.adapters.processes.limits import RunLimits
from atf.alerts.evaluator import AlertEvaluator
from atf.bootstrap.data_jobs import build_data_processing
from atf.bootstrap.job_types import InstalledJobTypes
from atf.bootstrap.providers import OpenProviders
from atf.bootstrap.secrets import build_seals
from atf.errors import InvalidInput
from atf.jobs.child_run import HeavyExecutor, RunQuota
from atf.jobs.handler import RunHandler
from atf.jobs.heavy_runner import HeavyRunner
from atf.jobs.job_type import JobTypeDefinition
from atf.jobs.missing_handler import MissingHandler
from atf.jobs.run import JobType
from atf.jobs.sensitive_handler import SensitiveHandler, checked_when_opened
from atf.jobs.sensitive_jobs import SensitiveJobs
from atf.jobs.worker import Duty
from atf.market.data_manager import DataManager
from atf.market.market_clock import MarketClock
from atf.notifications.notification_job import NotificationHandler
from atf.settings import Settings
from atf.storage.alerts_repository import PostgresAlerts
from atf.storage.database import Database
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.run_queue import PostgresRunQueue
from atf.storage.users_repository import PostgresUsers

BUILT_IN_HANDLERS = frozenset({JobType.ALERT, JobType.NOTIFICATION, JobType.DATA_PROCESSING})
"""The built-in types that something does; the others end with a sentence until their rooms are there."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a person says of one worker: its name, what it does (nothing: everything), how much at once."""

    name: str = "worker"
    types: tuple[str, ...] = ()
    concurrency: Mapping[str, int] = field(default_factory=dict)
    concurrency_of_all: int | None = None


def handled_types(installed: InstalledJobTypes) -> frozenset[str]:
    """Return the job types that something in this installation does."""
    return frozenset({*BUILT_IN_HANDLERS, *(one.definition.name for one in installed.plugins.found)})


@asynccontextmanager
async def open_executor(settings: Settings) -> AsyncIterator[HeavyExecutor]:
    """Open where heavy handlers compute: the Dask cluster of the settings, or child processes of this one."""
    executor = _executor(settings)
    try:
        yield executor
    finally:
        await asyncio.to_thread(executor.shutdown, cancel_futures=True)


def _executor(settings: Settings) -> HeavyExecutor:
    if settings.dask_address:
        from atf.adapters.dask.executor import DaskExecutor  # the extra `dask`, which need not be installed

        return DaskExecutor(settings.dask_address)
    limits = RunLimits(memory_bytes=settings.job_memory_mib * 1024**2)
    return ProcessExecutor(settings.executors.processpool.max_workers, limits=limits)


@dataclass(frozen=True, slots=True)
class Market:
    """The market as a process sees it."""

    clock: MarketClock
    data: DataManager
    providers: OpenProviders


@dataclass(frozen=True, slots=True)
class Workbench:
    """What handlers are made of."""

    settings: Settings
    database: Database
    queue: PostgresRunQueue
    market: Market
    executor: HeavyExecutor
    installed: InstalledJobTypes

    def duties(self, options: WorkerOptions) -> list[Duty]:
        """Return a duty for each type that the worker is to do. Errors: InvalidInput for an unknown one."""
        for name in options.concurrency:
            self._require_done(name, options.types or self.installed.types.names, field="concurrency")
        wanted = self._wanted(options.types)
        return [self._duty(definition, options) for definition in wanted]

    def _wanted(self, names: Sequence[str]) -> list[JobTypeDefinition]:
        types = self.installed.types
        for name in names:
            self._require_done(name, types.names, field="types")
        return [one for one in types if not names or one.name in names]

    @staticmethod
    def _require_done(name: str, names: Sequence[str], *, field: str) -> None:
        if name not in names:
            raise InvalidInput(f"'{name}' is not one of {', '.join(names)}", field=field)

    def _duty(self, definition: JobTypeDefinition, options: WorkerOptions) -> Duty:
        handler, is_batch = self._handler(definition.name)
        is_heavy = isinstance(handler, HeavyRunner)
        most = self.settings.executors.processpool.max_workers if is_heavy else self.settings.max_workers
        slots = options.concurrency.get(definition.name) or options.concurrency_of_all
        limits = replace(definition.limits, concurrency=slots or min(definition.limits.concurrency, most))
        if definition.has_sensitive_fields and not is_batch:
            sensitive = SensitiveJobs(self.installed.types, build_seals(self.settings, self.database))
            handler = SensitiveHandler(handler, definition, sensitive)
            definition = replace(definition, check=checked_when_opened)
        return Duty(replace(definition, limits=limits), handler, is_batch)

    def _handler(self, job_type: str) -> tuple[Any, bool]:
        if job_type == JobType.ALERT:
            return self._alert_evaluator(), True
        if job_type == JobType.DATA_PROCESSING:
            return build_data_processing(
                self.settings, self.database, self.market.clock, self.market.providers
            ), False
        if job_type == JobType.NOTIFICATION:
            return NotificationHandler(PostgresOutbox(self.database)), False
        for plugin in self.installed.plugins.found:
            if plugin.definition.name == job_type:
                return self._plugged_in(plugin.build_handler(self.settings)), False
        return MissingHandler(job_type), False

    def _plugged_in(self, handler: Any) -> RunHandler:
        """A heavy handler is known by what it computes. Batches are for alerts: they need the database."""
        if hasattr(handler, "compute"):
            return HeavyRunner(handler, self.executor, self._quota_of)
        found: RunHandler = handler
        return found

    async def _quota_of(self, user_id: int) -> RunQuota:
        quotas = await PostgresUsers(self.database).quotas_of(user_id)
        memory = quotas.memory_mib * 1024**2 if quotas.memory_mib else None
        return RunQuota(quotas.cpu_seconds or None, memory)

    def _alert_evaluator(self) -> AlertEvaluator:
        return AlertEvaluator(
            PostgresAlerts(self.database),
            self.queue,
            self.market.data,
            self.market.clock,
            patience=timedelta(seconds=self.settings.bars_patience_seconds),
        )
