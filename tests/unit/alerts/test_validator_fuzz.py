"""Nonsense against the validator: it never crashes, and what it accepts can be evaluated, stored, told and shown.

``make fuzz`` is the long form, 100,000 documents (``ATF_FUZZ_DOCUMENTS``); they are the same each time.
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from tests.alert_steps import Evaluation, evaluated, needed

from atf.alerts.action_message import action_messages
from atf.alerts.alert import PLACEHOLDERS, Alert, compile_alert, fresh_state, parse_alert
from atf.alerts.alert_line import config_of_line
from atf.alerts.alert_message import compose, messages_of, rearmed_message
from atf.alerts.explanation import as_json, as_text
from atf.alerts.legacy import upgraded
from atf.alerts.trace import trace, watched_bars
from atf.errors import InvalidAlertRule, InvalidInput
from atf.market.bars import Bars
from atf.market.closing import Closing
from atf.rules.line_text import line_of

DOCUMENTS: Final = int(os.environ.get("ATF_FUZZ_DOCUMENTS", "3000"))
BEGIN: Final = datetime(2027, 3, 1, tzinfo=UTC)
SOME_WORDS: Final = """
rsi sma ema macd bbands atr change_pct price close volume rsii and or not > < == between outside crosses
crosses_above enters exits simple edge hysteresis cooldown persistence crossing inbox telegram 1m 1d 7d absolute
upper hist {close} { live bar_close 2026-12-31T00:00:00Z urgent rearmed
bot webhook start signal skip run https://h/x
"""
SOME_NAMES: Final = """
ticker timeframe rule rearm notify options operator conditions indicator params period source fast slow stddev
output offset multiplier value type bars cooldown threshold unit channels message_template severity on expires_at
max_triggers evaluate_on calendar schema_version symbol condition notification_channels lookback x
actions bot_id command url payload when_late
"""
WORDS: Final = (*SOME_WORDS.split(), "", "\0", "\ud800", "ü")
NAMES: Final = tuple(SOME_NAMES.split())
NAN, INFINITY = float("nan"), float("inf")
VALUES: Final = (4.0, 6.0, NAN, 5.0, 5.0, 7.0, 1e300, 3.0, 6.0, 5.5) * 3
NUMBERS: Final = (0, 1, -1, 2, 5, 14, 70, 0.02, 1.5, 1e308, -1e308, 10**30, NAN, INFINITY, True, False)
LEAF: Final = {"indicator": "rsi", "params": {"period": 2}, "operator": ">", "value": 50}
SEEDS: Final[tuple[dict[str, Any], ...]] = (
    {"ticker": "T", "timeframe": "1h", "rule": LEAF},
    {
        "ticker": "T",
        "timeframe": "1h",
        "rule": {
            "operator": "or",
            "conditions": [
                {"operator": "not", "conditions": [LEAF]},
                {"indicator": "price", "operator": "enters", "value": [5, {"indicator": "sma", "offset": 1}]},
                {
                    "indicator": "close",
                    "operator": "crosses_above",
                    "value": {"indicator": "ema", "multiplier": 2},
                },
            ],
        },
        "rearm": {"type": "hysteresis", "threshold": 0.02, "bars": 2, "cooldown": 60},
        "notify": {"channels": ["inbox"], "message_template": "{ticker} {value}", "severity": "high"},
        "options": {"max_triggers": 3, "expires_at": "2027-03-01T20:00:00Z"},
        "actions": [
            {"type": "bot", "bot_id": 7, "command": "signal", "payload": {"size": [1.5, None]}},
            {"type": "webhook", "url": "https://example.com/hook", "when_late": "run"},
        ],
    },
    {"symbol": "T", "condition": "volume_spike", "threshold": 2, "timeframe": "1h", "lookback": 3},
)


def documents() -> Iterator[Any]:
    """Yield valid documents with a few changes each, and some that are nonsense throughout."""
    chance = random.Random(20_261_128)
    for _ in range(DOCUMENTS):
        document: Any = copy.deepcopy(chance.choice(SEEDS))
        for _ in range(chance.randint(0, 3)):
            document = changed(document, chance)
        yield document if chance.random() < 0.95 else anything(chance, 4)


def changed(node: Any, chance: random.Random) -> Any:
    """Return a document with one change somewhere below."""
    if isinstance(node, dict) and node and chance.random() < 0.8:
        name = chance.choice(list(node))
        match chance.randint(0, 9):
            case 0:
                del node[name]
            case 1:
                node[chance.choice(NAMES)] = anything(chance, 2)
            case 2:
                node[chance.choice(NAMES)] = node.pop(name)
            case _:
                node[name] = changed(node[name], chance)
        return node
    if isinstance(node, list) and node and chance.random() < 0.8:
        place = chance.randrange(len(node))
        node[place] = changed(node[place], chance)
        return node
    return anything(chance, 2)


def anything(chance: random.Random, depth: int) -> Any:
    match chance.randint(0, 5 if depth else 3):
        case 0:
            return chance.choice(NUMBERS)
        case 1:
            return chance.choice(WORDS)
        case 2:
            return chance.choice((None, -7, 3, "T", {}, []))
        case 3:
            return chance.uniform(-100, 100)
        case 4:
            return [anything(chance, depth - 1) for _ in range(chance.randint(0, 3))]
        case _:
            return {chance.choice(NAMES): anything(chance, depth - 1) for _ in range(chance.randint(0, 4))}


@pytest.mark.timeout(3600)
def test_nothing_crashes_and_nothing_is_accepted_that_fails_later() -> None:
    accepted = refused = written = 0
    for document in documents():
        try:
            alert = parse_alert(document)
        except InvalidAlertRule as exc:
            assert exc.reason  # noqa: PT017 - most documents are refused, some are accepted, nothing else happens
            refused += 1
            continue
        accepted += 1
        assert compile_alert(as_stored(document)).rule_hash == alert.rule_hash
        found = evaluated_over_some_bars(alert)
        assert len(told(alert, found)) >= len(found.triggers)
        written += reads_back(document)
    assert accepted > DOCUMENTS // 20
    assert refused > DOCUMENTS // 2
    assert written > accepted // 2


def as_stored(document: Any) -> Any:
    """Return a document as PostgreSQL gives it back, which refuses NUL and halves of surrogate pairs."""
    text = json.dumps(document, allow_nan=False)
    assert "\\u0000" not in text
    json.dumps(document, ensure_ascii=False).encode()
    return json.loads(text)


def evaluated_over_some_bars(alert: Alert) -> Evaluation:
    """Evaluate, and explain what happened on the newest bar."""
    length = alert.series.timeframe.length
    rows = [(BEGIN + length * i, value, value, value, value, 10.0) for i, value in enumerate(VALUES)]
    bars, state, now = Bars.from_rows(rows), fresh_state(alert, BEGIN), BEGIN + length * len(VALUES)
    assert needed(alert, state, now) >= len(VALUES)
    found = evaluated(alert, state, bars, now)
    newest = trace(alert, state, watched_bars(bars, Closing(alert.series.timeframe)), now).bars[-1]
    assert as_text(alert, newest)
    json.dumps(as_json(alert, newest), allow_nan=False).encode()
    return found


def told(alert: Alert, found: Evaluation) -> list[str]:
    """Return what an alert says, as it goes into the outbox."""
    messages = messages_of(1, 1, "fuzz", alert, found.triggers)
    messages.append(rearmed_message(1, 1, "fuzz", alert, BEGIN))
    messages += [each for one in found.triggers for each in action_messages(1, 1, "fuzz", alert, one, None)]
    return [as_stored([one.title, one.body, one.payload, one.channels])[1] for one in messages]


def reads_back(document: Any) -> bool:
    """Whether a line can say a document; what it then says is accepted and written the same way again."""
    try:
        line = line_of(upgraded(document))
    except InvalidInput as exc:
        assert exc.field  # noqa: PT017 - not everything has a line, and this is the one way to be told so
        return False
    assert line_of(config_of_line(line)) == line
    return True


def test_every_placeholder_has_a_value() -> None:
    template = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    alert = parse_alert({**SEEDS[0], "notify": {"message_template": template}})
    rows = [
        (BEGIN + timedelta(hours=i), close, close, close, close, 1.0) for i, close in enumerate([1.0, 2, 3, 4])
    ]
    found = evaluated(alert, fresh_state(alert, BEGIN), Bars.from_rows(rows), BEGIN + timedelta(hours=4))
    assert "{" not in compose(1, 1, "all", alert, found.triggers[0]).body
