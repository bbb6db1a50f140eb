"""Where the settings let webhooks go."""

from __future__ import annotations

from atf.errors import ConfigurationError, InvalidInput
from atf.security.outgoing_address import SETTING, OutgoingAddresses
from atf.settings import Settings


def outgoing_addresses(settings: Settings) -> OutgoingAddresses:
    """Return what may be connected to. Errors: ConfigurationError for a setting that cannot be read."""
    try:
        return OutgoingAddresses.parse(settings.webhook_allowed_networks)
    except InvalidInput as exc:
        raise ConfigurationError(f"{SETTING}: {exc.reason}") from exc
