"""The commands, one module a subject; the order here is that of the menu."""

from __future__ import annotations

from collections.abc import Sequence

from atf.telegram.command import Command
from atf.telegram.commands import account, admin, alerts, basics, health, prices, runs, schedules


def all_commands() -> Sequence[Command]:
    """Return every command."""
    start, help_, *further = basics.COMMANDS
    return (
        start,
        help_,
        *alerts.COMMANDS,
        *prices.COMMANDS,
        *schedules.COMMANDS,
        *runs.COMMANDS,
        *health.COMMANDS,
        *further,
        *account.COMMANDS,
        *admin.COMMANDS,
    )
