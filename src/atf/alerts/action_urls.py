"""Whether the URLs of an alert's actions may be asked, as far as they tell by themselves. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from atf.errors import InvalidAlertRule, Problems
from atf.security.outgoing_address import REFUSAL, OutgoingAddresses


def require_allowed_urls(config: Mapping[str, Any], allowed: OutgoingAddresses) -> None:
    """Refuse actions whose URL names an address, or a local host, that must not be asked.

    What a name that could be public leads to is looked at with every request, when it is known.

    Errors: InvalidAlertRule with all that are refused; only the host is shown, as the rest may hold secrets.
    """
    problems = Problems()
    for index, action in enumerate(config.get("actions") or ()):
        host = urlsplit(action.get("url") or "").hostname
        if host is not None and not allowed.permits_name(host):
            problems.add(InvalidAlertRule(f"{host} {REFUSAL}", field=f"actions[{index}].url"))
    problems.raise_any(InvalidAlertRule)
