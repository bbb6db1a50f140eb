"""Which indicators there are: parameters, outputs, columns and windows, and the check of what users ask for.

Without TA-Lib, so that names can be checked where nothing is computed; ``calculations`` computes. Plug-ins are
loaded at the first question and not by the composition root, as every process, child and test that reads a rule
must know the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

from atf.errors import InvalidInput, shown
from atf.indicators.definitions import INDICATORS
from atf.indicators.indicator import SINGLE_OUTPUT, Indicator, IndicatorRequest
from atf.indicators.plugins import load_indicators
from atf.plugins import Loaded

SHORTEST_WINDOW: Final = 500
"""Bars; every value is computed on at least this many, or on all there are."""

PERIODS_IN_WINDOW: Final = 20
"""A window is at least so many times the longest period; the first bar then hardly shows in the value."""


def names() -> tuple[str, ...]:
    """Return the names of all indicators, without aliases."""
    return tuple(found.name for found in definitions())


def definitions() -> tuple[Indicator, ...]:
    """Return all indicators, those of plug-ins last."""
    return (*INDICATORS, *plugged().found)


@lru_cache(maxsize=1)
def plugged() -> Loaded[Indicator]:
    """Return the indicators of plug-ins, and a sentence for each plug-in that does not work."""
    return load_indicators(_named(INDICATORS))


def is_known(name: str) -> bool:
    """Tell whether an indicator has this name or alias."""
    return name in _by_name()


def indicator_of(request: IndicatorRequest) -> Indicator:
    """Return the definition behind a request."""
    return _by_name()[request.name]


@lru_cache(maxsize=4096)
def window_of(request: IndicatorRequest) -> int:
    """Return how many closed bars, up to and with its own, each value is computed on."""
    return max(SHORTEST_WINDOW, PERIODS_IN_WINDOW * indicator_of(request).longest_period(request))


@lru_cache(maxsize=65_536)
def _shared(request: IndicatorRequest) -> IndicatorRequest:
    """Return the one object of all equal requests: as a key it is then found without a comparison."""
    return request


def resolve(name: str, params: object, output: object = None, *, field: str = "") -> IndicatorRequest:
    """Return the request with all defaults filled in.

    Errors: InvalidInput with the path below ``field``: an unknown name, parameter or output, a value of a
            wrong type or out of range.
    """
    indicator = _find(name, _join(field, "indicator"))
    params_field = _join(field, "params")
    if not isinstance(params, Mapping):
        raise InvalidInput(f"must be an object, got {shown(params)}", field=params_field)
    _reject_unknown(indicator, params, params_field)
    checked = tuple(
        (known.name, known.check(params.get(known.name, known.default), _join(params_field, known.name)))
        for known in indicator.parameters
    )
    request = _shared(
        IndicatorRequest(indicator.name, checked, _output(indicator, output, _join(field, "output")))
    )
    _reject_what_does_not_fit(indicator, request, params_field)
    return request


@lru_cache(maxsize=1)
def _by_name() -> Mapping[str, Indicator]:
    return _named(definitions())


def _named(indicators: Iterable[Indicator]) -> dict[str, Indicator]:
    return {name: found for found in indicators for name in (found.name, *found.aliases)}


def _find(name: str, field: str) -> Indicator:
    known = _by_name()
    if name in known:
        return known[name]
    close = get_close_matches(name.lower(), known, n=1)
    advice = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names())}"
    raise InvalidInput(f"unknown indicator '{name}'; {advice}", field=field)


def _reject_unknown(indicator: Indicator, params: Mapping[str, object], field: str) -> None:
    allowed = [known.name for known in indicator.parameters]
    for name in params:
        if name not in allowed:
            raise InvalidInput(
                f"unknown parameter '{name}' of {indicator.name}; allowed: {', '.join(allowed)}",
                field=_join(field, name),
            )


def _reject_what_does_not_fit(indicator: Indicator, request: IndicatorRequest, field: str) -> None:
    found = indicator.constraint(request)
    if found is not None:
        name, reason = found
        raise InvalidInput(reason, field=_join(field, name))


def _output(indicator: Indicator, output: object, field: str) -> str:
    if output is None:
        return indicator.outputs[0]
    if indicator.outputs == SINGLE_OUTPUT:
        raise InvalidInput(f"{indicator.name} has one output only; leave this out", field=field)
    if not isinstance(output, str) or output not in indicator.outputs:
        allowed = ", ".join(indicator.outputs)
        raise InvalidInput(f"unknown output '{output}' of {indicator.name}; allowed: {allowed}", field=field)
    return output


def _join(field: str, part: str) -> str:
    return f"{field}.{part}" if field else part
