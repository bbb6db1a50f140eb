"""Templates of messages can name what an alert knows and nothing else: no attribute, no index, no format."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from string import Formatter
from typing import Any, Final

import pytest
from tests.alert_steps import evaluated

from atf.alerts.alert import PLACEHOLDERS, Alert, check_template, compile_alert, fresh_state, parse_alert
from atf.alerts.alert_message import compose
from atf.errors import InvalidAlertRule
from atf.market.bars import Bars

BEGIN: Final = datetime(2027, 3, 1, tzinfo=UTC)
PIECES: Final = (
    *("{", "}", "{{", "}}", "{}", "{0}", "!r", "!s", "!a", ":", ">99", ".", "[", "]", "[0]", "(", ")", " ", "é"),
    *(".__class__", ".__init__", ".__globals__", "[__class__]", ".format", "__import__", "os", "\n", "%s", "$x"),
    *("{", "}", "{", "}"),
    *PLACEHOLDERS,
)


def config(template: str) -> dict[str, Any]:
    rule = {"indicator": "price", "operator": ">", "value": 5}
    return {"ticker": "T", "timeframe": "1h", "rule": rule, "notify": {"message_template": template}}


def body_of(alert: Alert) -> str:
    rows = [(BEGIN + timedelta(hours=i), close, close, close, close, 1.0) for i, close in enumerate([1.0, 9.0])]
    found = evaluated(alert, fresh_state(alert, BEGIN), Bars.from_rows(rows), BEGIN + timedelta(hours=2))
    return compose(1, 1, "test", alert, found.triggers[0]).body


@pytest.mark.parametrize(
    "template",
    [
        *("{ticker.__class__}", "{ticker[0]}", "{ticker.__class__.__mro__[1].__subclasses__}", "{value.real}"),
        *("{user.__class__}", "{0}", "{}", "{0.__class__}", "{alert}", "{ticker!r}", "{value:>9999999999}"),
        *("{value:{threshold}}", "{ticker:{ticker.__class__}}", "{ ticker}", "{ticker }", "{", "}", "{ticker"),
    ],
)
def test_a_template_that_reaches_for_more_is_refused_also_if_it_was_stored_by_hand(template: str) -> None:
    for read in (parse_alert, compile_alert):
        with pytest.raises(InvalidAlertRule, match="message_template"):
            read(config(template))


def test_of_any_template_that_is_accepted_only_values_of_the_alert_come_out() -> None:
    """Whatever is put together of braces, names and attributes: accepted or refused, and nothing else."""
    drawn, accepted = random.Random(11), 0
    for _ in range(20_000):
        template = "".join(drawn.choices(PIECES, k=drawn.randint(1, 6)))
        try:
            check_template(template)
        except InvalidAlertRule:
            continue
        accepted += 1
        fields = [(name, spec, how) for _, name, spec, how in Formatter().parse(template) if name is not None]
        assert all(name in PLACEHOLDERS and not spec and how is None for name, spec, how in fields), template
        filled = template.format_map({name: f"<{name}>" for name in PLACEHOLDERS})
        assert "object at 0x" not in filled
        assert "<class" not in filled
    assert accepted > 1000


def test_values_are_never_read_as_templates() -> None:
    alert = parse_alert({**config("{ticker} {{value}}"), "ticker": "T"})
    assert body_of(alert) == "T {value}"
