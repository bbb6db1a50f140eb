"""What an alert is: its configuration as types, and the hash that tells whether its rule was changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from string import Formatter
from typing import Any, Final, NewType

from atf.alerts.rearm import Limits, Rearm, RearmType
from atf.alerts.schema_validator import AlertSchemaValidator
from atf.errors import InvalidAlertRule, InvalidInput, shown
from atf.market.bars import Series, Timeframe
from atf.rules.grammar import parse_rule
from atf.rules.rule import Rule

RuleHash = NewType("RuleHash", str)

DEFAULT_REARM: Final = {"type": "edge"}
DEFAULT_CHANNELS: Final = ("inbox",)
DEFAULT_TEMPLATE: Final = "{ticker} {timeframe}: {value} (level {threshold}) at {time}"
PLACEHOLDERS: Final = (
    "ticker",
    "timeframe",
    "time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "value",
    "threshold",
    "trigger_count",
)


@dataclass(frozen=True, slots=True)
class Alert:
    """A checked configuration, ready to be evaluated."""

    series: Series
    rule: Rule
    rearm: Rearm
    limits: Limits
    channels: tuple[str, ...]
    message_template: str
    rule_hash: RuleHash


def parse_alert(config: object) -> Alert:
    """Return the alert of a configuration as alert_semantics describes it.

    Errors: InvalidAlertRule whose field is the JSON path of what is wrong.
    """
    document = AlertSchemaValidator().validate(config)
    try:
        rule = parse_rule(document["rule"])
    except InvalidInput as exc:
        raise InvalidAlertRule(exc.reason, field=exc.field) from exc
    notify = document.get("notify", {})
    return Alert(
        series=Series(document["ticker"], Timeframe(document["timeframe"])),
        rule=rule,
        rearm=_rearm(document.get("rearm", DEFAULT_REARM)),
        limits=_limits(document.get("options", {})),
        channels=tuple(notify.get("channels", DEFAULT_CHANNELS)),
        message_template=_template(notify.get("message_template", DEFAULT_TEMPLATE)),
        rule_hash=rule_hash(document),
    )


def rule_hash(config: Mapping[str, Any]) -> RuleHash:
    """Return SHA-256 over the canonical JSON of what decides when the alert fires.

    Ticker, timeframe, rule and rearm count, with the default rearm filled in; keys are sorted and numbers
    are doubles, so that 70 and 70.0 are the same rule. Notification and options do not count.
    """
    deciding = {name: config[name] for name in ("ticker", "timeframe", "rule")}
    deciding["rearm"] = config.get("rearm", DEFAULT_REARM)
    text = json.dumps(_doubles(deciding), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return RuleHash(hashlib.sha256(text.encode()).hexdigest())


def _doubles(node: Any) -> Any:
    if isinstance(node, bool) or not isinstance(node, int | list | Mapping):
        return node
    if isinstance(node, int):
        return float(node)
    if isinstance(node, list):
        return [_doubles(part) for part in node]
    return {name: _doubles(part) for name, part in node.items()}


def _rearm(fields: Mapping[str, Any]) -> Rearm:
    kind = RearmType(fields["type"])
    cooldown = timedelta(seconds=fields.get("cooldown", 0))
    if kind is RearmType.COOLDOWN and not cooldown:
        raise InvalidAlertRule("type 'cooldown' needs seconds greater than 0", field="rearm.cooldown")
    if kind is RearmType.PERSISTENCE and "bars" not in fields:
        raise InvalidAlertRule("type 'persistence' needs a number of bars", field="rearm.bars")
    return Rearm(kind, int(fields.get("bars", 1)), cooldown)


def _limits(fields: Mapping[str, Any]) -> Limits:
    expires_at = fields.get("expires_at")
    return Limits(_instant(expires_at) if expires_at is not None else None, fields.get("max_triggers"))


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidAlertRule(
        f"must be a time with its zone such as 2026-12-31T00:00:00Z, got {shown(text)}",
        field="options.expires_at",
    )


def _template(template: str) -> str:
    where = "notify.message_template"
    try:
        parts = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as exc:
        raise InvalidAlertRule(f"{exc}; write {{{{ and }}}} for braces", field=where) from exc
    for _, name, spec, conversion in parts:
        if name not in PLACEHOLDERS:
            allowed = " ".join(PLACEHOLDERS)
            raise InvalidAlertRule(f"unknown placeholder '{{{name}}}'; allowed: {allowed}", field=where)
        if spec or conversion:  # a width of a billion would be a billion characters
            raise InvalidAlertRule(f"'{{{name}}}' takes no format", field=where)
    return template
