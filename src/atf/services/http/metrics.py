"""`/metrics`: a health report as Prometheus reads it. What is not known is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from atf.health.service_health import HealthReport
from atf.health.statistics import QueueOfType, Statistics
from atf.health.status import OverallHealth
from atf.jobs.run import JobType
from atf.jobs.run_metrics import BUCKETS, Histogram, RunMetrics
from atf.notifications.sending_metrics import SendingMetrics


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
    if report.runs is not None:
        yield from _run_families(report.runs)
    if report.sending is not None:
        yield from _sending_families(report.sending)
    if report.statistics is not None:
        yield from _queue_families(report.statistics)


def _queue_families(statistics: Statistics) -> Iterator[Metric]:
    pending = GaugeMetricFamily("atf_pending_runs", "Runs that wait", labels=["type"])
    delayed = GaugeMetricFamily("atf_delayed_runs", "Those of them that wait for their time", labels=["type"])
    running = GaugeMetricFamily("atf_running_runs", "Runs that workers hold", labels=["type"])
    slots = GaugeMetricFamily("atf_slots", "Runs that all workers do at the same time, at most", labels=["type"])
    oldest = GaugeMetricFamily(
        "atf_oldest_pending_seconds", "How long the oldest one that may begin waits", labels=["type"]
    )
    for job_type in dict.fromkeys([*JobType, *statistics.queue]):
        found = statistics.queue.get(job_type, QueueOfType())
        pending.add_metric([job_type], found.waiting + found.delayed)
        delayed.add_metric([job_type], found.delayed)
        running.add_metric([job_type], found.running)
        slots.add_metric([job_type], found.slots)
        oldest.add_metric([job_type], found.oldest_seconds)
    yield from (pending, delayed, running, slots, oldest)
    trouble = statistics.trouble
    yield _gauge("atf_misfires_24h", "Gaps in which schedules did not run, last 24 hours", trouble.misfires)
    yield _gauge("atf_missed_runs_24h", "Instants in those gaps", trouble.missed_runs)
    yield _gauge("atf_dead_letters", "Runs that failed for good and were not requeued", trouble.dead_letters)
    yield _gauge("atf_lost_workers_24h", "Workers whose lease ran out, last 24 hours", trouble.lost_workers)
    yield _gauge("atf_rescued_runs_24h", "Runs taken from them and given to others", trouble.rescued_runs)
    yield _gauge("atf_wait_seconds_24h", "Mean time from being due to being claimed", statistics.avg_wait)
    yield _gauge("atf_workers", "Workers that hold a lease", statistics.workers)
    yield _gauge("atf_enabled_schedules", "Schedules that are not paused", statistics.enabled_schedules)
    yield _gauge("atf_failed_runs_24h", "Runs that failed in the last 24 hours", statistics.failed_24h)


def _run_families(runs: RunMetrics) -> Iterator[Metric]:
    """What this worker has done since it started."""
    claimed = CounterMetricFamily("atf_runs_claimed", "Runs that this worker has claimed", labels=["type"])
    ended = CounterMetricFamily("atf_runs_ended", "What became of them", labels=["type", "outcome"])
    slots = GaugeMetricFamily("atf_worker_slots", "Runs at the same time, at most", labels=["type"])
    busy = GaugeMetricFamily("atf_worker_busy_slots", "Runs at this moment", labels=["type"])
    waiting = HistogramMetricFamily("atf_run_wait_seconds", "From being due to being claimed", labels=["type"])
    running = HistogramMetricFamily("atf_run_seconds", "Duration of runs, or of batches", labels=["type"])
    for job_type, figures in runs.by_type.items():
        claimed.add_metric([job_type], figures.claimed)
        slots.add_metric([job_type], figures.slots)
        busy.add_metric([job_type], figures.busy)
        for outcome, count in figures.outcomes.items():
            ended.add_metric([job_type, outcome], count)
        waiting.add_metric([job_type], _buckets(figures.waiting), figures.waiting.total_seconds)
        running.add_metric([job_type], _buckets(figures.running), figures.running.total_seconds)
    yield from (claimed, ended, slots, busy, waiting, running)


def _sending_families(sending: SendingMetrics) -> Iterator[Metric]:
    """What this process has sent since it started, and what waits for anybody."""
    ended = CounterMetricFamily("atf_deliveries", "What became of deliveries here", labels=["channel", "outcome"])
    letters = CounterMetricFamily("atf_letters", "Letters that were sent or tried here", labels=["channel"])
    latency = HistogramMetricFamily(
        "atf_delivery_seconds", "From a message's writing to its acceptance", labels=["channel"]
    )
    failures = GaugeMetricFamily("atf_channel_outages", "Outages in a row; 0: it works", labels=["channel"])
    for channel, figures in sending.by_channel.items():
        letters.add_metric([channel], figures.letters)
        failures.add_metric([channel], figures.failures)
        for outcome, count in figures.outcomes.items():
            ended.add_metric([channel, outcome], count)
        latency.add_metric([channel], _buckets(figures.latency), figures.latency.total_seconds)
    pending = GaugeMetricFamily("atf_pending_deliveries", "Deliveries that wait", labels=["channel"])
    oldest = GaugeMetricFamily(
        "atf_oldest_delivery_seconds", "How long ago the oldest was written that is due", labels=["channel"]
    )
    for channel, depth in sending.depth.items():
        pending.add_metric([channel], depth.pending)
        oldest.add_metric([channel], depth.oldest_seconds)
    yield from (ended, letters, latency, failures, pending, oldest)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return how many durations are at most each bound, as Prometheus counts."""
    bounds = [*map(str, BUCKETS), "+Inf"]
    return list(zip(bounds, accumulate(histogram.counts), strict=True))


def _gauge(name: str, help_: str, value: float, **labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family
