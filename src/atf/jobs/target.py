"""What ``target`` means for each job type, and that ``task_params`` do not contradict it. Pure.

Each type has two functions: one fills what ``task_params`` leave open, the other refuses contradictions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from atf.errors import InvalidInput, shown

Params = Mapping[str, Any]

REPORT_TYPES: Final = ("daily_summary", "portfolio_analysis", "performance_report")
DATA_SOURCES: Final = ("yahoo", "binance", "ibkr", "files")
CUSTOM_SET: Final = "custom"
_SYMBOL: Final = re.compile(r"[A-Za-z0-9^][A-Za-z0-9.:/_=^-]{0,63}")
_SET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def symbols_in(target: str) -> tuple[str, ...] | None:
    """Return the symbols of a comma list, each once; None if the target is the name of a set.

    A list of one symbol ends with a comma: ``AAPL,``.

    Errors: InvalidInput for what is no symbol.
    """
    if "," not in target:
        return None
    symbols = [part.strip() for part in target.split(",")]
    if symbols[-1] == "":
        symbols.pop()
    for symbol in symbols:
        if not _SYMBOL.fullmatch(symbol):
            raise InvalidInput(f"{shown(symbol)} in the list is no symbol such as AAPL", field="target")
    if not symbols:
        raise InvalidInput("is a list without a symbol; write AAPL,MSFT or the name of a set", field="target")
    return tuple(dict.fromkeys(symbols))


def fill_alert(target: str, params: Params) -> Params:
    """Return the configuration with its ticker; an earlier form has a symbol and takes no ticker."""
    return params if "symbol" in params else _filled(params, "ticker", target)


def check_alert(target: str, params: Params) -> None:
    """Refuse a target that is not the configuration's ticker."""
    name = "symbol" if "symbol" in params else "ticker"
    _require_same(target, name, params.get(name))


def fill_report(target: str, params: Params) -> Params:
    """Return the parameters with the report's type."""
    return _filled(params, "report_type", target)


def check_report(target: str, params: Params) -> None:
    """Refuse a target that is no type of report, or another one than the parameters name."""
    if target not in REPORT_TYPES:
        raise InvalidInput(f"{shown(target)} is not one of {', '.join(REPORT_TYPES)}", field="target")
    _require_same(target, "report_type", params.get("report_type"))


def fill_screener(target: str, params: Params) -> Params:
    """Return the parameters with the set, and with the symbols if the target lists them."""
    symbols = symbols_in(target)
    if symbols is None:
        return _filled(params, "screener_set", target)
    return _filled(_filled(params, "screener_set", CUSTOM_SET), "tickers", list(symbols))


def check_screener(target: str, params: Params) -> None:
    """Refuse a set or a list that contradicts the one in the parameters."""
    symbols = symbols_in(target)
    if symbols is None:
        _check_screener_set(target, params)
        return
    _require_same(CUSTOM_SET, "screener_set", params.get("screener_set"), target=target)
    tickers = params.get("tickers")
    if not isinstance(tickers, list) or set(tickers) != set(symbols):
        raise _contradiction(target, "tickers", tickers)


def _check_screener_set(target: str, params: Params) -> None:
    if not _SET_NAME.fullmatch(target):
        raise InvalidInput(
            f"{shown(target)} is neither the name of a set nor a list such as AAPL,MSFT", field="target"
        )
    _require_same(target, "screener_set", params.get("screener_set"))
    if "tickers" in params and target != CUSTOM_SET:
        raise _contradiction(target, "tickers", params["tickers"])


def fill_data_processing(target: str, params: Params) -> Params:
    """Return the parameters with the source, if the target is one and not the name of a task."""
    return _filled(params, "data_source", target) if target in DATA_SOURCES else params


def check_data_processing(target: str, params: Params) -> None:
    """Refuse a source that contradicts the one in the parameters."""
    if target in DATA_SOURCES:
        _require_same(target, "data_source", params.get("data_source"))


def _filled(params: Params, name: str, value: object) -> Params:
    return params if name in params else {**params, name: value}


def _require_same(wanted: str, name: str, found: object, *, target: str | None = None) -> None:
    if found != wanted:
        raise _contradiction(target or wanted, name, found)


def _contradiction(target: str, name: str, found: object) -> InvalidInput:
    return InvalidInput(
        f"{shown(target)} contradicts task_params.{name}, which is {shown(found)}; leave one of them out "
        "or let them say the same",
        field="target",
    )
