"""What the local Telegram takes and refuses, in Telegram's own words, asked without a library in between."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.telegram_bots import Raw, Seconds, png, raw_calls

from atf.testing.telegram import LocalTelegram, TelegramLimits, local_telegram
from atf.testing.telegram_chats import Chat

PARSE = "Bad Request: can't parse entities: "
RECORDED = Path(__file__).parents[3] / "shared" / "data" / "payloads" / "telegram"


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
async def telegram(clock: Seconds) -> AsyncIterator[LocalTelegram]:
    limits = TelegramLimits.off()
    async with local_telegram(limits=limits, monotonic=clock, calendar=clock.calendar) as made:
        yield made


@pytest.fixture
def alice(telegram: LocalTelegram) -> Chat:
    return telegram.private_chat(first_name="Alice", username="alice_example")


@pytest.fixture
async def call(telegram: LocalTelegram) -> AsyncIterator[Raw]:
    async with raw_calls(telegram) as calls:
        yield calls


# --- how calls are made ---


async def test_calls_come_in_every_form(telegram: LocalTelegram, alice: Chat, call: Raw) -> None:
    values = {"chat_id": str(alice.chat_id), "text": "hi"}
    for answer in (
        await call.client.get(call.url("sendMessage"), params=values),
        await call.client.post(call.url("SENDMESSAGE"), data=values),
        await call.client.post(call.url("sendmessage"), json=values),
        await call.client.post(call.url("sendMessage"), data=values, files={"unused": b"x"}),
        await call.client.post(call.url("sendMessage"), params={"chat_id": alice.chat_id}, data={"text": "hi"}),
    ):
        assert answer.json()["result"]["text"] == "hi"
    assert len(alice.messages) == 5


async def test_uploads_come_as_parts_and_as_attachments(alice: Chat, call: Raw) -> None:
    values = {"chat_id": str(alice.chat_id), "photo": "attach://chart"}
    files = {"chart": ("chart.png", png(4, 5))}
    answer = await call.client.post(call.url("sendPhoto"), data=values, files=files)
    assert answer.json()["result"]["photo"][0]["width"] == 4
    answer = await call.client.post(
        call.url("sendDocument"), data={"chat_id": str(alice.chat_id)}, files={"document": ("a.txt", b"a")}
    )
    document = answer.json()["result"]["document"]
    assert (document["file_name"], document["file_size"]) == ("a.txt", 1)
    file = (await call("getFile", file_id=document["file_id"])).result
    path = f"{call.telegram.url}/file/bot{call.telegram.token}/{file['file_path']}"
    assert (await call.client.get(path)).content == b"a"


async def test_what_there_is_not(alice: Chat, call: Raw) -> None:
    assert (await call("sendNonsense")).refusal == (404, "Not Found: method not found")
    assert (await call("getFile", file_id="x")).refusal == (400, "Bad Request: invalid file_id")
    assert (await call("sendPhoto", chat_id=alice.chat_id)).refusal == (
        400,
        "Bad Request: there is no photo in the request",
    )
    assert (await call("sendMessage", text="hi")).refusal == (400, "Bad Request: chat_id is empty")
    assert (await call("sendMessage", chat_id="@nobody", text="hi")).refusal == (
        400,
        "Bad Request: chat not found",
    )
    assert (await call.client.get(f"{call.telegram.url}/nonsense")).json() == {
        "ok": False,
        "error_code": 404,
        "description": "Not Found",
    }
    broken = await call.client.post(call.url("getMe"), content=b"{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 400


async def test_another_token_is_nobody(call: Raw) -> None:
    answer = await call.client.get(call.url("getMe", token="123456:other"))
    assert (answer.status_code, answer.json()) == (
        401,
        {"ok": False, "error_code": 401, "description": "Unauthorized"},
    )
    assert (await call.client.get(call.url("getMe", token="nonsense"))).status_code == 401


# --- texts ---


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", "message text is empty"),
        (" \n ", "text must be non-empty"),
        ("x" * 4097, "message is too long"),
        ("x" * 32769, "text is too long"),
    ],
)
async def test_texts_have_1_to_4096_characters(alice: Chat, call: Raw, text: str, refusal: str) -> None:
    answer = await call("sendMessage", chat_id=alice.chat_id, text=text)
    assert answer.refusal == (400, f"Bad Request: {refusal}")
    assert alice.messages == []


async def test_marks_do_not_count_as_characters(alice: Chat, call: Raw) -> None:
    text = "*" + "x" * 4096 + "*"
    answer = await call("sendMessage", chat_id=alice.chat_id, text=text, parse_mode="MarkdownV2")
    assert answer.result["entities"] == [{"type": "bold", "offset": 0, "length": 4096}]


async def test_captions_have_up_to_1024_characters(alice: Chat, call: Raw) -> None:
    for length, is_fine in ((1024, True), (1025, False)):
        values = {"chat_id": str(alice.chat_id), "caption": "x" * length}
        body = (await call.client.post(call.url("sendPhoto"), data=values, files={"photo": png()})).json()
        assert body["ok"] is is_fine
    assert body["description"] == "Bad Request: message caption is too long"


RESERVED = "_*[]()~`>#+-=|{}.!"
UNCLOSED = {"_": "Italic", "*": "Bold", "~": "Strikethrough", "`": "Code", "[": "TextUrl"}


@pytest.mark.parametrize("char", RESERVED)
async def test_reserved_characters_of_markdown_must_be_escaped(alice: Chat, call: Raw, char: str) -> None:
    values = {"chat_id": alice.chat_id, "parse_mode": "MarkdownV2"}
    code, told = (await call("sendMessage", **values, text=f"grün {char}")).refusal
    assert code == 400
    if char in UNCLOSED:
        assert told == f"{PARSE}Can't find end of {UNCLOSED[char]} entity at byte offset 6"
    else:
        assert told == f"{PARSE}Character '{char}' is reserved and must be escaped with the preceding '\\'"
    assert (await call("sendMessage", **values, text=f"grün \\{char}")).result["text"] == f"grün {char}"


MARKDOWN = [
    ("*a _b ~c __d__~_*", "a b c d", ["bold 0 7", "italic 2 5", "strikethrough 4 3", "underline 6 1"]),
    ("||hidden|| `a*b`", "hidden a*b", ["spoiler 0 6", "code 7 3"]),
    ("```python\nx = 1\n```", "x = 1", ["pre 0 5"]),
    ("```\nx_1\n```", "x_1", ["pre 0 3"]),
    ("[ATF](https://example.org/\\))", "ATF", ["text_link 0 3"]),
    ("[Bob](tg://user?id=7)", "Bob", ["text_mention 0 3"]),
    ("[here](http://localhost:8080/)", "here", []),
    ("\U0001f680 *x*", "\U0001f680 x", ["bold 3 1"]),
    (">one\n>two\nthree", "one\ntwo\nthree", ["blockquote 0 8"]),
    (">one\n>two||", "one\ntwo", ["expandable_blockquote 0 7"]),
    ("**a", "a", []),
    ("a__b", "ab", None),
    ("[a](b", "a", None),
    ("`\\``", "`", ["code 0 1"]),
]


@pytest.mark.parametrize(("source", "text", "entities"), MARKDOWN)
async def test_markdown(alice: Chat, call: Raw, source: str, text: str, entities: list[str] | None) -> None:
    answer = await call("sendMessage", chat_id=alice.chat_id, text=source, parse_mode="MarkdownV2")
    if entities is None:
        assert "Can't find end of" in answer.refusal[1]
        return
    assert answer.result["text"] == text
    assert _told(answer.result) == entities


HTML = [
    ("<b>a <i>b</i></b> &lt;c&gt; &amp;", "a b <c> &", ["bold 0 3", "italic 2 1"]),
    ('<pre><code class="language-python">x</code></pre>', "x", ["pre 0 1"]),
    ('<a href="https://example.org/?a=1&amp;b=2">x</a>', "x", ["text_link 0 1"]),
    ("<tg-spoiler>x</tg-spoiler><span class='tg-spoiler'>y</span>", "xy", ["spoiler 0 1", "spoiler 1 1"]),
    ("<blockquote expandable>x</blockquote>", "x", ["expandable_blockquote 0 1"]),
    ("<s>a</s><u>b</u>&#8364;&#x20AC;", "ab€€", ["strikethrough 0 1", "underline 1 1"]),
    ("é <div>x</div>", 'Unsupported start tag "div" at byte offset 3', None),
    ("<b>x", 'Can\'t find end tag corresponding to start tag "b"', None),
    ("<b>x</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"', None),
    ("x</b>", "Unexpected end tag at byte offset 1", None),
    ("1 < 2", 'Unsupported start tag "" at byte offset 2', None),
    ("<b", "Unclosed start tag at byte offset 0", None),
    ("<span>x</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0', None),
]


@pytest.mark.parametrize(("source", "text", "entities"), HTML)
async def test_html(alice: Chat, call: Raw, source: str, text: str, entities: list[str] | None) -> None:
    answer = await call("sendMessage", chat_id=alice.chat_id, text=source, parse_mode="HTML")
    if entities is None:
        assert answer.refusal == (400, PARSE + text)
        return
    assert answer.result["text"] == text
    assert _told(answer.result) == entities


async def test_the_older_markdown_and_entities_of_ones_own(alice: Chat, call: Raw) -> None:
    values = {"chat_id": alice.chat_id}
    answer = await call("sendMessage", **values, text="*a* _b_ `c` 1.5 [d](e.org)", parse_mode="Markdown")
    assert _told(answer.result) == ["bold 0 1", "italic 2 1", "code 4 1", "text_link 10 1"]
    answer = await call("sendMessage", **values, text="a_b", parse_mode="Markdown")
    assert answer.refusal == (400, f"{PARSE}Can't find end of the entity starting at byte offset 1")
    bold = [{"type": "bold", "offset": 0, "length": 1}]
    assert _told((await call("sendMessage", **values, text="a_b", entities=bold)).result) == ["bold 0 1"]
    answer = await call("sendMessage", **values, text="a", parse_mode="LaTeX")
    assert answer.refusal == (400, "Bad Request: unsupported parse_mode")


async def test_links_and_commands_are_found(alice: Chat, call: Raw) -> None:
    text = "see https://example.org/a, /help and @alice_example"
    answer = await call("sendMessage", chat_id=alice.chat_id, text=text)
    assert _told(answer.result) == ["url 4 21", "bot_command 27 5", "mention 37 14"]


def _told(message: dict[str, Any]) -> list[str]:
    return [f"{one['type']} {one['offset']} {one['length']}" for one in message.get("entities", [])]


# --- keyboards ---


def rows(*buttons: dict[str, Any]) -> dict[str, Any]:
    return {"inline_keyboard": [[button] for button in buttons]}


@pytest.mark.parametrize(
    ("markup", "refusal"),
    [
        (rows({"text": "x", "callback_data": "é" * 32 + "x"}), "BUTTON_DATA_INVALID"),
        (
            rows({"text": "x", "callback_data": ""}),
            "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
        ),
        (rows({"text": " ", "callback_data": "x"}), "inline keyboard button text must be non-empty"),
        (
            rows({"text": "x", "url": "http://localhost:8080/"}),
            "inline keyboard button URL 'http://localhost:8080/' is invalid: Wrong HTTP URL",
        ),
        (rows(*[{"text": "x", "callback_data": "x"}] * 101), "reply markup is too long"),
        (rows(*[{"text": "x" * 200, "callback_data": "x"}] * 60), "reply markup is too long"),
        (
            {"inline_keyboard": [{"text": "x"}]},
            'field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays',
        ),
        ("nonsense", "can't parse reply keyboard markup JSON object"),
    ],
)
async def test_keyboards_that_are_refused(alice: Chat, call: Raw, markup: Any, refusal: str) -> None:
    answer = await call("sendMessage", chat_id=alice.chat_id, text="hi", reply_markup=markup)
    assert answer.refusal == (400, f"Bad Request: {refusal}")


async def test_data_has_1_to_64_bytes(alice: Chat, call: Raw) -> None:
    markup = rows({"text": "x", "callback_data": "é" * 32}, {"text": "y", "url": "example.org"})
    await call("sendMessage", chat_id=alice.chat_id, text="hi", reply_markup=markup)
    query = await alice.press("x")
    assert query.data == "é" * 32
    with pytest.raises(ValueError, match="sends anything"):
        await alice.press("y")


async def test_a_keyboard_in_place_of_letters(alice: Chat, call: Raw) -> None:
    markup = {"keyboard": [["Yes", {"text": "No"}]], "resize_keyboard": True}
    message = (await call("sendMessage", chat_id=alice.chat_id, text="Well?", reply_markup=markup)).result
    assert "reply_markup" not in message
    assert alice.messages[0].labels == [["Yes", "No"]]
    answer = await call("editMessageText", chat_id=alice.chat_id, message_id=message["message_id"], text="x")
    assert answer.refusal == (400, "Bad Request: message can't be edited")


# --- edits ---


async def test_edits(alice: Chat, call: Raw, clock: Seconds) -> None:
    markup = rows({"text": "x", "callback_data": "x"})
    sent = (await call("sendMessage", chat_id=alice.chat_id, text="one", reply_markup=markup)).result
    here = {"chat_id": alice.chat_id, "message_id": sent["message_id"]}
    clock.passed += 60
    same = await call("editMessageText", **here, text="one", reply_markup=markup)
    assert same.refusal[1].startswith("Bad Request: message is not modified: specified new message content")
    edited = (await call("editMessageText", **here, text="two", reply_markup=markup)).result
    assert (edited["text"], edited["edit_date"] - edited["date"]) == ("two", 60)
    assert (await call("editMessageReplyMarkup", **here)).result.get("reply_markup") is None
    assert (await call("editMessageReplyMarkup", **here)).refusal[0] == 400
    assert [version.text for version in alice.messages[0].versions] == ["one", "two", "two"]
    assert (await call("editMessageCaption", **here, caption="x")).refusal == (
        400,
        "Bad Request: there is no caption in the message to edit",
    )


async def test_what_cannot_be_edited_or_deleted(
    telegram: LocalTelegram, alice: Chat, call: Raw, clock: Seconds
) -> None:
    here = {"chat_id": alice.chat_id, "message_id": 77}
    assert (await call("editMessageText", **here, text="x")).refusal == (
        400,
        "Bad Request: message to edit not found",
    )
    assert (await call("deleteMessage", **here)).refusal == (400, "Bad Request: message to delete not found")
    theirs = await alice.say("mine")
    answer = await call("editMessageText", chat_id=alice.chat_id, message_id=theirs.message_id, text="x")
    assert answer.refusal == (400, "Bad Request: message can't be edited")
    sent = (await call("sendMessage", chat_id=alice.chat_id, text="one")).result["message_id"]
    clock.passed += 48 * 3600 + 1
    answer = await call("deleteMessage", chat_id=alice.chat_id, message_id=sent)
    assert answer.refusal == (400, "Bad Request: message can't be deleted")
    newer = (await call("sendMessage", chat_id=alice.chat_id, text="two")).result["message_id"]
    assert (await call("deleteMessage", chat_id=alice.chat_id, message_id=newer)).result is True
    assert [message.text for message in alice.messages] == ["one"]
    assert (await call("editMessageText", chat_id=alice.chat_id, message_id=newer, text="x")).refusal[0] == 400


async def test_replies(alice: Chat, call: Raw) -> None:
    question = await alice.say("why?")
    values = {"chat_id": alice.chat_id, "text": "because"}
    answer = await call("sendMessage", **values, reply_parameters={"message_id": question.message_id})
    assert answer.result["reply_to_message"]["text"] == "why?"
    gone = {"message_id": 99}
    answer = await call("sendMessage", **values, reply_parameters=gone)
    assert answer.refusal == (400, "Bad Request: message to be replied not found")
    lenient = {**gone, "allow_sending_without_reply": True}
    assert "reply_to_message" not in (await call("sendMessage", **values, reply_parameters=lenient)).result


# --- presses of buttons ---


async def test_a_press_is_answered_once_and_soon(
    telegram: LocalTelegram, alice: Chat, call: Raw, clock: Seconds
) -> None:
    markup = rows({"text": "Go", "callback_data": "go"})
    await call("sendMessage", chat_id=alice.chat_id, text="hi", reply_markup=markup)
    too_old = (400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
    query = await alice.press("Go")
    answer = await call("answerCallbackQuery", callback_query_id=query.query_id, text="ok", show_alert=True)
    assert answer.result is True
    assert query.answer is not None
    assert (query.answer.text, query.answer.is_alert) == ("ok", True)
    assert (await call("answerCallbackQuery", callback_query_id=query.query_id)).refusal == too_old
    late = await alice.press("Go")
    clock.passed += 16
    assert (await call("answerCallbackQuery", callback_query_id=late.query_id)).refusal == too_old
    assert (await call("answerCallbackQuery", callback_query_id="5")).refusal == too_old


async def test_a_button_that_is_gone_can_still_be_pressed_in_a_stale_app(alice: Chat, call: Raw) -> None:
    markup = rows({"text": "Go", "callback_data": "go"})
    sent = (await call("sendMessage", chat_id=alice.chat_id, text="hi", reply_markup=markup)).result
    message = alice.messages[0]
    await call("deleteMessage", chat_id=alice.chat_id, message_id=sent["message_id"])
    with pytest.raises(ValueError, match="no message has a button"):
        await alice.press("Go")
    query = await alice.press("go", message=message, is_stale=True)
    update = (await call("getUpdates")).result[-1]["callback_query"]
    assert (update["id"], update["data"], update["message"]["date"]) == (query.query_id, "go", 0)


# --- updates ---


async def test_updates_stay_until_they_are_confirmed(alice: Chat, call: Raw) -> None:
    for text in ("one", "two", "three"):
        await alice.say(text)
    first = (await call("getUpdates", limit=2)).result
    assert [update["message"]["text"] for update in first] == ["one", "two"]
    again = (await call("getUpdates", offset=first[0]["update_id"] + 1)).result
    assert [update["message"]["text"] for update in again] == ["two", "three"]
    newest = (await call("getUpdates", offset=-1)).result
    assert [update["message"]["text"] for update in newest] == ["three"]
    assert (await call("getUpdates", offset=newest[0]["update_id"] + 1)).result == []
    await call("getUpdates", allowed_updates=["callback_query"])
    await alice.say("not asked for")
    assert (await call("getUpdates")).result == []
    await call("getUpdates", allowed_updates=[])
    await alice.say("four")
    assert len((await call("getUpdates")).result) == 1


async def test_raw_updates_keep_their_number(telegram: LocalTelegram, call: Raw) -> None:
    assert await telegram.send_update({"update_id": 1_000_000_000, "poll": {"id": "1"}}) == 1_000_000_000
    assert await telegram.send_update({"poll": {"id": "2"}}) == 1_000_000_001
    assert await telegram.send_update({"chat_member": {}}) is None
    assert [update["update_id"] for update in (await call("getUpdates")).result] == [1_000_000_000, 1_000_000_001]


async def test_pending_updates_can_be_dropped(telegram: LocalTelegram, alice: Chat, call: Raw) -> None:
    await alice.say("old")
    answer = await call("deleteWebhook", drop_pending_updates=True)
    assert answer.body["description"] == "Webhook is already deleted"
    assert (await call("getUpdates")).result == []


# --- what is kept ---


async def test_the_history_has_every_accepted_call_in_order(
    telegram: LocalTelegram, alice: Chat, call: Raw, clock: Seconds
) -> None:
    bob = telegram.private_chat(first_name="Bob")
    await call("sendMessage", chat_id=alice.chat_id, text="*one*", parse_mode="MarkdownV2")
    clock.passed += 5
    await call("sendMessage", chat_id=bob.chat_id, text="two")
    await call("sendMessage", chat_id=alice.chat_id, text="")
    await call("getMe")
    assert [(one.number, one.method, one.text) for one in telegram.accepted] == [
        (1, "sendMessage", "one"),
        (2, "sendMessage", "two"),
    ]
    assert telegram.accepted[1].at - telegram.accepted[0].at == 5
    assert alice.history[0].values["text"] == "*one*"
    assert alice.history[0].message is alice.messages[0]
    assert [(one.code, one.description) for one in telegram.refused] == [
        (400, "Bad Request: message text is empty")
    ]
    assert telegram.requests == {"sendMessage": 3, "getMe": 1}


async def test_waiting_in_vain_says_what_was_refused(alice: Chat, call: Raw, clock: Seconds) -> None:
    await call("sendMessage", chat_id=alice.chat_id, text="")
    with pytest.raises(AssertionError, match="in vain for a message of the bot; last refused: sendMessage: 400"):
        await alice.next_message(within=clock.calendar() - clock.calendar())


# --- shapes ---


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded payloads are not on this machine")
async def test_shapes_are_those_that_were_recorded(telegram: LocalTelegram, call: Raw) -> None:
    recorded = json.loads((RECORDED / "getme_and_sendmessage.json").read_text())
    me = (await call("getMe")).body
    assert set(recorded["getMe"]["result"]) <= set(me["result"])
    desk = telegram.group("Logging", chat_id=-400000001)
    sent = (await call("sendMessage", chat_id=desk.chat_id, text="Hello World")).body
    assert _shape(sent) == _shape(recorded["sendMessage"])
    recorded_update = json.loads((RECORDED / "update_private_text.json").read_text())
    del recorded_update["message"]["link_preview_options"]
    alice = telegram.private_chat(user_id=111000111, username="alice_example")
    await alice.say("hello there")
    update = (await call("getUpdates")).result[0]
    assert _shape(update) == _shape(recorded_update)
    assert update["message"]["chat"] == recorded_update["message"]["chat"]
    assert update["message"]["from"] == recorded_update["message"]["from"]


def _shape(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: _shape(value) for name, value in document.items()}
    return type(document)
