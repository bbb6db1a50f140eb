"""Settings from ``config/scheduler/scheduler.json``: where it is looked for, and what may stand in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from atf.errors import shown
from atf.settings.checking import refusal
from atf.settings.names import Setting, did_you_mean

RELATIVE_PATH: Final = Path("config/scheduler/scheduler.json")
NO_FILE: Final = "none"
"""What ATF_CONFIG says when no file is wanted, wherever the process is started."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What the file gives; each problem is a sentence that begins with the file's name."""

    path: Path
    given: Mapping[Setting, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class _Unreadable(ValueError):
    """The file is no JSON object; the text says why."""


def read_config_file(settings: Iterable[Setting], home: Path) -> ConfigFile | None:
    """Return what the file gives; None if there is none.

    Looked for at ATF_CONFIG, else in the working directory, else in ATF's home.
    """
    named = os.environ.get("ATF_CONFIG")
    if named == NO_FILE:
        return None
    path = (
        Path(named) if named else next((p for p in (RELATIVE_PATH, home / RELATIVE_PATH) if _is_there(p)), None)
    )
    if path is None:
        return None
    try:
        content = _load(path)
    except _Unreadable as exc:
        origin = "ATF_CONFIG: " if named else ""
        return ConfigFile(path, problems=(f"{origin}{path}: {exc}",))
    return _checked(path, content, tuple(settings))


def _is_there(path: Path) -> bool:
    """Whether there is a file; `sudo -u atf atf …` may stand in a folder that its account may not look into."""
    try:
        return path.exists()
    except OSError:
        return False


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(
            path.read_text("utf-8-sig"), object_pairs_hook=_no_key_twice, parse_constant=_no_constant
        )
    except json.JSONDecodeError as exc:
        raise _Unreadable(f"line {exc.lineno}, column {exc.colno}: is not JSON: {exc.msg}") from exc
    except OSError as exc:
        raise _Unreadable(f"cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise _Unreadable(f"is not UTF-8 text (byte {exc.start})") from exc
    except RecursionError as exc:
        raise _Unreadable("is nested too deep") from exc
    except _Unreadable:
        raise
    except ValueError as exc:  # an integer of more digits than Python reads
        raise _Unreadable(f"cannot be used: {exc}") from exc
    if not isinstance(content, dict):
        raise _Unreadable(f"must be a JSON object, got {shown(content)}")
    return content


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    whole = dict(pairs)
    if len(whole) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Unreadable(f"the key {shown(twice)} stands twice in one object")
    return whole


def _no_constant(name: str) -> NoReturn:
    raise _Unreadable(f"{name} is not JSON")


def _checked(path: Path, content: dict[str, Any], settings: tuple[Setting, ...]) -> ConfigFile:
    by_keys = {setting.keys: setting for setting in settings if setting.keys}
    given: dict[Setting, Any] = {}
    problems: list[str] = []
    for keys, value in _leaves(content, (), by_keys):
        where = f"{path}: {'.'.join(keys)}"
        setting = by_keys.get(keys)
        if setting is not None:
            given[setting] = value
            reason = refusal(setting, value, is_strict=True)
            if reason is not None:
                problems.append(f"{where}: {reason}{_found(setting, value)}")
        elif _below(keys, by_keys):
            problems.append(f"{where}: must be a JSON object, got {shown(value)}")
        else:
            problems.append(f"{where}: unknown key{_hint(keys, by_keys)}")
    return ConfigFile(path, given, tuple(problems))


def _leaves(
    node: Mapping[str, Any], keys: tuple[str, ...], known: Mapping[tuple[str, ...], Setting]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield values with the way to them; an object is looked into where the settings have one too."""
    for key, value in node.items():
        way = (*keys, key)
        if isinstance(value, dict) and _below(way, known):
            yield from _leaves(value, way, known)
        else:
            yield way, value


def _below(way: tuple[str, ...], known: Mapping[tuple[str, ...], Setting]) -> list[str]:
    """Return the keys that an object at this place may have."""
    depth = len(way)
    return list(dict.fromkeys(keys[depth] for keys in known if len(keys) > depth and keys[:depth] == way))


def _hint(keys: tuple[str, ...], known: Mapping[tuple[str, ...], Setting]) -> str:
    """Return what was probably meant: the same key elsewhere, a like one here, or all that may stand here."""
    allowed = _below(keys[:-1], known)
    elsewhere = next((".".join(other) for other in known if other[-1] == keys[-1]), None)
    close = elsewhere or did_you_mean(keys[-1], allowed)
    return f"; did you mean '{close}'?" if close else f"; allowed: {', '.join(allowed)}"


def _found(setting: Setting, value: object) -> str:
    return "" if setting.is_secret else f", got {shown(value)}"
