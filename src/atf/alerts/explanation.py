"""Why an alert did or did not fire on a bar: the tree with every value and verdict, and the state. Pure.

One form for programs (``as_json``) and one for people (``as_text``); both come from a traced bar.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite, isnan
from typing import Any, Final

from atf.alerts.alert import Alert
from atf.alerts.rearm import RearmType
from atf.alerts.rearming import Rearming, span_words
from atf.alerts.state import AlertState, Gate
from atf.alerts.traced_bar import JudgedBar, TracedBar
from atf.rules.rule import AllOf, AnyOf, Leaf, Not, Rule
from atf.rules.truth import FALSE, TRUE, UNKNOWN
from atf.rules.words import leaf_words, number_words, operand_words

_WORDS: Final = {TRUE: "true", UNKNOWN: "unknown", FALSE: "false"}


def as_json(alert: Alert, bar: TracedBar, *, is_preview: bool = False) -> dict[str, Any]:
    """Return the explanation as JSON: the rule's tree with values and truths, and the state before and after.

    ``is_preview``: of a bar that the alert did not watch, but would have.
    """
    return {
        "ticker": alert.series.symbol,
        "timeframe": str(alert.series.timeframe),
        "bar_time": _utc(bar.open_time),
        "closed_at": _utc(bar.close_time),
        "triggered": bar.is_triggered,
        "preview": is_preview,
        "reason": reason(alert, bar, is_preview=is_preview),
        "truth": _WORDS[bar.truth],
        "rule": tree(alert, bar.judged),
        "before": state_json(bar.before),
        "after": state_json(bar.after),
        "opens_at": Rearming(alert, bar.values).opens_at() if bar.after.gate is Gate.CLOSED else None,
        "cooldown_left_seconds": None if (left := _cooldown_left(bar)) is None else left.total_seconds(),
        "bars_left": _bars_left(alert, bar),
    }


def to_keep(alert: Alert, bar: TracedBar) -> dict[str, Any]:
    """Return what is stored with a trigger: the tree as it was, and the state before and after."""
    return {
        "rule": tree(alert, bar.judged),
        "before": state_json(bar.before),
        "after": state_json(bar.after),
    }


def tree(alert: Alert, bar: JudgedBar) -> dict[str, Any]:
    """Return the rule's tree as JSON, with what was read and the truth of each part."""
    return _Tree(alert, bar).node(alert.rule)


def tree_lines(node: Mapping[str, Any]) -> list[str]:
    """Return a rule's tree as lines that a person reads."""
    return list(_lines(node, "", ""))


def as_text(alert: Alert, bar: TracedBar, *, is_preview: bool = False) -> str:
    """Return the explanation as lines that a person reads in one look."""
    head = f"{alert.series}, bar of {shown_time(bar.open_time)}, closed {shown_time(bar.close_time)}"
    why = reason(alert, bar, is_preview=is_preview)
    return "\n".join([head, why, "", *tree_lines(tree(alert, bar.judged)), "", *_changes(alert, bar)])


def reason(alert: Alert, bar: TracedBar, *, is_preview: bool = False) -> str:
    """Return in a sentence why the alert fired, or why not."""
    if bar.is_triggered:
        number = f"Triggered, for the {_ordinal(bar.after.trigger_count)} time."
        return "It would have triggered." if is_preview else number
    return f"{'It would not have triggered' if is_preview else 'Not triggered'}: {_obstacle(alert, bar)}."


def _obstacle(alert: Alert, bar: TracedBar) -> str:
    if bar.before.status.is_final or bar.after.status.is_final:
        return f"the alert is {bar.after.status}"
    if bar.is_history:
        return "the bar closed before the alert began to watch"
    if bar.truth == UNKNOWN:
        return "the rule is unknown, as a value is missing"
    if bar.truth == FALSE:
        return "the rule is false"
    if bar.after.gate is Gate.CLOSED:
        return f"the rule is true, but the gate is closed: {_gate(alert)}"
    if bar.after.count < alert.rearm.bars:
        return f"the rule is true on {bar.after.count} of {alert.rearm.bars} bars in a row"
    if bar.before.last_trigger_bar == bar.open_time:
        return "it has triggered on this bar already, before the bar closed"
    return f"the rule is true, but the cooldown lasts until {shown_time(bar.before.cooldown_until)}"


def _gate(alert: Alert) -> str:
    match alert.rearm.type:
        case RearmType.HYSTERESIS:
            return "the value has not moved away from its level far enough since the last trigger"
        case RearmType.CROSSING:
            return "the value was not on the other side of its level since the last trigger, or never yet"
        case _:
            return "the rule was not false since the last trigger"


class _Tree:
    """The rule's tree on one bar; the values are those of its operands, left to right."""

    def __init__(self, alert: Alert, bar: JudgedBar) -> None:
        self._bar = bar
        self._values = iter(bar.values)
        self._rearming = Rearming(alert, bar.values)

    def node(self, rule: Rule) -> dict[str, Any]:
        match rule:
            case Leaf():
                return self._leaf(rule)
            case Not(inner):
                part = self.node(inner)
                return {"operator": "not", "truth": _opposite(part["truth"]), "conditions": [part]}
            case AllOf(parts) | AnyOf(parts):
                nodes = [self.node(part) for part in parts]
                is_all = isinstance(rule, AllOf)
                sign = "and" if is_all else "or"
                return {"operator": sign, "truth": _joined(nodes, is_all), "conditions": nodes}

    def _leaf(self, leaf: Leaf[Any]) -> dict[str, Any]:
        read = {operand_words(operand): _number(next(self._values)) for operand in leaf.operands}
        truth = _WORDS[self._bar.leaves[leaf.number]]
        node: dict[str, Any] = {"leaf": leaf_words(leaf), "truth": truth, "values": read}
        if leaf.operator.is_event:
            number = str(leaf.number)
            before, after = self._bar.sides_before.get(number), self._bar.sides_after.get(number)
            node["side"] = {"before": before, "after": after}
        if (edge := self._rearming.leaf_at(leaf)) is not None:
            node["rearms_at"] = edge
            node["has_moved_away"] = self._rearming.has_moved_away(leaf)
        return node


def _joined(nodes: list[dict[str, Any]], is_all: bool) -> str:
    truths = [node["truth"] for node in nodes]
    deciding, other = ("false", "true") if is_all else ("true", "false")
    return deciding if deciding in truths else "unknown" if "unknown" in truths else other


def _opposite(truth: str) -> str:
    return {"true": "false", "false": "true"}.get(truth, truth)


def _lines(node: Mapping[str, Any], lead: str, branch: str) -> Iterator[str]:
    if "leaf" in node:
        read = ", ".join(
            f"{name} = {number_words(value)}" for name, value in node["values"].items() if not _is_number(name)
        )
        side = node.get("side")
        turned = f", side {side['before'] or 'not known'} → {side['after'] or 'not known'}" if side else ""
        rearms = f"; re-arms at {node['rearms_at']}" if "rearms_at" in node else ""
        yield f"{lead}{branch}{node['truth']:<8} {node['leaf']}   ({read}{turned}{rearms})"
        return
    yield f"{lead}{branch}{node['truth']:<8} {node['operator']}"
    deeper = lead + ("   " if branch in ("", "└─ ") else "│  ") if branch else lead
    *first, last = node["conditions"]
    for part in first:
        yield from _lines(part, deeper, "├─ ")
    yield from _lines(last, deeper, "└─ ")


def _changes(alert: Alert, bar: TracedBar) -> list[str]:
    before, after = bar.before, bar.after
    lines = [
        f"gate      {_turned(before.gate, after.gate)}{_opening(alert, bar)}",
        f"status    {_turned(before.status, after.status)}",
    ]
    if alert.rearm.bars > 1:
        left = _bars_left(alert, bar)
        lines.append(f"count     {after.count} of {alert.rearm.bars} bars{_and_more(left, 'true bar')}")
    if after.cooldown_until is not None:
        left_time = _cooldown_left(bar)
        more = ", which is over" if left_time is None else f", {span_words(left_time)} more"
        lines.append(f"cooldown  until {shown_time(after.cooldown_until)}{more}")
    return lines


def _turned(before: str, after: str) -> str:
    return f"{before} → {after}" if before != after else after


def _opening(alert: Alert, bar: TracedBar) -> str:
    if bar.after.gate is Gate.OPEN:
        return ""
    return f", opens when {Rearming(alert, bar.values).opens_at()}"


def _bars_left(alert: Alert, bar: TracedBar) -> int | None:
    """Return how many more true bars it takes to trigger; None where bars are not counted now."""
    if alert.rearm.bars == 1 or bar.after.gate is Gate.CLOSED or bar.after.status.is_final:
        return None
    return max(alert.rearm.bars - bar.after.count, 0)


def _cooldown_left(bar: TracedBar) -> timedelta | None:
    until = bar.after.cooldown_until
    return until - bar.close_time if until is not None and until > bar.close_time else None


def _and_more(count: int | None, what: str) -> str:
    return "" if not count else f", {count} more {what}{'' if count == 1 else 's'} to go"


def state_json(state: AlertState) -> dict[str, Any]:
    """Return the part of a state that a person asks about."""
    return {
        "gate": str(state.gate),
        "count": state.count,
        "cooldown_until": None if state.cooldown_until is None else _utc(state.cooldown_until),
        "trigger_count": state.trigger_count,
        "status": str(state.status),
        "data_status": str(state.data_status),
    }


def _number(value: float) -> float | None:
    return value if isfinite(value) else None


def _is_number(text: str) -> bool:
    try:
        return not isnan(float(text))
    except ValueError:
        return False


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def shown_time(instant: datetime | None) -> str:
    """Return an instant to the minute, in UTC."""
    return "-" if instant is None else f"{instant.astimezone(UTC):%Y-%m-%d %H:%M}Z"
