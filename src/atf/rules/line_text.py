"""From the JSON of an alert or a rule to the line that says the same. Pure.

``line.parse_alert_line`` gives back what was written here, in its normal form: a group of one condition is the
condition itself, and what is as it would be without being said is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from atf.errors import InvalidInput, shown
from atf.rules.grammar import parse_rule
from atf.rules.line import LONGEST_LINE
from atf.rules.line_clauses import SECONDS, instant_text
from atf.rules.line_error import FIELD
from atf.rules.line_json import indicator_named

_BARE_TICKER: Final = re.compile(r"[A-Za-z0-9^](?:[A-Za-z0-9._/^-]|:(?=[A-Za-z0-9^])|=(?=[A-Za-z]))*")
_BARE_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9./_:-]*")
_WRITTEN: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LONGEST_PLAIN: Final = 20


def line_of(config: Mapping[str, Any]) -> str:
    """Return the line of an alert's configuration, which was checked and is none of a legacy job.

    Errors: InvalidInput with the path of what no line can say, or if the line would be too long.
    """
    parts = [f"{_head(config)}: {rule_line_of(config.get('rule'))}", *_clauses(config)]
    line = ", ".join(parts)
    if len(line) > LONGEST_LINE:
        raise InvalidInput(f"is longer than {LONGEST_LINE} characters", field=FIELD)
    return line


def rule_line_of(rule: object) -> str:
    """Return the text of a rule. Errors: InvalidInput with the path of what is wrong in it."""
    parse_rule(rule)
    assert isinstance(rule, Mapping)  # noqa: S101  (parse_rule refuses anything else)
    return _condition(rule)


def _head(config: Mapping[str, Any]) -> str:
    for name in ("ticker", "timeframe"):
        if not isinstance(config.get(name), str):
            raise InvalidInput(f"must be a text, got {shown(config.get(name))}", field=name)
    ticker = config["ticker"]
    return f"{ticker if _BARE_TICKER.fullmatch(ticker) else _quoted(ticker)} {config['timeframe']}"


def _condition(node: Mapping[str, Any], around: str = "") -> str:
    """Return the text of a node; in parentheses where the group around it would tear it apart."""
    operator = node["operator"]
    if "conditions" not in node:
        return _leaf(node)
    parts = node["conditions"]
    if operator == "not":
        return f"not {_condition(parts[0], operator)}"
    if len(parts) == 1:
        return _condition(parts[0], around)
    text = f" {operator} ".join(_condition(part, operator) for part in parts)
    is_bound = around == "" or (around == "or" and operator == "and")
    return text if is_bound else f"({text})"


def _leaf(node: Mapping[str, Any]) -> str:
    value = node["value"]
    right = " and ".join(map(_level, value)) if isinstance(value, Sequence) else _level(value)
    return f"{_operand(node)} {node['operator'].replace('_', ' ')} {right}"


def _level(value: Any) -> str:
    return _operand(value) if isinstance(value, Mapping) else _number(value)


def _operand(node: Mapping[str, Any]) -> str:
    name, multiplier, offset = node["indicator"], node.get("multiplier", 1), node.get("offset", 0)
    factor = "" if multiplier == 1 else f"{_number(multiplier)} * "
    output = f".{node['output']}" if node.get("output") is not None else ""
    return f"{factor}{name}{_arguments(name, node.get('params', {}))}{output}{f'[{offset}]' if offset else ''}"


def _arguments(name: str, params: Mapping[str, Any]) -> str:
    """Return the parameters in parentheses: those that begin the list by place, the others by name."""
    found = indicator_named(name)
    if found is None or not params:
        return ""
    texts: list[str] = []
    for index, known in enumerate(one.name for one in found.parameters):
        if known in params:
            value = params[known] if isinstance(params[known], str) else _number(params[known])
            texts.append(value if index == len(texts) else f"{known}={value}")
    return f"({', '.join(texts)})"


def _number(value: float) -> str:
    """Return the shortest text of a number that is read as the same double."""
    if isinstance(value, int):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _clauses(config: Mapping[str, Any]) -> Iterator[str]:
    yield from _rearm(config.get("rearm", {}))
    options, notify = config.get("options", {}), config.get("notify", {})
    if options.get("expires_at") is not None:
        yield f"expires {_instant(options['expires_at'])}"
    if "max_triggers" in options:
        most = options["max_triggers"]
        yield "once" if most == 1 else f"max {_number(most)}"
    if options.get("evaluate_on") == "live":
        yield "live"
    if "channels" in notify:
        yield f"notify {', '.join(notify['channels'])}"
    if "message_template" in notify:
        yield f"message {_quoted(notify['message_template'])}"
    if "severity" in notify:
        yield f"severity {notify['severity']}"
    if "rearmed" in notify.get("on", ()):
        yield "tell rearming"
    if "calendar" in config:
        code = config["calendar"]
        yield f"calendar {code if _BARE_CODE.fullmatch(code) else _quoted(code)}"


def _rearm(fields: Mapping[str, Any]) -> Iterator[str]:
    kind, cooldown = fields.get("type", "edge"), fields.get("cooldown")
    if kind == "cooldown":
        yield f"rearm cooldown {_duration(cooldown or 0)}"
    elif kind == "hysteresis":
        threshold = fields.get("threshold", 0)
        is_absolute = fields.get("unit") == "absolute"
        yield f"rearm hysteresis {f'{_number(threshold)} absolute' if is_absolute else _percent(threshold)}"
    elif kind == "persistence" and "bars" in fields:
        yield f"rearm persistence {_number(fields['bars'])} bars"
    elif "type" in fields:
        yield f"rearm {kind}"
    if "bars" in fields and kind != "persistence":
        yield f"for {_number(fields['bars'])} bars"
    if cooldown is not None and kind != "cooldown":
        yield f"cooldown {_duration(cooldown)}"


def _percent(fraction: float) -> str:
    percent = Decimal(repr(fraction)).scaleb(2).normalize()
    plain = f"{percent:f}"
    return f"{plain if len(plain) <= _LONGEST_PLAIN else str(percent)}%"


def _duration(seconds: float) -> str:
    for unit, length in reversed(SECONDS.items()):
        if seconds and seconds % length == 0:
            return f"{_number(seconds / length)}{unit}"
    return f"{_number(seconds)}s"


def _instant(text: str) -> str:
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant_text(instant).removesuffix("T00:00:00Z")
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(f"must be a time with its zone, got {shown(text)}", field="options.expires_at")


def _quoted(text: str) -> str:
    return f'"{"".join(_WRITTEN.get(letter, letter) for letter in text)}"'
