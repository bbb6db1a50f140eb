"""An indicator out of one function: what its signature and ``@indicator`` say becomes a row of the registry.

This is what packages with indicators of their own use; ``plugins`` finds them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from atf.errors import PermanentFailure
from atf.indicators.indicator import (
    SINGLE_OUTPUT,
    Calculation,
    Indicator,
    IndicatorRequest,
    IntegerParameter,
    NumberParameter,
    Outputs,
    Parameter,
    SourceParameter,
    without_infinite,
)
from atf.market.bars import COLUMNS
from atf.plugins import said

Function = Callable[..., Any]
Count = int | Callable[..., int]

_SOURCE: Final = SourceParameter()
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")


def indicator(
    doc: str,
    *parameters: IntegerParameter | NumberParameter,
    first: Count,
    outputs: Sequence[str] = SINGLE_OUTPUT,
    aliases: Sequence[str] = (),
) -> Callable[[Function], Indicator]:
    """Make an indicator of the function below; its name is the function's.

    The positional arguments are what it reads: ``open high low close volume``, or ``source`` alone for a column
    that the user chooses. The keyword arguments are the ``parameters``. ``first`` is the index of the first bar
    that has a value, a number or a function of the same keyword arguments.

    Shape:  float64 arrays (n,) in, one such array for each output out; NaN where the value is unknown.
    Errors: TypeError or ValueError that says what in the declaration does not fit; PermanentFailure from its
            calculation when the function fails or returns something else.
    """

    def declared(function: Function) -> Indicator:
        return _built(function, doc, parameters, first, tuple(outputs), tuple(aliases))

    return declared


def _built(
    function: Function,
    doc: str,
    parameters: tuple[Parameter, ...],
    first: Count,
    outputs: tuple[str, ...],
    aliases: tuple[str, ...],
) -> Indicator:
    name = function.__name__
    columns = _columns(function, {parameter.name for parameter in parameters})
    for word in (name, *outputs, *aliases):
        if not _NAME.fullmatch(word):
            raise ValueError(f"'{word}' must be small letters, digits and _, at most 31, a letter first")
    if not doc.strip() or not outputs or len(set(outputs)) < len(outputs):
        raise ValueError(f"{name} needs a sentence that says what it tells, and outputs that differ")
    periods = [parameter.name for parameter in parameters if isinstance(parameter, IntegerParameter)]
    chosen = columns == ("source",)
    return Indicator(
        name,
        doc,
        (*parameters, _SOURCE) if chosen else parameters,
        first_index=_count(first),
        longest_period=lambda request: max((request.integer(period) for period in periods), default=1),
        outputs=outputs,
        columns=() if chosen else columns,
        aliases=aliases,
        calculation=_calculation(name, function, len(outputs)),
    )


def _count(first: Count) -> Callable[[IndicatorRequest], int]:
    if isinstance(first, int):
        return lambda _: first
    return lambda request: first(**_keywords(request))


def _columns(function: Function, parameters: set[str]) -> tuple[str, ...]:
    """Return the names of the positional arguments; the others must be the parameters."""
    arguments = inspect.signature(function).parameters.values()
    columns = tuple(one.name for one in arguments if one.kind is not inspect.Parameter.KEYWORD_ONLY)
    keywords = {one.name for one in arguments} - set(columns)
    if keywords != parameters:
        raise TypeError(
            f"the keyword arguments of {function.__name__} must be its declared parameters: "
            f"{_listed(parameters)}; found: {_listed(keywords)}"
        )
    if columns != ("source",) and (not columns or not set(columns) <= set(COLUMNS)):
        raise TypeError(
            f"the positional arguments of {function.__name__} must be 'source' alone or some of "
            f"{', '.join(COLUMNS)}; found: {_listed(columns)}"
        )
    return columns


def _listed(names: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _keywords(request: IndicatorRequest) -> Mapping[str, Any]:
    return {name: value for name, value in request.params if name != _SOURCE.name}


def _calculation(name: str, function: Function, outputs: int) -> Calculation:
    """Return the function as the service calls it; what a stranger's code does wrong becomes one sentence."""

    def calculate(columns: Outputs, request: IndicatorRequest) -> Outputs:
        given = [column.view() for column in columns]
        for column in given:
            column.setflags(write=False)  # other indicators read the same arrays
        try:
            found = function(*given, **_keywords(request))
            results = found if isinstance(found, tuple) else (found,)
            arrays = tuple(without_infinite(np.asarray(result, dtype=np.float64)) for result in results)
        except (Exception, SystemExit) as exc:
            raise PermanentFailure(f"the indicator '{name}' failed: {said(exc)}") from exc
        shapes, wanted = [array.shape for array in arrays], [columns[0].shape] * outputs
        if shapes != wanted:
            raise PermanentFailure(
                f"the indicator '{name}' must return arrays of the shapes {wanted}, got {shapes}"
            )
        return arrays

    return calculate
