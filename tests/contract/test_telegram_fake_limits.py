"""How many messages the local Telegram takes, by a clock that passes when a test says so."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.contract.telegram_bots import Answer, Raw, Seconds, raw_calls

from atf.testing.telegram import LocalTelegram, TelegramLimits, local_telegram
from atf.testing.telegram_chats import Chat


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
async def telegram(clock: Seconds) -> AsyncIterator[LocalTelegram]:
    async with local_telegram(monotonic=clock) as made:
        yield made


@pytest.fixture
async def call(telegram: LocalTelegram) -> AsyncIterator[Raw]:
    async with raw_calls(telegram) as calls:
        yield calls


async def send(call: Raw, chat: Chat, text: str = "hi") -> Answer:
    return await call("sendMessage", chat_id=chat.chat_id, text=text)


async def test_a_chat_takes_a_short_burst_and_then_one_a_second(
    telegram: LocalTelegram, call: Raw, clock: Seconds
) -> None:
    alice = telegram.private_chat()
    for _ in range(3):
        assert (await send(call, alice)).result
    answer = await send(call, alice)
    assert answer.refusal == (429, "Too Many Requests: retry after 1")
    assert answer.parameters == {"retry_after": 1}
    assert answer.response.headers["Retry-After"] == "1"
    for _ in range(5):
        clock.passed += 1
        assert (await send(call, alice)).result
    assert [violation.bound for violation in telegram.violations] == ["chat"]
    clock.passed += 3
    assert [(await send(call, alice)).response.status_code for _ in range(4)] == [200, 200, 200, 429]


async def test_who_does_not_wait_is_refused_and_counted(
    telegram: LocalTelegram, call: Raw, clock: Seconds
) -> None:
    alice = telegram.private_chat()
    for _ in range(4):
        await send(call, alice)
    clock.passed += 0.99
    assert (await send(call, alice)).refusal[0] == 429
    assert [violation.is_impatient for violation in telegram.violations] == [False, True]
    clock.passed += 1
    assert (await send(call, alice)).result


async def test_a_group_takes_twenty_in_any_minute(telegram: LocalTelegram, call: Raw, clock: Seconds) -> None:
    desk = telegram.group(kind="supergroup")
    for _ in range(20):
        assert (await send(call, desk)).result
        clock.passed += 2
    answer = await send(call, desk)
    assert answer.refusal == (429, "Too Many Requests: retry after 20")
    clock.passed += 20
    assert (await send(call, desk)).result
    assert (await send(call, desk)).refusal[0] == 429
    assert {violation.bound for violation in telegram.violations} == {"group"}


async def test_all_chats_together_take_thirty_a_second(
    telegram: LocalTelegram, call: Raw, clock: Seconds
) -> None:
    chats = [telegram.private_chat() for _ in range(31)]
    codes = [(await send(call, chat)).response.status_code for chat in chats]
    assert codes == [200] * 30 + [429]
    assert (await send(call, chats[0])).refusal[0] == 429
    assert telegram.violations[0].bound == "overall"
    clock.passed += 1
    assert (await send(call, chats[30])).result


async def test_edits_count_and_answers_to_buttons_do_not(
    telegram: LocalTelegram, call: Raw, clock: Seconds
) -> None:
    alice = telegram.private_chat()
    sent = (await send(call, alice)).result
    here = {"chat_id": alice.chat_id, "message_id": sent["message_id"]}
    codes = [(await call("editMessageText", **here, text=f"{i}")).response.status_code for i in range(3)]
    assert codes == [200, 200, 429]
    assert (await call("sendChatAction", chat_id=alice.chat_id, action="typing")).result is True
    assert (await call("deleteMessage", **here)).result is True
    assert alice.all_messages[0].text == "1"


async def test_refused_messages_use_up_nothing(telegram: LocalTelegram, call: Raw) -> None:
    alice = telegram.private_chat()
    for _ in range(5):
        assert (await send(call, alice, "")).refusal[0] == 400
    assert [(await send(call, alice)).response.status_code for _ in range(3)] == [200] * 3
    assert telegram.violations == []


async def test_limits_can_be_scaled_and_switched_off(clock: Seconds) -> None:
    async with (
        local_telegram(limits=TelegramLimits().scaled(10), monotonic=clock) as quick,
        raw_calls(quick) as call,
    ):
        alice = quick.private_chat()
        codes = [(await send(call, alice)).response.status_code for _ in range(31)]
        assert codes == [200] * 30 + [429]
        clock.passed += 1
        assert [(await send(call, alice)).response.status_code for _ in range(11)] == [200] * 10 + [429]
    async with local_telegram(limits=TelegramLimits.off()) as open_one, raw_calls(open_one) as call:
        bob = open_one.private_chat()
        assert {(await send(call, bob)).response.status_code for _ in range(100)} == {200}


async def test_edits_may_be_free(clock: Seconds) -> None:
    limits = TelegramLimits(edits_count=False)
    async with local_telegram(limits=limits, monotonic=clock) as telegram, raw_calls(telegram) as call:
        alice = telegram.private_chat()
        sent = (await send(call, alice)).result
        for i in range(50):
            edit = {"chat_id": alice.chat_id, "message_id": sent["message_id"], "text": f"{i}"}
            assert (await call("editMessageText", **edit)).result
        assert telegram.violations == []
