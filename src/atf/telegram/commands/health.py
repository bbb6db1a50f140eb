"""/status and /health: whether everything runs, and what waits; where it runs is for administrators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

from atf.notifications.history import ChannelStatistics
from atf.notifications.local_format import LocalFormat
from atf.notifications.texts import Texts
from atf.security.role import Role
from atf.telegram.ask import Ask
from atf.telegram.command import Command
from atf.telegram.local import local_of, shortened
from atf.telegram.platform import Instance, PlatformState, Report
from atf.telegram.reply import Button, Reply
from atf.telegram.rich_text import RichText, bold, lines, rich

_LONGEST_ERROR: Final = 200
_MOST_PROCESSES: Final = 20


async def status(ask: Ask) -> Reply:
    """Say in short how everything is."""
    state, local = await ask.house.platform.state(), await local_of(ask)
    may_see_more = ask.user.caller.role is Role.ADMIN
    rows = ((Button(ask.texts("status-details"), "health"),),) if may_see_more else ()
    return Reply(lines([*await _head(ask, state), *_short(state, ask.texts, local)]), rows)


async def health(ask: Ask) -> Reply:
    """Say how everything is, to administrators in detail."""
    if ask.user.caller.role is not Role.ADMIN:
        return await status(ask)
    state, local = await ask.house.platform.state(), await local_of(ask)
    return Reply(
        lines(
            [
                *await _head(ask, state),
                *_some(_instances(state, ask.texts, local), ask.texts),
                *_some(_reports(state.reports, ask.texts), ask.texts),
                *_waiting(state, ask.texts, local, with_errors=True),
            ]
        )
    )


async def _head(ask: Ask, state: PlatformState) -> list[RichText]:
    name = "status-nothing" if not state.instances else "status-well" if state.is_well else "status-unwell"
    parts = [bold(ask.texts(name))]
    if await ask.house.maintenance.notice() is not None:
        parts.append(rich(ask.texts("status-maintenance")))
    return parts


def _short(state: PlatformState, texts: Texts, local: LocalFormat) -> Iterator[RichText]:
    for service in sorted({one.service for one in state.instances}):
        yield rich(_service(service, state, texts, local))
    yield from _waiting(state, texts, local, with_errors=False)


def _service(service: str, state: PlatformState, texts: Texts, local: LocalFormat) -> str:
    of_it = [one for one in state.instances if one.service == service]
    if all(one.is_stale for one in of_it):
        return texts("status-service-silent", service=service, span=_span(min(of_it, key=_unheard), local))
    is_well = all(one.is_well for one in state.reports if one.service == service)
    return texts("status-service-well" if is_well else "status-service-unwell", service=service)


def _waiting(state: PlatformState, texts: Texts, local: LocalFormat, *, with_errors: bool) -> Iterator[RichText]:
    waiting, running = str(state.runs_waiting), str(state.runs_running)
    yield rich(texts("status-runs", waiting=waiting, running=running))
    if not any(one.pending for one in state.channels):
        yield rich(texts("status-no-messages"))
    for one in state.channels:
        if one.pending:
            yield rich(_channel(one, texts))
        if one.paused_until is not None:
            at = local.local_time(one.paused_until)
            why = f": {shortened(one.error, _LONGEST_ERROR)}" if with_errors and one.error else ""
            yield rich(texts("status-channel-paused", channel=one.channel, time=at) + why)


def _channel(one: ChannelStatistics, texts: Texts) -> str:
    if one.held:
        return texts("status-channel-held", channel=one.channel, waiting=str(one.pending), held=str(one.held))
    return texts("status-channel", channel=one.channel, waiting=str(one.pending))


def _instances(state: PlatformState, texts: Texts, local: LocalFormat) -> Iterator[RichText]:
    for one in state.instances:
        yield rich(
            texts(
                "status-instance",
                service=one.service,
                host=one.host,
                pid=str(one.pid),
                version=one.version,
                time=local.local_time(one.started_at),
                span=_span(one, local),
            )
        )


def _reports(reports: Iterable[Report], texts: Texts) -> Iterator[RichText]:
    for one in sorted(reports, key=lambda report: report.is_well):
        words = texts("status-report", system=one.system, component=one.component, status=one.status)
        yield rich(f"{words}: {shortened(one.error, _LONGEST_ERROR)}" if one.error else words)


def _some(parts: Iterable[RichText], texts: Texts) -> list[RichText]:
    """Return so many lines that what waits has its place behind them."""
    found = list(parts)
    if len(found) <= _MOST_PROCESSES:
        return found
    return [*found[:_MOST_PROCESSES], rich(texts("status-more", count=str(len(found) - _MOST_PROCESSES)))]


def _unheard(one: Instance) -> timedelta:
    return one.unheard_for


def _span(one: Instance, local: LocalFormat) -> str:
    return local.duration(one.unheard_for)


COMMANDS: Final = (Command("status", status), Command("health", health, in_menu=False))
