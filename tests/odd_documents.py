"""Alert configurations with something odd in them, the same each time: for fuzzing."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any, Final

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


def documents(count: int) -> Iterator[Any]:
    """Yield valid documents with a few changes each, and some that are nonsense throughout."""
    chance = random.Random(20_261_128)
    for _ in range(count):
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
