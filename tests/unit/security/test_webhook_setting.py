"""What ``atf scheduler validate-config`` says of where webhooks may go."""

from __future__ import annotations

import pytest

from atf.bootstrap.checks import Check, Outcome, check_config
from atf.security.outgoing_address import SETTING


def webhooks(monkeypatch: pytest.MonkeyPatch, value: str) -> Check:
    monkeypatch.setenv("ATF_CONFIG", "none")
    monkeypatch.setenv(SETTING, value)
    (found,) = [check for check in check_config() if check.subject == "webhooks"]
    return found


def test_what_is_allowed_beside_public_addresses_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert webhooks(monkeypatch, "") == Check("webhooks", Outcome.OK, "go to public addresses")
    shown = "go to public addresses, 10.0.0.0/8, ::1/128, nas.lan"
    assert webhooks(monkeypatch, "10.0.0.0/8, NAS.lan, ::1") == Check("webhooks", Outcome.OK, shown)


def test_what_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = webhooks(monkeypatch, "10.0.0.1/8")
    assert found.outcome is Outcome.FAILED
    assert found.detail.startswith(f'{SETTING}: "10.0.0.1/8" is neither a network')
