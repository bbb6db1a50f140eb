from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from tests.alert_traces import seen_bar

from atf.alerts.alert import Notify, parse_alert
from atf.alerts.alert_message import compose, storable, trigger_key
from atf.alerts.trigger import Trigger

BAR = datetime(2027, 3, 1, 14, tzinfo=UTC)
NAN, INFINITY = float("nan"), float("inf")
CONFIG = {
    "ticker": "AAPL",
    "timeframe": "1h",
    "rule": {"indicator": "price", "operator": ">", "value": 150},
    "notify": {
        "channels": ["console", "inbox"],
        "message_template": "{ticker}/{timeframe} {{{time}}} {open} {high} {low} {close} {volume} "
        "{value}>{threshold} #{trigger_count}",
    },
}
TRIGGER = Trigger(
    bar_time=BAR,
    number=3,
    bar={"open": 149.5, "high": 152, "low": 149, "close": 151.25, "volume": 1e6},
    readings={"close": 151.25, "sma(50)": NAN},
    value=151.25,
    threshold=150.0,
    is_late=True,
    late_at=BAR + timedelta(hours=3),
    seen=seen_bar(BAR),
)


def test_message_is_what_the_template_says() -> None:
    message = compose(7, 2, "breakout", parse_alert(CONFIG), TRIGGER)
    assert message.body == "AAPL/1h {2027-03-01T14:00:00Z} 149.5 152 149 151.25 1000000 151.25>150 #3"
    assert (message.user_id, message.title, message.channels) == (2, "Alert breakout", ("console", "inbox"))


def test_payload_has_what_the_semantics_promise() -> None:
    payload = compose(7, 2, "breakout", parse_alert(CONFIG), TRIGGER).payload
    assert payload == {
        "alert_id": 7,
        "ticker": "AAPL",
        "timeframe": "1h",
        "bar_time": "2027-03-01T14:00:00Z",
        "readings": {"close": 151.25, "sma(50)": None},
        "trigger_number": 3,
        "late": True,
        "live": False,
    }


def test_a_trigger_on_a_forming_bar_says_that_its_values_may_change() -> None:
    live = replace(TRIGGER, live_at=BAR + timedelta(minutes=17), is_late=False)
    message = compose(7, 2, "breakout", parse_alert(CONFIG), live)
    assert message.title == "Alert breakout, on a bar that is still forming"
    assert (message.payload["live"], message.payload["late"]) == (True, False)
    assert message.dedup_key == compose(7, 2, "breakout", parse_alert(CONFIG), TRIGGER).dedup_key


def test_key_is_alert_rule_and_bar() -> None:
    alert = parse_alert(CONFIG)
    message = compose(7, 2, "breakout", alert, TRIGGER)
    assert message.dedup_key == f"7:{alert.rule_hash[:16]}:{int(BAR.timestamp())}"
    assert message.delivery_key("inbox") == f"{message.dedup_key}:inbox"


def test_key_does_not_depend_on_how_the_instant_is_written() -> None:
    elsewhere = BAR.astimezone(timezone(timedelta(hours=9)))
    assert trigger_key(7, "a" * 64, elsewhere) == trigger_key(7, "a" * 64, BAR)


def test_values_in_the_text_are_not_read_as_placeholders() -> None:
    alert = replace(parse_alert(CONFIG), notify=Notify(message_template="{ticker}"))
    assert compose(7, 2, "{close}", alert, TRIGGER).title == "Alert {close}"


def test_nan_and_infinity_become_null() -> None:
    assert storable({"a": NAN, "b": INFINITY, "c": -INFINITY, "d": 1.5}) == {
        "a": None,
        "b": None,
        "c": None,
        "d": 1.5,
    }
