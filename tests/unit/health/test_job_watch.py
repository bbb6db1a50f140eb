from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from atf.health.job_watch import Backlog, FailedJob, Findings, JobWatch, LostWorker, SlowRun, notices_of
from atf.notifications.message import OutgoingMessage, Priority
from atf.testing.clocks import FakeClock

NOON = datetime(2027, 3, 1, 12, 30, tzinfo=UTC)


class FakeStore:
    """Finds what it was given, and keeps messages by key as the outbox does."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.messages: dict[str, OutgoingMessage] = {}
        self.asked_for: list[float] = []

    async def look(self, *, backlog_seconds: float) -> Findings:
        self.asked_for.append(backlog_seconds)
        return self.findings

    async def administrators(self) -> Sequence[int]:
        return [1, 7]

    async def tell(self, messages: Sequence[OutgoingMessage]) -> int:
        new = {one.dedup_key: one for one in messages if one.dedup_key not in self.messages}
        self.messages |= new
        return len(new)


ALL_KINDS = Findings(
    [FailedJob("report", 3, "daily", 2, "ValueError: no luck")],
    [Backlog("alert", 900, 700)],
    [SlowRun("5f2b", "screener", 9, 250, 300)],
    [LostWorker("worker-1a", "box", 42)],
)


def test_each_finding_is_told_in_words_that_say_what_to_look_at() -> None:
    told = [(one.title, one.body, one.priority) for one in notices_of(ALL_KINDS)]
    assert told == [
        (
            "Job failed: report 'daily'",
            "2 runs of schedule 3 failed for good within an hour. Newest error: ValueError: no luck. "
            "See `atf dlq list`.",
            Priority.HIGH,
        ),
        (
            "Jobs wait: alert",
            "900 runs wait, the oldest for 12 min. "
            "See `atf workers list`: is there a worker for this type, and is it well?",
            Priority.HIGH,
        ),
        (
            "Job is slow: screener_9",
            "Run 5f2b has taken 4 min of the 5 min it may take; then it is stopped and tried again.",
            Priority.NORMAL,
        ),
        (
            "Worker lost: worker-1a",
            "Its lease ran out on box, process 42. What it held was given to others.",
            Priority.HIGH,
        ),
    ]


async def test_every_administrator_hears_of_each_thing_once_an_hour() -> None:
    store, clock = FakeStore(ALL_KINDS), FakeClock(NOON)
    watch = JobWatch(store, clock, backlog=timedelta(minutes=5))
    assert await watch.run_once() == 8
    clock.advance(timedelta(minutes=29))
    assert await watch.run_once() == 0
    clock.advance(timedelta(minutes=1))
    assert await watch.run_once() == 8
    assert {one.user_id for one in store.messages.values()} == {1, 7}
    assert store.asked_for == [300.0] * 3


async def test_who_is_well_hears_nothing() -> None:
    store = FakeStore(Findings())
    assert await JobWatch(store, FakeClock(NOON), backlog=timedelta(minutes=5)).run_once() == 0
    assert store.messages == {}
