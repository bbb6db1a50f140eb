"""What a user may give for a bot's configuration: a document, options, or options on top of a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final

import typer

from atf.cli.json_input import named_value, read_json
from atf.errors import InvalidInput

ConfigOption = Annotated[
    str | None, typer.Option("--config", help="The configuration: a file of JSON, - for standard input.")
]
SymbolOption = Annotated[
    list[str] | None, typer.Option("--symbol", help="What it trades; repeat it for several.")
]
TimeframeOption = Annotated[str | None, typer.Option("--timeframe", help="Its bars: 1m, 5m, ... 1d, 1w.")]
StrategyOption = Annotated[
    str | None, typer.Option("--strategy", help="A built-in one, FILE.py:CLASS or module:CLASS.")
]
ParamOption = Annotated[
    list[str] | None, typer.Option("--param", help="A parameter of the strategy, such as fast=20; repeat it.")
]
CapitalOption = Annotated[str | None, typer.Option("--capital", help="With how much it begins.")]
BrokerOption = Annotated[str | None, typer.Option("--broker", help="Where it trades, such as paper.")]
BrokerOptionsOption = Annotated[
    list[str] | None, typer.Option("--broker-option", help="An option of that broker, NAME=VALUE; repeat it.")
]
ProviderOption = Annotated[str | None, typer.Option("--provider", help="Who gives the bars.")]
RiskOption = Annotated[
    list[str] | None, typer.Option("--risk", help="A limit, such as max_order_value=500; repeat it.")
]
PolicyOption = Annotated[
    str | None, typer.Option("--policy", help="Positions at a start: resume, adopt, flatten or halt.")
]
CalendarOption = Annotated[
    str | None, typer.Option("--calendar", help="Open positions in an exchange's sessions only, such as XNYS.")
]
HoursOption = Annotated[
    str | None, typer.Option("--hours", help="Open positions at these local times only, such as 09:30-16:00.")
]
TzOption = Annotated[str | None, typer.Option("--tz", help="The time zone of --hours.")]
NoteOption = Annotated[str, typer.Option("--note", help="Why, for the versions.")]
_DIGITS: Final = "has more digits than a number keeps; write it as a text, in quotes"


@dataclass(frozen=True, slots=True)
class ConfigOptions:
    """What the options of a command say, None for what was not given."""

    symbols: Sequence[str] | None = None
    timeframe: str | None = None
    strategy: str | None = None
    params: Sequence[str] | None = None
    capital: str | None = None
    broker: str | None = None
    broker_options: Sequence[str] | None = None
    provider: str | None = None
    risk: Sequence[str] | None = None
    policy: str | None = None
    calendar: str | None = None
    hours: str | None = None
    tz: str | None = None

    def patch(self) -> dict[str, Any]:
        """Return them as a merge patch, empty if none was given. Errors: InvalidInput that names the option."""
        sections = {
            "strategy": _given(name=self.strategy, params=_named(self.params, "--param")),
            "broker": {**_given(type=self.broker), **(_named(self.broker_options, "--broker-option") or {})},
            "data": _given(provider=self.provider),
            "risk": _named(self.risk, "--risk"),
            "schedule": _given(calendar=self.calendar, hours=self.hours, timezone=self.tz),
        }
        top = _given(timeframe=self.timeframe, capital=self.capital, startup_position_policy=self.policy)
        return self._of_symbols() | top | {name: one for name, one in sections.items() if one}

    def _of_symbols(self) -> dict[str, Any]:
        match self.symbols:
            case None | []:
                return {}
            case [symbol]:
                return {"symbol": symbol, "symbols": None}
            case _:
                return {"symbol": None, "symbols": list(self.symbols)}


def document_in(file: str) -> Any:
    """Return the document in a file, - for standard input. Errors: InvalidInput."""
    return document_given(file if file == "-" else f"@{file}", "--config")


def document_given(text: str, field: str) -> Any:
    """Return the document that JSON, @FILE, or - for standard input says.

    Errors: InvalidInput, also for a number of which digits would be lost.
    """
    return read_json(text, field, parse_float=exact_float)


def exact_float(text: str) -> float:
    """Return a number of a document, of which nothing may be lost. Errors: InvalidInput."""
    number = float(text)
    if Decimal(text) != Decimal(repr(number)):
        raise InvalidInput(f"{text} {_DIGITS}", field="config")
    return number


def _given(**values: object) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _named(words: Sequence[str] | None, option: str) -> Mapping[str, Any] | None:
    return dict(named_value(word, option, parse_float=exact_float) for word in words) if words else None
