"""A strategy's class by its name: a built-in one's, ``FILE.py:CLASS``, or ``module:CLASS``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import backtrader as bt

from atf.errors import InvalidInput
from atf.trading.strategy_catalogue import BUILT_IN, StrategyName

_MODULE_OF_FILE = "atf_strategy_file"


def load_strategy(name: str) -> Any:
    """Return a strategy's class. Errors: InvalidInput in one sentence; whatever its module raises."""
    found = load_strategies(name)
    if len(found) != 1:
        there = ", ".join(one.__name__ for one in found) or "none"
        raise InvalidInput(f"{name} must say which class is meant, as in FILE.py:CLASS; there is {there}")
    return found[0]


def load_strategies(name: str) -> list[Any]:
    """Return the class that a name says, or all of its module if it says none. Errors: as ``load_strategy``."""
    wanted = StrategyName.parse(BUILT_IN.get(name, name))
    module = import_file(wanted.file) if wanted.file is not None else importlib.import_module(wanted.module)
    if wanted.class_name is None:
        return classes_of(module)
    found = getattr(module, wanted.class_name, None)
    if not _is_strategy(found):
        there = ", ".join(one.__name__ for one in classes_of(module)) or "none"
        raise InvalidInput(f"{name} is no strategy; its module has {there}")
    return [found]


def import_file(path: Path) -> Any:
    """Run a strategy's file as a module; its neighbours can be imported by it."""
    if not path.is_file():
        raise InvalidInput(f"there is no file {path}")
    sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(_MODULE_OF_FILE, path)
    if spec is None or spec.loader is None:
        raise InvalidInput(f"{path.name} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE_OF_FILE] = module  # Backtrader looks a class's module up
    spec.loader.exec_module(module)
    return module


def classes_of(module: Any) -> list[Any]:
    """Return the strategies that a module defines itself, in the order of their names."""
    found = [one for _, one in inspect.getmembers(module, _is_strategy)]
    return [one for one in found if one.__module__ == module.__name__]


def _is_strategy(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, bt.Strategy)


def params_of(strategy: Any) -> dict[str, Any]:
    """Return a strategy's parameters with their defaults, in its order."""
    return dict(strategy.params._getpairs())


def check_params(strategy: Any, given: Mapping[str, Any]) -> None:
    """Errors: InvalidInput that names a parameter which the strategy does not have."""
    takes = inspect.signature(strategy.__init__).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values()) and "__init__" in vars(strategy):
        return
    unknown = [one for one in given if one not in params_of(strategy) and one not in takes]
    if unknown:
        has = ", ".join(params_of(strategy)) or "none"
        raise InvalidInput(f"the strategy {strategy.__name__} has no parameter {unknown[0]}; it has {has}")
