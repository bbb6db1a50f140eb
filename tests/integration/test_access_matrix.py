"""Every method that callers reach, walked with every role, for one's own things and another's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, fields, replace
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest
from tests.access_table import ALL, access_table

from atf.alerts.alerts_service import AlertRecord, AlertsService, NewAlert
from atf.bootstrap.client import Client, open_client
from atf.bootstrap.market_loading import MarketLoader, open_market_loader
from atf.bootstrap.universes import UniversesClient, open_universes
from atf.errors import AtfError, Forbidden, InvariantViolation, NotFound
from atf.jobs.dead_letters import DeadLetterFilter
from atf.jobs.jobs_service import JobsService
from atf.jobs.run import RunFilter, RunId
from atf.jobs.run_request import RunCreate, RunUpdate
from atf.market.bars import Series, Timeframe
from atf.notifications.history import DeliveryFilter
from atf.notifications.preferences_service import PreferencesService
from atf.notifications.quiet_hours import QuietHours
from atf.schedules.schedule import ScheduleCreate, ScheduleUpdate
from atf.security.audit import AuditFilter
from atf.security.credentials_service import CredentialsService
from atf.security.identities_service import IdentitiesService
from atf.security.role import Permission, Role, permits
from atf.security.secrets_service import SecretsService
from atf.security.tokens_service import TokensService
from atf.security.users_service import UsersService
from atf.settings import Settings
from atf.storage.audit_repository import PostgresAuditLog
from atf.storage.deliveries_repository import PostgresDeliveries
from atf.storage.fundamentals_repository import PostgresFundamentals
from atf.storage.quiet_hours_repository import PostgresQuietHours
from atf.storage.universes_repository import PostgresUniverses
from atf.trading.bot_store import ConfigEdit, NewBot
from atf.trading.bots_service import BotsService

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

DAY: Final = date(2026, 1, 5)
HELLO: Final = RunCreate("notification", "me", {"message": "hello"})
DAILY: Final = ScheduleCreate("daily", "notification", "me", "0 9 * * *", task_params={"message": "hello"})
CONFIG: Final = {"ticker": "T", "timeframe": "1d", "rule": {"indicator": "price", "operator": ">", "value": 5}}
BOT: Final = {
    "symbol": "T",
    "timeframe": "1d",
    "strategy": {"name": "sma_cross"},
    "broker": {"type": "paper"},
    "capital": 1000,
}
NIGHT: Final = QuietHours(time(22), time(7), "UTC")
USERS: Final = {Role.ADMIN: "owner", Role.TRADER: "ann", Role.VIEWER: "eve"}
OTHER: Final = "zoe"


@dataclass(frozen=True)
class Things:
    """What a user has; made with the rights of an administrator."""

    user_id: int
    schedule: int
    alert: int
    run: RunId
    bot: int
    letter: int
    delivery: int
    record: AlertRecord
    token: str


Call = Callable[[Any, int, Things], Awaitable[object]]
# Each method with a call of it, for a user and the things that are meant. What is nobody's own names neither.
CALLS: Final[dict[str, Call]] = {
    "alerts.list_alerts": lambda s, u, t: s.list_alerts(u),
    "alerts.get": lambda s, u, t: s.get(u, t.alert),
    "alerts.triggers": lambda s, u, t: s.triggers(u, t.alert),
    "alerts.actions": lambda s, u, t: s.actions(u, t.alert),
    "alerts.last_seen": lambda s, u, t: s.last_seen(replace(t.record, user_id=u)),
    "alerts.add": lambda s, u, t: s.add(u, NewAlert(CONFIG)),
    "alerts.edit": lambda s, u, t: s.edit(u, t.alert, CONFIG),
    "alerts.pause": lambda s, u, t: s.pause(u, t.alert),
    "alerts.resume": lambda s, u, t: s.resume(u, t.alert),
    "alerts.mute": lambda s, u, t: s.mute(u, t.alert),
    "alerts.unmute": lambda s, u, t: s.unmute(u, t.alert),
    "alerts.reset": lambda s, u, t: s.reset(u, t.alert),
    "alerts.acknowledge": lambda s, u, t: s.acknowledge(u, t.alert),
    "alerts.delete": lambda s, u, t: s.delete(u, t.alert),
    "jobs.expand_screener_target": lambda s, u, t: s.expand_screener_target("T"),
    "jobs.list_schedules": lambda s, u, t: s.list_schedules(u),
    "jobs.get_schedule": lambda s, u, t: s.get_schedule(u, t.schedule),
    "jobs.create_schedule": lambda s, u, t: s.create_schedule(u, DAILY),
    "jobs.update_schedule": lambda s, u, t: s.update_schedule(u, t.schedule, ScheduleUpdate(name="new")),
    "jobs.pause_schedule": lambda s, u, t: s.pause_schedule(u, t.schedule),
    "jobs.resume_schedule": lambda s, u, t: s.resume_schedule(u, t.schedule),
    "jobs.trigger_schedule": lambda s, u, t: s.trigger_schedule(u, t.schedule),
    "jobs.delete_schedule": lambda s, u, t: s.delete_schedule(u, t.schedule),
    "jobs.list_runs": lambda s, u, t: s.list_runs(RunFilter(u)),
    "jobs.get_run": lambda s, u, t: s.get_run(u, t.run),
    "jobs.find_run": lambda s, u, t: s.find_run(u, str(t.run)),
    "jobs.get_run_statistics": lambda s, u, t: s.get_run_statistics(u),
    "jobs.create_run": lambda s, u, t: s.create_run(u, HELLO),
    "jobs.cancel_run": lambda s, u, t: s.cancel_run(u, t.run),
    "jobs.retry_run": lambda s, u, t: s.retry_run(u, t.run),
    "jobs.list_misfires": lambda s, u, t: s.list_misfires(u),
    "jobs.list_dead_letters": lambda s, u, t: s.list_dead_letters(DeadLetterFilter(u)),
    "jobs.get_dead_letter": lambda s, u, t: s.get_dead_letter(u, t.letter),
    "jobs.requeue_dead_letter": lambda s, u, t: s.requeue_dead_letter(u, t.letter),
    "jobs.drop_dead_letter": lambda s, u, t: s.drop_dead_letter(u, t.letter),
    "jobs.list_workers": lambda s, u, t: s.list_workers(),
    "jobs.cleanup_old_runs": lambda s, u, t: s.cleanup_old_runs(3000),
    "jobs.get_pending_runs": lambda s, u, t: s.get_pending_runs(),
    "jobs.claim_run": lambda s, u, t: s.claim_run(RunId(uuid4()), "outside"),
    "jobs.claim_runs": lambda s, u, t: s.claim_runs("outside", ["report"], 1),
    "jobs.complete": lambda s, u, t: s.complete(RunId(uuid4()), "outside", {}),
    "jobs.fail": lambda s, u, t: s.fail(RunId(uuid4()), "outside", "x"),
    "jobs.update_run": lambda s, u, t: s.update_run(RunId(uuid4()), RunUpdate(error="x")),
    "bots.get": lambda s, u, t: s.get(u, t.bot),
    "bots.list_bots": lambda s, u, t: s.list_bots(u),
    "bots.versions": lambda s, u, t: s.versions(u, t.bot),
    "bots.diff": lambda s, u, t: s.diff(u, t.bot, 1, 1),
    "bots.events": lambda s, u, t: s.events(u, t.bot),
    "bots.orders": lambda s, u, t: s.orders(u, t.bot),
    "bots.fills": lambda s, u, t: s.fills(u, t.bot),
    "bots.positions": lambda s, u, t: s.positions(u, t.bot),
    "bots.trades": lambda s, u, t: s.trades(u, t.bot),
    "bots.equity": lambda s, u, t: s.equity(u, t.bot),
    "bots.add": lambda s, u, t: s.add(u, NewBot(f"b{uuid4().hex[:8]}", BOT)),
    "bots.validate": lambda s, u, t: s.validate(u, BOT),
    "bots.edit": lambda s, u, t: s.edit(u, t.bot, ConfigEdit(patch={"capital": 5})),
    "bots.rollback": lambda s, u, t: s.rollback(u, t.bot, 1),
    "bots.rename": lambda s, u, t: s.rename(u, t.bot, "renamed"),
    "bots.start": lambda s, u, t: s.start(u, t.bot),
    "bots.stop": lambda s, u, t: s.stop(u, t.bot),
    "bots.restart": lambda s, u, t: s.restart(u, t.bot),
    "bots.pause": lambda s, u, t: s.pause(u, t.bot),
    "bots.resume": lambda s, u, t: s.resume(u, t.bot),
    "bots.enable": lambda s, u, t: s.enable(u, t.bot),
    "bots.disable": lambda s, u, t: s.disable(u, t.bot),
    "bots.delete": lambda s, u, t: s.delete(u, t.bot),
    "deliveries.list_deliveries": lambda s, u, t: s.list_deliveries(DeliveryFilter(u)),
    "deliveries.statistics": lambda s, u, t: s.statistics(u, 24),
    "deliveries.requeue": lambda s, u, t: s.requeue(u, delivery_id=t.delivery),
    "preferences.settings": lambda s, u, t: s.settings(u),
    "preferences.change": lambda s, u, t: s.change(u, digest="30"),
    "preferences.set_route": lambda s, u, t: s.set_route(u, "report:telegram=off"),
    "preferences.clear_routes": lambda s, u, t: s.clear_routes(u),
    "preferences.set_address": lambda s, u, t: s.set_address(u, "sms", "+491701234567"),
    "preferences.clear_address": lambda s, u, t: s.clear_address(u, "sms"),
    "preferences.send_test": lambda s, u, t: s.send_test(u, "inbox"),
    "quiet_hours.status": lambda s, u, t: s.status(u),
    "quiet_hours.set": lambda s, u, t: s.set(u, NIGHT),
    "quiet_hours.clear": lambda s, u, t: s.clear(u),
    "universes.members": lambda s, u, t: s.members(u, "mine", DAY),
    "universes.listing": lambda s, u, t: s.listing(u, "mine", DAY),
    "universes.list_universes": lambda s, u, t: s.list_universes(u, DAY),
    "universes.history": lambda s, u, t: s.history(u, "mine"),
    "universes.load": lambda s, u, t: s.load(u, "mine", ["T"], DAY, source="x"),
    "universes.delete": lambda s, u, t: s.delete(u, "mine"),
    "fundamentals.newest": lambda s, u, t: s.newest(["T"], DAY),
    "fundamentals.of": lambda s, u, t: s.of("T"),
    "fundamentals.load": lambda s, u, t: s.load([], source="x"),
    "data.import_file": lambda s, u, t: s.import_file(Path("nowhere.csv"), None, None),
    "data.import_factors": lambda s, u, t: s.import_factors(Path("nowhere.csv"), "T"),
    "data.fetch": lambda s, u, t: s.fetch("nobody", Series("T", Timeframe.D1), None, None),
    "data.providers": lambda s, u, t: s.providers(),
    "users.list_users": lambda s, u, t: s.list_users(),
    "users.get_user": lambda s, u, t: s.get_user(OTHER),
    "users.add_user": lambda s, u, t: s.add_user(f"u{uuid4().hex[:8]}", Role.VIEWER),
    "users.set_role": lambda s, u, t: s.set_role(OTHER, Role.TRADER),
    "users.disable_user": lambda s, u, t: s.disable_user("spare"),
    "users.approve_user": lambda s, u, t: s.approve_user("spare"),
    "users.change_limits": lambda s, u, t: s.change_limits("spare", {"alerts": 5}),
    "audit.entries": lambda s, u, t: s.entries(AuditFilter(), limit=1),
    "credentials.change_password": lambda s, u, t: s.change_password(u, "", "too short"),
    "credentials.replace_password": lambda s, u, t: s.replace_password(u, "too short"),
    "credentials.make_password_link": lambda s, u, t: s.make_password_link(u),
    "credentials.make_account_link": lambda s, u, t: s.make_account_link(u),
    "tokens.add_token": lambda s, u, t: s.add_token(u, "new", ["view"]),
    "tokens.list_tokens": lambda s, u, t: s.list_tokens(u),
    "tokens.revoke_token": lambda s, u, t: s.revoke_token(u, t.token),
    "tokens.add_service_token": lambda s, u, t: s.add_service_token("new", ["notify"]),
    "tokens.list_service_tokens": lambda s, u, t: s.list_service_tokens(),
    "tokens.revoke_service_token": lambda s, u, t: s.revoke_service_token("0" * 16),
    "identities.begin_email": lambda s, u, t: s.begin_email(u, "ann@example.org"),
    "identities.verify_email": lambda s, u, t: s.verify_email(u, "ann@example.org", "000000"),
    "identities.list_identities": lambda s, u, t: s.list_identities(u),
    "secrets.set_secret": lambda s, u, t: s.set_secret(u, "mine", "a value of some length"),
    "secrets.list_secrets": lambda s, u, t: s.list_secrets(u),
    "secrets.delete_secret": lambda s, u, t: s.delete_secret(u, "mine"),
    "secrets.rotate": lambda s, u, t: s.rotate(),
}
ASIDE: Final = {"jobs.types", "jobs.is_handled"}
"""Not called here, as they are no coroutines and nobody's own."""
# What callers cannot reach at all: the doors of other services, and what services do among themselves.
CLOSED: Final[dict[type, set[str]]] = {
    AlertsService: set(),
    JobsService: {"prepare", "require_allowed", "stored_schedule"},
    BotsService: set(),
    PostgresDeliveries: set(),
    PreferencesService: set(),
    PostgresQuietHours: set(),
    PostgresUniverses: set(),
    PostgresFundamentals: set(),
    MarketLoader: {field.name for field in fields(MarketLoader)},
    UsersService: set(),
    PostgresAuditLog: {"record"},
    CredentialsService: set(),
    TokensService: set(),
    IdentitiesService: set(),
    SecretsService: {"reveal"},
}


class Doors:
    """The services as one user reaches them."""

    def __init__(self, client: Client, universes: UniversesClient, loader: MarketLoader) -> None:
        self.user_id = client.user_id
        self._services = {
            **{
                name: getattr(client, name)
                for name in (
                    *("alerts", "jobs", "bots", "deliveries", "preferences", "quiet_hours", "users", "audit"),
                    *("credentials", "tokens", "identities", "secrets"),
                )
            },
            "universes": universes.universes,
            "fundamentals": universes.fundamentals,
            "data": loader,
        }

    async def call(self, method: str, user_id: int, things: Things) -> object:
        return await CALLS[method](self._services[method.partition(".")[0]], user_id, things)


@dataclass(frozen=True)
class House:
    doors: Mapping[str, Doors]
    things: Mapping[str, Things]
    rows: Rows


@pytest.fixture
async def house(tmp_path: Path, database_url: str, rows: Rows) -> AsyncIterator[House]:
    folder = tmp_path / "bars" / "1d"
    folder.mkdir(parents=True)
    (folder / "T.csv").write_text("timestamp,open,high,low,close,volume\n2026-01-05,1,2,1,2,100\n")
    settings = Settings(home=tmp_path, database_url=database_url)
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(open_client(settings))
        for name, role in (
            ("ann", Role.TRADER),
            ("eve", Role.VIEWER),
            (OTHER, Role.TRADER),
            ("spare", Role.VIEWER),
        ):
            await admin.users.add_user(name, role)
        doors, things = {}, {}
        for name in (*USERS.values(), OTHER):
            client = await stack.enter_async_context(open_client(settings, name))
            own = await stack.enter_async_context(open_universes(settings, name))
            loader = await stack.enter_async_context(open_market_loader(settings, name))
            doors[name] = Doors(client, own, loader)
            things[name] = await things_of(client.user_id, admin, rows)
        yield House(doors, things, rows)


async def things_of(user_id: int, admin: Client, rows: Rows) -> Things:
    schedule = await admin.jobs.create_schedule(user_id, DAILY)
    alert = await admin.alerts.add(user_id, NewAlert(CONFIG))
    run = await admin.jobs.create_run(user_id, HELLO)
    bot = await admin.bots.add(user_id, NewBot("mine", BOT))
    letter = await rows.value(
        "INSERT INTO job_dead_letters (run_id, job_type, user_id, scheduled_for, reason, attempt, max_attempts) "
        "VALUES (gen_random_uuid(), 'notification', :user_id, now(), 'exhausted', 3, 3) RETURNING id",
        user_id=user_id,
    )
    message = await rows.value(
        "INSERT INTO msg_messages (user_id, notification_type, title, body, dedup_key) "
        "VALUES (:user_id, 'note', 'Title', 'Body', :key) RETURNING id",
        user_id=user_id,
        key=f"note-{user_id}",
    )
    delivery = await rows.value(
        "INSERT INTO msg_deliveries (message_id, user_id, urgency, channel, dedup_key, status) "
        "VALUES (:message, :user_id, 2, 'console', :key, 'FAILED') RETURNING id",
        message=message,
        user_id=user_id,
        key=f"note-{user_id}:console",
    )
    await rows.change(
        "INSERT INTO market_universes (user_id, name, symbol, valid_from) "
        "VALUES (:user_id, 'mine', 'T', '2026-01-05')",
        user_id=user_id,
    )
    await rows.change("UPDATE alert_states SET last_seen = '\\x01' WHERE schedule_id = :id", id=alert.id)
    await admin.quiet_hours.set(user_id, NIGHT)
    token = (await admin.tokens.add_token(user_id, "notebook", ["view"])).record.id
    return Things(user_id, schedule.id, alert.id, run.run_id, bot.id, letter, delivery, alert, token)


def methods() -> list[tuple[str, Permission, bool]]:
    return [
        (f"{service}.{method}", right.permission, right.owner_of is not None)
        for service, rights in ALL.items()
        for method, right in rights.methods.items()
        if f"{service}.{method}" not in ASIDE
    ]


def test_each_public_method_is_open_by_a_right_or_closed_on_purpose() -> None:
    for (kind, closed), rights in zip(CLOSED.items(), ALL.values(), strict=True):
        public = {name for name in dir(kind) if not name.startswith("_")}
        assert public == set(rights.methods) | closed, kind
    assert {name for name, _, _ in methods()} == set(CALLS)


def test_the_table_of_the_docs_is_the_one_that_holds() -> None:
    text = (Path(__file__).parents[2] / "docs/security.md").read_text()
    assert access_table() in text, "print it with: python -m tests.access_table"


@pytest.mark.parametrize("role", Role)
async def test_own_things_are_reached_as_the_role_permits(house: House, role: Role) -> None:
    doors, things = house.doors[USERS[role]], house.things[USERS[role]]
    open_ones = [method for method, permission, _ in methods() if permits(role, permission)]
    assert await refused(doors, doors.user_id, things) == [m for m, _, _ in methods() if m not in open_ones]


@pytest.mark.parametrize("role", [Role.TRADER, Role.VIEWER])
async def test_anothers_things_are_refused_when_the_other_is_named(house: House, role: Role) -> None:
    before = await snapshot(house)
    for method, _, has_owner in methods():
        if has_owner:
            with pytest.raises(Forbidden):
                await house.doors[USERS[role]].call(method, house.things[OTHER].user_id, house.things[OTHER])
    assert await snapshot(house) == before


@pytest.mark.parametrize("role", Role)
async def test_anothers_things_are_not_found_among_ones_own(house: House, role: Role) -> None:
    """Also an administrator must name whose they are: nothing is changed by a number that was mistyped."""
    doors, other = house.doors[USERS[role]], house.things[OTHER]
    before = await snapshot(house)
    numbered = [m for m, p, _ in methods() if takes_a_number(m) and permits(role, p)]
    assert len(numbered) > 5
    for method in numbered:
        with suppress(NotFound):
            assert await doors.call(method, doors.user_id, other) is None, method
    assert await snapshot(house) == before


async def test_administrators_reach_what_is_anothers_by_naming_whose_it_is(house: House) -> None:
    other = house.things[OTHER]
    assert await refused(house.doors["owner"], other.user_id, other) == []
    done = await house.rows.column(
        "SELECT action FROM audit_log WHERE actor = 'owner' AND owner_id = :id AND outcome = 'done'",
        id=other.user_id,
    )
    assert {"schedule.update", "schedule.delete", "run.start", "quiet_hours.delete", "delivery.requeue"} <= set(
        done
    )


async def refused(doors: Doors, user_id: int, things: Things) -> list[str]:
    """Call everything and return what the gate has refused; what is gone by a call before is no refusal."""
    found = []
    for method, _, _ in methods():
        try:
            await doors.call(method, user_id, things)
        except (Forbidden, InvariantViolation):
            found.append(method)
        except AtfError:
            continue
    return found


def takes_a_number(method: str) -> bool:
    """Whether a call names one of somebody's things."""

    class Touched(Exception):
        pass

    class Probe:
        def __getattr__(self, _: str) -> Any:
            raise Touched

    class Anything:
        def __getattr__(self, _: str) -> Callable[..., None]:
            return lambda *_, **__: None

    try:
        CALLS[method](Anything(), 1, Probe())  # type: ignore[arg-type]
    except Touched:
        return True
    return False


async def snapshot(house: House) -> object:
    user_id = house.things[OTHER].user_id
    tables = (
        *("job_schedules", "job_schedule_runs", "job_dead_letters", "msg_quiet_hours", "market_universes"),
        *(
            "trading_bots",
            "trading_bot_commands",
            "msg_deliveries",
            "msg_preferences",
            "msg_routes",
            "msg_addresses",
        ),
        *("api_tokens", "one_time_links", "email_codes", "user_passwords"),
    )
    return [
        await house.rows.column(
            f"SELECT to_jsonb(t)::text FROM {table} t WHERE user_id = :user_id ORDER BY 1", user_id=user_id
        )
        for table in tables
    ]
