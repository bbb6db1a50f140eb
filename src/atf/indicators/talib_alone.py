"""TA-Lib without what it loads when it finds it: pandas and polars, some 100 MB and two seconds in every worker.

Both may be installed for other parts of ATF. TA-Lib itself is given NumPy arrays here and needs neither.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Final

_NOT_NEEDED: Final = ("pandas", "polars")


def load_talib() -> ModuleType:
    """Return the module ``talib``; what is loaded already stays as it is."""
    hidden = [name for name in _NOT_NEEDED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: an import of it fails
    try:
        return import_module("talib")
    finally:
        for name in hidden:
            del sys.modules[name]
