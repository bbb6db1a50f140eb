"""`/metrics`: a health report as Prometheus reads it. What is not known is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from atf.health.service_health import HealthReport
from atf.health.status import OverallHealth
from atf.jobs.run import JobType


class _Snapshot(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def metrics_text(report: HealthReport) -> bytes:
    """Return the metrics of one report and of the process itself (memory, descriptors, CPU)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(_families(report)))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _families(report: HealthReport) -> Iterator[Metric]:
    is_well = report.status is not OverallHealth.UNHEALTHY
    yield _gauge("atf_build_info", "Which ATF this is", 1, service=report.service, version=report.version)
    yield _gauge("atf_up", "1 unless the service is unhealthy", float(is_well), service=report.service)
    yield _gauge(
        "atf_database_up",
        "1 if the database answers",
        float(report.is_database_connected),
        service=report.service,
    )
    yield _gauge(
        "atf_progress_age_seconds",
        "Time since the service's loop came round",
        report.progress_age_seconds,
        service=report.service,
    )
    statistics = report.statistics
    if statistics is None:
        return
    pending = GaugeMetricFamily("atf_pending_runs", "Runs that wait", labels=["type"])
    for job_type in JobType:
        pending.add_metric([job_type], statistics.pending_by_type.get(job_type, 0))
    yield pending
    yield _gauge("atf_enabled_schedules", "Schedules that are not paused", statistics.enabled_schedules)
    yield _gauge("atf_failed_runs_24h", "Runs that failed in the last 24 hours", statistics.failed_24h)


def _gauge(name: str, help_: str, value: float, **labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family
