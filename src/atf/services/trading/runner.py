"""TradingServiceRunner: a trading service from its start to its end, in the order that recovery needs."""

from __future__ import annotations

import logging

from atf.trading.strategy_manager import StrategyManager

_LOGGER = logging.getLogger(__name__)


class TradingServiceRunner:
    """Starts and stops the bots of one user, or of all.

    ``resume_mode``: whether a start after a crash runs only those bots that ran. What bots hold is reconciled
    with their venues in either mode.
    """

    def __init__(
        self, strategy_manager: StrategyManager, user_id: int | None = None, resume_mode: bool = True
    ) -> None:
        self.strategy_manager = strategy_manager
        self.user_id = user_id
        self.resume_mode = resume_mode

    async def start_service(self) -> None:
        """Load and start the bots, then watch them; return when each runs or has failed.

        Errors: those of the database.
        """
        manager = self.strategy_manager
        await manager.load_strategies_from_db(user_id=self.user_id, resume_mode=self.resume_mode)
        await manager.start_all_strategies()
        await manager.start_monitoring()
        await manager.start_db_polling()
        _LOGGER.info("%d bots run", manager.running)

    async def stop_service(self) -> None:
        """End the bots and remember that this was no crash. Errors: those of the database."""
        await self.strategy_manager.shutdown()
