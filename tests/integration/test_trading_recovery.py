"""Books and venue, brought together: at every start, while bots run, and after whatever a venue does wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.integration.venue_desk import VenueDesk, venue_desk

from atf.bootstrap.trading_reconcile import reconcile_bots
from atf.storage.database import Database
from atf.testing.venue import ORDER, STATE, SUBMIT
from atf.testing.venue_faults import VenueFault
from atf.trading import recovery, strategy_instance, strategy_manager

SHORTLY = timedelta(seconds=0.3)
BY_HAND = {"matched": 0, "unbooked": 2, "missing": -3, "size_differs": 2, "side_flipped": -6}
"""What somebody does at the venue to a bot that holds 3, or nothing if it is unbooked."""
AFTER_START = {
    "resume": {"matched": 3},
    "adopt": {"matched": 3, "unbooked": 2, "missing": 0, "size_differs": 5, "side_flipped": -3},
    "flatten": dict.fromkeys(BY_HAND, 0),
    "halt": {},
}
"""What the bots that run after a start hold, by policy; all others have stopped with an error."""


@pytest.fixture
async def desk(
    tmp_path: Path, database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[VenueDesk]:
    monkeypatch.setattr(recovery, "_SECOND_LOOK", SHORTLY)
    monkeypatch.setattr(strategy_instance, "_VENUE_PAUSES", (0.05,))
    async with venue_desk(tmp_path, database_url, database, monkeypatch) as made:
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on a service does not wait long for its bots to come up."""
    return lambda: monkeypatch.setattr(strategy_manager, "_TO_COME_UP", SHORTLY)


async def statuses(desk: VenueDesk) -> dict[str, str]:
    return {row.name: row.status for row in await desk.rows.all("SELECT name, status FROM trading_bots")}


async def until_decided(desk: VenueDesk) -> None:
    await desk.until("SELECT NOT EXISTS (SELECT FROM trading_bots WHERE status NOT IN ('running', 'error'))")


async def newest_order(desk: VenueDesk) -> Any:
    return (await desk.rows.all("SELECT * FROM trading_orders ORDER BY id DESC LIMIT 1"))[0]


async def told(desk: VenueDesk) -> list[str]:
    """What the strategy was told of its orders."""
    found: list[str] = await desk.rows.value("SELECT strategy_state->'told' FROM trading_bot_states")
    return found


async def messages(desk: VenueDesk) -> list[str]:
    found: list[str] = await desk.rows.column("SELECT body FROM msg_messages ORDER BY id")
    return found


# --- what a start does about positions ---


@pytest.mark.parametrize("policy", AFTER_START)
async def test_a_start_does_about_each_position_what_the_policy_says_and_done_twice_changes_nothing(
    desk: VenueDesk, policy: str, impatient: Callable[[], None]
) -> None:
    bots = {
        finding: await desk.add_bot(finding, buy_at=[] if finding == "unbooked" else [1], size=3)
        for finding in BY_HAND
    }
    async with desk.running():
        await desk.bar(2)
        for finding, bot_id in bots.items():
            await desk.until_booked(0 if finding == "unbooked" else 1, bot_id)
    for finding, bot_id in bots.items():
        desk.move_by_hand(BY_HAND[finding], bot_id)
    at_venue = {bot_id: desk.held_at_venue(bot_id) for bot_id in bots.values()}
    config = "jsonb_set(config, '{startup_position_policy}', to_jsonb(CAST(:policy AS text)))"
    await desk.rows.change(f"UPDATE trading_bots SET config = {config}", policy=policy)
    before, planned = await desk.books(), await reconcile_bots(desk.settings, None, only_plan=True)
    assert {one.name: one.finding for one in planned} == {finding: finding for finding in BY_HAND}
    assert await desk.books() == before, "a plan changes nothing"

    impatient()
    expected = AFTER_START[policy]
    async with desk.running():
        if policy == "flatten":  # its orders are filled by the next bar
            sent = "SELECT count(*) = 4 FROM trading_orders WHERE ref = 0 AND status = 'accepted'"
            await desk.until(sent)
            assert "starting" in set((await statuses(desk)).values()), "flat comes before running"
            await desk.close_bar()
        await until_decided(desk)
        after = await statuses(desk)
        assert {name for name, status in after.items() if status == "running"} == set(expected)
    assert {name: await desk.held(bots[name]) for name in expected} == expected
    assert {name: desk.held_at_venue(bots[name]) for name in expected} == expected
    stopped = {bots[name] for name in BY_HAND if name not in expected}
    assert {bot_id: desk.held_at_venue(bot_id) for bot_id in stopped} == {one: at_venue[one] for one in stopped}
    assert len(await messages(desk)) == len(stopped), "the owner of each bot that has stopped is told"

    once = await desk.books()
    async with desk.running():
        await until_decided(desk)
        if policy == "flatten":
            assert set((await statuses(desk)).values()) == {"running"}
        else:
            assert await statuses(desk) == after
    assert await desk.books() == once


async def test_a_fill_between_two_answers_of_a_start_is_no_mismatch(desk: VenueDesk) -> None:
    await desk.add_bot(buy_at=[1], size=3)
    async with desk.running():
        await desk.bar()
        await desk.until_order("accepted")
    desk.venue.misbehave(VenueFault.DROPPED)
    desk.venue.misbehave(VenueFault.SLOW, ORDER, times=1, delay=SHORTLY)
    asked = desk.venue.requests[ORDER]
    async with desk.coming_up():
        await desk.venue.until_requested(ORDER, asked + 1)
        await desk.close_bar()
        await desk.until_status("running")
        await desk.books_agree()
        assert await desk.held() == 3
    assert await messages(desk) == []


async def test_a_venue_that_is_unreachable_at_the_start_is_waited_for_and_holds_up_no_other_bot(
    desk: VenueDesk, impatient: Callable[[], None]
) -> None:
    impatient()
    waiting = await desk.add_bot("waiting", buy_at=[1], size=3)
    on_paper = await desk.add_bot("on paper", broker={"type": "paper"})
    await desk.venue.go_away()
    async with desk.running():
        await desk.until_status("running", on_paper)
        await desk.until_status("starting", waiting)
        later = await desk.add_bot("later", broker={"type": "paper"})
        await desk.until_status("running", later)
        desk.venue.misbehave(VenueFault.MAINTENANCE, STATE)
        await desk.venue.come_back()
        await desk.venue.until_requested(STATE, 8)  # more often than a bot that fails is started
        await desk.until_status("starting", waiting)
        desk.venue.behave()
        await desk.until_status("running", waiting)
        assert await desk.rows.value("SELECT error_count FROM trading_bots WHERE id = :id", id=waiting) == 0
        await desk.bar(2)
        await desk.books_agree(waiting)
        assert await desk.held(waiting) == 3


async def test_a_bot_that_waits_for_its_venue_can_be_stopped(
    desk: VenueDesk, impatient: Callable[[], None]
) -> None:
    impatient()
    await desk.add_bot()
    await desk.venue.go_away()
    async with desk.running():
        await desk.until_status("starting")
        await desk.rows.change("UPDATE trading_bots SET desired_state = 'stopped'")
        await desk.until_status("stopped")
        assert await desk.rows.value("SELECT node_id FROM trading_bots") is None


async def test_bars_that_closed_while_the_venue_was_waited_for_are_not_traded_on(
    desk: VenueDesk, impatient: Callable[[], None]
) -> None:
    await desk.add_bot(buy_at=[2], size=3)
    async with desk.running():
        await desk.bar()
    impatient()
    desk.venue.misbehave(VenueFault.MAINTENANCE, STATE)
    async with desk.running():
        await desk.until_status("starting")
        for _ in range(4):
            await desk.close_bar()
            asked = desk.venue.requests[STATE]
            await desk.venue.until_requested(STATE, asked + 2)
        desk.venue.behave()
        await desk.until_seen()
        state = await desk.rows.value("SELECT strategy_state FROM trading_bot_states")
        assert 2 <= state["count"] <= 3, "all but the newest are history"


async def test_a_position_that_cannot_be_closed_at_the_start_is_said_and_not_waited_for(desk: VenueDesk) -> None:
    await desk.add_bot(buy_at=[1], size=3, startup_position_policy="flatten")
    async with desk.running():
        await desk.bar(2)
        await desk.until_booked(1)
    desk.venue.misbehave(VenueFault.REFUSED)
    async with desk.running():
        await desk.until_status("error")
    assert "AAPL is held still" in (await messages(desk))[0]
    assert await desk.held() == desk.held_at_venue() == 3


# --- while bots run ---


async def test_a_reconcile_that_is_asked_for_stops_a_bot_that_disagrees_with_its_venue(desk: VenueDesk) -> None:
    await desk.add_bot(buy_at=[1], size=3)
    async with desk.running():
        await desk.bar(2)
        await desk.books_agree()
        assert await asked_to_reconcile(desk) == "matched"
        desk.venue.misbehave(VenueFault.MAINTENANCE, STATE)
        command = "INSERT INTO trading_bot_commands (dedup_key, bot_id, user_id, command, payload, source) "
        await desk.rows.change(f"{command} VALUES ('k', 1, 1, 'reconcile', '{{}}', 'test')")
        assert (await outcome(desk)).startswith("not compared: "), "no answer is not a match"
        desk.venue.behave()

        desk.move_by_hand(2)
        before = await desk.books()
        (planned,) = await reconcile_bots(desk.settings, None, only_plan=True)
        assert f"{planned.finding}: {planned.booked} and {planned.at_venue}" == "size_differs: 3 and 5"
        assert planned.action == "compared by its service"
        assert await statuses(desk) == {"one": "running"}, "a plan stops nobody"

        assert "AAPL size_differs: 3 in the books, 5 at the venue" in await asked_to_reconcile(desk)
        await desk.until_status("error")
    assert await desk.books() == before
    assert desk.held_at_venue() == 5, "nobody trades it away"
    assert "3 in the books, 5 at the venue" in await desk.rows.value("SELECT last_error FROM trading_bots")
    (message,) = await messages(desk)
    assert "3 in the books, 5 at the venue" in message
    (planned,) = await reconcile_bots(desk.settings, None, only_plan=True)
    assert planned.action == "halt"


async def test_a_comparison_that_the_venue_takes_its_time_for_holds_up_no_other_command(desk: VenueDesk) -> None:
    broker = {"type": "local-venue", "url": desk.venue.url, "timeout_seconds": 60}
    await desk.add_bot("slow", broker=broker)
    await desk.add_bot("other")
    async with desk.running():
        desk.venue.misbehave(VenueFault.SILENT, STATE)
        asked = desk.venue.requests[STATE]
        command = "INSERT INTO trading_bot_commands (dedup_key, bot_id, user_id, command, payload, source) "
        await desk.rows.change(f"{command} VALUES ('k', 1, 1, 'reconcile', '{{}}', 'test')")
        await desk.venue.until_requested(STATE, asked + 1)
        await desk.rows.change(f"{command} VALUES ('l', 2, 1, 'stop', '{{}}', 'test')")
        await desk.until_status("stopped", 2)
        assert await desk.rows.value("SELECT accepted_at IS NULL FROM trading_bot_commands WHERE dedup_key = 'k'")
        assert desk.venue.requests[STATE] == asked + 1, "it is asked once"
        desk.venue.behave()
        await desk.until("SELECT outcome IS NOT NULL FROM trading_bot_commands WHERE dedup_key = 'k'")


async def asked_to_reconcile(desk: VenueDesk) -> str:
    await reconcile_bots(desk.settings, None, only_plan=False)
    return await outcome(desk)


async def outcome(desk: VenueDesk) -> str:
    """What became of the last command."""
    await desk.until("SELECT accepted_at IS NOT NULL FROM trading_bot_commands ORDER BY id DESC LIMIT 1")
    return str(await desk.rows.value("SELECT outcome FROM trading_bot_commands ORDER BY id DESC LIMIT 1"))


async def test_a_running_bot_is_compared_by_itself_and_stopped_if_it_disagrees(desk: VenueDesk) -> None:
    desk.settings = desk.settings.model_copy(update={"trading_reconcile_seconds": 0.1})
    await desk.add_bot("wrong", buy_at=[1], size=3)
    right = await desk.add_bot("right", buy_at=[1], size=3)
    async with desk.running():
        await desk.bar(2)
        await desk.until_booked(1, 1)
        desk.move_by_hand(-3, 1)
        await desk.until_status("error", 1)
        await desk.bar()
        await desk.books_agree(right)
        assert await statuses(desk) == {"wrong": "error", "right": "running"}
    (message,) = await messages(desk)
    assert "AAPL missing: 3 in the books, 0 at the venue" in message


# --- what happens to orders on the way ---


async def test_an_order_that_was_stored_and_never_sent_is_lost_and_said_and_the_strategy_decides_anew(
    desk: VenueDesk,
) -> None:
    broker = {"type": "local-venue", "url": desk.venue.url, "timeout_seconds": 60}
    await desk.add_bot(buy_at=[1, 2], size=3, broker=broker)
    desk.venue.misbehave(VenueFault.SILENT, SUBMIT)
    async with desk.running():
        await desk.close_bar()
        await desk.venue.until_requested(SUBMIT)
    assert (await newest_order(desk)).status == "intent", "the service ended before anybody knew more"
    desk.venue.behave()
    async with desk.running():
        order = await newest_order(desk)
        assert (order.status, order.reason) == ("lost", "the venue does not know it")
        errors = await desk.rows.column("SELECT text FROM trading_bot_events WHERE level = 'error'")
        assert [order.client_order_id in text for text in errors] == [True]
        await desk.bar(2)
        await desk.until_order("filled")
        await desk.books_agree()
        assert (await told(desk))[:3] == ["Submitted", "Rejected", "Submitted"]
    assert list(desk.venue.submissions.values()) == [1, 1], "what is lost is never sent again"


async def test_what_became_of_an_order_while_its_bot_was_away_is_told_once(desk: VenueDesk) -> None:
    await desk.add_bot(buy_at=[1], size=3)
    async with desk.running():
        await desk.bar()
        await desk.until_order("accepted")
    await desk.venue.push_tick("AAPL", Decimal(110))  # fills it
    async with desk.running():
        assert (await newest_order(desk)).status == "filled", "it is booked before the bot runs"
        assert await desk.rows.value("SELECT unheard <> '{}' FROM trading_bot_states")
    async with desk.running():  # no bar has passed: nothing that the strategy keeps knows of it yet
        await desk.bar()
        assert await told(desk) == ["Submitted", "Accepted", "Completed"]
        assert await desk.rows.value("SELECT unheard = '{}' FROM trading_bot_states")
    async with desk.running():
        await desk.bar()
        assert await told(desk) == ["Submitted", "Accepted", "Completed"]
        await desk.books_agree()


async def test_an_order_that_the_venue_has_forgotten_is_lost(desk: VenueDesk) -> None:
    await desk.add_bot(buy_at=[1, 3], size=3)
    async with desk.running():
        await desk.bar()
        await desk.until_order("accepted")
        desk.venue.forget_order("bot-1", (await newest_order(desk)).client_order_id)
        await desk.venue.until_followed("bot-1")
        await desk.venue.drop_connections()
        await desk.until_order("lost")
        await desk.bar(3)
        await desk.books_agree()
        assert await desk.held() == 3, "the strategy's next order goes out"
        assert (await told(desk))[:3] == ["Submitted", "Accepted", "Rejected"]


@pytest.mark.parametrize(
    ("fault", "comes_to", "reason"),
    [
        pytest.param(VenueFault.REFUSED, "rejected", "refused, as it was told to", id="refused"),
        pytest.param(VenueFault.THROTTLED, "lost", "it was not sent", id="too many requests"),
        pytest.param(VenueFault.BROKEN, "lost", "the venue does not know it", id="5xx, nothing taken"),
        pytest.param(VenueFault.CUT, "lost", "the venue does not know it", id="hangs up, nothing taken"),
        pytest.param(VenueFault.SILENT, "lost", "the venue does not know it", id="time-out, nothing taken"),
        pytest.param(VenueFault.ACCEPTED_THEN_BROKEN, "filled", "", id="5xx after acceptance"),
        pytest.param(VenueFault.ACCEPTED_THEN_CUT, "filled", "", id="hangs up after acceptance"),
        pytest.param(VenueFault.ACCEPTED_THEN_SILENT, "filled", "", id="time-out after acceptance"),
        pytest.param(VenueFault.HTML, "filled", "", id="an answer that cannot be read"),
    ],
)
async def test_an_order_is_sent_once_and_its_outcome_is_found_whatever_the_venue_answers(
    desk: VenueDesk, fault: VenueFault, comes_to: str, reason: str
) -> None:
    await desk.add_bot(buy_at=[1], sell_at=[3], size=3)
    desk.venue.misbehave(fault, SUBMIT, times=1)
    async with desk.running():
        await desk.bar(2)
        first = (await desk.rows.all("SELECT * FROM trading_orders ORDER BY id LIMIT 1"))[0]
        if comes_to == "filled":
            await desk.until_order("filled")
        else:
            assert first.status == comes_to
            assert reason in first.reason
        assert desk.venue.submissions[first.client_order_id] == 1
        await desk.bar(2)
        await desk.books_agree()


async def test_a_fill_before_the_acknowledgement_is_booked_when_it_comes(desk: VenueDesk) -> None:
    await desk.add_bot(buy_at=[1], sell_at=[4], size=3)
    desk.venue.misbehave(VenueFault.ACCEPTED_THEN_SILENT, SUBMIT)
    await desk.rows.change("UPDATE trading_bots SET config = config #- '{broker,timeout_seconds}'")
    async with desk.running():
        await desk.close_bar()
        await desk.venue.until_requested(SUBMIT)
        await desk.close_bar()
        await desk.until_order("filled")
        desk.venue.behave()
        await desk.bar(3)
        await desk.books_agree()
        assert (await told(desk)).count("Completed") == 2, "each is told once"


@pytest.mark.parametrize("fault", [VenueFault.DUPLICATED, VenueFault.REVERSED])
async def test_events_that_come_twice_or_in_reverse_order_are_booked_once(
    desk: VenueDesk, fault: VenueFault
) -> None:
    await desk.add_bot(buy_at=[1, 2], sell_at=[2, 4], size=3)
    desk.venue.misbehave(fault)
    async with desk.running():
        await desk.bar(5)
        await desk.books_agree()
    assert len(desk.account().fills) == 4


async def test_events_that_never_come_are_made_up_for_when_positions_are_compared(desk: VenueDesk) -> None:
    desk.settings = desk.settings.model_copy(update={"trading_reconcile_seconds": 0.1})
    await desk.add_bot(buy_at=[1], size=3)
    desk.venue.misbehave(VenueFault.DROPPED)
    async with desk.running():
        await desk.bar(2)
        await desk.until_booked(1)
        await desk.books_agree()
        await desk.until_status("running")
    assert await messages(desk) == []


async def test_what_is_filled_while_the_connection_is_broken_is_booked_when_it_is_back(desk: VenueDesk) -> None:
    await desk.add_bot(buy_at=[1, 2], size=3)
    async with desk.running():
        await desk.bar()
        await desk.until_order("accepted")
        await desk.venue.go_away()
        await desk.close_bar()
        await desk.until_seen()
        await desk.until_order("lost")  # the second one: nothing can be sent, and nothing is sent later
        assert len(desk.account().fills) == 1
        await desk.venue.come_back()
        await desk.until_booked(1)
        await desk.bar()
        await desk.books_agree()
        assert await statuses(desk) == {"one": "running"}
        assert await desk.held() == 3
