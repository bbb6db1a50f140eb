import logging

import pytest
from tests.unit.jobs.worker_fakes import run_of

from atf.jobs.queue import PutBack
from atf.jobs.run import Completion
from atf.jobs.run_log import log_written


def test_each_of_a_few_completions_has_its_line_with_its_duration(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log_written([Completion(run_of(7), {}, seconds=2.34), PutBack(run_of(8))], frozenset({7, 8}))
    assert caplog.messages == ["Job report_7 executed successfully in 2.3s"]
    assert (caplog.records[0].job_id, caplog.records[0].attempt) == (7, 1)  # type: ignore[attr-defined]


def test_many_completions_have_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log_written([Completion(run_of(number), {}) for number in range(21)], frozenset(range(21)))
    assert caplog.messages == ["21 jobs executed successfully"]


def test_what_was_taken_away_is_told(caplog: pytest.LogCaptureFixture) -> None:
    log_written([Completion(run_of(7), {}), Completion(run_of(8), {})], frozenset({8}))
    assert caplog.messages == ["report_7 was taken away meanwhile: what attempt 1 did is void"]
