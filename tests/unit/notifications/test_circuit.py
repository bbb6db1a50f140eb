"""Whether a channel's provider is asked now."""

from __future__ import annotations

import pytest

from atf.notifications.circuit import Circuit


def broken(failures: int = 1, *, jitter: float = 1.0) -> tuple[Circuit, float]:
    """A circuit after outages in a row, each found as soon as the pause was over; and when the last one was."""
    circuit, now = Circuit(), 100.0
    for _ in range(failures):
        now = max(now, circuit.opens_at)
        circuit.failed(now, "gone", began_at=now, jitter=jitter)
    return circuit, now


def test_as_long_as_nothing_fails_everything_goes() -> None:
    circuit = Circuit()
    assert circuit.may_send(0.0)
    assert circuit.width(8) == 8


def test_an_outage_pauses_and_then_one_letter_at_a_time_is_tried() -> None:
    circuit, now = broken()
    assert not circuit.may_send(now + 0.99)
    assert circuit.may_send(now + 1.0)
    assert (circuit.width(8), circuit.failures, circuit.error) == (1, 1, "gone")
    circuit.succeeded()
    assert (circuit.width(8), circuit.failures, circuit.error) == (8, 0, "")


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (500, 60)])
def test_pauses_double_up_to_a_minute(failures: int, seconds: int) -> None:
    circuit, now = broken(failures)
    assert circuit.opens_at - now == seconds


def test_pauses_are_spread_and_never_nothing() -> None:
    circuit, now = broken(jitter=0.0)
    assert circuit.opens_at - now == pytest.approx(0.1)


def test_what_was_under_way_when_it_broke_is_the_same_outage() -> None:
    circuit, now = broken()
    for _ in range(7):
        circuit.failed(now + 0.5, "gone too", began_at=now - 1.0, jitter=1.0)
    assert (circuit.failures, circuit.opens_at, circuit.error) == (1, now + 1.0, "gone")


def test_a_letter_that_is_tried_after_the_pause_is_another_one() -> None:
    circuit, now = broken()
    circuit.failed(now + 5.0, "still gone", began_at=now + 1.0, jitter=1.0)
    assert (circuit.failures, circuit.opens_at, circuit.error) == (2, now + 7.0, "still gone")


@pytest.mark.parametrize(("asked", "pause"), [(None, 1.0), (0.2, 1.0), (30.0, 30.0), (1e9, 3600.0)])
def test_it_waits_as_long_as_the_provider_asks_for_and_never_longer_than_an_hour(
    asked: float | None, pause: float
) -> None:
    circuit = Circuit()
    circuit.failed(0.0, "gone", began_at=0.0, asked=asked, jitter=1.0)
    assert circuit.opens_at == pause


def test_to_be_asked_to_wait_is_no_outage() -> None:
    circuit = Circuit()
    circuit.pause(0.0, 5.0)
    assert (circuit.may_send(4.9), circuit.may_send(5.0), circuit.failures, circuit.width(8)) == (
        False,
        True,
        0,
        8,
    )
    circuit.pause(0.0, 2.0)
    assert not circuit.may_send(4.9), "a pause is never shortened"


def test_an_outage_that_another_sender_found_goes_on() -> None:
    circuit = Circuit()
    circuit.adopt(3, 20.0, "gone", 100.0)
    assert (circuit.failures, circuit.opens_at, circuit.error, circuit.width(8)) == (3, 120.0, "gone", 1)
    circuit.failed(121.0, "gone", began_at=120.0, jitter=1.0)
    assert (circuit.failures, circuit.opens_at) == (4, 129.0)


def test_what_it_found_itself_counts_more() -> None:
    circuit, now = broken(2)
    circuit.adopt(9, 500.0, "old", now)
    circuit.adopt(9, 500.0, "old", now + 100.0)
    assert (circuit.failures, circuit.error) == (2, "gone")
