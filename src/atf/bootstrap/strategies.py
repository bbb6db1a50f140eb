"""Strategies for commands: which there are, and whether one works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.adapters.bot_processes.strategy_inspection import inspect_strategy
from atf.errors import InvalidInput
from atf.settings import Settings
from atf.trading.strategy_catalogue import KnownStrategy, StrategyCatalogue, StrategyFacts, StrategyName
from atf.trading.strategy_trial import TrialReport, try_strategy


@dataclass(frozen=True, slots=True)
class CheckedStrategy:
    """A strategy that works: what it is, and what it did over made-up bars."""

    facts: StrategyFacts
    trial: TrialReport


def known_strategies(settings: Settings) -> list[KnownStrategy]:
    """Return all strategies that a bot may be given."""
    return StrategyCatalogue(settings.strategies_folder).known()


async def check_strategy(settings: Settings, given: str, params: Mapping[str, Any]) -> Sequence[CheckedStrategy]:
    """Load a strategy, or all of a file, in a process of its own, and let each run.

    ``given`` as for a bot, or any file: who calls this may read it, and its code runs as theirs.

    Errors: InvalidInput in one sentence.
    """
    target = _target(settings, given)
    found = inspect_strategy(target)
    if not found:
        raise InvalidInput("it has no strategy: a class that is derived from backtrader.Strategy", field=given)
    bots = ForkedBots()
    try:
        return [CheckedStrategy(one, await _tried(bots, target, one, params)) for one in found]
    finally:
        await bots.close()


def _target(settings: Settings, given: str) -> str:
    head, colon, class_name = given.rpartition(":")
    file = Path(head if colon else given)
    if file.suffix == ".py" and file.is_file():
        return f"{file.resolve()}{colon}{class_name if colon else ''}"
    return StrategyCatalogue(settings.strategies_folder).resolve(given)


async def _tried(bots: ForkedBots, target: str, one: StrategyFacts, params: Mapping[str, Any]) -> TrialReport:
    name = StrategyName.parse(target)
    is_whole_file = name.file is not None and name.class_name is None
    try:
        return await try_strategy(bots, f"{target}:{one.name}" if is_whole_file else target, params)
    except InvalidInput as exc:
        raise InvalidInput(exc.reason, field=one.name) from exc
