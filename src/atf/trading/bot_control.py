"""What a person's word makes of a bot: start, stop, pause, resume, enable, disable, rename, delete. Pure.

A word changes the wish (``desired_state``), how the bot may trade, and no more: what it does now (``status``) is
for the trading service to say, but for ``disabled`` and for an error that is forgiven.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from atf.errors import Conflict
from atf.trading.bot import CRASHED, Bot, BotStatus, DesiredState, TradingState


@dataclass(frozen=True, slots=True)
class Act:
    """A word, the bot as it is then, and what is to be told of it, as it goes on behind the bot's name."""

    word: str
    bot: Bot
    text: str


@dataclass(frozen=True, slots=True)
class Held:
    """What would be left alone if a bot were deleted: symbols of its open positions, and how many open orders."""

    symbols: tuple[str, ...] = ()
    orders: int = 0


def start(bot: Bot) -> Act:
    """Wish that it runs; errors are forgiven. Errors: Conflict if it is disabled."""
    if bot.status is BotStatus.DISABLED:
        raise Conflict(f"bot {bot.id} is disabled; allow it first: atf bots enable {bot.id}")
    if bot.desired_state is DesiredState.RUNNING and bot.status in CRASHED:
        return Act("start", bot, f"is {bot.status} already{_MANNER[bot.trading_state]}")
    wanted = replace(bot, desired_state=DesiredState.RUNNING)
    if bot.status not in CRASHED:
        wanted = replace(wanted, status=BotStatus.STOPPED, error_count=0, last_error=None)
    forgiven = ", its errors are forgiven" if bot.status is BotStatus.ERROR else ""
    return Act("start", wanted, f"is to run{forgiven}{_MANNER[bot.trading_state]}")


def stop(bot: Bot) -> Act:
    """Wish that it does not run, over any restart, until somebody starts it."""
    is_running = bot.status in CRASHED
    if bot.desired_state is DesiredState.STOPPED:
        return Act("stop", bot, "is stopping already" if is_running else "is stopped already")
    text = "is to stop, and stays so until it is started"
    return Act("stop", replace(bot, desired_state=DesiredState.STOPPED), text)


def pause(bot: Bot) -> Act:
    """Let it only close what it holds. Errors: Conflict if it is halted, which is stricter."""
    if bot.trading_state is TradingState.HALTED:
        raise Conflict(
            f"bot {bot.id} is halted and trades nothing at all; end that with: atf bots resume {bot.id}"
        )
    if bot.trading_state is TradingState.REDUCING:
        return Act("pause", bot, "is paused already")
    return Act(
        "pause", replace(bot, trading_state=TradingState.REDUCING), "is paused: it only closes what it holds"
    )


def resume(bot: Bot) -> Act:
    """Let it open positions again, also one that is halted: its owner has looked at it."""
    text = {
        TradingState.ACTIVE: "is not paused",
        TradingState.REDUCING: "may open positions again",
        TradingState.HALTED: "was halted, and may trade again",
    }[bot.trading_state]
    return Act("resume", replace(bot, trading_state=TradingState.ACTIVE), text)


def enable(bot: Bot) -> Act:
    """Allow that it is started; it does not run by that."""
    if bot.status is not BotStatus.DISABLED:
        return Act("enable", bot, "is not disabled")
    return Act("enable", replace(bot, status=BotStatus.STOPPED), "may be started")


def disable(bot: Bot) -> Act:
    """See that nothing starts it until it is enabled. Errors: Conflict while it runs."""
    if bot.status is BotStatus.DISABLED:
        return Act("disable", bot, "is disabled already")
    if bot.status in CRASHED:
        raise Conflict(f"bot {bot.id} is {bot.status}; stop it first: atf bots stop {bot.id}")
    wanted = replace(bot, status=BotStatus.DISABLED, desired_state=DesiredState.STOPPED)
    return Act("disable", wanted, "is disabled: nothing starts it until it is enabled")


def rename(bot: Bot, name: str) -> Act:
    """Give it another name."""
    return Act("rename", replace(bot, name=name), f"is called {name} now")


def require_restartable(bot: Bot) -> None:
    """Do nothing if it runs. Errors: Conflict."""
    if bot.desired_state is not DesiredState.RUNNING or bot.status not in CRASHED:
        raise Conflict(f"bot {bot.id} does not run, it is {bot.status}; start it: atf bots start {bot.id}")


def require_deletable(bot: Bot, held: Held, *, force: bool) -> None:
    """Do nothing if nobody is left with what it holds.

    Errors: Conflict while it runs, and, unless ``force``, while it holds something or has open orders.
    """
    if bot.status in CRASHED:
        raise Conflict(f"bot {bot.id} is {bot.status}; stop it first: atf bots stop {bot.id}")
    left = [f"holds {', '.join(held.symbols)}"] if held.symbols else []
    left += [f"has open orders: {held.orders}"] if held.orders else []
    if left and not force:
        raise Conflict(
            f"bot {bot.id} {' and '.join(left)}; nobody would look after that any more: close it first, or"
            " delete the bot with --force"
        )


def require_kept(bot: Bot, held: Collection[str], symbols: Collection[str]) -> None:
    """Do nothing if a configuration of these symbols leaves nobody alone with what is held or ordered.

    Errors: Conflict.
    """
    dropped = sorted(set(held) - set(symbols))
    if dropped:
        raise Conflict(
            f"bot {bot.id} holds or has orders of {', '.join(dropped)}, which it would not trade any more: close"
            " that first"
        )


_MANNER = {
    TradingState.ACTIVE: "",
    TradingState.REDUCING: "; it is paused and only closes what it holds",
    TradingState.HALTED: "; it is halted and trades nothing until it is resumed",
}
