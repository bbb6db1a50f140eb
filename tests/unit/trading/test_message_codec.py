"""What service and bot say to each other arrives as it was sent, or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from math import inf, isnan, nan
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.errors import InvariantViolation
from atf.trading.bot_messages import (
    MOST_ORDERS,
    Answer,
    Candle,
    FromBot,
    Heartbeat,
    NewBar,
    OrderRequest,
    Said,
    Stop,
    ToBot,
)
from atf.trading.message_codec import decode_from_bot, decode_to_bot, encode
from atf.trading.order import OrderTerms, OrderType, Side

AT = datetime(2026, 3, 2, 14, 31, tzinfo=UTC)

texts = st.text(max_size=20)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
instants = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5))]))
floats = st.floats(allow_nan=False, allow_infinity=False)
documents = st.dictionaries(
    texts,
    st.recursive(
        st.none() | st.booleans() | st.integers() | floats | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)
st.register_type_strategy(Decimal, decimals)
st.register_type_strategy(datetime, instants)
st.register_type_strategy(float, floats)


def _strategy(kind: Any) -> st.SearchStrategy[Any]:
    """Build messages of a kind; sequences as tuples, as they arrive."""
    from dataclasses import fields
    from typing import get_type_hints

    hints = get_type_hints(kind)
    return st.builds(kind, **{one.name: _values(hints[one.name]) for one in fields(kind)})


def _values(hint: Any) -> st.SearchStrategy[Any]:
    from collections.abc import Sequence
    from dataclasses import is_dataclass
    from typing import get_origin

    arguments = get_args(hint)
    if hint == Mapping[str, Any] or arguments[:1] == (Mapping[str, Any],):
        return documents if hint == Mapping[str, Any] else st.none() | documents
    if get_origin(hint) is Sequence or (get_origin(hint) is tuple and arguments[-1] is ...):
        return st.lists(_values(arguments[0]), max_size=3).map(tuple)
    if hint == Mapping[int, Candle]:
        return st.dictionaries(st.integers(0, 9), _values(Candle), max_size=3)
    return _strategy(hint) if is_dataclass(hint) else st.from_type(hint)


def _any_of(kinds: Any) -> st.SearchStrategy[Any]:
    return st.one_of([_strategy(kind) for kind in get_args(kinds)])


@given(_any_of(ToBot))
def test_what_the_service_says_arrives_as_it_was_sent(message: ToBot) -> None:
    assert decode_to_bot(encode(message)) == message


@given(_any_of(FromBot))
def test_what_a_bot_says_arrives_as_it_was_sent(message: FromBot) -> None:
    assert decode_from_bot(encode(message)) == message


@given(st.binary(max_size=60) | documents.map(lambda one: json.dumps(one).encode()))
def test_anything_else_is_refused(body: bytes) -> None:
    for decode in (decode_to_bot, decode_from_bot):
        with pytest.raises(InvariantViolation):
            decode(body)


@given(_any_of(FromBot), st.data())
def test_a_changed_field_is_refused_or_still_of_its_type(message: FromBot, data: st.DataObject) -> None:
    document = json.loads(encode(message))
    name = data.draw(st.sampled_from(sorted(document)))
    document[name] = data.draw(st.none() | st.integers() | texts | st.lists(st.integers(), max_size=2))
    try:
        found = decode_from_bot(json.dumps(document).encode())
    except InvariantViolation:
        return
    assert decode_from_bot(encode(found)) == found


def test_an_amount_is_text_and_keeps_its_digits() -> None:
    terms = OrderTerms("BTC", Side.BUY, OrderType.LIMIT, Decimal("0.10"), limit_price=Decimal("1E+3"))
    body = json.loads(encode(Answer(1, (OrderRequest(1, terms),))))
    assert body["orders"][0]["terms"]["quantity"] == "0.10"
    assert body["orders"][0]["terms"]["limit_price"] == "1E+3"


def test_a_missing_price_is_null() -> None:
    sent = NewBar(1, AT, {0: (1.0, 1.0, 1.0, 1.0, nan)}, Decimal(1), Decimal(1))
    assert json.loads(encode(sent))["bars"] == {"0": [1.0, 1.0, 1.0, 1.0, None]}
    found = decode_to_bot(encode(sent))
    assert isinstance(found, NewBar)
    assert isnan(found.bars[0][4])


@pytest.mark.parametrize(
    "message",
    [
        Answer(1, state={"deep": {"x": nan}}),
        Answer(1, state={"x": object()}),
        Heartbeat(AT.replace(tzinfo=None), AT, 0, 0, 0.0),
        Heartbeat(AT, AT, 0, 0, inf),
        NewBar(1, AT, {}, Decimal("NaN"), Decimal(1)),
        Answer(1, (OrderRequest(1, None),)),  # type: ignore[arg-type]
    ],
)
def test_what_json_cannot_hold_is_not_sent(message: ToBot | FromBot) -> None:
    with pytest.raises(InvariantViolation):
        encode(message)


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind":"Said","level":"info"}',
        b'{"kind":"Said","level":"info","text":"x","more":1}',
        b'{"kind":"Said","level":1,"text":"x"}',
        b'{"kind":"Answer","number":true}',
        b'{"kind":"Answer","number":1.0}',
        b'{"kind":"Answer","number":1,"state":[1]}',
        b'{"kind":"Answer","number":1,"state":{"x":NaN}}',
        b'{"kind":"Answer","number":1,"cancels":["1"]}',
        b'{"kind":"Heartbeat","bar_at":"2026-03-02T14:31:00","loop_at":"x","waiting":0,"memory_bytes":0}',
        b'{"kind":"Stop","reason":"x"}',
        b"[" * 100_000,
    ],
)
def test_a_malformed_message_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(InvariantViolation, match="message"):
        decode_from_bot(body)


def test_directions_are_kept_apart() -> None:
    with pytest.raises(InvariantViolation, match="unknown kind 'Said'"):
        decode_to_bot(encode(Said("info", "x")))
    with pytest.raises(InvariantViolation, match="unknown kind 'Stop'"):
        decode_from_bot(encode(Stop("x")))


@pytest.mark.parametrize(
    "bars",
    [{"x": [1, 1, 1, 1, 1]}, {"-1": [1, 1, 1, 1, 1]}, {"0": [1, 1, 1, 1]}, {"0": None}, {"0": [1, 1, "1", 1, 1]}],
)
def test_bars_are_checked(bars: Any) -> None:
    body = {"kind": "NewBar", "number": 1, "open_time": AT.isoformat(), "bars": bars, "cash": "1", "value": "1"}
    with pytest.raises(InvariantViolation, match="bars"):
        decode_to_bot(json.dumps(body).encode())


def test_an_answer_with_too_many_orders_is_refused_before_the_first_of_them_is_read() -> None:
    body = encode(Answer(1))
    allowed, too_many = (
        body.replace(b'"orders":[]', b'"orders":[' + b",".join([b"null"] * count) + b"]")
        for count in (MOST_ORDERS, MOST_ORDERS + 1)
    )
    with pytest.raises(InvariantViolation, match="a NoneType where a dict is"):
        decode_from_bot(allowed)
    with pytest.raises(InvariantViolation, match="orders: 1001 values where 1000 are allowed"):
        decode_from_bot(too_many)
