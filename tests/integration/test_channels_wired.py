"""Which channels an installation has by its settings and secrets, and where its users are reached."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import OWNER, Rows

from atf.bootstrap.address_book import build_address_book
from atf.bootstrap.channels import build_channels
from atf.bootstrap.platform_secrets import platform_secret
from atf.bootstrap.secrets import build_secrets
from atf.errors import AtfError, ConfigurationError
from atf.notifications.channel import Channel, Letter, Recipient
from atf.security.master_key import new_key
from atf.settings import Settings
from atf.storage.database import Database
from atf.testing.smtp import local_smtp
from atf.testing.telegram import TOKEN, TelegramLimits, local_telegram
from atf.testing.twilio import ACCOUNT, AUTH_TOKEN, local_twilio

MASTER = new_key("test")
PASSWORD = "hunter2-is-the-mail-password"
EVERYWHERE = ["console", "inbox", "web", "bot", "webhook"]
OPTIONAL = ["apprise"] if find_spec("apprise") else []
EMAIL: dict[str, Any] = {"smtp_host": "127.0.0.1", "smtp_security": "none", "smtp_sender": "atf@example.org"}
SMS: dict[str, Any] = {"twilio_account_sid": ACCOUNT, "twilio_sender": "+15550001"}


@pytest.fixture
def given(tmp_path: Path, database_url: str) -> dict[str, Any]:
    return {"home": tmp_path, "database_url": database_url, "master_key": MASTER.text}


async def channels(database: Database, given: dict[str, Any], **more: Any) -> dict[str, Channel]:
    """The channels that settings make, none of them open."""
    found = {one.name: one for one in await build_channels(Settings(**given, **more), database, None)}
    for channel in found.values():
        await channel.close()
    return found


async def refusal(database: Database, given: dict[str, Any], **more: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        await channels(database, given, **more)
    return str(refused.value)


async def test_each_channel_is_there_if_what_it_needs_is(database: Database, given: dict[str, Any]) -> None:
    assert list(await channels(database, given)) == [*EVERYWHERE, *OPTIONAL]
    assert list(await channels(database, given, telegram_token=TOKEN)) == [*EVERYWHERE, "telegram", *OPTIONAL]
    assert list(await channels(database, given, **EMAIL)) == [*EVERYWHERE, "email", *OPTIONAL]
    assert list(await channels(database, given, **SMS, twilio_auth_token=AUTH_TOKEN)) == [
        *EVERYWHERE,
        "sms",
        *OPTIONAL,
    ]


async def test_what_cannot_be_used_is_told_with_the_name_of_its_setting(
    database: Database, given: dict[str, Any]
) -> None:
    assert await refusal(database, given, telegram_token="hunter2-is-none") == (
        "ATF_TELEGRAM_TOKEN is no token of a bot, such as 123456:AbC"
    )
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"smtp_sender": None}, 'the sender "" is no e-mail address'),
        ({"smtp_sender": None, "smtp_username": "atf"}, 'the sender "atf" is no e-mail address'),
        (
            {"smtp_host": "mail.example.org"},
            "security none would send passwords and messages to mail.example.org",
        ),
        (
            {"smtp_security": "tls", "smtp_ca_file": Path("/nowhere")},
            "the certificates in /nowhere cannot be read",
        ),
    ]
    for changes, sentence in wrong:
        assert (await refusal(database, given, **{**EMAIL, **changes})).startswith(f"ATF_SMTP_*: {sentence}")
    missing = "ATF_TWILIO_*: text messages need Twilio's account SID, its auth token and a sender"
    for sms in (SMS, {**SMS, "twilio_auth_token": "x", "twilio_sender": None}, {"twilio_account_sid": "x"}):
        assert await refusal(database, given, **sms) == missing


async def test_secrets_of_the_platform_open_the_channels_that_the_settings_name(
    database: Database, given: dict[str, Any]
) -> None:
    secrets = build_secrets(Settings(**given), database)
    stored = {"telegram.bot-token": TOKEN, "smtp.password": PASSWORD, "twilio.auth-token": AUTH_TOKEN}
    for name, value in stored.items():
        await secrets.set_secret(None, name, value)
    async with (
        local_telegram(limits=TelegramLimits.off()) as telegram,
        local_smtp(accounts={"atf": PASSWORD}) as mail,
        local_twilio() as twilio,
    ):
        settings = Settings(
            **given,
            **{**EMAIL, "smtp_port": mail.port, "smtp_username": "atf"},
            **SMS,
            telegram_api_url=telegram.url,
            twilio_url=twilio.url,
        )
        found = {one.name: one for one in await build_channels(settings, database, None)}
        chat = telegram.private_chat()
        for name, address in (("telegram", str(chat.chat_id)), ("email", "a@example.org"), ("sms", "+15551234")):
            await found[name].send(Letter(Recipient(1, address), "key", "note", "Title", "Text"))
        for channel in found.values():
            await channel.close()
        assert (len(telegram.accepted), len(mail.messages), len(twilio.messages)) == (1, 1, 1)
    assert list(found) == [*EVERYWHERE, "telegram", "email", "sms", *OPTIONAL]


async def test_a_setting_counts_more_than_a_secret_of_the_platform_and_no_text_says_either(
    database: Database, given: dict[str, Any]
) -> None:
    settings = Settings(**given)
    assert await platform_secret(settings, database, None, "smtp.password") is None
    assert await platform_secret(settings, database, "", "smtp.password") is None
    secrets = build_secrets(settings, database)
    await secrets.set_secret(None, "smtp.password", PASSWORD)
    await secrets.set_secret(OWNER, "twilio.auth-token", "swordfish-is-the-owner-s")
    assert await platform_secret(settings, database, None, "smtp.password") == PASSWORD
    other = "hunter2-is-of-the-setting"
    assert await platform_secret(settings, database, other, "smtp.password") == other
    assert await platform_secret(settings, database, None, "twilio.auth-token") is None, (
        "a user's is none of ours"
    )
    assert str(AtfError(f"{PASSWORD} and {other}")) == "*** and ***"


async def test_an_address_comes_with_the_secret_that_belongs_to_it_and_no_other(
    database: Database, given: dict[str, Any], rows: Rows
) -> None:
    settings = Settings(**given)
    await rows.change("INSERT INTO users (name, role) VALUES ('ann', 'trader')")
    await rows.change("INSERT INTO msg_preferences (user_id, language) VALUES (2, 'de')")
    await rows.change("INSERT INTO user_identities (user_id, kind, value) VALUES (2, 'telegram', '77')")
    await rows.change(
        "INSERT INTO msg_addresses (user_id, channel, address) VALUES (2, 'webhook', 'https://a.b/')"
    )
    secrets = build_secrets(settings, database)
    await secrets.set_secret(2, "notify.webhook", "swordfish-is-of-the-webhook")
    await secrets.set_secret(2, "notify.apprise", "json://swordfish-is-of-apprise")
    await secrets.set_secret(None, "notify.webhook", "swordfish-is-of-the-platform")
    book = build_address_book(settings, database)
    assert await book.recipients("webhook", [1, 2]) == {
        1: Recipient(1),
        2: Recipient(2, "https://a.b/", "de", secret="swordfish-is-of-the-webhook"),
    }
    assert (await book.recipients("apprise", [2]))[2].secret == "json://swordfish-is-of-apprise"
    assert await book.recipients("telegram", [2]) == {2: Recipient(2, "77", "de")}
    await book.moved("telegram", Recipient(2, "77"), "-10077")
    assert (await book.recipients("telegram", [2]))[2].address == "-10077"


async def test_a_secret_that_cannot_be_opened_keeps_its_user_alone_from_being_reached(
    database: Database, given: dict[str, Any], rows: Rows
) -> None:
    settings = Settings(**given)
    await rows.change("INSERT INTO users (name, role) VALUES ('ann', 'trader')")
    await rows.change(
        "INSERT INTO msg_addresses (user_id, channel, address) "
        "VALUES (1, 'webhook', 'https://a.b/'), (2, 'webhook', 'https://a.b/')"
    )
    secrets = build_secrets(settings, database)
    for user_id in (1, 2):
        await secrets.set_secret(user_id, "notify.webhook", "swordfish-is-of-the-webhook")
    await rows.change("UPDATE secrets SET ciphertext = nonce WHERE user_id = 1")
    found = await build_address_book(settings, database).recipients("webhook", [1, 2])
    assert found[1] == Recipient(1), "no message goes out unsigned"
    assert found[2].secret == "swordfish-is-of-the-webhook"
