"""TA-Lib without what it loads when it finds it: pandas and polars, some 100 MB and two seconds in every worker.

Both may be installed for other parts of ATF. TA-Lib itself is given NumPy arrays here and needs neither, nor the
look at each argument for their types that the functions of its package begin with: it costs more than an average
over 250 bars.
"""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import unwrap
from types import SimpleNamespace
from typing import Final

_NOT_NEEDED: Final = ("pandas", "polars")


def load_talib() -> SimpleNamespace:
    """Return TA-Lib's functions by name, for arrays only; what is loaded already stays as it is."""
    hidden = [name for name in _NOT_NEEDED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: an import of it fails
    try:
        talib = import_module("talib")
    finally:
        for name in hidden:
            del sys.modules[name]
    return SimpleNamespace(**{name: unwrap(getattr(talib, name)) for name in talib.get_functions()})
