"""Paths that must stay inside a folder: whatever a name from a user, a job or a database is made of.

For files that ATF reads or writes by itself. A person at the command line may name any file that the person's
account may use.
"""

from __future__ import annotations

import stat
from pathlib import Path, PurePath

from atf.errors import InvalidInput, shown


def inner_path(folder: Path, relative: str) -> Path:
    """Return the path of a file below a folder; neither need be there.

    Errors: InvalidInput for a name that is empty, absolute or goes up, and for what ``require_inside`` refuses.
    """
    parts = PurePath(relative).parts
    if not parts or "\0" in relative or PurePath(relative).is_absolute() or ".." in parts:
        raise InvalidInput(f"{shown(relative)} is no name of a file inside a folder of ATF's")
    path = folder / relative
    require_inside(folder, path)
    return path


def require_inside(folder: Path, path: Path) -> None:
    """Do nothing if a path leads to an ordinary file inside a folder, or to one that can be made there.

    The folder itself may be a link; a link in it that leads out of it is refused.

    Errors: InvalidInput.
    """
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
        is_ordinary = _is_ordinary(path)
    except (OSError, RuntimeError) as exc:  # RuntimeError: links that lead in a circle, up to Python 3.12
        raise InvalidInput(f"{path} cannot be followed: {getattr(exc, 'strerror', None) or exc}") from exc
    if not is_inside:
        raise InvalidInput(f"{path} leads out of {folder}; let no link in it point elsewhere")
    if not is_ordinary:
        raise InvalidInput(f"{path} is no ordinary file")


def _is_ordinary(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True
