"""What an alert is: its configuration as types, and the hash that tells whether its rule was changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from string import Formatter
from typing import Any, Final, NewType

from atf.alerts.action import Action, check_actions, parse_actions
from atf.alerts.legacy import upgraded
from atf.alerts.rearm import Limits, Rearm, RearmType
from atf.alerts.schema_validator import AlertSchemaValidator
from atf.alerts.state import AlertState, Gate
from atf.alerts.watched import Watched, bars_behind
from atf.errors import InvalidAlertRule, InvalidInput, Problems, shown
from atf.market.bars import Series, Timeframe
from atf.notifications.message import Priority
from atf.rules.grammar import parse_rule
from atf.rules.mould import compile_rule, with_doubles
from atf.rules.operands import Constant, Operand
from atf.rules.rule import Rule, leaves
from atf.rules.shape import Shape

RuleHash = NewType("RuleHash", str)

_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)

DEFAULT_REARM: Final = {"type": "edge"}
DEFAULT_CHANNELS: Final = ("inbox",)
DEFAULT_SEVERITY: Final = "normal"
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
class Notify:
    """Who is told of a trigger, and how."""

    channels: tuple[str, ...] = DEFAULT_CHANNELS
    message_template: str = DEFAULT_TEMPLATE
    severity: str = DEFAULT_SEVERITY
    tells_rearming: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """A checked configuration, ready to be evaluated; ``shape`` and ``operands`` are its rule taken apart.

    ``events`` are the leaves whose sides are remembered; ``bars_behind`` is how many bars, its own included, a
    reading depends on at most; ``needs_history`` tells whether bars from before the alert was made decide
    something. ``cohort_key`` is equal for alerts that are judged together: shapes are shared, so their identity
    tells them apart.
    """

    watched: Watched
    rule: Rule
    shape: Shape
    operands: tuple[Operand, ...]
    rearm: Rearm
    limits: Limits
    notify: Notify
    rule_hash: RuleHash
    actions: tuple[Action, ...] = ()
    events: tuple[int, ...] = field(init=False, compare=False)
    bars_behind: int = field(init=False, compare=False)
    bar_nanoseconds: int = field(init=False, compare=False)
    needs_history: bool = field(init=False, compare=False)
    cohort_key: tuple[int, RearmType] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        # Asked for each alert on each bar: what never changes is worked out once.
        events = events_of(self.shape)
        read = [operand for operand in self.operands if not isinstance(operand, Constant)]
        behind = max(map(bars_behind, read), default=1)
        nanoseconds = self.series.timeframe.length // timedelta(microseconds=1) * 1000
        for name, value in (
            ("events", events),
            ("bars_behind", behind),
            ("bar_nanoseconds", nanoseconds),
            ("needs_history", bool(events) or self.rearm.type.starts_closed),
            ("cohort_key", (id(self.shape), self.rearm.type)),
        ):
            object.__setattr__(self, name, value)

    @property
    def series(self) -> Series:
        """The bars that the rule reads."""
        return self.watched.series

    @property
    def is_live(self) -> bool:
        """Whether the bar that is forming is looked at, too."""
        return self.watched.is_live


def fresh_state(alert: Alert, history_until: datetime) -> AlertState:
    """Return the state of an alert that has evaluated nothing yet."""
    gate = Gate.CLOSED if alert.rearm.type.starts_closed else Gate.OPEN
    return AlertState(alert.rule_hash, history_until, gate)


def renewed_state(alert: Alert, old: AlertState) -> AlertState:
    """Return the fresh state of an alert whose rule was edited: bars that were evaluated are history."""
    return replace(fresh_state(alert, evaluated_until(alert, old)), version=old.version)


def evaluated_until(alert: Alert, old: AlertState) -> datetime:
    """Return an instant at which the newest bar that was evaluated or is history has closed, the next one not.

    With a calendar as well: it ends a bar between its opening and the end of its timeframe.
    """
    if old.last_bar is None:
        return old.history_until
    return max(old.history_until, old.last_bar + alert.series.timeframe.length)


def parse_alert(config: object) -> Alert:
    """Return the alert of a configuration as alert_semantics describes it, legacy ones included.

    Errors: InvalidAlertRule with all that is wrong; the field of each is its JSON path.
    """
    document = upgraded(config)
    problems = Problems()
    with problems:
        AlertSchemaValidator().validate(document)
    if isinstance(document, Mapping):
        _check_what_schemas_cannot(document, problems)
    problems.raise_any(InvalidAlertRule)
    return compile_alert(document)


def compile_alert(config: object) -> Alert:
    """Return the alert of a stored configuration, which was checked when it was stored.

    Errors: InvalidAlertRule for one that was changed by hand in the database.
    """
    document = upgraded(config)
    try:
        return _compiled(document)
    except InvalidInput as exc:
        raise InvalidAlertRule(exc.reason, field=exc.field, others=exc.others) from exc
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise InvalidAlertRule(f"was stored unchecked: {type(exc).__name__} {exc}") from exc


def _compiled(document: Mapping[str, Any]) -> Alert:
    compiled = compile_rule(document["rule"])
    rearm, rearm_text = _rearm_of(_CANONICAL.encode(document.get("rearm", DEFAULT_REARM)))
    options = document.get("options", {})
    named = {name: _text(document[name]) for name in ("calendar", "ticker", "timeframe") if name in document}
    series = Series(named["ticker"], Timeframe(named["timeframe"]))
    return Alert(
        watched=Watched(series, named.get("calendar"), options.get("evaluate_on") == "live"),
        rule=compiled.rule,
        shape=compiled.shape,
        operands=compiled.operands,
        rearm=rearm,
        limits=_limits(options),
        notify=_notify(document.get("notify", {})),
        rule_hash=_hash_of(named, compiled.text, rearm_text),
        actions=parse_actions(document.get("actions", ())),
    )


def _check_what_schemas_cannot(document: Mapping[str, Any], problems: Problems) -> None:
    """Look at the rule, and at values whose meaning depends on others."""
    if isinstance(document.get("rule"), Mapping):
        with problems:
            parse_rule(document["rule"])
    for part, check in (("rearm", _check_rearm), ("options", _limits), ("notify", _check_notify)):
        found = document.get(part)
        if isinstance(found, Mapping):
            with problems, suppress(KeyError, TypeError, ValueError, OverflowError):
                check(found)  # what is of a wrong type was told already
    with problems:
        check_actions(document.get("actions"))


@lru_cache(maxsize=65_536)
def events_of(shape: Shape) -> tuple[int, ...]:
    """Return the numbers of the event leaves of a shape."""
    return tuple(leaf.number for leaf in leaves(shape) if leaf.operator.is_event)


def rule_hash(config: Mapping[str, Any]) -> RuleHash:
    """Return SHA-256 over the canonical JSON of what decides when the alert fires.

    Ticker, timeframe, rule and rearm count, and the calendar if there is one. The default rearm is filled in,
    keys are sorted and numbers are doubles, so that 70 and 70.0 are the same rule. Notification, actions and
    options do not count.
    """
    rule, rearm = (
        with_doubles(_CANONICAL.encode(part)) for part in (config["rule"], config.get("rearm", DEFAULT_REARM))
    )
    named = {name: config[name] for name in ("calendar", "ticker", "timeframe") if name in config}
    return _hash_of(named, rule, rearm)


def _hash_of(named: Mapping[str, str], rule: str, rearm: str) -> RuleHash:
    """Return the hash over texts by their names and over the canonical JSON of rule and rearm."""
    texts = {name: _CANONICAL.encode(text) for name, text in named.items()} | {"rule": rule, "rearm": rearm}
    canonical = ",".join([f'"{name}":{texts[name]}' for name in sorted(texts)])
    return RuleHash(hashlib.sha256(f"{{{canonical}}}".encode()).hexdigest())


@lru_cache(maxsize=65_536)
def _rearm_of(text: str) -> tuple[Rearm, str]:
    """Return the rearm of a canonical text, and the text with all numbers doubles."""
    return _rearm(json.loads(text)), with_doubles(text)


def _rearm(fields: Mapping[str, Any]) -> Rearm:
    return Rearm(
        RearmType(fields["type"]),
        int(fields.get("bars", 1)),
        timedelta(seconds=fields.get("cooldown", 0)),
        float(fields.get("threshold", 0.0)),
        fields.get("unit", "relative") == "absolute",
    )


def _check_rearm(fields: Mapping[str, Any]) -> None:
    kind, threshold = fields["type"], fields.get("threshold")
    problems = Problems()
    if kind == RearmType.COOLDOWN and not fields.get("cooldown"):
        problems.add(InvalidAlertRule("type 'cooldown' needs seconds greater than 0", field="rearm.cooldown"))
    if kind == RearmType.PERSISTENCE and "bars" not in fields:
        problems.add(InvalidAlertRule("type 'persistence' needs a number of bars", field="rearm.bars"))
    if kind == RearmType.HYSTERESIS and threshold is None:
        problems.add(
            InvalidAlertRule("type 'hysteresis' needs a fraction, such as 0.02 for 2 %", field="rearm.threshold")
        )
    for name in ("threshold", "unit"):
        if name in fields and kind != RearmType.HYSTERESIS and kind in list(RearmType):
            problems.add(InvalidAlertRule(f"only type 'hysteresis' has a {name}", field=f"rearm.{name}"))
    if threshold is not None and fields.get("unit") != "absolute" and threshold >= 1:
        problems.add(
            InvalidAlertRule(
                f"is a fraction of the level and must be below 1, got {shown(threshold)}: 0.02 means 2 %; "
                'or add "unit": "absolute"',
                field="rearm.threshold",
            )
        )
    problems.raise_any()


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


def _notify(fields: Mapping[str, Any]) -> Notify:
    template, channels = (
        fields.get("message_template", DEFAULT_TEMPLATE),
        fields.get("channels", DEFAULT_CHANNELS),
    )
    check_template(_text(template))
    if isinstance(channels, (str, Mapping)):
        raise TypeError(f"channels {shown(channels)}")
    return Notify(
        tuple(_text(channel) for channel in channels),
        template,
        Priority(fields.get("severity", DEFAULT_SEVERITY)),
        "rearmed" in fields.get("on", ()),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{shown(value)} is no text")
    return value


def _check_notify(fields: Mapping[str, Any]) -> None:
    template = fields.get("message_template")
    if isinstance(template, str):
        check_template(template)


@lru_cache(maxsize=1024)
def check_template(template: str) -> None:
    """Refuse a message template that names what there is not, or has a format.

    Errors: InvalidAlertRule.
    """
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
