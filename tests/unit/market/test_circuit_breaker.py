from atf.market.circuit_breaker import CircuitBreaker


def opened_at(now: float) -> CircuitBreaker:
    breaker = CircuitBreaker()
    for _ in range(3):
        breaker.failed(now, "502")
    return breaker


def test_two_failures_do_not_stop_anybody() -> None:
    breaker = CircuitBreaker()
    breaker.failed(0.0, "502")
    breaker.failed(0.0, "502")
    assert breaker.may_ask(0.0)


def test_after_the_pause_one_call_tries_and_the_others_wait() -> None:
    breaker = opened_at(0.0)
    assert [breaker.may_ask(now) for now in (1.9, 2.0, 2.0, 100.0)] == [False, True, False, False]


def test_a_success_lets_everybody_ask_again() -> None:
    breaker = opened_at(0.0)
    assert breaker.may_ask(2.0)
    breaker.succeeded()
    assert [breaker.may_ask(2.0) for _ in range(3)] == [True, True, True]


def test_a_try_that_was_given_up_leaves_the_next_one_to_somebody_else() -> None:
    breaker = opened_at(0.0)
    assert breaker.may_ask(2.0)
    breaker.given_up()
    assert breaker.may_ask(2.0)


def test_pauses_double_up_to_five_minutes() -> None:
    breaker, now, pauses = opened_at(0.0), 0.0, []
    for _ in range(10):
        pauses.append(breaker.state(now).closed_for)
        now += pauses[-1]
        breaker.failed(now, "502")
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]


def test_the_spread_lengthens_a_pause_by_up_to_half() -> None:
    breaker = CircuitBreaker()
    for _ in range(3):
        breaker.failed(0.0, "502", spread=0.5)
    assert breaker.state(0.0).closed_for == 2.5


def test_calls_that_fail_together_are_one_outage_and_lengthen_no_pause() -> None:
    breaker = CircuitBreaker()
    era = breaker.era
    for _ in range(16):
        breaker.failed(0.0, "502", era=era)
    assert breaker.state(0.0).closed_for == 2.0


def test_an_answer_to_a_call_of_before_ends_no_pause_that_the_source_asked_for() -> None:
    breaker = CircuitBreaker()
    era = breaker.era
    breaker.failed(0.0, "429", retry_after=40.0, era=era)
    breaker.succeeded(era)
    assert (breaker.may_ask(39.0), breaker.may_ask(40.0)) == (False, True)


def test_a_call_of_before_that_fails_lets_nobody_else_try() -> None:
    breaker = CircuitBreaker()
    era = breaker.era
    for _ in range(3):
        breaker.failed(0.0, "502", era=era)
    assert breaker.may_ask(2.0)
    breaker.failed(2.0, "timeout", era=era)
    breaker.given_up(era)
    assert not breaker.may_ask(2.0)


def test_a_longer_pause_that_a_call_of_before_is_told_counts() -> None:
    breaker = CircuitBreaker()
    era = breaker.era
    breaker.failed(0.0, "429", retry_after=10.0, era=era)
    breaker.failed(0.0, "429", retry_after=40.0, era=era)
    assert breaker.state(0.0).closed_for == 40.0
