"""The paper venue as a bot's configuration asks for it: ``"broker": {"type": "paper", …}``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from atf.errors import InvalidInput
from atf.jobs.schema_validator import SchemaValidator
from atf.trading.paper.account import ZERO, AccountRules, FillModel
from atf.trading.paper.amounts import SMALLEST

DEFAULT_CASH: Final = Decimal(100_000)
_DISCONNECT: Final = 5.0


class PaperFault(StrEnum):
    """What may go wrong with an order or a cancellation; how, is in the schema."""

    TIMEOUT_AFTER = "timeout_after"
    TIMEOUT_BEFORE = "timeout_before"
    SERVER_ERROR = "server_error"
    REJECT = "reject"
    DISCONNECT = "disconnect"


class EventFault(StrEnum):
    """What may go wrong with what the venue pushes."""

    DUPLICATE = "duplicate_events"
    REORDER = "reorder_events"
    DROP = "drop_events"


@dataclass(frozen=True, slots=True)
class PaperFaults:
    """How badly the venue can be reached; ``script`` goes before chance, and None in it is no fault."""

    seed: int = 0
    script: tuple[PaperFault | None, ...] = ()
    chances: Mapping[PaperFault, float] = field(default_factory=dict)
    event_chances: Mapping[EventFault, float] = field(default_factory=dict)
    disconnect: timedelta = timedelta(seconds=_DISCONNECT)
    visibility: timedelta = timedelta(0)
    answer: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class PaperOptions:
    """A bot's paper account; ``account`` is None for one of its own.

    ``is_live``: orders are filled by bars that are still forming, too.
    """

    account: str | None = None
    cash: Decimal = DEFAULT_CASH
    rules: AccountRules = field(default_factory=AccountRules)
    faults: PaperFaults = field(default_factory=PaperFaults)
    is_live: bool = False


def parse_paper_options(config: Mapping[str, Any], path: str = "broker") -> PaperOptions:
    """Return what a configuration asks for; ``path`` begins the names of its fields.

    Errors: InvalidInput with all that is wrong.
    """
    SchemaValidator("atf.trading", root=path).validate(config, "paper_broker")
    faults = config.get("faults", {})
    if sum(faults.get(fault, 0) for fault in PaperFault) > 1:
        listed = ", ".join(PaperFault)
        raise InvalidInput(f"the chances of {listed} are more than 1 together", field=f"{path}.faults")
    for name in ("quantity_step", "price_step"):
        if 0 < config.get(name, 0) < SMALLEST:
            raise InvalidInput(f"must be 0 or at least {SMALLEST}", field=f"{path}.{name}")
    return PaperOptions(
        config.get("account"),
        _exact(config, "cash", DEFAULT_CASH),
        _rules(config),
        _faults(faults),
        config.get("match_on", "bars") == "live",
    )


def _rules(config: Mapping[str, Any]) -> AccountRules:
    share = config.get("partial_fill_fraction")
    model = FillModel(
        _exact(config, "fee_fraction"),
        _exact(config, "slippage_fraction"),
        _seconds(config, "latency_seconds"),
        None if share is None else _decimal(share),
    )
    return AccountRules(
        model,
        config.get("allow_short", False),
        _exact(config, "quantity_step"),
        _exact(config, "price_step"),
        _exact(config, "minimum_quantity"),
        _exact(config, "minimum_value"),
    )


def _faults(config: Mapping[str, Any]) -> PaperFaults:
    return PaperFaults(
        config.get("seed", 0),
        tuple(None if one == "none" else PaperFault(one) for one in config.get("script", ())),
        {fault: config[fault] for fault in PaperFault if fault in config},
        {fault: config[fault] for fault in EventFault if fault in config},
        _seconds(config, "disconnect_seconds", _DISCONNECT),
        _seconds(config, "visibility_seconds"),
        _seconds(config, "answer_seconds"),
    )


def _exact(config: Mapping[str, Any], name: str, default: Decimal = ZERO) -> Decimal:
    return _decimal(config[name]) if name in config else default


def _decimal(number: float) -> Decimal:
    """Return a number of JSON as it is written there."""
    return Decimal(str(number))


def _seconds(config: Mapping[str, Any], name: str, default: float = 0) -> timedelta:
    return timedelta(seconds=config.get(name, default))
