"""Failures to sign in as SQL: counted before the password is looked at, taken back if it was right."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.security.account_store import NOBODY, CountedTry
from atf.security.lockout import OF_ACCOUNTS, OF_ADDRESSES, OF_NOBODY, Failures, LockoutRule

_ACCOUNT: Final = "account:"
_ADDRESS: Final = "address:"
# Last, and never waiting: whoever waits for what this has taken away holds nothing that this still needs.
_PRUNE: Final = text(
    """
    DELETE FROM sign_in_failures WHERE subject IN (
      SELECT subject FROM sign_in_failures WHERE last_failed_at < now() - CAST(:kept AS interval)
      LIMIT 100 FOR UPDATE SKIP LOCKED)
    """
)
# Makes what is not there and locks what is, the account first, as everybody does.
_LOCK: Final = text(
    """
    INSERT INTO sign_in_failures (subject) SELECT unnest(CAST(:subjects AS text[]))
    ON CONFLICT (subject) DO UPDATE SET failures = sign_in_failures.failures
    RETURNING subject, failures, last_failed_at
    """
)
_NOW: Final = text("SELECT clock_timestamp()")
_COUNT: Final = text(
    "UPDATE sign_in_failures SET failures = :failures, last_failed_at = :at WHERE subject = :subject"
)
_FORGET: Final = text("DELETE FROM sign_in_failures WHERE subject = :subject")
# Somebody else from there may have failed meanwhile; then that was the last time.
_TAKE_BACK: Final = text(
    """
    UPDATE sign_in_failures
    SET last_failed_at = CASE WHEN failures = :failures + 1 THEN :at ELSE last_failed_at END,
        failures = greatest(failures - 1, 0)
    WHERE subject = :subject
    """
)


async def count_try(connection: AsyncConnection, user_id: int, address: str | None) -> CountedTry:
    """Count a try as a failure of an account and of an address, unless one of them is locked."""
    subjects = [_subject(user_id), *([f"{_ADDRESS}{address}"] if address is not None else [])]
    rows = await connection.execute(_LOCK, {"subjects": subjects})
    before = {row.subject: Failures(row.failures, row.last_failed_at) for row in rows}
    now = (await connection.execute(_NOW)).scalar_one()
    locks = {subject: failures.locked_until(_rule(subject)) for subject, failures in before.items()}
    locked = {subject: lock for subject, lock in locks.items() if lock is not None and now < lock}
    until = max(locked.values(), default=None)
    if until is None:
        for subject, failures in before.items():
            after = failures.with_another(_rule(subject), now)
            values = {"subject": subject, "failures": after.count, "at": after.last_at}
            await connection.execute(_COUNT, values)
    await connection.execute(_PRUNE, {"kept": max(OF_ACCOUNTS.forgotten_after, OF_ADDRESSES.forgotten_after)})
    return CountedTry(before, until, any(subject.startswith(_ADDRESS) for subject in locked))


async def forgive(connection: AsyncConnection, counted: CountedTry) -> None:
    """Take a try back that was right: of the account all failures are forgotten, of the address this one."""
    for subject, failures in sorted(counted.before.items()):
        if subject.startswith(_ACCOUNT):
            await connection.execute(_FORGET, {"subject": subject})
        else:
            values = {"subject": subject, "failures": failures.count, "at": failures.last_at}
            await connection.execute(_TAKE_BACK, values)


async def forget_failures(connection: AsyncConnection, user_id: int) -> None:
    """Forget an account's failures."""
    await connection.execute(_FORGET, {"subject": _subject(user_id)})


def _subject(user_id: int) -> str:
    return f"{_ACCOUNT}{user_id}"


def _rule(subject: str) -> LockoutRule:
    if subject == _subject(NOBODY):
        return OF_NOBODY
    return OF_ACCOUNTS if subject.startswith(_ACCOUNT) else OF_ADDRESSES
