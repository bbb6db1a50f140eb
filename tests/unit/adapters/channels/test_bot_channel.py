"""Channel ``bot``, and when an action is too late to be sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atf.adapters.channels.action_delivery import require_in_time
from atf.adapters.channels.bot import BotChannel
from atf.alerts.bot_command import BotCommand
from atf.errors import PermanentFailure
from atf.notifications.channel import Letter, Recipient
from atf.testing.clocks import FakeClock

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
LETTER = Letter(
    Recipient(user_id=2),
    dedup_key="7:abc:1:1:bot",
    notification_type="alert_action",
    title="Action 1 of alert breakout",
    text="start to bot 3",
    payload={"alert_id": 7, "bot_id": 3, "command": "start", "late_at": NOON.isoformat(), "body": {"a": 1}},
)


class Commands:
    """Commands by their key."""

    def __init__(self) -> None:
        self.found: dict[str, BotCommand] = {}

    async def add(self, command: BotCommand) -> None:
        self.found.setdefault(command.dedup_key, command)


async def test_the_command_is_written_with_its_key_and_source() -> None:
    commands = Commands()
    channel = BotChannel(commands, FakeClock(NOON))
    assert await channel.send(LETTER) == "7:abc:1:1:bot"
    assert list(commands.found.values()) == [BotCommand("7:abc:1:1:bot", 3, 2, "start", {"a": 1}, "alert:7")]
    assert (channel.name, channel.is_idempotent) == ("bot", True)


@pytest.mark.parametrize("field", ["alert_id", "bot_id", "command", "body"])
@pytest.mark.parametrize("value", [None, [1]])
async def test_what_is_no_command_is_given_up(field: str, value: Any) -> None:
    commands = Commands()
    with pytest.raises(PermanentFailure, match=f"this is no action with a {field}"):
        await BotChannel(commands, FakeClock(NOON)).send(
            replace(LETTER, payload={**LETTER.payload, field: value})
        )
    assert commands.found == {}


async def test_what_became_late_on_its_way_is_not_done() -> None:
    commands = Commands()
    clock = FakeClock(NOON + timedelta(microseconds=1))
    with pytest.raises(PermanentFailure, match="when_late is skip"):
        await BotChannel(commands, clock).send(LETTER)
    assert commands.found == {}
    require_in_time(LETTER, FakeClock(NOON))
    require_in_time(replace(LETTER, payload={**LETTER.payload, "late_at": None}), clock)


@pytest.mark.parametrize("late_at", [5, "soon"])
def test_a_time_that_cannot_be_read_is_given_up(late_at: object) -> None:
    changed = replace(LETTER, payload={**LETTER.payload, "late_at": late_at})
    with pytest.raises(PermanentFailure, match="cannot be read"):
        require_in_time(changed, FakeClock(NOON))


def test_in_a_replay_nothing_is_late() -> None:
    require_in_time(replace(LETTER, payload={**LETTER.payload, "late_at": "1970-01-01T00:00:00+00:00"}), None)
