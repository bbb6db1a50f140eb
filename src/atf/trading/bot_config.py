"""A bot's configuration: the document as it is stored, and what it says. Pure.

The schema ``schemas/bot.schema.json`` has the shape; what a shape cannot say is asked here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from atf.errors import InvalidInput, Problems, shown
from atf.jobs.schema_validator import SchemaValidator, require_storable
from atf.market.bars import Timeframe
from atf.market.symbols import canonical
from atf.security.limits import LARGEST_PARAMS
from atf.trading.amount import LARGEST_AMOUNT, amount_of
from atf.trading.bot import StartupPositionPolicy
from atf.trading.risk import RiskLimits
from atf.trading.trading_hours import TradingHours, parse_hours

Document = Mapping[str, Any]
RECOVERED: Final = ("_recovered_positions", "_recovered_trades")
"""What a strategy finds in its configuration after a crash."""
LEAST_MEMORY_MIB: Final = 128
_IDLE_MIB: Final = 70
"""What the process of a bot has that does nothing, as its limit counts it: Python, NumPy and Backtrader."""
_HISTORY_BARS: Final = 250
_SCHEMA: Final = SchemaValidator("atf.trading")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MODULE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_AMOUNTS: Final = {
    "max_order_value": LARGEST_AMOUNT,
    "max_position_value": LARGEST_AMOUNT,
    "price_collar_fraction": Decimal(1),
    "max_drawdown_fraction": Decimal(1),
}
"""What of the risk limits is an amount, and how large it may be."""


@dataclass(frozen=True, slots=True)
class StrategyChoice:
    """Which strategy: a built-in one's name, ``FILE.py:CLASS`` or ``module:CLASS``; and what it takes."""

    name: str
    params: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What a bot's process may use; ``step``: how long the strategy may take for one bar.

    ``cpu_seconds_per_minute``: with all that it has started, beside its bars as well. ``processes``: at a time.
    """

    memory_mib: int = 512
    step: timedelta = timedelta(seconds=10)
    cpu_seconds_per_minute: float = 60.0
    processes: int = 8


@dataclass(frozen=True, slots=True)
class BotConfig:
    """What a configuration says, with the defaults for what it leaves open.

    ``symbols`` in the one spelling that ATF has. ``broker``: its ``type`` and that type's own options.
    ``capital`` in the quote currency. ``hours``: when it may open positions; None: always.
    """

    symbols: tuple[str, ...]
    timeframe: Timeframe
    strategy: StrategyChoice
    broker: Document
    capital: Decimal
    history_bars: int = _HISTORY_BARS
    resample: tuple[Timeframe, ...] = ()
    data_provider: str | None = None
    risk: RiskLimits = field(default_factory=RiskLimits)
    startup_position_policy: StartupPositionPolicy = StartupPositionPolicy.RESUME
    hours: TradingHours | None = None
    limits: ProcessLimits = field(default_factory=ProcessLimits)


def parse_bot_config(document: object) -> BotConfig:
    """Return what a document says.

    Errors: InvalidInput with all that is wrong, each with its JSON path.
    """
    if not isinstance(document, Mapping):
        raise InvalidInput(f"must be a JSON object, got {shown(document)}", field="config")
    require_storable(document)
    problems = Problems()
    for check in (_refuse_recovered, _check_memory, _check_shape, *_READERS.values(), _check_size):
        with problems:
            check(document)
    problems.raise_any()
    return _read(document)


def _read(document: Document) -> BotConfig:
    """Read a document of which every reader has approved."""
    strategy = document["strategy"]
    policy = document.get("startup_position_policy", StartupPositionPolicy.RESUME)
    return BotConfig(
        symbols=_symbols(document),
        timeframe=Timeframe(document["timeframe"]),
        strategy=StrategyChoice(strategy["name"], strategy.get("params", {})),
        broker=document["broker"],
        capital=amount_of(document["capital"], "capital"),
        history_bars=int(document.get("history_bars", _HISTORY_BARS)),
        resample=_resample(document),
        data_provider=document.get("data", {}).get("provider"),
        risk=_risk(document),
        startup_position_policy=StartupPositionPolicy(policy),
        hours=_trading_hours(document),
        limits=_limits(document.get("limits", {})),
    )


def _limits(given: Document) -> ProcessLimits:
    usual = ProcessLimits()
    return ProcessLimits(
        memory_mib=int(given.get("memory_mib", usual.memory_mib)),
        step=timedelta(seconds=given["step_seconds"]) if "step_seconds" in given else usual.step,
        cpu_seconds_per_minute=float(given.get("cpu_seconds_per_minute", usual.cpu_seconds_per_minute)),
        processes=int(given.get("processes", usual.processes)),
    )


def _refuse_recovered(document: Document) -> None:
    problems = Problems()
    for name in RECOVERED:
        if name in document:
            problems.add(
                InvalidInput("is what a start fills in from the books; it cannot be configured", field=name)
            )
    problems.raise_any()


def _check_memory(document: Document) -> None:
    """Say more than the schema would of a limit with which no bot could start."""
    limits = document.get("limits")
    given = limits.get("memory_mib") if isinstance(limits, Mapping) else None
    if type(given) is int and given < LEAST_MEMORY_MIB:
        raise InvalidInput(
            f"must be at least {LEAST_MEMORY_MIB}, as a bot that does nothing has some {_IDLE_MIB}, got {given}",
            field="limits.memory_mib",
        )


def _check_shape(document: Document) -> None:
    _SCHEMA.validate(document, "bot")


def _check_size(document: Document) -> None:
    size = len(json.dumps(document))
    if size > LARGEST_PARAMS:
        raise InvalidInput(f"has {size} characters of JSON; at most {LARGEST_PARAMS}", field="config")


# Each reader takes whatever JSON there is: what the schema has refused already it passes over.


def _symbols(document: Document) -> tuple[str, ...]:
    if "symbol" in document and "symbols" in document:
        raise InvalidInput("give either symbol or symbols", field="symbols")
    if "symbol" in document:
        given = [("symbol", document["symbol"])]
    elif isinstance(listed := document.get("symbols"), list):
        given = [(f"symbols[{place}]", symbol) for place, symbol in enumerate(listed)]
    elif "symbols" in document:
        return ()
    else:
        raise InvalidInput("is missing; give it, or several as symbols", field="symbol")
    problems = Problems()
    found: dict[str, str] = {}
    for path, symbol in given:
        with problems:
            _add_symbol(found, path, symbol)
    problems.raise_any()
    return tuple(found)


def _add_symbol(found: dict[str, str], path: str, symbol: object) -> None:
    if not isinstance(symbol, str):
        return
    try:
        spelled = canonical(symbol)
    except InvalidInput as exc:
        raise InvalidInput(exc.reason, field=path) from exc
    if spelled in found:
        raise InvalidInput(f"{shown(symbol)} is the same as {found[spelled]}", field=path)
    found[spelled] = path


def _resample(document: Document) -> tuple[Timeframe, ...]:
    base, given = _timeframe(document.get("timeframe")), document.get("resample")
    if base is None or not isinstance(given, list):
        return ()
    longer, problems = [_timeframe(one) for one in given], Problems()
    for place, one in enumerate(longer):
        if one is not None and one.length <= base.length:
            reason = f"must be longer than the timeframe {base}, got {one}"
            problems.add(InvalidInput(reason, field=f"resample[{place}]"))
    problems.raise_any()
    return tuple(one for one in longer if one is not None)


def _timeframe(value: object) -> Timeframe | None:
    return next((one for one in Timeframe if one == value), None)


def _check_strategy(document: Document) -> None:
    strategy = document.get("strategy")
    name = strategy.get("name") if isinstance(strategy, Mapping) else None
    if not isinstance(name, str) or not name:
        return
    if not _is_strategy(name):
        raise InvalidInput(
            f"must be a built-in strategy's name, FILE.py:CLASS or module:CLASS, got {shown(name)}",
            field="strategy.name",
        )


def _is_strategy(name: str) -> bool:
    place, colon, kind = name.rpartition(":")
    if not colon:
        return _NAME.fullmatch(name) is not None
    is_file = place.endswith(".py") and place.isprintable()
    return (is_file or _MODULE.fullmatch(place) is not None) and kind.isidentifier()


def _check_broker(document: Document) -> None:
    broker = document.get("broker")
    kind = broker.get("type") if isinstance(broker, Mapping) else None
    if isinstance(kind, str) and kind and not _NAME.fullmatch(kind):
        raise InvalidInput(f"must be a type of broker such as paper, got {shown(kind)}", field="broker.type")


def _check_capital(document: Document) -> None:
    if "capital" in document:
        amount_of(document["capital"], "capital")


def _risk(document: Document) -> RiskLimits:
    given = document.get("risk", {})
    if not isinstance(given, Mapping):
        return RiskLimits()
    problems = Problems()
    values: dict[str, Any] = {
        name: int(value) if isinstance(value, float) else value for name, value in given.items()
    }
    for name, most in _AMOUNTS.items():
        if name in given:
            with problems:
                values[name] = amount_of(given[name], f"risk.{name}", most=most)
    problems.raise_any()
    known = RiskLimits.__dataclass_fields__
    return RiskLimits(**{name: value for name, value in values.items() if name in known})


def _trading_hours(document: Document) -> TradingHours | None:
    given = document.get("schedule")
    if not isinstance(given, Mapping):
        return None
    try:
        return parse_hours(given)
    except InvalidInput as exc:
        first, *others = (InvalidInput(one.reason, field=f"schedule.{one.field}") for one in exc.problems)
        raise InvalidInput(first.reason, field=first.field, others=others) from exc


_READERS: Final[Mapping[str, Callable[[Document], object]]] = {
    "symbols": _symbols,
    "resample": _resample,
    "strategy": _check_strategy,
    "broker": _check_broker,
    "capital": _check_capital,
    "risk": _risk,
    "schedule": _trading_hours,
}
