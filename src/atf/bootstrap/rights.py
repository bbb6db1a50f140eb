"""Who may call what: one line a method of each service that callers reach. docs/security.md has it as a table."""

from __future__ import annotations

from typing import Final

from atf.security.gate import Right, Rights, first_argument, first_argument_or_platform, of_filter
from atf.security.role import Permission

_SEE: Final = Right(Permission.VIEW, first_argument)
_CHANGE: Final = Right(Permission.EDIT, first_argument)
_OWN: Final = Right(Permission.VIEW, first_argument)
"""What everybody may decide for themselves, viewers too: how they are told."""
_LOOK: Final = Right(Permission.VIEW)
_ADMINISTER: Final = Right(Permission.ADMINISTER)
_KEEP_SECRETS: Final = Right(Permission.KEEP_SECRETS, first_argument_or_platform)

ALERTS: Final = Rights(
    "alert",
    {
        "list_alerts": _SEE,
        "get": _SEE,
        "triggers": _SEE,
        "actions": _SEE,
        "last_seen": Right(Permission.VIEW, lambda stored: int(stored.user_id)),
        "add": _CHANGE,
        "edit": _CHANGE,
        "pause": _CHANGE,
        "resume": _CHANGE,
        "mute": _CHANGE,
        "unmute": _CHANGE,
        "reset": _CHANGE,
        "acknowledge": _CHANGE,
        "delete": _CHANGE,
    },
)
JOBS: Final = Rights(
    "job",
    {
        "types": _LOOK,
        "is_handled": _LOOK,
        "expand_screener_target": _LOOK,
        "list_schedules": _SEE,
        "get_schedule": _SEE,
        "create_schedule": _CHANGE,
        "update_schedule": _CHANGE,
        "pause_schedule": _CHANGE,
        "resume_schedule": _CHANGE,
        "delete_schedule": _CHANGE,
        "trigger_schedule": _CHANGE,
        "list_runs": Right(Permission.VIEW, of_filter),
        "get_run": _SEE,
        "find_run": _SEE,
        "get_run_statistics": _SEE,
        "create_run": _CHANGE,
        "cancel_run": _CHANGE,
        "retry_run": _CHANGE,
        "list_misfires": _SEE,
        "list_dead_letters": Right(Permission.VIEW, of_filter),
        "get_dead_letter": _SEE,
        "requeue_dead_letter": _CHANGE,
        "drop_dead_letter": _CHANGE,
        "list_workers": _LOOK,
        "cleanup_old_runs": _ADMINISTER,
        # The doors of outside programs that do runs themselves: those of everybody.
        "get_pending_runs": _ADMINISTER,
        "claim_run": _ADMINISTER,
        "claim_runs": _ADMINISTER,
        "complete": _ADMINISTER,
        "fail": _ADMINISTER,
        "update_run": _ADMINISTER,
    },
)
BOTS: Final = Rights(
    "bot",
    {
        "get": _SEE,
        "list_bots": _SEE,
        "versions": _SEE,
        "diff": _SEE,
        "events": _SEE,
        "orders": _SEE,
        "fills": _SEE,
        "positions": _SEE,
        "trades": _SEE,
        "equity": _SEE,
        "add": _CHANGE,
        # What it looks up may load the user's own code.
        "validate": _CHANGE,
        "edit": _CHANGE,
        "rollback": _CHANGE,
        "rename": _CHANGE,
        "start": _CHANGE,
        "stop": _CHANGE,
        "restart": _CHANGE,
        "pause": _CHANGE,
        "resume": _CHANGE,
        "enable": _CHANGE,
        "disable": _CHANGE,
        "delete": _CHANGE,
    },
)
MESSAGES: Final = Rights(
    "message",
    {
        "list_deliveries": Right(Permission.VIEW, of_filter),
        "statistics": Right(Permission.VIEW, first_argument_or_platform),
        "requeue": _CHANGE,
    },
)
NOTIFIER: Final = Rights("notification", {"send": Right(Permission.EDIT, of_filter)})
PREFERENCES: Final = Rights(
    "preferences",
    {
        "settings": _SEE,
        "change": _OWN,
        "set_route": _OWN,
        "clear_routes": _OWN,
        "set_address": _OWN,
        "clear_address": _OWN,
        "send_test": _OWN,
    },
)
QUIET_HOURS: Final = Rights("quiet_hours", {"status": _SEE, "set": _CHANGE, "clear": _CHANGE})
UNIVERSES: Final = Rights(
    "universe",
    {
        "members": _SEE,
        "listing": _SEE,
        "list_universes": _SEE,
        "history": _SEE,
        "load": _CHANGE,
        "delete": _CHANGE,
    },
)
FUNDAMENTALS: Final = Rights("fundamentals", {"newest": _LOOK, "of": _LOOK, "load": Right(Permission.EDIT)})
MARKET_DATA: Final = Rights(
    "bars",
    {
        "import_file": Right(Permission.EDIT),
        "import_factors": Right(Permission.EDIT),
        "fetch": Right(Permission.EDIT),
        "providers": _LOOK,
    },
)
USERS: Final = Rights(
    "user",
    {
        "add_user": _ADMINISTER,
        "list_users": _ADMINISTER,
        "get_user": _ADMINISTER,
        "set_role": _ADMINISTER,
        "disable_user": _ADMINISTER,
        "approve_user": _ADMINISTER,
        "change_limits": _ADMINISTER,
    },
)
# No token gives more than it has itself: what makes or changes ways to sign in is done by persons.
_OWN_BY_PERSON: Final = Right(Permission.VIEW, first_argument, by_person=True)
_ADMINISTER_BY_PERSON: Final = Right(Permission.ADMINISTER, by_person=True)
CREDENTIALS: Final = Rights(
    "password",
    {
        "change_password": _OWN_BY_PERSON,
        "replace_password": _ADMINISTER_BY_PERSON,
        "make_password_link": _ADMINISTER_BY_PERSON,
        "make_account_link": _OWN_BY_PERSON,
    },
)
TOKENS: Final = Rights(
    "token",
    {
        "add_token": Right(Permission.KEEP_SECRETS, first_argument, by_person=True),
        "list_tokens": _SEE,
        "revoke_token": _OWN_BY_PERSON,
        "add_service_token": _ADMINISTER_BY_PERSON,
        "list_service_tokens": _ADMINISTER,
        "revoke_service_token": _ADMINISTER_BY_PERSON,
    },
)
IDENTITIES: Final = Rights(
    "identity", {"begin_email": _OWN_BY_PERSON, "verify_email": _OWN_BY_PERSON, "list_identities": _SEE}
)
SECRETS: Final = Rights(
    "secret",
    {
        "set_secret": _KEEP_SECRETS,
        "list_secrets": _KEEP_SECRETS,
        "delete_secret": _KEEP_SECRETS,
        "rotate": _ADMINISTER_BY_PERSON,
    },
)
AUDIT: Final = Rights("audit", {"entries": _ADMINISTER})
