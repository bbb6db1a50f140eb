"""What every channel promises to the notification service, over every channel and the fake behind it."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.channel_stands import REMOTE_STANDS, STANDS, Failure, RemoteStand, Stand

from atf.errors import PermanentFailure, TemporaryFailure
from atf.notifications.channel import ChannelLimits, ChannelUnavailable, Letter, Reach, TextForm
from atf.notifications.message import Attachment

LONG = "\n".join(f"{n}: " + "über alles 🚀 " * 20 for n in range(150))
TEXTS = {
    "plain": "AAPL is above 150",
    "lines": "first\n\n  second, indented\nthird",
    "marks": "_*[]()~`>#+-=|{}.!\\ <b>&amp;</b> %s {0} $x",
    "umlauts": "Über 150 € – ¿qué? żółć",
    "right to left": "السعر فوق 150 دولار\nמעל 150",
    "emoji": "🚀📈 👨‍👩‍👧‍👦 🇩🇪 👍🏽",
    "control characters": "a\x00b\x07c\x1b[2Jd\x85e\u2028f\r\ng",
    "very long": LONG,
}
PNG = Attachment("chart.png", "image/png", b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + bytes((0, 0, 0, 9)) * 2)
CSV = Attachment("trades é.csv", "text/csv", "a,b\r\nä,1\r\n".encode())


pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # by what Apprise loads


def stands(**wanted: Any) -> pytest.MarkDecorator:
    chosen = [one for one in STANDS if all(getattr(one, name) == value for name, value in wanted.items())]
    return pytest.mark.parametrize("stand", chosen, ids=lambda one: one.name, indirect=True)


remote_stands = pytest.mark.parametrize("stand", REMOTE_STANDS, ids=lambda one: one.name, indirect=True)


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> Iterator[None]:
    """Look only at what these tests make when they look for what was left open."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    kind: type[Stand] = request.param
    async with kind.open() as made:
        yield made
        async with asyncio.timeout(20):
            await made.channel.close()
        await asyncio.sleep(0)  # transports are closed by the next turn of the loop
    gc.collect()  # what was left open says so now, and a warning is an error


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Every record of every logger, its error included."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name.startswith("aiohttp"):  # the fakes' own
                return
            lines.append(f"{record.getMessage()} {record.__dict__}")
            if record.exc_info:
                lines.append("".join(traceback.format_exception(*record.exc_info)))

    root, listener = logging.getLogger(), Listener(level=0)
    levels = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "urllib3", "apprise")}
    before = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(listener)
    root.setLevel(before)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


async def provoked(stand: Stand, failure: Failure) -> Exception:
    outcome = failure.provoke(stand)
    if inspect.isawaitable(outcome):
        await outcome
    async with asyncio.timeout(20):
        with pytest.raises(failure.error) as caught:
            await stand.channel.send(stand.letter)
    return caught.value


@stands()
async def test_it_says_what_it_is_and_how_much_it_takes(stand: Stand) -> None:
    channel = stand.channel
    assert channel.name == stand.name
    assert isinstance(channel.is_idempotent, bool)
    assert isinstance(channel.disturbs, bool)
    assert isinstance(channel.reach, Reach)
    assert isinstance(channel.form, TextForm)
    assert isinstance(channel.limits, ChannelLimits)
    assert channel.limits.concurrency >= 1


@stands(takes_text=True)
@pytest.mark.parametrize("name", TEXTS)
async def test_title_and_text_arrive_as_they_are(stand: Stand, name: str) -> None:
    letter = replace(stand.letter, title="Alert ⚡ breakout", text=TEXTS[name])
    async with asyncio.timeout(20):
        await stand.channel.send(letter)
    whole = "".join("\n".join(stand.seen()).split())
    assert whole == "".join(stand.expected(letter).split())
    if len(stand.seen()) == 1:
        assert stand.seen() == [stand.expected(letter)]


@stands(takes_text=True)
async def test_a_title_is_one_line_and_none_is_no_line(stand: Stand) -> None:
    await stand.channel.send(replace(stand.letter, dedup_key="1", title="", text="text"))
    assert stand.seen()[0].rpartition("\n")[2].removeprefix(": ") == "text"


@stands(takes_files=True)
async def test_files_arrive_with_their_names_and_the_text(stand: Stand) -> None:
    for number, text in enumerate(("short", LONG[:3000])):
        letter = replace(stand.letter, dedup_key=str(number), text=text, attachments=(PNG, CSV))
        await stand.channel.send(letter)
        assert stand.files() == {"chart.png": PNG.content, "trades é.csv": CSV.content}
        assert "".join(text.split()) in "".join("".join(stand.seen()).split())


@stands(takes_files=False)
async def test_who_takes_no_files_sends_the_text_without_them(stand: Stand) -> None:
    await stand.channel.send(replace(stand.letter, attachments=(PNG, CSV)))
    assert len(stand.seen()) == 1


FAILURES = [(kind, failure) for kind in STANDS for failure in kind.failures]
each_failure = pytest.mark.parametrize(
    ("stand", "failure"),
    FAILURES,
    ids=[f"{kind.name}: {failure.name}" for kind, failure in FAILURES],
    indirect=["stand"],
)


@each_failure
async def test_a_failure_says_whose_trouble_it_is_and_no_secret(
    stand: Stand, failure: Failure, logged: list[str]
) -> None:
    error = await provoked(stand, failure)
    assert type(error) is failure.error
    assert getattr(error, "retry_after_seconds", None) == failure.retry_after
    told = ["".join(traceback.format_exception(error)), repr(error), *logged]
    assert str(error)
    assert not [line for line in told if any(secret in line for secret in stand.secrets)]


@remote_stands
async def test_nothing_that_is_logged_or_shown_has_a_secret(stand: Stand, logged: list[str]) -> None:
    await stand.channel.send(replace(stand.letter, attachments=(PNG, CSV)))
    logging.getLogger("httpx").info("the log works")
    assert any("the log works" in line for line in logged)
    told = [*logged, repr(stand.channel), str(vars(stand.channel))]
    assert not [line for line in told if any(secret in line for secret in stand.secrets)]


@remote_stands
async def test_who_cannot_be_reached_is_an_outage_of_the_channel_or_of_the_recipient(
    stand: RemoteStand, logged: list[str]
) -> None:
    channel, letter = stand.unreachable()
    with pytest.raises(TemporaryFailure) as caught:
        await channel.send(letter)
    await channel.close()
    assert isinstance(caught.value, ChannelUnavailable) == (stand.channel.reach is Reach.SHARED)
    told = ["".join(traceback.format_exception(caught.value)), *logged]
    assert not [line for line in told if any(secret in line for secret in stand.secrets)]


@remote_stands
async def test_a_send_that_is_cut_off_leaves_the_channel_usable(stand: RemoteStand) -> None:
    await stand.hang()
    sending = [
        asyncio.create_task(stand.channel.send(replace(stand.letter, dedup_key=f"cut-{n}"))) for n in range(3)
    ]
    async with asyncio.timeout(20):
        await stand.until_asked()
        for task in sending:
            task.cancel()
        for task in sending:
            with suppress(asyncio.CancelledError):
                await task
        assert all(task.cancelled() for task in sending)
        await stand.behave()
        await stand.channel.send(replace(stand.letter, dedup_key="after", text="the one after"))
    assert any("the one after" in text for text in stand.seen())


@stands()
async def test_after_it_is_closed_no_connection_is_open(stand: Stand) -> None:
    await asyncio.gather(*(stand.channel.send(replace(stand.letter, dedup_key=str(n))) for n in range(3)))
    await stand.channel.close()
    async with asyncio.timeout(5):
        while stand.connections():  # noqa: ASYNC110 - a server does not tell
            await asyncio.sleep(0.01)


@stands()
async def test_many_letters_at_once_all_arrive(stand: Stand) -> None:
    letters = [replace(stand.letter, dedup_key=f"7:{n}", text=f"letter {n}.") for n in range(20)]
    async with asyncio.timeout(30):
        await asyncio.gather(*(stand.channel.send(letter) for letter in letters))
    assert len(stand.seen()) == len(stand.keys()) == 20


@stands()
async def test_after_a_refusal_the_next_letter_arrives(stand: Stand) -> None:
    """A letter that is refused for good is nobody else's trouble."""
    bad = replace(stand.letter, dedup_key="bad", title="", text=" ", payload={"late_at": 5})
    with suppress(PermanentFailure):
        await stand.channel.send(bad)
    before = len(stand.seen())
    await stand.channel.send(replace(stand.letter, dedup_key="good"))
    assert len(stand.seen()) == before + 1


def test_no_letter_shows_the_secret_of_its_recipient() -> None:
    from atf.notifications.channel import Recipient

    letter = Letter(Recipient(1, "a", secret="a-secret"), "k", "t", "T", "x")
    assert "a-secret" not in repr(letter)
