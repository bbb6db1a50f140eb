"""How strategies are called, and which there are. Nothing here loads one: that is for a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from atf.errors import InvalidInput
from atf.security.inner_path import inner_path, require_inside

BUILT_IN: Final[Mapping[str, str]] = {
    "sma_cross": "atf.trading.strategies.sma_cross:SmaCross",
    "rsi_mean_reversion": "atf.trading.strategies.rsi_mean_reversion:RsiMeanReversion",
}
ENTRY_POINT_GROUP: Final = "atf.strategies"
_SUFFIX: Final = ".py"


@dataclass(frozen=True, slots=True)
class StrategyName:
    """``FILE.py``, ``FILE.py:CLASS``, ``module:CLASS`` or one word, taken apart.

    One of ``file`` and ``module`` is there; a word alone is a module's name, too.
    """

    file: Path | None
    module: str
    class_name: str | None

    @classmethod
    def parse(cls, text: str) -> StrategyName:
        """Errors: InvalidInput if it is none of these."""
        head, colon, class_name = text.rpartition(":")
        if not colon:
            head, class_name = text, ""
        if head.endswith(_SUFFIX):
            return cls(Path(head), "", _identifier(class_name, text) if colon else None)
        if not all(part.isidentifier() for part in head.split(".")):
            raise InvalidInput(
                f"must be a name, FILE.py:CLASS or module:CLASS, got '{text[:100]}'", field="strategy"
            )
        return cls(None, head, _identifier(class_name, text) if colon else None)


def _identifier(name: str, text: str) -> str:
    if not name.isidentifier():
        raise InvalidInput(f"'{name[:100]}' in '{text[:100]}' is no name of a class", field="strategy")
    return name


@dataclass(frozen=True, slots=True)
class KnownStrategy:
    """A strategy, or a file with some, as it is listed. ``target``: what a bot's process is told to load."""

    name: str
    origin: str
    target: str


@dataclass(frozen=True, slots=True)
class StrategyFacts:
    """What a strategy's class says of itself; ``params`` with their defaults."""

    name: str
    doc: str
    params: Mapping[str, Any]
    keeps_state: bool


class StrategyCatalogue:
    """Built-in strategies, those of installed packages, and the files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def known(self) -> list[KnownStrategy]:
        """Return all of them: built-in ones, then packages', then files, each by name."""
        built_in = [KnownStrategy(name, "built in", name) for name in sorted(BUILT_IN)]
        files = [
            KnownStrategy(path.name, str(self._folder), str(path))
            for path in sorted(self._folder.glob(f"*{_SUFFIX}"))
            if self._is_inside(path) and not path.name.startswith("_")
        ]
        return [*built_in, *_of_packages(), *files]

    def resolve(self, text: str) -> str:
        """Return what a bot's process is told to load: an absolute file, a module, or a built-in one's name.

        A file is looked for in the folder alone, and neither ``..`` nor a link leads out of it: who may configure
        a bot may not by that run any file of the machine.

        Errors: InvalidInput that says what there is.
        """
        known = {one.name: one.target for one in self.known()}
        if text in known:
            return known[text]
        name = StrategyName.parse(text)
        if name.file is None and name.class_name is not None:
            if text in known.values():
                return text
            raise InvalidInput(
                f"{text} is registered by no installed package (entry points of the group {ENTRY_POINT_GROUP})",
                field="strategy",
            )
        if name.file is None:
            raise InvalidInput(f"no strategy is called '{text}'; there are {', '.join(known)}", field="strategy")
        try:
            path = inner_path(self._folder, str(name.file))
        except InvalidInput as exc:
            raise InvalidInput(exc.reason, field="strategy") from exc
        if not path.is_file():
            raise InvalidInput(f"there is no file {name.file} in {self._folder}", field="strategy")
        return str(path.resolve()) if name.class_name is None else f"{path.resolve()}:{name.class_name}"

    def _is_inside(self, path: Path) -> bool:
        try:
            require_inside(self._folder, path)
        except InvalidInput:
            return False
        return True


def _of_packages() -> list[KnownStrategy]:
    """Return what installed packages offer; a name that is taken already stays with who has it."""
    points = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: (point.name, point.value))
    found: dict[str, KnownStrategy] = {}
    for point in points:
        if point.name not in BUILT_IN:
            origin = point.dist.name if point.dist is not None else "a package"
            found.setdefault(point.name, KnownStrategy(point.name, origin, point.value))
    return list(found.values())
