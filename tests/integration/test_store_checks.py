"""What programs may store through JobsService: nothing that names what is not there."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from atf.adapters.providers.ccxt_exchange import CcxtBarProvider
from atf.bootstrap.client import Client, open_client
from atf.bootstrap.providers import OWN_PROVIDERS, open_providers
from atf.errors import ConfigurationError, InvalidInput
from atf.jobs.run_request import RunCreate
from atf.market.universes import EVERYBODY
from atf.schedules.schedule import ScheduleCreate, ScheduleUpdate
from atf.security.outgoing_address import SETTING
from atf.settings import Settings
from atf.storage.database import Database
from atf.storage.universes_repository import PostgresUniverses

# What the library of calendars uses of pandas is outdated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

PUBLIC = "https://example.com/path-secret?key=secret"
RSI = {"ticker": "AAPL", "timeframe": "1d", "rule": {"indicator": "rsi", "operator": "<", "value": 30}}


@pytest.fixture
async def client(database_url: str, database: Database, tmp_path: Path) -> AsyncIterator[Client]:
    await PostgresUniverses(database).load(EVERYBODY, "majors", ["A"], date(2999, 1, 1), source="")
    async with open_client(Settings(home=tmp_path, database_url=database_url)) as opened:
        yield opened


def nightly(**params: Any) -> ScheduleCreate:
    given = {"operations": ["check"], **params}
    return ScheduleCreate("nightly", "data_processing", "nightly", "0 1 * * *", task_params=given)


def alert(**params: Any) -> ScheduleCreate:
    return ScheduleCreate("rsi", "alert", "AAPL", "0 1 * * *", task_params={**RSI, **params})


def hooked(*urls: str) -> ScheduleCreate:
    """An alert with webhooks."""
    return alert(actions=[{"type": "webhook", "url": url} for url in urls])


GOOD = [
    nightly(symbols=["A"]),
    *(nightly(symbols=["A"], data_source=name) for name in (*OWN_PROVIDERS, "kraken")),
    nightly(universe="majors"),  # its first list is for a later day
    alert(),
    *(alert(calendar=name) for name in ("XNYS", "24/7", "24/5")),
    hooked(PUBLIC, "http://8.8.8.8/x"),
]
BAD: list[tuple[ScheduleCreate, str]] = [
    (nightly(symbols=["A"], data_source="yaho"), "task_params.data_source: .*; did you mean yahoo?"),
    (nightly(universe="major"), 'task_params.universe: there is no universe "major"; did you mean "majors"'),
    (alert(calendar="XNYX"), "task_params.calendar: .*; did you mean XNYS?"),
    *(
        (hooked(PUBLIC, f"http://{host}/secret"), rf"actions\[1\].url: .* is no public address; {SETTING} names")
        for host in ("127.0.0.1", "[::1]", "2130706433", "localhost:8002", "me:secret@10.0.0.1", "nas", "a.local")
    ),
]


async def test_what_names_things_that_are_there_is_stored(client: Client) -> None:
    pytest.importorskip("ccxt")
    for one in GOOD:
        made = await client.jobs.create_schedule(client.user_id, one)
        assert made.task_params == one.task_params
    assert len(await client.jobs.list_schedules(client.user_id)) == len(GOOD)


async def test_what_names_others_is_refused_and_nothing_is_stored(client: Client) -> None:
    pytest.importorskip("ccxt")
    for one, sentence in BAD:
        with pytest.raises(InvalidInput, match=sentence) as refused:
            await client.jobs.create_schedule(client.user_id, one)
        assert "secret" not in str(refused.value)
        if one.job_type != "alert":
            with pytest.raises(InvalidInput, match=sentence):
                await client.jobs.create_run(client.user_id, RunCreate(one.job_type, one.target, one.task_params))
    assert await client.jobs.list_schedules(client.user_id) == []


async def test_a_change_to_others_is_refused_and_nothing_is_changed(client: Client) -> None:
    pytest.importorskip("ccxt")
    good = {"data_processing": nightly(symbols=["A"]), "alert": alert()}
    made = {kind: await client.jobs.create_schedule(client.user_id, one) for kind, one in good.items()}
    for one, sentence in BAD:
        before = made[one.job_type]
        update = ScheduleUpdate(cron="5 5 * * *", task_params=one.task_params)
        with pytest.raises(InvalidInput, match=sentence):
            await client.jobs.update_schedule(client.user_id, before.id, update)
        assert await client.jobs.get_schedule(client.user_id, before.id) == before


async def test_every_url_that_must_not_be_asked_is_told(client: Client) -> None:
    with pytest.raises(InvalidInput) as refused:
        await client.jobs.create_schedule(client.user_id, hooked("http://10.0.0.1/", PUBLIC, "http://[fe80::1]/"))
    assert [one.field for one in refused.value.problems] == ["actions[0].url", "actions[2].url"]


async def test_where_the_settings_let_webhooks_go_is_stored(database_url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=database_url, webhook_allowed_networks="10.0.0.0/8, nas")
    async with open_client(settings) as opened:
        await opened.jobs.create_schedule(opened.user_id, hooked("http://10.0.0.1/", "http://nas:8080/"))
        with pytest.raises(InvalidInput, match=r"actions\[0\].url: other is no public address"):
            await opened.jobs.create_schedule(opened.user_id, hooked("http://other/"))


async def test_a_setting_that_cannot_be_read_is_told_at_once(database_url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=database_url, webhook_allowed_networks="10.0.0.1/8")
    with pytest.raises(ConfigurationError, match=rf'^{SETTING}: "10.0.0.1/8" is neither a network'):
        async with open_client(settings):
            pass


async def test_without_the_extra_there_are_no_exchanges(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    imported: Callable[..., Any] = builtins.__import__

    def without_ccxt(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("ccxt"):
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_ccxt)
    sentence = r'"kraken" is not one of files, yahoo, .*; bars of exchanges need an extra: pip install'
    with pytest.raises(InvalidInput, match=sentence):
        await client.jobs.create_schedule(client.user_id, nightly(symbols=["A"], data_source="kraken"))
    await client.jobs.create_schedule(client.user_id, nightly(symbols=["A"], data_source="yahoo"))


async def test_own_providers_are_those_that_are_no_exchange(tmp_path: Path) -> None:
    async with open_providers(Settings(home=tmp_path)) as providers:
        for name in OWN_PROVIDERS:
            assert not isinstance(providers.provider(name), CcxtBarProvider)
            assert providers.provider(name).name == name
