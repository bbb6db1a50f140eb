"""The error tree: every class says what the caller must do.

Adapters convert foreign exceptions into these with ``raise … from exc``; nothing here knows what raised it.

::

    AtfError
    ├── ConfigurationError   fix a setting; the process exits before it opens a socket
    ├── InvalidInput         tell the user, never retry (InvalidAlertRule, InvalidCron)
    ├── Unauthenticated      nobody knows who calls: sign in, or again
    ├── Forbidden            this user may not; ask somebody who may
    ├── NotFound / Conflict  the named thing is not there, or is in a state that does not allow this
    ├── TemporaryFailure     retry with back-off
    ├── PermanentFailure     record and stop trying
    ├── OutcomeUnknown       it was sent and nobody knows: reconcile first, never resend blindly
    └── InvariantViolation   our books are wrong: stop and page the operator
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from math import isfinite
from typing import Final

from atf.secrecy import concealed

_LONGEST_SHOWN: Final = 100


def shown(value: object) -> str:
    """Return a value as its JSON reads, as that is what the user wrote; long ones are cut, secrets masked."""
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    try:
        text = concealed(json.dumps(value, default=str))
    except (ValueError, TypeError, RecursionError):  # such as an integer of more digits than Python prints
        return "a value that is too large to show"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def storable(text: str) -> str:
    """Return a text as a database takes it: without what no text there may hold."""
    return text.replace("\0", "").encode(errors="replace").decode()


class AtfError(Exception):
    """Base of all errors that ATF raises on purpose; its text is fit for a user, and never says a secret."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(concealed(one) if isinstance(one, str) else one for one in args))


class ConfigurationError(AtfError):
    """A setting or the machine must be fixed before the process can run."""


class InvalidInput(AtfError):
    """A value given by a user is not acceptable; ``field`` is its path, empty for the whole.

    The text reads ``field: what was found and what is allowed``, and goes on with ``others`` that were found
    together with it.
    """

    def __init__(self, message: str, *, field: str = "", others: Sequence[InvalidInput] = ()) -> None:
        self.field = field
        self.reason = message = concealed(message)
        self.others = tuple(others)
        own = f"{field}: {message}" if field else message
        super().__init__("; ".join([own, *map(str, self.others)]))

    @property
    def problems(self) -> tuple[InvalidInput, ...]:
        """All that was found, each by itself."""
        return (type(self)(self.reason, field=self.field), *self.others)


class Problems(AbstractContextManager[None]):
    """Refusals on the way: each is collected, so that a user sees all of them at once.

    Used as a context manager, time and again: after a refusal the work goes on behind the block.
    """

    def __init__(self) -> None:
        self._found: list[InvalidInput] = []

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, exc: BaseException | None, __: object) -> bool:
        if not isinstance(exc, InvalidInput):
            return False
        self._found += exc.problems
        return True

    def add(self, problem: InvalidInput) -> None:
        """Remember a refusal."""
        self._found += problem.problems

    def raise_any(self, refusal: type[InvalidInput] = InvalidInput) -> None:
        """Raise what was collected, one problem a field, if there is anything."""
        if not self._found:
            return
        by_field = dict.fromkeys(found.field for found in self._found)
        told = [next(one for one in self._found if one.field == field) for field in by_field]
        first, *others = (refusal(one.reason, field=one.field) for one in told)
        raise refusal(first.reason, field=first.field, others=others)


class InvalidCron(InvalidInput):
    """A cron expression or time zone that can never be scheduled."""


class InvalidAlertRule(InvalidInput):
    """An alert configuration that cannot be evaluated; ``field`` is the JSON path."""


class Unauthenticated(AtfError):
    """Who calls is not known; signing in helps. The text does not say what exactly was wrong."""


class Forbidden(AtfError):
    """The caller may not do this; the text says who may."""


class NotFound(AtfError):
    """The named thing does not exist or is not visible to this user."""


class Conflict(AtfError):
    """The thing is in a state that does not allow what was asked, or somebody else changed it first."""


class TemporaryFailure(AtfError):
    """Worth another try later; ``retry_after_seconds`` is what the other side asked for, if it did."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class DatabaseUnavailable(TemporaryFailure):
    """The database does not answer; it is asked again, and nothing is lost meanwhile."""


class TransactionConflict(TemporaryFailure):
    """The database undid the transaction because of another one; repeat it as a whole, at once."""


class PermanentFailure(AtfError):
    """Trying again cannot help; record it."""


class UnstorableData(PermanentFailure):
    """The database refuses a value, such as text with a NUL; the row that holds it fails alone."""


class OutcomeUnknown(AtfError):
    """Something was sent and its outcome is not known."""


class InvariantViolation(AtfError):
    """Our own records contradict each other."""


class IllegalTransition(InvariantViolation):
    """A status change that the transition table does not have."""
