"""What a person's word makes of a bot, and which words are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.errors import Conflict
from atf.trading import bot_control
from atf.trading.bot import CRASHED, Bot, BotStatus, DesiredState, TradingState, is_to_start
from atf.trading.bot_control import Act, Held
from atf.trading.order import BotId

STOPPED = Bot(
    BotId(3), 1, "b", {}, 1, DesiredState.STOPPED, BotStatus.STOPPED, TradingState.ACTIVE, error_count=2
)
RUNNING = replace(STOPPED, desired_state=DesiredState.RUNNING, status=BotStatus.RUNNING)
FAILED = replace(RUNNING, status=BotStatus.ERROR, error_count=3, last_error="ValueError: x")
DISABLED = replace(STOPPED, status=BotStatus.DISABLED)
HALTED = replace(RUNNING, trading_state=TradingState.HALTED)
WORDS: tuple[Callable[[Bot], Act], ...] = (
    bot_control.start,
    bot_control.stop,
    bot_control.pause,
    bot_control.resume,
    bot_control.enable,
    bot_control.disable,
)
BOTS = st.builds(
    Bot,
    st.just(BotId(3)),
    st.just(1),
    st.just("b"),
    st.just(dict[str, Any]()),
    st.just(1),
    st.sampled_from(DesiredState),
    st.sampled_from(BotStatus),
    st.sampled_from(TradingState),
)


def test_a_start_wishes_and_forgives() -> None:
    assert bot_control.start(STOPPED).bot == replace(STOPPED, desired_state=DesiredState.RUNNING, error_count=0)
    started = bot_control.start(FAILED)
    assert (started.bot.status, started.bot.error_count, started.bot.last_error) == (BotStatus.STOPPED, 0, None)
    assert started.text == "is to run, its errors are forgiven"


def test_a_start_of_what_runs_changes_nothing_and_does_not_forget_its_errors() -> None:
    assert bot_control.start(RUNNING) == Act("start", RUNNING, "is running already")


def test_a_start_says_that_nothing_will_be_traded() -> None:
    assert (
        "halted and trades nothing" in bot_control.start(replace(STOPPED, trading_state=TradingState.HALTED)).text
    )


def test_a_stop_is_a_wish_and_outlives_every_restart() -> None:
    stopped = bot_control.stop(RUNNING).bot
    assert stopped == replace(RUNNING, desired_state=DesiredState.STOPPED)
    assert not is_to_start(stopped, after_crash=True)
    assert bot_control.stop(STOPPED).text == "is stopped already"
    assert bot_control.stop(stopped).text == "is stopping already"


def test_a_pause_reduces_and_a_resume_says_what_it_ended() -> None:
    paused = bot_control.pause(RUNNING).bot
    assert paused == replace(RUNNING, trading_state=TradingState.REDUCING)
    assert bot_control.resume(paused) == Act("resume", RUNNING, "may open positions again")
    assert bot_control.resume(HALTED) == Act("resume", RUNNING, "was halted, and may trade again")
    assert bot_control.resume(RUNNING).text == "is not paused"
    assert bot_control.pause(paused).text == "is paused already"


def test_a_pause_does_not_loosen_a_halt() -> None:
    with pytest.raises(Conflict, match="atf bots resume 3"):
        bot_control.pause(HALTED)


def test_a_bot_is_disabled_only_when_it_does_not_run_and_does_not_run_when_it_is_enabled() -> None:
    for bot in (RUNNING, replace(RUNNING, status=BotStatus.STARTING)):
        with pytest.raises(Conflict, match="stop it first: atf bots stop 3"):
            bot_control.disable(bot)
    disabled = bot_control.disable(FAILED).bot
    assert (disabled.status, disabled.desired_state) == (BotStatus.DISABLED, DesiredState.STOPPED)
    enabled = bot_control.enable(disabled).bot
    assert enabled.status is BotStatus.STOPPED
    assert not is_to_start(enabled, after_crash=False)
    with pytest.raises(Conflict, match="atf bots enable 3"):
        bot_control.start(DISABLED)


@pytest.mark.parametrize("bot", [STOPPED, FAILED, DISABLED, replace(RUNNING, desired_state=DesiredState.STOPPED)])
def test_only_what_runs_is_restarted(bot: Bot) -> None:
    bot_control.require_restartable(RUNNING)
    with pytest.raises(Conflict, match="atf bots start 3"):
        bot_control.require_restartable(bot)


def test_what_holds_something_is_deleted_by_force_alone_and_what_runs_never() -> None:
    held = Held(("AAPL", "MSFT"), 2)
    bot_control.require_deletable(STOPPED, Held(), force=False)
    bot_control.require_deletable(STOPPED, held, force=True)
    with pytest.raises(Conflict, match=r"holds AAPL, MSFT and has open orders: 2; .* --force"):
        bot_control.require_deletable(STOPPED, held, force=False)
    with pytest.raises(Conflict, match="stop it first"):
        bot_control.require_deletable(RUNNING, Held(), force=True)


@given(BOTS, st.lists(st.sampled_from(WORDS), max_size=5))
def test_no_words_say_what_a_bot_does_but_disabled_and_forgiven(
    bot: Bot, words: list[Callable[[Bot], Act]]
) -> None:
    for word in words:
        try:
            act = word(bot)
        except Conflict:
            continue
        assert act.text
        if act.bot.status is not bot.status:
            assert bot.status not in CRASHED
            assert {act.bot.status, bot.status} <= {BotStatus.STOPPED, BotStatus.DISABLED, BotStatus.ERROR}
        bot = act.bot
