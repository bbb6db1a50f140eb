from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atf.errors import InvalidInput
from atf.notifications.message import ACTION
from atf.notifications.preferences import (
    Preferences,
    next_digest_at,
    parse_digest,
    parse_fallback,
    parse_language,
    parse_route,
    parse_timezone,
)

ALL = frozenset({"inbox", "telegram", "email", "console"})
SECOND = timedelta(seconds=1)


def wishes(*routes: str) -> Preferences:
    return Preferences(routes=dict(map(parse_route, routes)))


@pytest.mark.parametrize(
    ("routes", "asked", "found"),
    [
        ((), ("telegram", "email"), ("telegram", "email")),
        ((), ("telegram", "telegram"), ("telegram",)),
        ((), ("fax",), ("fax",)),  # whether it is there is not for preferences to say
        (("report:telegram=off",), ("telegram", "email"), ("email",)),
        (("*:telegram=off",), ("telegram", "email"), ("email",)),
        (("*:telegram=off", "report:telegram=on"), ("telegram", "email"), ("telegram", "email")),
        (("*:telegram=on", "report:telegram=off"), ("telegram", "email"), ("email",)),
        (("alert:telegram=off",), ("telegram",), ("telegram",)),
        (("report:telegram=off",), ("telegram",), ("inbox",)),
    ],
)
def test_what_a_message_asks_for_is_kept_unless_it_is_switched_off(
    routes: tuple[str, ...], asked: tuple[str, ...], found: tuple[str, ...]
) -> None:
    assert wishes(*routes).channels_for("report", asked, ALL) == found


@pytest.mark.parametrize(
    ("routes", "available", "found"),
    [
        ((), ALL, ("inbox", "telegram")),
        ((), frozenset({"inbox", "email"}), ("inbox",)),
        ((), frozenset(), ("inbox",)),
        (("report:email=on",), ALL, ("inbox", "email")),
        (("report:email=on", "*:telegram=on"), ALL, ("inbox", "email")),
        (("*:email=on", "*:console=on"), ALL, ("inbox", "console", "email")),
        (("*:email=on", "*:console=on", "report:email=off"), ALL, ("inbox", "console")),
        (("*:email=on", "report:email=off"), ALL, ("inbox",)),
        (("alert:email=on",), ALL, ("inbox", "telegram")),
        (("report:email=on",), frozenset({"inbox", "telegram"}), ("inbox", "telegram")),
        (("report:telegram=off",), ALL, ("inbox",)),
        (("*:telegram=off",), ALL, ("inbox",)),
        (("report:inbox=on",), ALL, ("inbox",)),
    ],
)
def test_a_message_that_asks_for_nothing_goes_where_the_user_wants_it(
    routes: tuple[str, ...], available: frozenset[str], found: tuple[str, ...]
) -> None:
    assert wishes(*routes).channels_for("report", (), available) == found


def test_the_inbox_stays_on_even_where_a_stored_row_says_otherwise() -> None:
    stored = Preferences(routes={("*", "inbox"): False, ("report", "inbox"): False})
    assert stored.channels_for("report", ("inbox", "telegram"), ALL) == ("inbox", "telegram")


def test_what_an_alert_makes_happen_is_not_led_elsewhere() -> None:
    assert wishes("*:webhook=off", "*:bot=off").channels_for(ACTION, ("webhook",), ALL) == ("webhook",)


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["*", "report", "alert"]), st.sampled_from(sorted(ALL))), st.booleans()
    ),
    st.lists(st.sampled_from(sorted(ALL))),
    st.frozensets(st.sampled_from(sorted(ALL))),
)
def test_no_message_goes_nowhere(
    routes: dict[tuple[str, str], bool], asked: list[str], available: frozenset[str]
) -> None:
    found = Preferences(routes=routes).channels_for("report", tuple(asked), available)
    assert found
    assert len(set(found)) == len(found)
    assert set(found) <= {*asked, *available, "inbox"}


def test_a_route_reads_as_it_is_said() -> None:
    assert parse_route("report:telegram=off") == (("report", "telegram"), False)
    assert parse_route(" * : email = on ") == (("*", "email"), True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "TYPE:CHANNEL=on"),
        ("report:telegram", "TYPE:CHANNEL=on"),
        ("report=on", "TYPE:CHANNEL=on"),
        ("report:telegram=maybe", "TYPE:CHANNEL=on"),
        ("report:telegram=off=on", "TYPE:CHANNEL=on"),
        ("re/port:telegram=on", "no name of a type"),
        ("report:../x=on", "no name of a channel"),
        ("report:*=off", "no name of a channel"),
        ("*:inbox=off", "cannot be switched off"),
        ("report:inbox=off", "cannot be switched off"),
    ],
)
def test_other_routes_are_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as refused:
        parse_route(text)
    assert refused.value.field == "route"


@pytest.mark.parametrize(("text", "language"), [("de", "de"), ("DE", "de"), (" pt_br ", "pt-BR")])
def test_a_language_is_one_that_is_installed(text: str, language: str) -> None:
    assert parse_language(text, ("de", "en", "pt-BR")) == language


@pytest.mark.parametrize("text", ["fr", "", "../en", "de-AT"])
def test_other_languages_are_refused_with_those_that_there_are(text: str) -> None:
    with pytest.raises(InvalidInput, match="language: must be one of de, en"):
        parse_language(text, ("en", "de"))


def test_a_time_zone_is_one_that_is_known() -> None:
    assert parse_timezone(" Europe/Berlin ") == "Europe/Berlin"
    with pytest.raises(InvalidInput, match="Mars/Olympus"):
        parse_timezone("Mars/Olympus")


@pytest.mark.parametrize(("text", "minutes"), [("5", 5), ("1440", 1440), (" 30 ", 30)])
def test_digests_come_at_minutes(text: str, minutes: int) -> None:
    assert parse_digest(text) == timedelta(minutes=minutes)


def test_digests_are_off_on_demand() -> None:
    assert parse_digest("off") is None


@pytest.mark.parametrize("text", ["4", "1441", "0", "-5", "", "soon", "٣٠", "30.5", "9" * 30])
def test_other_digests_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="digest: must be minutes from 5 to 1440, or off"):
        parse_digest(text)


def test_a_fallback_is_a_channel_or_none() -> None:
    assert (parse_fallback("email"), parse_fallback("none")) == ("email", None)
    with pytest.raises(InvalidInput, match="fallback"):
        parse_fallback("E mail")


@pytest.mark.parametrize(
    ("minutes", "zone", "now", "found"),
    [
        (30, "UTC", "2027-03-01T12:00:00Z", "2027-03-01T12:30:00Z"),
        (30, "UTC", "2027-03-01T12:29:59.999999Z", "2027-03-01T12:30:00Z"),
        (30, "Asia/Kolkata", "2027-03-01T12:00:00Z", "2027-03-01T12:30:00Z"),  # 17:30 there
        (60, "Asia/Kolkata", "2027-03-01T12:00:00Z", "2027-03-01T12:30:00Z"),  # 18:00
        (1440, "Europe/Berlin", "2027-03-01T12:00:00Z", "2027-03-01T23:00:00Z"),
        (420, "UTC", "2027-03-01T20:59:00Z", "2027-03-01T21:00:00Z"),
        (420, "UTC", "2027-03-01T21:00:00Z", "2027-03-02T00:00:00Z"),  # begins anew at midnight
        # Berlin, 28 March 2027: 02:00 is 03:00.
        (480, "Europe/Berlin", "2027-03-28T00:00:00Z", "2027-03-28T06:00:00Z"),  # 08:00
        (15, "Europe/Berlin", "2027-03-28T00:45:00Z", "2027-03-28T01:00:00Z"),  # 02:00 to 02:45 are left out
        (120, "Europe/Berlin", "2027-03-28T00:10:00Z", "2027-03-28T01:00:00Z"),  # 02:00, at once after the gap
        (1440, "Europe/Berlin", "2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z"),  # a day of 23 hours
        # Berlin, 31 October 2027: 03:00 is 02:00.
        (15, "Europe/Berlin", "2027-10-31T00:45:00Z", "2027-10-31T01:00:00Z"),  # 02:00, for the second time
        (15, "Europe/Berlin", "2027-10-31T01:00:00Z", "2027-10-31T01:15:00Z"),
        (480, "Europe/Berlin", "2027-10-30T22:00:00Z", "2027-10-31T07:00:00Z"),  # 08:00, after nine hours
        (1440, "Europe/Berlin", "2027-10-30T22:00:00Z", "2027-10-31T23:00:00Z"),  # a day of 25
        # São Paulo, 4 November 2018: midnight is 01:00.
        (1440, "America/Sao_Paulo", "2018-11-04T02:00:00Z", "2018-11-04T03:00:00Z"),
        # Apia left out 30 December 2011.
        (1440, "Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z"),
        (480, "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T18:00:00Z"),
    ],
)
def test_digests_come_at_multiples_on_the_local_clock(minutes: int, zone: str, now: str, found: str) -> None:
    at = next_digest_at(timedelta(minutes=minutes), datetime.fromisoformat(now), zone)
    assert at == datetime.fromisoformat(found)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(InvalidInput, match="time zone"):
        next_digest_at(timedelta(minutes=30), datetime(2027, 3, 1, tzinfo=UTC), "Mars/Olympus")


ZONES = ("Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Antarctica/Troll", "America/St_Johns", "UTC")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.integers(5, 1440),
    st.integers(0, 2 * 366 * 86_400).map(lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + seconds * SECOND),
)
def test_it_is_what_watching_the_clock_finds(zone: str, minutes: int, now: datetime) -> None:
    assert next_digest_at(timedelta(minutes=minutes), now, zone) == watched(zone, minutes, now)


def watched(zone: str, minutes: int, now: datetime) -> datetime:
    """Look at the local clock minute by minute, and at what it leaves out from one minute to the next."""
    for before, after in clock(zone, now.replace(second=0, microsecond=0)):
        here, there = before.replace(tzinfo=None), after.replace(tzinfo=None)
        shown = [there] if there <= here else minutes_between(here, there)
        if any((one.hour * 60 + one.minute) % minutes == 0 for one in shown) and after > now:
            return after
    raise AssertionError("the clock never ends")


def clock(zone: str, start: datetime) -> Iterator[tuple[datetime, datetime]]:
    at = start
    while True:
        later = at + timedelta(minutes=1)
        yield at.astimezone(ZoneInfo(zone)), later.astimezone(ZoneInfo(zone))
        at = later


def minutes_between(first: datetime, last: datetime) -> list[datetime]:
    count = (last - first) // timedelta(minutes=1)
    return [first + timedelta(minutes=number) for number in range(1, count + 1)]
