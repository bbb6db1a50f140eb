from datetime import UTC, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atf.errors import InvalidInput
from atf.notifications.quiet_hours import (
    WEEK,
    QuietHours,
    Weekday,
    in_order,
    parse_days,
    parse_quiet_hours,
)

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",  # changed its clock at 00:01, so that a date came back
    "America/Sao_Paulo",  # at midnight
    "America/Havana",
    "Australia/Lord_Howe",  # by half an hour
    "Africa/Casablanca",  # around Ramadan
    "Antarctica/Troll",  # by two hours
    "Pacific/Apia",  # left out a whole day
    "Asia/Kolkata",
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def quiet(begins: str, ends: str, zone: str = "UTC", days: str = "mon-sun") -> QuietHours:
    return parse_quiet_hours(begins, ends, zone, parse_days(days))


@pytest.mark.parametrize(
    ("instant", "end"),
    [
        ("2027-03-01T21:59:59.999999Z", None),
        ("2027-03-01T22:00:00Z", "2027-03-02T07:00:00Z"),
        ("2027-03-02T00:00:00Z", "2027-03-02T07:00:00Z"),
        ("2027-03-02T06:59:59.999999Z", "2027-03-02T07:00:00Z"),
        ("2027-03-02T07:00:00Z", None),
        ("2027-03-02T12:00:00Z", None),
    ],
)
def test_a_night_over_midnight_holds_from_its_begin_to_just_before_its_end(instant: str, end: str | None) -> None:
    assert quiet("22:00", "07:00").holds(at(instant)) == (end and at(end))


def test_a_nap_within_a_day_holds_within_it_only() -> None:
    nap = quiet("13:00", "14:30")
    assert nap.holds(at("2027-03-01T12:59:00Z")) is None
    assert nap.holds(at("2027-03-01T13:00:00Z")) == at("2027-03-01T14:30:00Z")
    assert nap.holds(at("2027-03-01T14:30:00Z")) is None


def test_the_clock_is_that_of_the_zone() -> None:
    in_tokyo = quiet("22:00", "07:00", "Asia/Tokyo")
    assert in_tokyo.holds(at("2027-03-01T12:59:00Z")) is None
    assert in_tokyo.holds(at("2027-03-01T14:00:00+01:00")) == at("2027-03-01T22:00:00Z")


def test_a_night_belongs_to_the_weekday_on_which_it_begins() -> None:
    weekend = quiet("22:00", "07:00", days="fri,sat")
    assert weekend.holds(at("2027-03-05T03:00:00Z")) is None, "Thursday's night"
    assert weekend.holds(at("2027-03-05T23:00:00Z")) == at("2027-03-06T07:00:00Z"), "Friday's"
    assert weekend.holds(at("2027-03-07T03:00:00Z")) == at("2027-03-07T07:00:00Z"), "Saturday's, on Sunday"
    assert weekend.holds(at("2027-03-07T23:00:00Z")) is None, "Sunday's"


@pytest.mark.parametrize(
    ("begins", "ends", "instant", "end"),
    [
        # Berlin springs from 02:00 to 03:00 on 28 March 2027, at 01:00Z, and falls back on 31 October, at 01:00Z.
        ("22:00", "07:00", "2027-03-27T22:00:00Z", "2027-03-28T05:00:00Z"),
        ("22:00", "07:00", "2027-10-30T22:00:00Z", "2027-10-31T06:00:00Z"),
        ("22:00", "02:30", "2027-03-28T00:59:00Z", "2027-03-28T01:00:00Z"),
        ("22:00", "02:30", "2027-10-31T00:29:00Z", "2027-10-31T00:30:00Z"),
        ("22:00", "02:30", "2027-10-31T00:30:00Z", None),
        ("02:15", "02:45", "2027-03-28T01:00:00Z", None),
        ("02:30", "02:10", "2027-03-27T23:00:00Z", "2027-03-29T00:10:00Z"),
    ],
)
def test_a_change_of_the_clock_moves_the_end_and_never_loses_it(
    begins: str, ends: str, instant: str, end: str | None
) -> None:
    assert quiet(begins, ends, "Europe/Berlin").holds(at(instant)) == (end and at(end))


def test_a_night_that_has_begun_goes_on_when_its_date_has_not() -> None:
    """St. John's went back from 00:01 of 29 October 2006 to 23:01 of the day before, at 02:31Z."""
    night = quiet("00:00", "06:00", "America/St_Johns")
    assert night.holds(at("2006-10-29T02:29:59Z")) is None
    assert night.holds(at("2006-10-29T02:45:00Z")) == at("2006-10-29T09:30:00Z")


@cache
def local_minutes(zone: str, day: datetime) -> list[datetime]:
    """What the clock of the zone shows at each minute of a day in UTC."""
    here = ZoneInfo(zone)
    return [(day + n * MINUTE).astimezone(here).replace(tzinfo=None) for n in range(1440)]


def looked_up(hours: QuietHours, instant: datetime) -> datetime | None:
    """When quiet ends, found by looking at the clock every minute of eight days."""
    first = instant.replace(hour=0, minute=0, second=0, microsecond=0) - 4 * DAY
    shown = [minute for n in range(8) for minute in local_minutes(hours.timezone, first + n * DAY)]

    def comes(local: datetime) -> int:
        return next((place for place, clock in enumerate(shown) if clock >= local), len(shown))

    is_quiet = [False] * len(shown)
    for n in range(1, 7):
        date = (first + n * DAY).date()
        if WEEK[date.weekday()] in hours.days:
            last = date if hours.begins < hours.ends else date + DAY
            begin, end = comes(datetime.combine(date, hours.begins)), comes(datetime.combine(last, hours.ends))
            is_quiet[begin:end] = [True] * (end - begin)
    place = (instant - first) // MINUTE
    if not is_quiet[place]:
        return None
    return first + is_quiet.index(False, place) * MINUTE


@cache
def changes(zone: str) -> list[datetime]:
    """The days of 1975 to 2037 on which a zone changes its clock."""
    here, days = ZoneInfo(zone), [datetime(1975, 1, 1, tzinfo=UTC) + n * DAY for n in range(62 * 365)]
    return [day for day in days if day.astimezone(here).utcoffset() != (day + DAY).astimezone(here).utcoffset()]


@st.composite
def instants(draw: st.DrawFn, zone: str) -> datetime:
    """An instant of some day, nearly always one around a change of the clock."""
    around = draw(st.sampled_from(changes(zone) or [datetime(2027, 3, 1, tzinfo=UTC)]))
    seconds: int = draw(st.integers(-86_400, 2 * 86_400 - 1))
    return around + timedelta(seconds=seconds)


TIMES = st.one_of(
    st.builds(time, st.integers(0, 23), st.integers(0, 59)),
    st.builds(time, st.integers(0, 3), st.sampled_from([0, 1, 15, 30, 45, 59])),  # where clocks are changed
)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), zone=st.sampled_from(ZONES), begins=TIMES, ends=TIMES)
def test_quiet_is_what_a_look_at_the_clock_every_minute_says(
    data: st.DataObject, zone: str, begins: time, ends: time
) -> None:
    if begins == ends:
        ends = time((ends.hour + 1) % 24, ends.minute)
    days = frozenset(data.draw(st.sets(st.sampled_from(WEEK), min_size=1)) if data.draw(st.booleans()) else WEEK)
    hours = QuietHours(begins, ends, zone, days)
    instant = data.draw(instants(zone))
    assert hours.holds(instant) == looked_up(hours, instant)


def test_the_end_of_quiet_is_not_quiet_whatever_the_clock_does() -> None:
    """Else what is held until then would be held again at once, and claimed for ever."""
    for zone in ZONES:
        for begins, ends in (("22:00", "07:00"), ("00:00", "23:59"), ("02:30", "02:10"), ("00:30", "00:29")):
            hours = quiet(begins, ends, zone)
            for change in changes(zone):
                end = hours.holds(change + DAY / 2)
                assert end is None or hours.holds(end) is None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("22:00", "22:00", "UTC"), "until: must be another time than from, got 22:00 for both"),
        (("10pm", "07:00", "UTC"), "from: must be a time of day from 00:00 to 23:59, got '10pm'"),
        (("7:00", "08:00", "UTC"), "from: must be a time of day from 00:00 to 23:59, got '7:00'"),
        (("22:00", "24:00", "UTC"), "until: must be a time of day from 00:00 to 23:59, got '24:00'"),
        (("22:00", "07:00\n", "UTC"), "until: must be a time of day from 00:00 to 23:59, got '07:00\n'"),
        (("٢٢:00", "07:00", "UTC"), "from: must be a time of day from 00:00 to 23:59, got '٢٢:00'"),
        (
            ("22:00", "07:00", "Europe/Atlantis"),
            "timezone: unknown time zone 'Europe/Atlantis'; use an IANA name such as America/New_York",
        ),
        (("x", "x", "UTC"), "from: must be a time of day from 00:00 to 23:59, got 'x'; until: must be"),
    ],
)
def test_what_is_no_quiet_hours_is_refused_with_a_sentence_for_each_field(
    given: tuple[str, str, str], sentence: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_quiet_hours(*given)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon", "mon"),
        ("MON, Wed", "mon wed"),
        ("mon-fri", "mon tue wed thu fri"),
        ("sun,fri-sat", "fri sat sun"),
        ("fri-mon", "mon fri sat sun"),
        ("mon-sun", "mon tue wed thu fri sat sun"),
        ("sun-mon", "mon sun"),
        ("tue-mon", "mon tue wed thu fri sat sun"),
    ],
)
def test_days_are_listed_by_name_and_range(text: str, days: str) -> None:
    assert in_order(parse_days(text)) == tuple(Weekday(day) for day in days.split())


@pytest.mark.parametrize("text", ["", "monday", "mon,", "mon-", "-fri", "1-5", "mon-tue-wed"])
def test_what_is_no_list_of_days_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="days: must be a list of mon, tue") as refused:
        parse_days(text)
    assert str(refused.value).endswith(f"got '{text}'")


def test_a_zone_that_this_machine_does_not_know_is_an_error_and_no_answer() -> None:
    with pytest.raises(InvalidInput, match="timezone: unknown time zone"):
        QuietHours(time(22), time(7), "Mars/Olympus").holds(datetime(2027, 3, 1, tzinfo=UTC))
