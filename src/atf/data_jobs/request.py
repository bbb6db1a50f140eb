"""What a data-processing job is asked to do: ``task_params`` as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from atf.errors import InvalidInput
from atf.indicators import registry
from atf.indicators.indicator import IndicatorRequest
from atf.market.bars import Timeframe
from atf.market.symbols import canonical


class Operation(StrEnum):
    """What is done with each symbol, in this order whatever the order in which they are given."""

    FETCH = "fetch"
    NORMALIZE = "normalize"
    CACHE = "cache"
    ADJUST = "adjust"
    RESAMPLE = "resample"
    CHECK = "check"
    INDICATORS = "indicators"
    EXPORT = "export"


DEFAULT_OPERATIONS: Final = (Operation.FETCH, Operation.NORMALIZE, Operation.CACHE)
_FIRST_YEAR: Final = 1678
_LAST_YEAR: Final = 2261
"""Nanoseconds since 1970 do not reach further in 64 bits."""
_DEFAULT_INDICATORS: Final = ("sma", "ema", "rsi", "macd", "atr")


@dataclass(frozen=True, slots=True)
class DataRequest:
    """A checked job.

    Either ``symbols`` or ``universe`` says what it is about; ``data_source`` is None if it works on stored bars
    alone. ``since``: how far back history is wanted; without it what is missing behind the stored bars.
    """

    operations: frozenset[Operation]
    timeframe: Timeframe
    data_source: str | None
    symbols: tuple[str, ...]
    universe: str | None
    since: datetime | None
    resample_to: tuple[Timeframe, ...]
    indicators: tuple[IndicatorRequest, ...]
    export_format: str

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> DataRequest:
        """Read ``task_params`` that fit the schema. Errors: InvalidInput with the field."""
        operations = frozenset(Operation(name) for name in params.get("operations", DEFAULT_OPERATIONS))
        request = cls(
            operations=operations,
            timeframe=Timeframe(params.get("timeframe", Timeframe.D1)),
            data_source=params.get("data_source"),
            symbols=_symbols(params.get("symbols", ())),
            universe=params.get("universe"),
            since=_instant(params.get("since")),
            resample_to=tuple(Timeframe(name) for name in params.get("resample_to", ())),
            indicators=_indicators(params.get("indicators")),
            export_format=params.get("export_format", "parquet"),
        )
        _refuse_what_does_not_fit(request)
        return request


def check_request(target: str, params: Mapping[str, Any]) -> None:  # noqa: ARG001
    """Raise InvalidInput that names the field, unless the parameters can be worked on together."""
    try:
        DataRequest.parse(params)
    except InvalidInput as exc:
        raise InvalidInput(exc.reason, field=f"task_params.{exc.field}") from exc


def _symbols(given: Any) -> tuple[str, ...]:
    found = []
    for index, symbol in enumerate(given):
        try:
            found.append(canonical(symbol))
        except InvalidInput as exc:
            raise InvalidInput(exc.reason, field=f"symbols[{index}]") from exc
    return tuple(dict.fromkeys(found))


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"must be a time such as 2020-01-31, got '{text}'", field="since") from None
    if not _FIRST_YEAR <= instant.year <= _LAST_YEAR:
        raise InvalidInput(f"must be in the years {_FIRST_YEAR} to {_LAST_YEAR}, got '{text}'", field="since")
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _indicators(given: Any) -> tuple[IndicatorRequest, ...]:
    if given is None:
        return tuple(registry.resolve(name, {}) for name in _DEFAULT_INDICATORS)
    return tuple(
        registry.resolve(one["indicator"], one.get("params", {}), one.get("output"), field=f"indicators[{index}]")
        for index, one in enumerate(given)
    )


def _refuse_what_does_not_fit(request: DataRequest) -> None:
    if bool(request.symbols) == (request.universe is not None):
        raise InvalidInput("give either symbols or a universe", field="symbols")
    asks = request.operations & {Operation.FETCH, Operation.CACHE}
    if Operation.FETCH in asks and request.data_source is None:
        raise InvalidInput("is needed to fetch, such as yahoo, binance or files", field="data_source")
    if Operation.CACHE in asks and Operation.FETCH not in asks:
        raise InvalidInput("cache stores what is fetched: add fetch", field="operations")
    if Operation.RESAMPLE in request.operations and not request.resample_to:
        raise InvalidInput('is needed to resample, such as ["1h", "1d"]', field="resample_to")
    for index, target in enumerate(request.resample_to):
        if target.length <= request.timeframe.length or target.length % request.timeframe.length:
            raise InvalidInput(
                f"{request.timeframe} bars cannot make {target} bars", field=f"resample_to[{index}]"
            )
