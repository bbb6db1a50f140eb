"""The local Telegram as a bot of the real aiogram meets it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest
from aiogram import Bot, Dispatcher
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramBadRequest,
    TelegramConflictError,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.filters import CommandStart
from aiogram.types import (
    BotCommand,
    BotCommandScopeAllPrivateChats,
    BotCommandScopeChat,
    BufferedInputFile,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaPhoto,
    Message,
)
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import web
from tests.contract.telegram_bots import bot_at, png, polling

from atf.testing.telegram import Fault, LocalTelegram, TelegramLimits, local_telegram
from atf.testing.telegram_api.commands import seen_commands
from atf.testing.telegram_chats import Chat


@pytest.fixture
async def telegram() -> AsyncIterator[LocalTelegram]:
    async with local_telegram(limits=TelegramLimits.off()) as made:
        yield made


@pytest.fixture
def alice(telegram: LocalTelegram) -> Chat:
    return telegram.private_chat(first_name="Alice", username="alice_example")


@pytest.fixture
async def bot(telegram: LocalTelegram) -> AsyncIterator[Bot]:
    async with bot_at(telegram) as made:
        yield made


def keyboard(*labels: str) -> InlineKeyboardMarkup:
    buttons = [InlineKeyboardButton(text=label, callback_data=label.lower()) for label in labels]
    return InlineKeyboardMarkup(inline_keyboard=[buttons])


@pytest.fixture
def dispatcher() -> Dispatcher:
    """Greets, offers two buttons, and echoes what it does not know."""
    made = Dispatcher()

    @made.message(CommandStart())
    async def greet(message: Message) -> None:
        await message.answer("*Hello* there\\!", parse_mode="MarkdownV2", reply_markup=keyboard("Yes", "No"))

    @made.callback_query()
    async def choose(query: CallbackQuery) -> None:
        await query.answer(f"{query.from_user.first_name} said {query.data}")
        assert isinstance(query.message, Message)
        await query.message.edit_text(f"chosen: {query.data}")

    @made.message()
    async def echo(message: Message) -> None:
        await message.reply(f"you wrote: {message.text or message.caption}")

    @made.edited_message()
    async def again(message: Message) -> None:
        await message.answer(f"now you write: {message.text}")

    return made


# --- polling ---


async def test_a_conversation_with_buttons(
    telegram: LocalTelegram, alice: Chat, bot: Bot, dispatcher: Dispatcher
) -> None:
    async with polling(dispatcher, bot):
        await alice.say("/start")
        greeting = await alice.next_message()
        assert (greeting.text, greeting.labels) == ("Hello there!", [["Yes", "No"]])
        assert greeting.entities == ({"type": "bold", "offset": 0, "length": 5},)
        assert greeting.parse_mode == "MarkdownV2"
        query = await alice.until_answered(await alice.press("Yes"))
        assert query.answer is not None
        assert query.answer.text == "Alice said yes"
        await alice.until(lambda: greeting.text == "chosen: yes")
        assert greeting.buttons == []
        assert [version.text for version in greeting.versions] == ["Hello there!", "chosen: yes"]
    assert [call.method for call in alice.history] == ["sendMessage", "answerCallbackQuery", "editMessageText"]
    assert telegram.violations == []


async def test_a_bot_sees_edits_replies_captions_and_forwards(
    telegram: LocalTelegram, alice: Chat, bot: Bot, dispatcher: Dispatcher
) -> None:
    bob = telegram.person("Bob")
    async with polling(dispatcher, bot):
        written = await alice.say("first")
        echo = await alice.next_message()
        assert (echo.text, echo.reply_to) == ("you wrote: first", written)
        await alice.edit(written, "second")
        assert (await alice.next_message()).text == "now you write: second"
        await alice.forward("from afar", bob)
        assert (await alice.next_message()).text == "you wrote: from afar"
        await alice.send_photo(png(), caption="a chart")
        assert (await alice.next_message()).text == "you wrote: a chart"


async def test_somebody_else_presses_a_button_and_an_old_press_comes_again(
    telegram: LocalTelegram, bot: Bot
) -> None:
    alice, bob = telegram.person("Alice"), telegram.person("Bob")
    desk = telegram.group(members=[alice, bob])
    pressed: list[tuple[str, str]] = []
    dispatcher = Dispatcher()

    @dispatcher.callback_query()
    async def keep(query: CallbackQuery) -> None:
        pressed.append((query.id, query.from_user.first_name))

    await bot.send_message(desk.chat_id, "Well?", reply_markup=keyboard("Yes", "No"))
    async with polling(dispatcher, bot):
        query = await desk.press("No", by=bob)
        await desk.replay(query)
        await desk.until(lambda: len(pressed) == 2)
    assert pressed == [(query.query_id, "Bob")] * 2


async def test_updates_wait_for_a_bot_that_is_down(
    telegram: LocalTelegram, alice: Chat, bot: Bot, dispatcher: Dispatcher
) -> None:
    await alice.say("are you there?")
    async with polling(dispatcher, bot):
        assert (await alice.next_message()).text == "you wrote: are you there?"
        await telegram.until_polled()
        assert not telegram.updates.pending


async def test_a_bot_in_a_group_sees_what_is_meant_for_it(
    telegram: LocalTelegram, bot: Bot, dispatcher: Dispatcher
) -> None:
    desk = telegram.group(kind="supergroup")
    async with polling(dispatcher, bot):
        await desk.say("hello everybody")
        await desk.say("/help@SomeOtherBot")
        await desk.say("/help@ExampleLoggerBot")
        echo = await desk.next_message()
        assert echo.text == "you wrote: /help@ExampleLoggerBot"
        await desk.say("thank you", reply_to=echo)
        assert (await desk.next_message()).text == "you wrote: thank you"
        telegram.reads_all = True
        await desk.say("hello everybody")
        assert (await desk.next_message()).text == "you wrote: hello everybody"


async def test_two_bots_of_one_token_meet_a_conflict(telegram: LocalTelegram, alice: Chat, bot: Bot) -> None:
    first = asyncio.create_task(bot.get_updates(timeout=10))
    await telegram.until_polled()
    second = asyncio.create_task(bot.get_updates(timeout=10))
    with pytest.raises(TelegramConflictError, match="terminated by other getUpdates request"):
        await first
    await telegram.until_polled()
    await alice.say("hello")
    assert len(await second) == 1


# --- webhooks ---


async def test_a_webhook_gets_updates_with_its_secret_and_those_that_it_missed(
    telegram: LocalTelegram, alice: Chat, bot: Bot, dispatcher: Dispatcher
) -> None:
    application = web.Application()
    SimpleRequestHandler(dispatcher, bot, secret_token="s3cret", handle_in_background=False).register(
        application, "/hook"
    )
    setup_application(application, dispatcher, bot=bot)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        await bot.set_webhook(f"http://127.0.0.1:{port}/hook", secret_token="wrong")
        await alice.say("hello")
        await telegram.until(lambda: telegram.webhook.attempts >= 2)
        info = await bot.get_webhook_info()
        assert info.pending_update_count == 1
        assert info.last_error_message == "Wrong response from the webhook: 401 Unauthorized"
        await bot.set_webhook(f"http://127.0.0.1:{port}/hook", secret_token="s3cret")
        assert (await alice.next_message()).text == "you wrote: hello"
        await telegram.until(lambda: not telegram.updates.pending)
        with pytest.raises(TelegramConflictError, match="while webhook is active"):
            await bot.get_updates()
        await bot.delete_webhook()
        assert await bot.get_updates() == []
    finally:
        await runner.cleanup()


async def test_a_webhook_that_is_down_gets_updates_when_it_is_back_in_order(
    telegram: LocalTelegram, alice: Chat, bot: Bot
) -> None:
    seen: list[tuple[str, str | None]] = []
    broken = True

    async def hook(request: web.Request) -> web.Response:
        if broken:
            return web.Response(status=503)
        update = await request.json()
        seen.append((update["message"]["text"], request.headers.get("X-Telegram-Bot-Api-Secret-Token")))
        answer = {"method": "sendMessage", "chat_id": update["message"]["chat"]["id"], "text": "got it"}
        return web.json_response(answer)

    application = web.Application()
    application.router.add_post("/hook", hook)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    telegram.webhook.reached_at = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        await bot.set_webhook("https://bot.example.com/hook", secret_token="abc")
        await alice.say("one")
        await alice.say("two")
        await telegram.until(lambda: telegram.webhook.attempts >= 3)
        broken = False
        assert [message.text for message in await alice.next_messages(2)] == ["got it", "got it"]
        assert seen == [("one", "abc"), ("two", "abc")]
    finally:
        await runner.cleanup()


async def test_a_long_poll_ends_when_a_webhook_is_set(telegram: LocalTelegram, bot: Bot) -> None:
    poll = asyncio.create_task(bot.get_updates(timeout=10))
    await telegram.until_polled()
    await bot.set_webhook("http://127.0.0.1:9/hook")
    with pytest.raises(TelegramConflictError, match="terminated by setWebhook request"):
        await poll


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://bot.example.com/", "An HTTPS URL must be provided"),
        ("https://bot.example.com:8000/", "only on ports 80, 88, 443 or 8443"),
        ("https://bot.example.com/", "Failed to resolve host"),
    ],
)
async def test_webhooks_that_telegram_refuses(bot: Bot, url: str, sentence: str) -> None:
    with pytest.raises(TelegramBadRequest, match=sentence):
        await bot.set_webhook(url)


async def test_a_secret_has_letters_that_a_header_may_carry(bot: Bot) -> None:
    with pytest.raises(TelegramBadRequest, match="secret token contains unallowed characters"):
        await bot.set_webhook("http://127.0.0.1:9/", secret_token="not this!")


# --- files ---


async def test_pictures_and_files_arrive_as_they_were_sent(
    telegram: LocalTelegram, alice: Chat, bot: Bot
) -> None:
    picture = png(30, 20)
    sent = await bot.send_photo(
        alice.chat_id, BufferedInputFile(picture, "chart.png"), caption="<b>AAPL</b>", parse_mode="HTML"
    )
    message = await alice.next_message()
    assert message.photo is not None
    assert (message.photo.content, message.photo.name) == (picture, "chart.png")
    assert message.text == "AAPL"
    assert sent.photo is not None
    assert (sent.photo[-1].width, sent.photo[-1].height) == (30, 20)
    await bot.send_document(alice.chat_id, BufferedInputFile(b"a,b\n1,2\n", "bars.csv"))
    document = (await alice.next_message()).document
    assert document is not None
    assert (document.name, document.content, document.mime_type) == ("bars.csv", b"a,b\n1,2\n", "text/csv")
    await bot.send_photo(alice.chat_id, sent.photo[-1].file_id)
    assert (await alice.next_message()).photo == message.photo


async def test_a_bot_downloads_what_people_send(alice: Chat, bot: Bot) -> None:
    await alice.send_document(b"secret plans", "plans.txt", caption="read this")
    update = (await bot.get_updates())[0]
    assert update.message is not None
    assert update.message.caption == "read this"
    assert update.message.document is not None
    file = await bot.get_file(update.message.document.file_id)
    assert file.file_path is not None
    server = bot.session.api
    async with (
        aiohttp.ClientSession() as session,
        session.get(server.file_url(bot.token, file.file_path)) as answer,
    ):
        assert await answer.read() == b"secret plans"


async def test_a_picture_is_put_in_place_of_another(alice: Chat, bot: Bot) -> None:
    await bot.send_photo(alice.chat_id, BufferedInputFile(png(3, 3), "old.png"), caption="old")
    message = await alice.next_message()
    media = InputMediaPhoto(media=BufferedInputFile(png(9, 9), "new.png"), caption="new")
    await bot.edit_message_media(media, chat_id=alice.chat_id, message_id=message.message_id)
    assert message.photo is not None
    assert (message.photo.name, message.photo.width, message.text) == ("new.png", 9, "new")
    await bot.edit_message_caption(chat_id=alice.chat_id, message_id=message.message_id, caption="newer")
    assert message.text == "newer"
    with pytest.raises(TelegramBadRequest, match="there is no text in the message to edit"):
        await bot.edit_message_text("text", chat_id=alice.chat_id, message_id=message.message_id)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"no picture", "IMAGE_PROCESS_FAILED"), (png(6000, 1), "PHOTO_INVALID_DIMENSIONS"), (b"", "non-empty")],
)
async def test_what_is_no_picture_is_refused(alice: Chat, bot: Bot, content: bytes, sentence: str) -> None:
    with pytest.raises(TelegramBadRequest, match=sentence):
        await bot.send_photo(alice.chat_id, BufferedInputFile(content, "chart.png"))


# --- the bot itself ---


async def test_commands_are_seen_by_scope_and_language(telegram: LocalTelegram, bot: Bot) -> None:
    alice = telegram.private_chat(language_code="en")
    dieter = telegram.private_chat(first_name="Dieter", language_code="de-AT")
    await bot.set_my_commands([BotCommand(command="help", description="Help")])
    await bot.set_my_commands(
        [BotCommand(command="hilfe", description="Hilfe")],
        scope=BotCommandScopeAllPrivateChats(),
        language_code="de",
    )
    only = BotCommandScopeChat(chat_id=alice.chat_id)
    await bot.set_my_commands([BotCommand(command="admin", description="Admin")], scope=only)
    seen = [seen_commands(telegram, chat, chat.members[0])[0]["command"] for chat in (alice, dieter)]
    assert seen == ["admin", "hilfe"]
    await bot.delete_my_commands(scope=only)
    assert [one.command for one in await bot.get_my_commands()] == ["help"]
    assert seen_commands(telegram, alice, alice.members[0])[0]["command"] == "help"
    with pytest.raises(TelegramBadRequest, match="BOT_COMMAND_INVALID"):
        await bot.set_my_commands([BotCommand(command="Not-This", description="x")])


async def test_the_bot_knows_itself_and_its_chats(telegram: LocalTelegram, alice: Chat, bot: Bot) -> None:
    me = await bot.get_me()
    assert (me.id, me.username, me.can_read_all_group_messages) == (123456, "ExampleLoggerBot", False)
    chat = await bot.get_chat(alice.chat_id)
    assert (chat.type, chat.first_name, chat.username) == ("private", "Alice", "alice_example")
    await bot.send_chat_action(alice.chat_id, "typing")
    assert alice.actions == ["typing"]
    desk = telegram.group("Desk")
    await bot.leave_chat(desk.chat_id)
    with pytest.raises(TelegramForbiddenError, match="bot is not a member of the group chat"):
        await bot.send_message(desk.chat_id, "still here?")


async def test_a_bot_that_logged_out_and_one_that_closes_too_soon(telegram: LocalTelegram, bot: Bot) -> None:
    with pytest.raises(TelegramRetryAfter):
        await bot.close()
    assert await bot.log_out()
    with pytest.raises(TelegramBadRequest, match="Logged out"):
        await bot.get_me()
    telegram.log_in()
    await bot.get_me()


async def test_a_revoked_token_is_refused_also_in_a_long_poll(telegram: LocalTelegram, bot: Bot) -> None:
    poll = asyncio.create_task(bot.get_updates(timeout=10))
    await telegram.until_polled()
    telegram.revoke_token()
    with pytest.raises(TelegramUnauthorizedError, match="Unauthorized"):
        await poll
    with pytest.raises(TelegramUnauthorizedError):
        await bot.get_me()
    telegram.restore_token()
    await bot.get_me()


# --- chats that do not take messages ---


async def test_who_blocks_the_bot_gets_nothing_until_the_block_ends(alice: Chat, bot: Bot) -> None:
    await alice.block()
    with pytest.raises(TelegramForbiddenError, match="bot was blocked by the user"):
        await bot.send_message(alice.chat_id, "hello")
    await alice.unblock()
    await bot.send_message(alice.chat_id, "hello again")
    updates = await bot.get_updates()
    changes = [(u.my_chat_member.old_chat_member.status, u.my_chat_member.new_chat_member.status)
               for u in updates if u.my_chat_member is not None]  # fmt: skip
    assert changes == [("member", "kicked"), ("kicked", "member")]
    assert [message.text for message in alice.messages] == ["hello again"]


async def test_a_group_that_became_a_supergroup_says_where_it_went(telegram: LocalTelegram, bot: Bot) -> None:
    group = telegram.group("Desk")
    supergroup = await telegram.upgrade(group)
    with pytest.raises(TelegramMigrateToChat) as caught:
        await bot.send_message(group.chat_id, "hello")
    assert caught.value.migrate_to_chat_id == supergroup.chat_id
    await bot.send_message(supergroup.chat_id, "hello")
    assert (await supergroup.next_message()).text == "hello"
    messages = [update.message for update in await bot.get_updates()]
    assert [(m.migrate_to_chat_id, m.migrate_from_chat_id) for m in messages if m is not None] == [
        (supergroup.chat_id, None),
        (None, group.chat_id),
    ]


async def test_a_bot_that_was_put_out_of_a_group(telegram: LocalTelegram, bot: Bot) -> None:
    for kind in ("group", "supergroup"):
        desk = telegram.group("Desk", kind=kind)
        await desk.kick_bot()
        with pytest.raises(TelegramForbiddenError, match=f"bot was kicked from the {kind} chat"):
            await bot.send_message(desk.chat_id, "hello")
        await desk.add_bot()
        await bot.send_message(desk.chat_id, "hello")


async def test_people_who_are_gone_or_never_wrote(telegram: LocalTelegram, bot: Bot) -> None:
    gone, new = telegram.private_chat(), telegram.private_chat(is_started=False)
    await gone.deactivate()
    with pytest.raises(TelegramForbiddenError, match="user is deactivated"):
        await bot.send_message(gone.chat_id, "hello")
    with pytest.raises(TelegramForbiddenError, match="bot can't initiate conversation with a user"):
        await bot.send_message(new.chat_id, "hello")
    await new.say("/start")
    await bot.send_message(new.chat_id, "hello")
    with pytest.raises(TelegramBadRequest, match="chat not found"):
        await bot.send_message(5, "hello")


# --- faults and outages ---


async def test_a_bot_goes_on_after_an_outage_of_its_telegram(
    telegram: LocalTelegram, alice: Chat, bot: Bot, dispatcher: Dispatcher
) -> None:
    async with polling(dispatcher, bot):
        await telegram.until_polled()
        await telegram.refuse_connections()
        async with bot_at(telegram) as other:
            with pytest.raises(TelegramNetworkError):
                await other.get_me()
        await alice.say("during the outage")
        await telegram.listen_again()
        assert (await alice.next_message()).text == "you wrote: during the outage"


async def test_an_update_is_given_until_its_answer_arrives_and_no_longer(
    telegram: LocalTelegram, alice: Chat, bot: Bot, dispatcher: Dispatcher
) -> None:
    never_answered = {Fault.SILENT, Fault.ACCEPTED_THEN_SILENT, Fault.STALLED}
    faults = set(Fault) - never_answered - {Fault.THROTTLED, Fault.SLOW}  # which take whole seconds, or arrive
    for fault in faults:
        telegram.misbehave(fault, method="getUpdates", times=1)
    await alice.say("still there?")
    async with polling(dispatcher, bot):
        assert (await alice.next_message()).text == "you wrote: still there?"
        await telegram.until_requested("getUpdates", len(faults) + 2)
    assert len(alice.messages) == 1


SEEN_AS = {
    Fault.THROTTLED: TelegramRetryAfter,
    Fault.BROKEN: TelegramServerError,
    Fault.BAD_GATEWAY: ClientDecodeError,
    Fault.GATEWAY_TIMEOUT: TelegramServerError,
    Fault.SILENT: TelegramNetworkError,
    Fault.CUT: TelegramNetworkError,
    Fault.ACCEPTED_THEN_SILENT: TelegramNetworkError,
    Fault.ACCEPTED_THEN_CUT: TelegramNetworkError,
    Fault.ACCEPTED_THEN_BAD_GATEWAY: ClientDecodeError,
    Fault.STALLED: TelegramNetworkError,
    Fault.TRUNCATED: ClientDecodeError,
    Fault.WRONG_SHAPE: ClientDecodeError,
    Fault.HTML: ClientDecodeError,
}


@pytest.mark.parametrize("fault", SEEN_AS)
async def test_a_fault_keeps_a_message_from_being_sent_or_only_its_answer_from_coming(
    telegram: LocalTelegram, alice: Chat, fault: Fault
) -> None:
    telegram.misbehave(fault, method="sendMessage", times=1)
    async with bot_at(telegram, patience=0.3) as bot:
        with pytest.raises(SEEN_AS[fault]):
            await bot.send_message(alice.chat_id, "one")
        arrived = [message.text for message in alice.messages]
        is_told_so = fault.value.startswith("accepted")
        assert arrived == (["one"] if is_told_so else [])
        await bot.send_message(alice.chat_id, "two")
    assert alice.messages[-1].text == "two"


async def test_a_slow_answer_comes_after_the_message(telegram: LocalTelegram, alice: Chat, bot: Bot) -> None:
    telegram.misbehave(Fault.SLOW, chat_id=alice.chat_id, delay=timedelta(minutes=5))
    sending = asyncio.create_task(bot.send_message(alice.chat_id, "hello"))
    await alice.next_message()
    assert not sending.done()
    telegram.behave()
    assert (await sending).text == "hello"


async def test_a_fault_concerns_one_method_or_one_chat_and_so_many_requests(
    telegram: LocalTelegram, alice: Chat, bot: Bot
) -> None:
    bob = telegram.private_chat(first_name="Bob")
    telegram.misbehave(Fault.BROKEN, chat_id=alice.chat_id, times=2)
    await bot.send_message(bob.chat_id, "hello")
    await bot.get_me()
    for _ in range(2):
        with pytest.raises(TelegramServerError):
            await bot.send_message(alice.chat_id, "hello")
    await bot.send_message(alice.chat_id, "hello")


async def test_limits_meet_a_bot_that_sends_too_much() -> None:
    async with local_telegram(limits=TelegramLimits(chat_burst=2)) as telegram, bot_at(telegram) as bot:
        alice = telegram.private_chat()
        for text in ("one", "two"):
            await bot.send_message(alice.chat_id, text)
        with pytest.raises(TelegramRetryAfter) as caught:
            await bot.send_message(alice.chat_id, "three")
        assert caught.value.retry_after == 1
        assert len(telegram.violations) == 1
        assert [message.text for message in alice.messages] == ["one", "two"]


def test_every_fault_is_tried() -> None:
    assert set(SEEN_AS) | {Fault.SLOW} == set(Fault)
