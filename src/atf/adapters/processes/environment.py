"""What a child process knows of its surroundings: an allow-list, so that no secret of the worker gets there."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from atf.adapters.processes.process_table import MARK_VARIABLE

_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONHASHSEED", "LD_LIBRARY_PATH")
# Runs compute beside each other: one thread a run, or they would fight for the cores.
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# These choose among the machine's instructions, and wrong results would follow from leaving them out.
_OF_THE_MACHINE: Final = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def clean_environment(given: Mapping[str, str], scratch: Path, mark: str) -> dict[str, str]:
    """Return the environment of a child: of what is given only allowed names; temporary files in ``scratch``."""
    names = (*_PASSED_ON, *_OF_THE_MACHINE)
    return {
        **{name: given[name] for name in names if name in given},
        **dict.fromkeys(_ONE_THREAD, "1"),
        "TMPDIR": str(scratch),
        MARK_VARIABLE: mark,
    }


def import_path() -> list[str]:
    """Return where this process looks for packages, plug-ins included, independent of the working directory."""
    return [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100 - an empty entry is the working directory


def program(module: str, *arguments: str) -> list[str]:
    """Return the command that runs ``main`` of one of our modules in a new interpreter."""
    ours = str(Path(__file__).parents[3])
    code = f"import sys; sys.path.insert(0, sys.argv.pop()); from {module} import main; main()"
    # -u: what a run wrote is seen even if it dies; -P: no import from the working directory.
    return [sys.executable, "-u", "-P", "-X", "faulthandler", "-c", code, *arguments, ours]
