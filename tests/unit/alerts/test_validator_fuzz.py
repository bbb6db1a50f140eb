"""Nonsense against the validator: it never crashes, and what it accepts can be evaluated, stored, told and shown.

``make fuzz`` is the long form, 100,000 documents (``ATF_FUZZ_DOCUMENTS``); they are the same each time.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from tests.alert_steps import Evaluation, evaluated, needed
from tests.odd_documents import NAN, SEEDS, documents

from atf.alerts.action_message import action_messages
from atf.alerts.alert import PLACEHOLDERS, Alert, compile_alert, fresh_state, parse_alert
from atf.alerts.alert_line import config_of_line
from atf.alerts.alert_message import compose, messages_of, rearmed_message
from atf.alerts.explanation import as_json, as_text
from atf.alerts.legacy import upgraded
from atf.alerts.trace import trace, watched_bars
from atf.errors import InvalidAlertRule, InvalidInput
from atf.market.bars import Bars
from atf.market.closing import Closing
from atf.rules.line_text import line_of

DOCUMENTS: Final = int(os.environ.get("ATF_FUZZ_DOCUMENTS", "3000"))
BEGIN: Final = datetime(2027, 3, 1, tzinfo=UTC)
VALUES: Final = (4.0, 6.0, NAN, 5.0, 5.0, 7.0, 1e300, 3.0, 6.0, 5.5) * 3


@pytest.mark.timeout(3600)
def test_nothing_crashes_and_nothing_is_accepted_that_fails_later() -> None:
    accepted = refused = written = 0
    for document in documents(DOCUMENTS):
        try:
            alert = parse_alert(document)
        except InvalidAlertRule as exc:
            assert exc.reason  # noqa: PT017 - most documents are refused, some are accepted, nothing else happens
            refused += 1
            continue
        accepted += 1
        assert compile_alert(as_stored(document)).rule_hash == alert.rule_hash
        found = evaluated_over_some_bars(alert)
        assert len(told(alert, found)) >= len(found.triggers)
        written += reads_back(document)
    assert accepted > DOCUMENTS // 20
    assert refused > DOCUMENTS // 2
    assert written > accepted // 2


def as_stored(document: Any) -> Any:
    """Return a document as PostgreSQL gives it back, which refuses NUL and halves of surrogate pairs."""
    text = json.dumps(document, allow_nan=False)
    assert "\\u0000" not in text
    json.dumps(document, ensure_ascii=False).encode()
    return json.loads(text)


def evaluated_over_some_bars(alert: Alert) -> Evaluation:
    """Evaluate, and explain what happened on the newest bar."""
    length = alert.series.timeframe.length
    rows = [(BEGIN + length * i, value, value, value, value, 10.0) for i, value in enumerate(VALUES)]
    bars, state, now = Bars.from_rows(rows), fresh_state(alert, BEGIN), BEGIN + length * len(VALUES)
    assert needed(alert, state, now) >= len(VALUES)
    found = evaluated(alert, state, bars, now)
    newest = trace(alert, state, watched_bars(bars, Closing(alert.series.timeframe)), now).bars[-1]
    assert as_text(alert, newest)
    json.dumps(as_json(alert, newest), allow_nan=False).encode()
    return found


def told(alert: Alert, found: Evaluation) -> list[str]:
    """Return what an alert says, as it goes into the outbox."""
    messages = messages_of(1, 1, "fuzz", alert, found.triggers)
    messages.append(rearmed_message(1, 1, "fuzz", alert, BEGIN))
    messages += [each for one in found.triggers for each in action_messages(1, 1, "fuzz", alert, one, None)]
    return [as_stored([one.title, one.body, one.payload, one.channels])[1] for one in messages]


def reads_back(document: Any) -> bool:
    """Whether a line can say a document; what it then says is accepted and written the same way again."""
    try:
        line = line_of(upgraded(document))
    except InvalidInput as exc:
        assert exc.field  # noqa: PT017 - not everything has a line, and this is the one way to be told so
        return False
    assert line_of(config_of_line(line)) == line
    return True


def test_every_placeholder_has_a_value() -> None:
    template = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    alert = parse_alert({**SEEDS[0], "notify": {"message_template": template}})
    rows = [
        (BEGIN + timedelta(hours=i), close, close, close, close, 1.0) for i, close in enumerate([1.0, 2, 3, 4])
    ]
    found = evaluated(alert, fresh_state(alert, BEGIN), Bars.from_rows(rows), BEGIN + timedelta(hours=4))
    assert "{" not in compose(1, 1, "all", alert, found.triggers[0]).body
