"""What the paper venue needs of a store: a book that survives any kill. Implemented in ``storage``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from atf.trading.broker import OpenState, VenueEvent, VenueOrder
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, NewOrder
from atf.trading.paper.account import AccountRules
from atf.trading.paper.bar import PaperBar
from atf.trading.paper.marks import SeriesBars


@dataclass(frozen=True, slots=True)
class Submission:
    """An order for an account; ``at``: when it came, by the venue's clock."""

    account: str
    order: NewOrder
    at: datetime


@dataclass(frozen=True, slots=True)
class Taken:
    """How a submitted order stands; ``is_new``: it was not known before."""

    order: VenueOrder
    is_new: bool


@dataclass(frozen=True, slots=True)
class AccountNews:
    """What happened to an account, to be told to whoever listens."""

    account: str
    fills: Sequence[Fill] = ()
    orders: Sequence[VenueOrder] = ()

    @property
    def events(self) -> Sequence[VenueEvent]:
        """All of it: fills before the orders that say so."""
        return [*self.fills, *self.orders]


@dataclass(frozen=True, slots=True)
class Matched:
    """What bars or parts of them did; ``known``: symbols whose bars had been matched before, maybe by others."""

    news: Sequence[AccountNews] = ()
    known: frozenset[str] = frozenset()


class PaperStore(Protocol):
    """The books of all accounts of one venue; each call is one transaction."""

    async def open_account(self, name: str, rules: AccountRules, cash: Decimal) -> None:
        """Make an account with its first cash, or give one that is there new rules."""
        ...

    async def submit(self, submissions: Sequence[Submission]) -> Sequence[Taken | Exception]:
        """Take orders of any accounts; a name that an account has already answers with its first order.

        What is refused is REJECTED, and remembered; what cannot even be written down is OrderRejected. An account
        that is not open is NotFound.
        """
        ...

    async def cancel(
        self, account: str, client_order_id: ClientOrderId, at: datetime
    ) -> tuple[VenueOrder, AccountNews]:
        """Cancel an order that is not over; return how it stands, and all that changed with it.

        Errors: NotFound if the account has no such order.
        """
        ...

    async def order(self, account: str, client_order_id: ClientOrderId) -> VenueOrder | None:
        """Return an order, None if the account has none of that name."""
        ...

    async def fills_of(self, account: str, client_order_id: ClientOrderId) -> Sequence[Fill]:
        """Return the fills of an order, oldest first."""
        ...

    async def open_state(self, account: str, at: datetime) -> OpenState:
        """Return what an account holds, all of one instant. Errors: NotFound."""
        ...

    async def match(self, bars: SeriesBars) -> Matched:
        """Match closed bars with every account that has something resting in their symbols; each bar once."""
        ...

    async def match_pieces(self, pieces: Sequence[PaperBar]) -> Matched:
        """Match parts of bars in the same way, one of a symbol at most; they count as the finest timeframe."""
        ...

    async def news_since(
        self, accounts: Collection[str], symbols: Collection[str], since: datetime
    ) -> Sequence[AccountNews]:
        """Return what happened to accounts from an instant on, by the market's time."""
        ...
