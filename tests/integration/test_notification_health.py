"""What the notification process says of its channels: figures for monitors, and which is out of order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from atf.bootstrap.notifications import notifications_process
from atf.lifecycle import Progress
from atf.notifications.message import OutgoingMessage
from atf.settings import Settings
from atf.storage.database import Database
from atf.storage.notifications_repository import PostgresOutbox
from atf.testing.telegram import Fault, TelegramLimits, local_telegram

if TYPE_CHECKING:
    from tests.integration.conftest import Eventually, Rows


async def test_metrics_tell_of_each_channel_and_health_of_the_one_that_is_out_of_order(
    tmp_path: Path, database: Database, database_url: str, rows: Rows, eventually: Eventually
) -> None:
    await rows.change("INSERT INTO user_identities (user_id, kind, value) VALUES (1, 'telegram', '77')")
    outbox = PostgresOutbox(database)
    await outbox.add(
        [
            OutgoingMessage(1, "note", "Title", "Body", f"key-{n}", ("inbox", "telegram", "email"))
            for n in range(3)
        ]
    )
    for table in ("msg_messages", "msg_deliveries"):
        await rows.change(f"UPDATE {table} SET created_at = now() - interval '40 s'")
    async with local_telegram(limits=TelegramLimits.off()) as telegram:
        telegram.misbehave(Fault.BROKEN)
        settings = Settings(
            home=tmp_path,
            database_url=database_url,
            notifications_port=0,
            telegram_token=telegram.token,
            telegram_api_url=telegram.url,
        )
        async with notifications_process(settings, Progress()) as service, httpx.AsyncClient() as http:
            await service.start()
            (endpoints,) = await rows.column("SELECT endpoints FROM service_registry")
            report = {}

            async def is_out_of_order() -> bool:
                nonlocal report
                report = (await http.get(endpoints["health"])).json()
                sent = await rows.value("SELECT count(*) FROM msg_deliveries WHERE status = 'SENT'")
                return "channel_telegram" in report["components"] and sent == 3

            await eventually(is_out_of_order)
            lines = (await http.get(endpoints["metrics"])).text.splitlines()
            await service.stop()
    assert report["status"] == "degraded"
    assert {name for name in report["components"] if name.startswith("channel_")} == {"channel_telegram"}
    assert report["components"]["channel_telegram"].startswith("out of order since ")
    figures = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert figures['atf_deliveries_total{channel="inbox",outcome="sent"}'] == "3.0"
    assert figures['atf_letters_total{channel="inbox"}'] == "3.0"
    assert figures['atf_channel_outages{channel="inbox"}'] == "0.0"
    assert float(figures['atf_channel_outages{channel="telegram"}']) >= 1
    assert float(figures['atf_deliveries_total{channel="telegram",outcome="postponed"}']) >= 1
    assert 'atf_deliveries_total{channel="telegram",outcome="sent"}' not in figures
    assert figures['atf_delivery_seconds_count{channel="inbox"}'] == "3.0"
    assert float(figures['atf_delivery_seconds_sum{channel="inbox"}']) >= 120
    assert figures['atf_pending_deliveries{channel="email"}'] == "3.0"
    assert 40 <= float(figures['atf_oldest_delivery_seconds{channel="email"}']) < 100
    assert any(line.startswith('atf_delivery_seconds_bucket{channel="inbox"') for line in lines)
