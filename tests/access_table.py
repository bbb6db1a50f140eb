"""The table of docs/security.md: who may call which method, for whose things."""

from __future__ import annotations

from typing import Final

from atf.bootstrap import rights
from atf.security.gate import Rights
from atf.security.role import Permission, Role, permits

ALL: Final[dict[str, Rights]] = {
    "alerts": rights.ALERTS,
    "jobs": rights.JOBS,
    "bots": rights.BOTS,
    "deliveries": rights.MESSAGES,
    "preferences": rights.PREFERENCES,
    "quiet_hours": rights.QUIET_HOURS,
    "universes": rights.UNIVERSES,
    "fundamentals": rights.FUNDAMENTALS,
    "data": rights.MARKET_DATA,
    "users": rights.USERS,
    "audit": rights.AUDIT,
    "credentials": rights.CREDENTIALS,
    "tokens": rights.TOKENS,
    "identities": rights.IDENTITIES,
    "secrets": rights.SECRETS,
}


def access_table() -> str:
    """Return the table as Markdown: one line a method."""
    lines = ["| what | own: admin, trader, viewer | another's: admin, trader, viewer |", "|---|---|---|"]
    for service, of_service in ALL.items():
        for method, right in of_service.methods.items():
            own = [permits(role, right.permission) for role in Role]
            others = [
                allowed and (right.owner_of is None or permits(role, Permission.ADMINISTER))
                for allowed, role in zip(own, Role, strict=True)
            ]
            whose = _words(others) if right.owner_of is not None else "nobody's own"
            lines.append(f"| `{service}.{method}` | {_words(own)} | {whose} |")
    return "\n".join(lines)


def _words(allowed: list[bool]) -> str:
    return ", ".join("yes" if each else "no" for each in allowed)


if __name__ == "__main__":
    print(access_table())
