"""What /report and /screener are to do, read from the words behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from atf.errors import shown
from atf.jobs.run import JobType
from atf.jobs.run_request import RunCreate
from atf.jobs.target import CUSTOM_SET, REPORT_TYPES
from atf.market.bars import Timeframe
from atf.telegram.ask import Ask, UsageError
from atf.telegram.local import shortened

_OF_TICKERS: Final = "performance_report"
"""The report that is made of tickers if no other is named."""
_TIMEFRAMES: Final = frozenset(map(str, Timeframe))
_CHARTS: Final = "charts"
_DASHES: Final = "-–—"
_QUOTES: Final = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"'})
"""Telephones put these where JSON needs plain ones."""
_LONGEST_NAME: Final = 100


def report_of(ask: Ask) -> RunCreate:
    """Return the run of a report. Errors: UsageError."""
    tickers: list[str] = []
    parameters: dict[str, Any] = {}
    kind: str | None = None
    for word in ask.parts():
        flag = word.lstrip(_DASHES).lower()
        if flag in _TIMEFRAMES:
            parameters["timeframe"] = flag
        elif flag == _CHARTS:
            parameters["include_charts"] = True
        elif flag in REPORT_TYPES:
            kind = flag
        elif word[0] in _DASHES:
            raise UsageError(
                ask.texts("report-no-flag", flag=word[:40], timeframes=", ".join(Timeframe)), field="report"
            )
        else:
            tickers += [ticker.upper() for ticker in word.split(",") if ticker]
    tickers = list(dict.fromkeys(tickers))
    if not tickers and kind is None:
        raise UsageError(ask.texts("report-no-tickers", reports=", ".join(REPORT_TYPES)), field="report")
    if tickers:
        parameters["symbols"] = tickers
    kind = kind or _OF_TICKERS
    params = {"report_type": kind, **({"parameters": parameters} if parameters else {})}
    return RunCreate(JobType.REPORT, kind, params, name=_name(ask, JobType.REPORT, ", ".join(tickers) or kind))


def screener_of(ask: Ask) -> RunCreate:
    """Return the run of a screener. Errors: UsageError."""
    if ask.words.startswith("{"):
        params = json_object(ask, ask.words)
        target = params.get("screener_set", CUSTOM_SET)
        if not isinstance(target, str):
            raise UsageError(ask.texts("screener-no-set", found=shown(target)), field="screener_set")
    else:
        # Commas or spaces between tickers; one word without a comma is the name of a set.
        params, target = {}, ",".join(ask.words.replace(",", " ").split())
        if "," in ask.words and "," not in target:
            target += ","
        target = target.upper() if "," in target else target
    return RunCreate(JobType.SCREENER, target, params, name=_name(ask, JobType.SCREENER, target))


def json_object(ask: Ask, text: str) -> Mapping[str, Any]:
    """Return the JSON object that a text is, also one that was typed with curly quotes. Errors: UsageError."""
    problem: Exception | None = None
    for given in (text, text.translate(_QUOTES)):
        try:
            found = json.loads(given)
        except (ValueError, RecursionError) as exc:
            problem = exc
            continue
        if isinstance(found, dict):
            return found
        break
    raise UsageError(ask.texts("bot-no-json", problem=shortened(str(problem or shown(text)), 100)), field="JSON")


def _name(ask: Ask, job_type: str, what: str) -> str:
    return shortened(f"{ask.texts.type_name(job_type)} {what}", _LONGEST_NAME)
