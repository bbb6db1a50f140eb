"""Recovery: before a bot trades, its books and its venue agree. The same after a crash and after a clean stop.

Orders that are not final are looked up and their missing fills booked; then positions are compared, and the bot's
policy decides about what differs. A venue that cannot be asked is not one that holds nothing: the bot waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Final

from atf.clock import Clock
from atf.errors import InvariantViolation, TemporaryFailure
from atf.trading.book import BotBook
from atf.trading.books import BotChange, BotEvent
from atf.trading.bot import StartupPositionPolicy
from atf.trading.broker import Broker
from atf.trading.order_cycle import OrderCycle
from atf.trading.position import ZERO, Holding
from atf.trading.reconcile import (
    Action,
    Finding,
    PlannedAction,
    PositionFinding,
    adopt,
    compare,
    flattening,
    plan,
    plan_while_running,
)

_LOGGER = logging.getLogger(__name__)
_SECOND_LOOK: Final = timedelta(seconds=2)
"""What differs is looked at again after this long: its fills may be under way."""
_FLATTENED_LOOK: Final = timedelta(seconds=0.2)


class PositionMismatch(InvariantViolation):
    """Books and venue disagree, and nobody has said who is right: the bot stops, and its owner decides."""

    def __init__(self, actions: Sequence[PlannedAction]) -> None:
        self.actions = tuple(actions)
        found = "; ".join(str(one.finding) for one in actions)
        super().__init__(
            f"{found}; look at both, then set startup_position_policy "
            "(adopt: the venue is right; flatten: close it)"
        )


class NotFlattened(TemporaryFailure):
    """The order that closes a position did not go out, or was refused: the next start tries again."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """How one bot's books are brought together with its venue; ``symbols``: those that the bot trades."""

    cycle: OrderCycle
    broker: Broker
    clock: Clock
    symbols: Sequence[str]
    policy: StartupPositionPolicy

    async def plan(self) -> Sequence[PlannedAction]:
        """Return what a start would do about positions, after all orders are looked up.

        Errors: VenueUnavailable.
        """
        await self.cycle.tracker.look_up()
        return plan(await self._settled_findings(), self.policy)

    async def recover(self) -> Sequence[PlannedAction]:
        """Bring books and venue together and return what was done; done twice, the second time changes nothing.

        Errors: PositionMismatch; VenueUnavailable.
        """
        planned = await self.plan()
        conflicts = [one for one in planned if one.action is Action.HALT]
        if conflicts:
            raise PositionMismatch(conflicts)
        for one in planned:
            if one.action is Action.ADOPT:
                await self._adopt(one.finding)
            elif one.action is Action.FLATTEN:
                await self._flatten(one.finding)
        self.cycle.tracker.resume_cancelling()
        return planned

    async def check(self) -> Sequence[PlannedAction]:
        """Compare while the bot runs. Errors: PositionMismatch; VenueUnavailable."""
        planned = plan_while_running(await self._settled_findings())
        conflicts = [one for one in planned if one.action is Action.HALT]
        if conflicts:
            raise PositionMismatch(conflicts)
        return planned

    async def _settled_findings(self) -> Sequence[PositionFinding]:
        """Compare until nothing differs, or something does and nothing was filled around the venue's answer."""
        found = await self._findings()
        while any(one.finding is not Finding.MATCHED for one in found):
            await asyncio.sleep(_SECOND_LOOK.total_seconds())
            await self.cycle.tracker.look_up()
            before, found = self._booked(), await self._findings()
            await self.cycle.tracker.look_up()
            if self._booked() == before:
                break
        return found

    async def _findings(self) -> Sequence[PositionFinding]:
        state = await self.broker.open_state()
        self.cycle.tracker.note_answer()
        at_venue = {symbol: state.positions.get(symbol, ZERO) for symbol in self.symbols}
        return compare(self._booked(), at_venue)

    def _booked(self) -> Mapping[str, Decimal]:
        return {symbol: one.position.quantity for symbol, one in self.cycle.book.holdings.items()}

    async def _adopt(self, found: PositionFinding) -> None:
        await self.cycle.keeper.commit(lambda book: self._adopting(book, found))

    def _adopting(self, book: BotBook, found: PositionFinding) -> BotChange:
        holding = book.holding(found.symbol)
        price = book.marks.get(found.symbol) or holding.position.average_price or ZERO
        change = adopt(holding, found.at_venue, price, self.clock.now())
        # Somebody has traded by hand: cash is what keeps the bot's worth, until a person says otherwise.
        cash = book.cash - (found.at_venue - found.booked) * price
        return BotChange(
            replace(book, cash=cash, holdings=_with(book.holdings, change.after)),
            holdings=[change],
            events=[BotEvent("adopted", f"taken from the venue: {found}", "warning")],
        )

    async def _flatten(self, found: PositionFinding) -> None:
        """Take what the venue holds into the books, and sell it."""
        if found.booked != found.at_venue:
            await self._adopt(found)
        await self.cycle.tracker.cancel_all(found.symbol)
        if found.at_venue:
            await self.cycle.send_own(flattening(found.symbol, found.at_venue), why="flatten at the start")
        while self.cycle.book.holding(found.symbol).position.is_open:
            if not self.cycle.book.open_orders(found.symbol):
                raise NotFlattened(f"{found.symbol} is held still: the order that closes it has ended otherwise")
            await asyncio.sleep(_FLATTENED_LOOK.total_seconds())  # fills tell nobody else


def _with(holdings: Mapping[str, Holding], after: Holding) -> Mapping[str, Holding]:
    kept = {**holdings, after.position.symbol: after}
    return {symbol: one for symbol, one in kept.items() if one.position.is_open}
