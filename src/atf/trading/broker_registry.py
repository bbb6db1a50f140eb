"""Brokers by type: ATF's own, and those of other packages by an entry point of the group ``atf.brokers``.

An entry point names an object with a ``name``, which is the ``type`` in a bot's ``broker``, a ``check`` and an
``open``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final, Protocol, runtime_checkable

from atf.errors import InvalidInput, shown
from atf.plugins import Loaded, Unusable, load_group
from atf.trading.broker import Broker
from atf.trading.order import BotId

GROUP: Final = "atf.brokers"
FIELD: Final = "broker"


@dataclass(frozen=True, slots=True)
class BrokerContext:
    """Whose broker it is to be."""

    bot_id: BotId
    user_id: int


@runtime_checkable
class BrokerType(Protocol):
    """A kind of venue; ``config`` is a bot's ``broker``, with its ``type``."""

    @property
    def name(self) -> str:
        """What ``type`` says for it."""
        ...

    def check(self, config: Mapping[str, Any]) -> None:
        """Raise InvalidInput, with fields that begin with ``broker``, if a configuration cannot be used."""
        ...

    async def open(self, config: Mapping[str, Any], context: BrokerContext) -> Broker:
        """Return the broker of a bot. Errors: InvalidInput; VenueUnavailable if it can be opened later."""
        ...


class BrokerRegistry:
    """All types that a process knows; ``problems`` says what of other packages is left out."""

    def __init__(self, own: Sequence[BrokerType], others: Loaded[BrokerType] | None = None) -> None:
        others = others or Loaded()
        self._types = {one.name: one for one in (*own, *others.found)}
        self.problems = others.problems

    @property
    def names(self) -> Sequence[str]:
        """What ``type`` may say."""
        return sorted(self._types)

    def check(self, config: object) -> None:
        """Check a bot's ``broker``. Errors: InvalidInput with all that is wrong."""
        found, known = self._found(config)
        known.check(found)

    async def open(self, config: object, context: BrokerContext) -> Broker:
        """Return the broker of a bot. Errors: as of its type."""
        found, known = self._found(config)
        return await known.open(found, context)

    def _found(self, config: object) -> tuple[Mapping[str, Any], BrokerType]:
        if not isinstance(config, Mapping):
            raise InvalidInput(f"must be a JSON object, got {shown(config)}", field=FIELD)
        if "type" not in config:
            raise InvalidInput(f"is missing; one of {', '.join(self.names)}", field=f"{FIELD}.type")
        name = config["type"]
        known = self._types.get(name) if isinstance(name, str) else None
        if known is None:
            close = get_close_matches(str(name), self.names, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise InvalidInput(
                f"{shown(name)} is not one of {', '.join(self.names)}{hint}", field=f"{FIELD}.type"
            )
        return config, known


def load_broker_types(taken: Sequence[str]) -> Loaded[BrokerType]:
    """Load all plug-ins, in the order of their names; ``taken`` are the types that ATF itself has."""

    def accept(plugin: object, before: Sequence[BrokerType]) -> BrokerType:
        if isinstance(plugin, type) or not isinstance(plugin, BrokerType) or not isinstance(plugin.name, str):
            raise Unusable("it is no object with the `name`, `check` and `open` of a broker's type")
        if plugin.name in taken or any(plugin.name == other.name for other in before):
            raise Unusable(f"the broker type '{plugin.name}' is defined already")
        return plugin

    return load_group(GROUP, accept)
