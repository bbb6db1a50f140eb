"""Actions of alerts from the trigger to the bot's command: decided once, delivered once, refused in sight."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.test_alert_commit import (
    ABOVE_5,
    BEGIN,
    CLOSES,
    DAY,
    OWNER,
    Broken,
    Desk,
    Together,
)
from tests.sending import deliver

from atf.adapters.channels.bot import BotChannel
from atf.adapters.channels.inbox import InboxChannel
from atf.adapters.providers.replay import ReplayBarProvider
from atf.alerts.action_permission import ActionPermission
from atf.alerts.alerts_service import ActionRecord, AlertsService, NewAlert
from atf.errors import DatabaseUnavailable, InvalidAlertRule, PermanentFailure, TemporaryFailure
from atf.jobs.jobs_service import JobsService
from atf.market.bars import Bars, Series, Timeframe
from atf.market.chains import Chains
from atf.market.data_manager import DataManager
from atf.market.due_bars import DueBars
from atf.market.provider_lane import ProviderLane
from atf.notifications.channel import UNLIMITED, Letter, Reach, Recipient, TextForm
from atf.notifications.failed_action import ACTION_FAILED
from atf.notifications.history import DeliveryFilter
from atf.notifications.message import Delivery, DeliveryStatus
from atf.notifications.outbox import Settled
from atf.storage.alerts_repository import PostgresAlerts
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.bot_commands_repository import PostgresBotCommands
from atf.storage.database import Database
from atf.storage.deliveries_repository import PostgresDeliveries
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.run_queue import PostgresRunQueue
from atf.storage.schedules_repository import PostgresJobsRepository
from atf.storage.users_repository import PostgresUsers
from atf.storage.workers_repository import PostgresLeases
from atf.testing.clocks import FakeClock
from atf.testing.market import OneCalendar
from atf.testing.processes import Installation

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

    from atf.testing.clocks import FakeMarketClock

BOT: Mapping[str, Any] = {"type": "bot", "bot_id": 7, "command": "signal", "payload": {"side": "buy"}}
HOOK: Mapping[str, Any] = {"type": "webhook", "url": "https://example.com/path-secret?key=secret"}
FAILURES = f"SELECT * FROM msg_messages WHERE notification_type = '{ACTION_FAILED}' ORDER BY title"
COMMANDS = "SELECT * FROM trading_bot_commands ORDER BY id"


@pytest.fixture
async def desk(database: Database, rows: Rows, market_clock: FakeMarketClock) -> AsyncIterator[Desk]:
    """Two days have closed; the price is above 5 on days 2, 4 and 6."""
    market_clock.at = BEGIN + 2 * DAY
    bars = Bars.from_rows([(BEGIN + n * DAY, close, close, close, close, 1.0) for n, close in enumerate(CLOSES)])
    store = PostgresBarStore(database)
    await store.store(Series("T", Timeframe.D1), bars)
    permission = ActionPermission(PostgresUsers(database))
    jobs = JobsService(PostgresJobsRepository(database), market_clock, permission=permission)
    data = DataManager(
        Chains([ProviderLane(ReplayBarProvider(store))]),
        store,
        DueBars(OneCalendar()),
        patience=timedelta(seconds=20),
    )
    service = AlertsService(PostgresAlerts(database), jobs, data, market_clock)
    queue = PostgresRunQueue(database)
    yield Desk(database, rows, market_clock, await rows.worker(), service, data, queue)
    await queue.close()


class Hook:
    """A webhook that accepts everything."""

    name = "webhook"
    is_idempotent = False
    disturbs = False
    reach = Reach.EACH
    form = TextForm.PLAIN
    limits = UNLIMITED

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.failure: Exception | None = None

    async def send(self, letter: Letter) -> str | None:
        self.keys.append(letter.dedup_key)
        if self.failure is not None:
            raise self.failure
        return None

    async def close(self) -> None: ...


def letter_of(delivery: Delivery) -> Letter:
    return Letter(
        Recipient(delivery.user_id),
        delivery.dedup_key,
        delivery.notification_type,
        delivery.title,
        delivery.body,
        payload=delivery.payload,
    )


@dataclass
class Sender:
    """The notification service on the desk's database."""

    desk: Desk
    hook: Hook

    def bot(self) -> BotChannel:
        return BotChannel(PostgresBotCommands(self.desk.database), FakeClock(self.desk.clock.at))

    async def deliver(self) -> None:
        """Send all that is due."""
        database = self.desk.database
        await deliver(database, self.bot(), self.hook, InboxChannel(PostgresOutbox(database)))

    async def statuses(self) -> dict[str, str]:
        """What became of the deliveries of actions, by channel; the last one counts."""
        found = await self.desk.rows.all(
            "SELECT channel, status FROM msg_deliveries WHERE channel IN ('bot', 'webhook') ORDER BY id"
        )
        return {row.channel: row.status for row in found}


@pytest.fixture
def sender(desk: Desk) -> Sender:
    return Sender(desk, Hook())


async def actions_of(desk: Desk, alert_id: int) -> list[ActionRecord]:
    return list(await desk.service.actions(OWNER, alert_id))


# --- exactly once ---


async def test_a_trigger_commands_the_bot_and_asks_the_webhook(desk: Desk, sender: Sender) -> None:
    added = await desk.add(actions=[BOT, HOOK])
    await desk.day_ends(2)
    (trigger,) = await desk.service.triggers(OWNER, added.id)
    assert await desk.counts() == {"triggers": 1, "messages": 3, "deliveries": 4}
    await sender.deliver()
    (command,) = await desk.rows.all(COMMANDS)
    assert (command.dedup_key, command.bot_id, command.user_id, command.command, command.source) == (
        f"{trigger.dedup_key}:1:bot",
        7,
        OWNER,
        "signal",
        f"alert:{added.id}",
    )
    assert (command.accepted_at, command.outcome) == (None, None)
    told = command.payload.pop("trigger")
    assert (command.payload, told["alert_id"], told["ticker"]) == ({"side": "buy"}, added.id, "T")
    assert (told["trigger_number"], told["late"], list(told["readings"].values())) == (1, False, [9.0])
    assert sender.hook.keys == [f"{trigger.dedup_key}:2:webhook"]
    assert await sender.statuses() == {"bot": "SENT", "webhook": "SENT"}


async def test_runs_that_are_evaluated_again_command_nothing_twice(desk: Desk, sender: Sender) -> None:
    added = await desk.add(actions=[BOT, HOOK])
    await desk.day_ends(2)
    await sender.deliver()
    await desk.rows.pending_runs(1, first_job_id=added.id)
    await desk.evaluate()
    await desk.rows.change("UPDATE alert_states SET last_bar = NULL, gate = 'open'")  # as nobody should
    await desk.day_ends(3)
    await sender.deliver()
    assert len(await desk.rows.all(COMMANDS)) == len(sender.hook.keys) == 1


async def test_two_evaluators_decide_each_action_once(desk: Desk, sender: Sender) -> None:
    added = await desk.add(actions=[BOT, HOOK])
    await desk.copies(added, 20)
    await desk.close_day(2)
    await desk.close_day(3)
    barrier = asyncio.Barrier(2)
    batches = [await desk.claim(20, worker=await desk.rows.worker(f"w{n}")) for n in range(2)]
    await asyncio.gather(*(desk.evaluator(Together(desk.database, barrier)).handle(batch) for batch in batches))
    await desk.evaluate()
    await sender.deliver()
    assert len(await desk.rows.all(COMMANDS)) == len(sender.hook.keys) == len(set(sender.hook.keys)) == 20


async def test_a_commit_that_breaks_off_leaves_no_action(desk: Desk, sender: Sender) -> None:
    await desk.add(actions=[BOT])
    await desk.close_day(2)
    with pytest.raises(DatabaseUnavailable):
        await desk.evaluate(Broken(desk.database))
    await sender.deliver()
    assert (await desk.rows.all(COMMANDS), await desk.counts()) == (
        [],
        {"triggers": 0, "messages": 0, "deliveries": 0},
    )


async def test_a_command_that_is_delivered_again_is_there_once(desk: Desk, sender: Sender) -> None:
    """As after a kill between the channel's acceptance and the commit."""
    await desk.add(actions=[BOT])
    await desk.day_ends(2)
    outbox, keys = PostgresOutbox(desk.database), set()
    for name in ("killed", "second"):
        holder = await desk.rows.worker(name)
        assert await outbox.take_channel(holder, "bot") is True
        (delivery,) = await outbox.claim(holder, "bot", 10)
        keys.add(await sender.bot().send(letter_of(delivery)))
        await desk.rows.expire(holder)
        await PostgresLeases(desk.database).rescue()
    await sender.deliver()
    commands = await desk.rows.column("SELECT dedup_key FROM trading_bot_commands")
    assert set(commands) == keys
    assert len(commands) == 1
    assert await sender.statuses() == {"bot": "SENT"}


# --- who may ---


@pytest.mark.parametrize(
    ("change", "what"), [("role = 'viewer'", "a viewer"), ("is_active = false", "not active")]
)
async def test_actions_of_who_was_demoted_are_refused_in_sight(
    desk: Desk, sender: Sender, change: str, what: str
) -> None:
    added = await desk.add(actions=[BOT, HOOK])
    await desk.close_day(2)  # the run is there already: later ones are not made for who may not
    await desk.rows.change(f"UPDATE users SET {change} WHERE id = {OWNER}")
    await desk.evaluate()
    assert await desk.triggered_days() == [2]
    await sender.deliver()
    assert (await desk.rows.all(COMMANDS), sender.hook.keys) == ([], [])
    assert await desk.rows.value("SELECT count(*) FROM msg_inbox") == 1, "the message stands"
    sentence = f"only users of the role admin or trader may use actions, and this one is {what}"
    assert [(one.number, one.channel, one.status, one.error) for one in await actions_of(desk, added.id)] == [
        (1, "bot", DeliveryStatus.FAILED, sentence),
        (2, "webhook", DeliveryStatus.FAILED, sentence),
    ]
    await desk.rows.change("UPDATE users SET role = 'trader', is_active = true")
    await desk.day_ends(4)
    await sender.deliver()
    assert len(await desk.rows.all(COMMANDS)) == len(sender.hook.keys) == 1, "what was refused stays refused"


async def test_a_viewer_stores_no_actions(desk: Desk) -> None:
    await desk.rows.change("INSERT INTO users (name, role) VALUES ('viewer', 'viewer'), ('trader', 'trader')")
    viewer, trader = await desk.rows.column("SELECT id FROM users WHERE name <> 'owner' ORDER BY id")
    with pytest.raises(InvalidAlertRule, match=r"^actions: only users of the role admin or trader"):
        await desk.service.add(viewer, NewAlert({**ABOVE_5, "actions": [BOT]}))
    assert await desk.rows.value("SELECT count(*) FROM job_schedules") == 0
    plain = await desk.service.add(viewer, NewAlert(ABOVE_5))
    with pytest.raises(InvalidAlertRule, match=r"^actions: "):
        await desk.service.edit(viewer, plain.id, {**ABOVE_5, "actions": [BOT]})
    assert (await desk.service.get(viewer, plain.id)).task_params == ABOVE_5
    added = await desk.service.add(trader, NewAlert({**ABOVE_5, "actions": [BOT]}))
    assert added.task_params["actions"] == [BOT]


# --- when not ---


async def test_a_muted_alert_does_nothing_also_not_afterwards(desk: Desk, sender: Sender) -> None:
    added = await desk.add(actions=[BOT, HOOK])
    await desk.service.mute(OWNER, added.id)
    await desk.day_ends(2)
    await desk.service.unmute(OWNER, added.id)
    await sender.deliver()
    assert await desk.counts() == {"triggers": 1, "messages": 0, "deliveries": 0}
    await desk.day_ends(4)
    await sender.deliver()
    assert len(await desk.rows.all(COMMANDS)) == len(sender.hook.keys) == 1


async def test_after_an_outage_each_trigger_has_its_actions_and_late_ones_run_only_if_they_may(
    desk: Desk, sender: Sender
) -> None:
    """Day 2 is late on day 6; the three triggers' messages are one digest."""
    actions = [BOT, {**BOT, "bot_id": 8, "when_late": "run"}]
    added = await desk.add(rearm={"type": "simple"}, actions=actions)
    await desk.day_ends(6)
    await sender.deliver()
    commands = await desk.rows.all(COMMANDS)
    told = [
        (one.bot_id, one.payload["trigger"]["trigger_number"], one.payload["trigger"]["late"]) for one in commands
    ]
    assert sorted(told) == [(7, 2, False), (7, 3, False), (8, 1, True), (8, 2, False), (8, 3, False)]
    failed = [one for one in await actions_of(desk, added.id) if one.status is DeliveryStatus.FAILED]
    assert [(one.trigger_number, one.number) for one in failed] == [(1, 1)]
    assert "when_late is skip" in (failed[0].error or "")
    assert await desk.rows.value("SELECT count(*) FROM msg_inbox") == 1


async def test_what_was_decided_in_time_and_could_not_be_sent_in_time_is_not_sent(
    desk: Desk, sender: Sender
) -> None:
    added = await desk.add(actions=[BOT, {**BOT, "bot_id": 8, "when_late": "run"}])
    await desk.day_ends(2)
    desk.clock.at += 2 * DAY + timedelta(seconds=1)  # nobody was there to send it
    await sender.deliver()
    assert await desk.rows.column("SELECT bot_id FROM trading_bot_commands") == [8]
    assert [(one.number, one.status) for one in await actions_of(desk, added.id)] == [
        (1, DeliveryStatus.FAILED),
        (2, DeliveryStatus.SENT),
    ]


async def test_of_actions_that_failed_their_user_is_told_once_an_hour(desk: Desk, sender: Sender) -> None:
    added = await desk.add(actions=[HOOK, {**HOOK, "url": "https://example.org/"}])
    other = await desk.add(actions=[HOOK])
    sender.hook.failure = PermanentFailure("answered 410 Gone, nul \0 byte")
    await desk.day_ends(2)
    await sender.deliver()
    told = await desk.rows.all(
        f"SELECT * FROM msg_messages WHERE notification_type = '{ACTION_FAILED}' ORDER BY title"
    )
    assert sorted(one.payload["alert_id"] for one in told) == [added.id, other.id]
    assert told[0].title.endswith(": not done")
    assert "request to https://example." in told[0].body
    assert "answered 410 Gone" in told[0].body
    assert "secret" not in told[0].title + told[0].body
    await sender.deliver()
    deliveries = "SELECT d.channel, d.status FROM msg_deliveries d JOIN msg_messages m ON m.id = d.message_id "
    sent = await desk.rows.all(f"{deliveries} WHERE m.notification_type = '{ACTION_FAILED}'")
    assert {(one.channel, one.status) for one in sent} == {("console", "PENDING"), ("inbox", "SENT")}


async def test_of_an_action_that_is_tried_again_nobody_is_told_before_the_tries_are_used_up(
    desk: Desk, sender: Sender
) -> None:
    await desk.add(actions=[HOOK])
    sender.hook.failure = TemporaryFailure("answered 503")
    await desk.day_ends(2)
    for tries in range(1, 5):
        assert await desk.rows.all(FAILURES) == []
        await sender.deliver()
        assert len(sender.hook.keys) == tries
        await desk.rows.change("UPDATE msg_deliveries SET next_attempt_at = now() WHERE channel = 'webhook'")
    (told,) = await desk.rows.all(FAILURES)
    assert "was not done after 4 tries: answered 503" in told.body


async def test_whose_delivery_was_taken_over_tells_nothing_of_its_failure(desk: Desk) -> None:
    await desk.add(actions=[HOOK])
    await desk.day_ends(2)
    outbox = PostgresOutbox(desk.database)
    sender = await desk.rows.worker("slow")
    assert await outbox.take_channel(sender, "webhook") is True
    (delivery,) = await outbox.claim(sender, "webhook", 10)
    assert await outbox.release_held(sender) == 1
    await outbox.settle(sender, [Settled(delivery, DeliveryStatus.FAILED, error="too late")])
    assert (
        await desk.rows.value(f"SELECT count(*) FROM msg_messages WHERE notification_type = '{ACTION_FAILED}'")
        == 0
    )


async def test_an_edit_of_actions_keeps_the_state(desk: Desk, sender: Sender) -> None:
    added = await desk.add(actions=[BOT])
    await desk.day_ends(2)
    await desk.service.edit(OWNER, added.id, {**ABOVE_5, "actions": [{**BOT, "command": "stop"}]})
    for day in (3, 4):
        await desk.day_ends(day)
    state = (await desk.service.get(OWNER, added.id)).state_json
    assert state is not None
    assert state["trigger_count"] == 2
    await sender.deliver()
    assert await desk.rows.column("SELECT command FROM trading_bot_commands ORDER BY id") == ["signal", "stop"]


async def test_messages_to_people_are_listed_without_actions(desk: Desk) -> None:
    await desk.add(actions=[BOT, HOOK])
    await desk.day_ends(2)
    deliveries = PostgresDeliveries(desk.database)

    async def channels(channel: str | None = None, *, actions: bool = False) -> list[str]:
        found = await deliveries.list_deliveries(DeliveryFilter(OWNER, channel=channel, actions=actions))
        assert not [one for one in found if "secret" in f"{one.title} {one.body} {one.dedup_key}"]
        return sorted(one.channel for one in found)

    assert await channels() == ["console", "inbox"]
    assert await channels(actions=True) == ["bot", "webhook"]
    assert await channels("webhook") == ["webhook"]
    assert await channels("inbox", actions=True) == ["inbox"]


# --- by command ---


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    with Installation({"ATF_DATABASE_URL": database_url}, tmp_path / "home") as made:
        folder = made.home / "bars" / "1d"
        folder.mkdir(parents=True)
        (folder / "T.csv").write_text("timestamp,open,high,low,close,volume\n2024-01-01,1,1,1,1,1\n")
        yield made


async def test_actions_are_added_from_a_file_and_shown(
    installation: Installation, tmp_path: Path, rows: Rows
) -> None:
    def run(*words: str) -> tuple[int, str]:
        done = installation.run(*words)
        return done.returncode, done.stdout + done.stderr

    await rows.change("INSERT INTO users (name, role) VALUES ('guest', 'viewer')")
    file = tmp_path / "alert.json"
    file.write_text(json.dumps({**ABOVE_5, "actions": [BOT, {**HOOK, "when_late": "run"}]}))
    assert run("alerts", "add", "--config", str(file), "--user", "guest") == (
        1,
        "atf: guest is a viewer, and only users of the role admin or trader may edit\n",
    )
    assert run("alerts", "add", "--config", str(file))[0] == 0
    assert run("alerts", "add", f"@{file}")[0] == 0
    assert run("alerts", "add", "T 1d: close > 5", "--config", str(file))[0] == 1
    _, shown = run("alerts", "show", "1")
    assert "signal to bot 7; request to https://example.com, also when late" in shown
    status, text = run("alerts", "show", "1", "--json")
    assert (status, json.loads(text)["actions"]) == (0, [])
    _, edited = run("alerts", "edit", "1", "T 1d: close > 6")
    assert edited.endswith("\nits actions are gone: a line has none; give a configuration to keep them\n")
    assert run("notifications", "list", "--actions", "--json") == (0, "[]\n")
