"""The contract of services, on the smallest ones; the product's own pass it in tests/contract."""

import asyncio
from collections.abc import Callable

import pytest

from atf.lifecycle import Progress, Service, ServiceGroup


class Quiet(Service):
    """Becomes ready when allowed, and tells what happened to it."""

    def __init__(self, name: str = "quiet", events: list[str] | None = None, *, is_slow: bool = False) -> None:
        super().__init__(name)
        self.events = [] if events is None else events
        self.may_be_ready = asyncio.Event()
        if not is_slow:
            self.may_be_ready.set()

    async def _serve(self, started: Callable[[], None]) -> None:
        self.events.append(f"{self.name} begins")
        try:
            await self.may_be_ready.wait()
            started()
            await asyncio.Event().wait()
        finally:
            self.events.append(f"{self.name} ends")

    async def reload(self) -> None:
        self.events.append(f"{self.name} reloads")


class Failing(Service):
    def __init__(self, *, when_started: bool) -> None:
        super().__init__("failing")
        self.when_started = when_started
        self.may_fail = asyncio.Event()

    async def _serve(self, started: Callable[[], None]) -> None:
        if self.when_started:
            started()
            await self.may_fail.wait()
        raise OSError("broken")


async def until_begun(events: list[str], name: str) -> None:
    async with asyncio.timeout(10):
        while f"{name} begins" not in events:  # noqa: ASYNC110 - the fake tells by its list alone
            await asyncio.sleep(0)


async def test_start_returns_when_the_service_is_ready_and_not_before() -> None:
    service = Quiet(is_slow=True)
    starting = asyncio.create_task(service.start())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not starting.done()
    assert [service.is_started] == [False]
    service.may_be_ready.set()
    await starting
    assert [service.is_started] == [True]
    await service.stop()
    assert [service.is_started] == [False]


async def test_a_service_is_started_only_once() -> None:
    service = Quiet()
    await service.start()
    with pytest.raises(RuntimeError, match="make a new one"):
        await service.start()
    await service.stop()
    with pytest.raises(RuntimeError):
        await service.start()


async def test_stop_is_idempotent_and_all_who_stop_see_the_end() -> None:
    service = Quiet()
    await service.start()
    await asyncio.gather(service.stop(), service.stop())
    await service.stop()
    assert service.events == ["quiet begins", "quiet ends"]


async def test_stop_before_start_is_harmless_and_final() -> None:
    service = Quiet()
    await service.stop()
    await service.start()
    assert service.events == []
    await service.wait_ended()


async def test_stop_while_starting_ends_both() -> None:
    service = Quiet(is_slow=True)
    starting = asyncio.create_task(service.start())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await service.stop()
    await starting
    assert not service.is_started
    assert service.events == ["quiet begins", "quiet ends"]


async def test_a_failure_before_it_is_ready_is_start_s_failure() -> None:
    with pytest.raises(OSError, match="broken"):
        await Failing(when_started=False).start()


async def test_a_later_failure_is_told_to_whoever_waits() -> None:
    service = Failing(when_started=True)
    await service.start()
    service.may_fail.set()
    with pytest.raises(OSError, match="broken"):
        await service.wait_ended()
    await service.stop()


async def test_a_group_starts_in_order_and_stops_in_reverse() -> None:
    events: list[str] = []
    group = ServiceGroup("both", [Quiet("first", events), Quiet("second", events)])
    await group.start()
    await group.reload()
    await group.stop()
    assert events == [
        "first begins", "second begins", "first reloads", "second reloads", "second ends", "first ends",
    ]  # fmt: skip


async def test_a_group_fails_with_the_first_member_and_stops_the_others() -> None:
    events: list[str] = []
    failing = Failing(when_started=True)
    group = ServiceGroup("both", [Quiet("first", events), failing])
    await group.start()
    failing.may_fail.set()
    with pytest.raises(OSError, match="broken"):
        await group.wait_ended()
    assert events == ["first begins", "first ends"]


async def test_a_group_whose_member_cannot_start_stops_those_before_it() -> None:
    events: list[str] = []
    group = ServiceGroup("both", [Quiet("first", events), Failing(when_started=False), Quiet("third", events)])
    with pytest.raises(OSError, match="broken"):
        await group.start()
    assert events == ["first begins", "first ends"]


async def test_a_group_stopped_while_it_starts_leaves_nothing_running() -> None:
    events: list[str] = []
    group = ServiceGroup("both", [Quiet("first", events), Quiet("second", events, is_slow=True)])
    starting = asyncio.create_task(group.start())
    await until_begun(events, "second")
    await group.stop()
    await starting
    assert events == ["first begins", "second begins", "second ends", "first ends"]


def test_progress_is_measured_from_the_last_mark_and_tells_the_first_one() -> None:
    now, told = [100.0], []
    progress = Progress(lambda: now[0])
    progress.on_first_mark(lambda: told.append(now[0]))
    now[0] = 130.0
    assert progress.seconds_since == 30
    progress.mark()
    progress.mark()
    assert (progress.seconds_since, told) == (0, [130.0])
