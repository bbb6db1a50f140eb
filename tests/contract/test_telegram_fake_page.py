"""``atf dev telegram-fake`` as a process: a bot talks to it, a person chats on its page, SIGTERM ends it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.contract.telegram_bots import png

from atf.testing.waiting import wait_for

BY_HAND = {"X-ATF-Page": "1"}


def start(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "atf", "dev", "telegram-fake", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


class Running:
    def __init__(self, process: subprocess.Popen[str], client: httpx.Client) -> None:
        assert process.stdout is not None
        self.process = process
        self.client = client
        self.said = [process.stdout.readline() for _ in range(5)]
        self.settings = dict(re.findall(r"export (\w+)=(\S+)", "".join(self.said)))
        self.url = self.settings["ATF_TELEGRAM_API_URL"]

    def call(self, method: str, **values: Any) -> Any:
        token = self.settings["ATF_TELEGRAM_TOKEN"]
        return self.client.post(f"{self.url}/bot{token}/{method}", json=values).json()

    def do(self, deed: str, **values: Any) -> httpx.Response:
        return self.client.post(f"{self.url}/page/{deed}", json=values, headers=BY_HAND)

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.client.get(f"{self.url}/page/state").json()
        return state

    def chat(self, chat_id: int) -> dict[str, Any]:
        return next(chat for chat in self.state["chats"] if chat["id"] == chat_id)

    def newest_message(self, chat_id: int) -> dict[str, Any]:
        message: dict[str, Any] = self.chat(chat_id)["messages"][-1]
        return message

    def newest_update(self) -> dict[str, Any]:
        update: dict[str, Any] = self.call("getUpdates", offset=-1, timeout=5)["result"][0]
        return update

    def opened(self, kind: str = "private") -> int:
        """Return a new chat."""
        assert self.do("open", name="Bob", language="de", kind=kind).status_code == 204
        chat_id: int = self.state["chats"][-1]["id"]
        return chat_id


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    process = start("--port", "0", "--token", "42:made-up", "--no-limits")
    try:
        with httpx.Client(timeout=10) as client:
            yield Running(process, client)
    finally:
        process.kill()
        process.communicate()


def test_it_says_what_to_set_and_serves_its_page(running: Running) -> None:
    assert running.settings["ATF_TELEGRAM_TOKEN"] == "42:made-up"
    page = running.client.get(f"{running.url}/")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|https?://", page.text)
    for path in re.findall(r"(?:src|href)=\"(/[^\"]+)\"", page.text):
        assert running.client.get(running.url + path).status_code == 200
    assert running.call("getMe")["result"]["id"] == 42


def test_a_person_and_a_bot_chat(running: Running) -> None:
    chat_id = running.opened()
    assert running.call("sendMessage", chat_id=chat_id, text="too early")["error_code"] == 403
    running.do("say", chat_id=chat_id, text="/start")
    assert running.newest_update()["message"]["text"] == "/start"
    markup = {"inline_keyboard": [[{"text": "Go", "callback_data": "go"}]]}
    values = {"chat_id": chat_id, "parse_mode": "MarkdownV2", "reply_markup": markup}
    sent = running.call("sendMessage", text="*bold* <script\\>", **values)["result"]
    segments = running.newest_message(chat_id)["segments"]
    assert [(one["text"], [style["type"] for style in one["styles"]]) for one in segments] == [
        ("bold", ["bold"]),
        (" <script>", []),
    ]
    running.do("press", chat_id=chat_id, message_id=sent["message_id"], data="go")
    query = running.newest_update()["callback_query"]
    running.call("answerCallbackQuery", callback_query_id=query["id"], text="done")
    assert running.state["notice"]["text"] == "done"
    running.call("editMessageText", chat_id=chat_id, message_id=sent["message_id"], text="edited")
    edited = running.newest_message(chat_id)
    assert (edited["segments"][0]["text"], edited["edits"], edited["rows"]) == ("edited", 1, [])


def test_pictures_are_seen_and_sent(running: Running) -> None:
    chat_id, token = running.opened(), running.settings["ATF_TELEGRAM_TOKEN"]
    running.do("say", chat_id=chat_id, text="/chart")
    running.client.post(
        f"{running.url}/bot{token}/sendPhoto", data={"chat_id": chat_id}, files={"photo": ("c.png", png())}
    )
    photo = running.newest_message(chat_id)["photo"]
    assert running.client.get(running.url + photo).content == png()
    uploaded = running.client.post(
        f"{running.url}/page/upload",
        data={"chat_id": chat_id, "caption": "look"},
        files={"file": ("mine.png", png(3, 3), "image/png")},
        headers=BY_HAND,
    )
    assert uploaded.status_code == 204
    assert running.newest_update()["message"]["caption"] == "look"


def test_people_block_the_bot_and_put_it_out(running: Running) -> None:
    bob, desk = running.opened(), running.opened("group")
    running.do("say", chat_id=bob, text="/start")
    for chat_id in (bob, desk):
        running.do("block", chat_id=chat_id)
    blocked = running.call("sendMessage", chat_id=bob, text="hi")
    assert blocked["description"] == "Forbidden: bot was blocked by the user"
    assert running.call("sendMessage", chat_id=desk, text="hi")["error_code"] == 403
    assert "bot was kicked" in running.state["refused"][0]
    running.do("block", chat_id=bob)
    assert running.call("sendMessage", chat_id=bob, text="hi")["ok"]


def test_what_cannot_be_done_is_said(running: Running) -> None:
    gone = running.do("press", chat_id=running.opened(), message_id=7, data="x")
    assert (gone.status_code, gone.text) == (400, "the message is gone")


def test_the_page_is_told_of_changes(running: Running) -> None:
    chat_id = running.opened()
    with running.client.stream("GET", f"{running.url}/page/events") as events:
        lines = events.iter_lines()
        first = next(lines)
        running.do("say", chat_id=chat_id, text="news")
        assert next(line for line in lines if line.startswith("data: ")) != first


@pytest.mark.parametrize(
    "ask",
    [
        lambda client, url: client.post(f"{url}/page/say", json={"chat_id": 1, "text": "x"}),
        lambda client, url: client.get(f"{url}/page/state", headers={"Host": "evil.example"}),
        lambda client, url: client.get(f"{url}/", headers={"Host": "evil.example"}),
    ],
)
def test_other_sites_can_do_nothing_here(
    running: Running, ask: Callable[[httpx.Client, str], httpx.Response]
) -> None:
    assert ask(running.client, running.url).status_code == 403


@pytest.mark.parametrize(
    ("deed", "values"), [("open", {}), ("say", {"text": "x"}), ("press", {"chat_id": "x"}), ("upload", {})]
)
def test_what_lacks_something_is_refused(running: Running, deed: str, values: dict[str, str]) -> None:
    assert running.do(deed, **values).status_code == 400


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_a_poll_and_a_page_open(number: signal.Signals) -> None:
    process = start("--port", "0")
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(5)]
    address = ("127.0.0.1", int(said[0].rstrip("/\n").rpartition(":")[2]))
    with socket.create_connection(address) as poll, socket.create_connection(address) as page:
        poll.sendall(b"GET /bot123456:fake-token/getUpdates?timeout=50 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        page.sendall(b"GET /page/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert page.recv(1)
        process.send_signal(number)
        wait_for(lambda: process.poll() is not None, what="for its end")
    assert process.communicate() == ("", "")
    assert process.returncode == 0
    assert "  export ATF_TELEGRAM_TOKEN=123456:fake-token\n" in said


def test_a_port_that_is_taken_is_one_sentence(running: Running) -> None:
    port = running.url.rpartition(":")[2]
    process = start("--port", port)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == (
        f"atf: port {port} of this machine cannot be listened on (Address already in use): name another with"
        " --port\n"
    )


def test_a_token_without_a_bot_is_one_sentence() -> None:
    process = start("--port", "0", "--token", "nonsense")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("atf: a token begins with the number of its bot")
